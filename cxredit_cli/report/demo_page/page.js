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
    for (const source of [state.image, state.change, state.film, state.patch && state.patch.image]) {
      if (source) new Image().src = source; // decoded in advance, so that the slider does not flicker
    }
  }

  const minus = (text) => text.replace("-", "\u2212");
  const signed = (value, digits) => {
    const text = value.toFixed(digits);
    return Number(text) === 0 ? (0).toFixed(digits) : minus(value > 0 ? "+" + text : text);
  };
  const chosen = (side) => document.querySelector(`input[name="${side}"]:checked`).value;

  function pane(side, picture, state, tag, isMap, patch) {
    const image = find(side + "-image");
    const over = find(side + "-patch");
    over.hidden = !patch;
    if (patch) {
      over.src = patch.image;
      for (const length of ["left", "top", "width", "height"]) over.style[length] = patch[length] + "%";
    }
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
    const before = left === "original" || left === "film" ? original : reconstruction;
    const leftTags = { film: "Film", original: "Original, as the model saw it", reconstruction: "Reconstruction", residual: "Reconstruction \u2212 original" };
    const leftPictures = { film: original.film, residual: reconstruction.change };
    pane("left", leftPictures[left] || before.image, before, leftTags[left], left === "residual", null);
    const isMap = right === "change";
    const onFilm = right === "film" && !edit.refused;
    let tag = isMap ? `Change, strength ${edit.label}` : `Edited, strength ${edit.label}`;
    if (onFilm && edit.film_ctr !== null) tag = `Film, edited, strength ${edit.label}: CTR ${edit.film_ctr.toFixed(3)}`;
    if (right === "film" && edit.refused) tag = `The model\u2019s picture, for the film was not edited: ${edit.refused}`;
    pane("right", isMap ? edit.change : onFilm ? original.film : edit.image, onFilm ? { outlines: edit.film_outlines } : edit, tag, isMap, onFilm ? edit.patch : null);

    place();
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

  // Both pictures are looked at through one window: `scale` times as large, its corner at (x, y) of the picture.
  const view = { scale: 1, x: 0, y: 0 };
  const MOST = 8;
  function place() {
    for (const layer of document.querySelectorAll(".picture img, .picture svg")) {
      layer.style.transformOrigin = "0 0";
      const size = layer.parentElement.clientWidth;
      const left = layer.classList.contains("patch") ? layer.offsetLeft : 0;
      const top = layer.classList.contains("patch") ? layer.offsetTop : 0;
      const x = left * (view.scale - 1) - view.x * size * view.scale;
      const y = top * (view.scale - 1) - view.y * size * view.scale;
      layer.style.transform = view.scale === 1 ? "" : `translate(${x}px, ${y}px) scale(${view.scale})`;
    }
  }
  function zoom(factor, x, y) { // around a point of the window, in 0..1
    const scale = Math.min(Math.max(view.scale * factor, 1), MOST);
    const inside = (value) => Math.min(Math.max(value, 0), 1 - 1 / scale);
    view.x = inside(view.x + x / view.scale - x / scale);
    view.y = inside(view.y + y / view.scale - y / scale);
    view.scale = scale;
    place();
  }
  const fingers = new Map();
  for (const window_ of document.querySelectorAll(".picture")) {
    const at = (event) => {
      const box = window_.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    window_.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 400), ...at(event));
    }, { passive: false });
    window_.addEventListener("dblclick", () => { Object.assign(view, { scale: 1, x: 0, y: 0 }); place(); });
    window_.addEventListener("pointerdown", (event) => { window_.setPointerCapture(event.pointerId); fingers.set(event.pointerId, at(event)); });
    window_.addEventListener("pointermove", (event) => {
      const last = fingers.get(event.pointerId);
      if (!last) return;
      const now = at(event);
      const other = [...fingers].find(([id]) => id !== event.pointerId);
      if (other) {
        const apart = (point) => Math.hypot(point[0] - other[1][0], point[1] - other[1][1]);
        zoom(apart(now) / Math.max(apart(last), 0.02), (now[0] + other[1][0]) / 2, (now[1] + other[1][1]) / 2);
      } else {
        view.x -= (now[0] - last[0]) / view.scale;
        view.y -= (now[1] - last[1]) / view.scale;
        zoom(1, 0, 0);
      }
      fingers.set(event.pointerId, now);
    });
    for (const end of ["pointerup", "pointercancel"]) window_.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }

  show();
})();
