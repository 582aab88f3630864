"use strict";
(() => {
  const states = JSON.parse(document.getElementById("states").textContent);
  const [original, reconstruction, ...edits] = states;
  const find = (id) => document.getElementById(id);
  const slider = find("strength");
  const play = find("play");
  const FRAME_MS = 160;
  const REST_MS = 700; // at either end

  for (const state of states) {
    for (const source of [state.image, state.change]) {
      if (source) new Image().src = source; // decoded in advance, so that the slider does not flicker
    }
  }

  const minus = (text) => text.replace("-", "\u2212");
  const signed = (value, digits) => {
    const text = value.toFixed(digits);
    return Number(text) === 0 ? (0).toFixed(digits) : minus(value > 0 ? "+" + text : text);
  };
  const chosen = (side) => document.querySelector(`input[name="${side}"]:checked`).value;

  function pane(side, picture, state, tag, isMap) {
    const image = find(side + "-image");
    image.src = picture;
    image.alt = tag;
    find(side + "-tag").textContent = tag;
    image.parentElement.classList.toggle("on-map", isMap);
    for (const [name, path] of Object.entries(state.outlines)) find(`${side}-${name}`).setAttribute("d", path);
  }

  function figure(name, state) {
    if (name === "mean_change") return "";
    const value = state.figures[name];
    if (value === null) return "\u2013";
    return name === "ctr" ? value.toFixed(3) : (100 * value).toFixed(1) + "\u2009%";
  }

  function change(name, state) {
    if (name === "mean_change") return (100 * state.mean_change).toFixed(1) + "\u2009%";
    const before = reconstruction.figures[name];
    const after = state.figures[name];
    if (before === null || after === null || before === 0) return "\u2013";
    return name === "ctr" ? signed(after - before, 3) : signed(100 * (after / before - 1), 1) + "\u2009%";
  }

  function show() {
    const edit = edits[Number(slider.value)];
    const left = chosen("left");
    const right = chosen("right");
    const before = left === "original" ? original : reconstruction;
    const leftTags = { original: "Original", reconstruction: "Reconstruction", residual: "Reconstruction \u2212 original" };
    pane("left", left === "residual" ? reconstruction.change : before.image, before, leftTags[left], left === "residual");
    const isMap = right === "change";
    const tag = isMap ? `Change, strength ${edit.label}` : `Edited, strength ${edit.label}`;
    pane("right", isMap ? edit.change : edit.image, edit, tag, isMap);

    const outlined = find("outlines").checked;
    for (const drawing of document.querySelectorAll(".outlines")) drawing.toggleAttribute("hidden", !outlined);
    find("outline-key").classList.toggle("off", !outlined);
    find("scale").classList.toggle("on", isMap || left === "residual");

    const ratio = figure("ctr", edit);
    find("strength-now").textContent = edit.label;
    slider.setAttribute("aria-valuetext", `strength ${edit.label}, cardiothoracic ratio ${ratio}`);
    find("ctr").textContent = ratio;
    find("ctr-change").textContent = `${change("ctr", edit)} against the reconstruction`;
    find("ctr").parentElement.classList.toggle("doubted", edit.problem !== "");
    find("problem").hidden = edit.problem === "";
    find("problem").textContent = `The outlines are implausible here: ${edit.problem}. Do not rely on the figures.`;

    find("guide").setAttribute("transform", `translate(${edit.x} 0)`);
    find("marker").toggleAttribute("hidden", edit.y === null);
    if (edit.y !== null) {
      find("marker").setAttribute("cx", edit.x);
      find("marker").setAttribute("cy", edit.y);
    }
    for (const row of document.querySelectorAll("tr[data-figure]")) {
      const name = row.dataset.figure;
      const cells = [figure(name, original), figure(name, reconstruction), figure(name, edit), change(name, edit)];
      cells.forEach((text, index) => { row.cells[index + 1].textContent = text; });
    }
  }

  let timer = 0;
  let step = 1;
  function stop() {
    window.clearTimeout(timer);
    timer = 0;
    play.setAttribute("aria-pressed", "false");
  }
  function advance() {
    const next = Number(slider.value) + step;
    const atEnd = next < 0 || next >= edits.length;
    if (atEnd) step = -step;
    else slider.value = next;
    show();
    timer = window.setTimeout(advance, atEnd ? REST_MS : FRAME_MS);
  }

  play.addEventListener("click", () => {
    if (timer) return stop();
    play.setAttribute("aria-pressed", "true");
    advance();
  });
  slider.addEventListener("input", () => { stop(); show(); });
  for (const input of document.querySelectorAll("input[type=radio], #outlines")) input.addEventListener("change", show);

  const plot = find("plot");
  function pick(event) {
    if (event.type === "pointermove" && !event.buttons) return;
    const x = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse()).x;
    const distances = edits.map((edit) => Math.abs(edit.x - x));
    slider.value = distances.indexOf(Math.min(...distances));
    stop();
    show();
  }
  plot.addEventListener("pointerdown", pick);
  plot.addEventListener("pointermove", pick);

  show();
})();
