"""The page of `cxredit demo`: one HTML file with everything in it, which asks nothing of any network."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxredit_cli.editing.demonstration import BUNDLED_RADIOGRAPH, Demonstration
from cxredit_cli.editing.edit_film import CarriedEdit
from cxredit_cli.figures.outlines import COLOURS, contours, extent, lungs
from cxredit_cli.figures.sheets import ANCHORS, DIVERGING, difference_limit
from cxredit_cli.latent.strengths import strength_label
from cxredit_cli.networks.anatomy import HEART, LEFT_LUNG, RIGHT_LUNG
from cxredit_cli.radiographs import provenance
from cxredit_cli.radiographs.write import encode_png
from cxredit_cli.report.pages import write_page
from cxredit_cli.report.pictures import css, data_uri, difference_png
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import BUNDLED, Model

ORGANS = {"right": RIGHT_LUNG, "left": LEFT_LUNG, "heart": HEART}  # names of CSS classes
ROWS = (  # of the table
    ("ctr", "Cardiothoracic ratio"),
    ("heart_width", "Heart width"),
    ("heart_area", "Heart area"),
    ("thorax_width", "Thorax width"),
    ("right_lung_height", "Right lung height"),
    ("left_lung_height", "Left lung height"),
    ("right_lung_area", "Right lung area"),
    ("left_lung_area", "Left lung area"),
)
NIH = (
    "The radiograph is from ChestX-ray14, with thanks to the NIH Clinical Center, which provides the data set at "
    "https://nihcc.app.box.com/v/ChestXray-NIHCC, and Wang X, Peng Y, Lu L, Lu Z, Bagheri M, Summers RM. ChestX-ray8, "
    "IEEE CVPR 2017, 3462-3471."
)
URL = r"(https://[^\s,;]+)"
FIRST_SHOWN = 2 / 3  # of the way from no edit to the strongest: at once there is something to see


@dataclass(frozen=True, slots=True)
class Plot:
    """Where things lie in the curve's drawing, in its own units."""

    width: int = 460
    height: int = 250
    left: int = 44
    right: int = 12
    top: int = 14
    bottom: int = 38

    def x(self, strength: float, low: float, high: float) -> float:
        """Place of a strength between the lowest and the highest."""
        share = (strength - low) / (high - low) if high > low else 0.5
        return round(self.left + share * (self.width - self.left - self.right), 2)

    def y(self, value: float, low: float, high: float) -> float:
        """Place of a value; larger ones lie higher."""
        return round(self.height - self.bottom - (value - low) / (high - low) * (self.inner_height), 2)

    @property
    def inner_height(self) -> int:
        """Height of the plotted area."""
        return self.height - self.top - self.bottom


def write_demo(path: Path, shown: Demonstration, model: Model, direction: Direction) -> None:
    """Write the page, whole or not at all."""
    write_page(path, "demo_page/page.html", _context(shown, model, direction))


def _context(shown: Demonstration, model: Model, direction: Direction) -> dict[str, Any]:
    changes = shown.changes
    limit = difference_limit([*changes] if np.ptp(changes) > 0 else [])
    what = f"{direction.name} ({direction.method}) [{direction.digest}]"
    residual = shown.reconstruction - shown.original

    def edited(pixels: NDArray[np.float32], strength: str) -> str:
        return _grey(pixels, provenance.edited(model.name, shown.source, what, strength, "all"))

    states: list[dict[str, Any]] = [
        {"kind": "original", "image": _grey(shown.original, _original_text(shown)), "change": None},
        {
            "kind": "reconstruction",
            "image": edited(shown.reconstruction, "+0"),
            "change": _difference(residual, limit, shown, "reconstruction minus original"),
            "mean_change": float(np.abs(residual).mean()),
        },
    ]
    for strength, pixels, change in zip(shown.strengths, shown.edits, changes, strict=True):
        label = strength_label(strength)
        states.append(
            {
                "kind": "edit",
                "strength": strength,
                "label": readable(strength),
                "image": edited(pixels, label),
                "change": _difference(change, limit, shown, f"edit {label} minus reconstruction"),
                "mean_change": float(np.abs(change).mean()),
            }
        )
    states[0]["film"] = _grey(shown.film, {**_original_text(shown), "Title": shown.source})
    if shown.film_edits is not None and shown.film_masks is not None:
        for state, edit, mask in zip(states[2:], shown.film_edits, shown.film_masks, strict=True):
            text = provenance.edited(model.name, shown.source, what, strength_label(edit.strength), "all", native=True)
            state |= _of_film(shown.film, edit, text) | {"film_outlines": _outlines(mask)}
    for index, state in enumerate(states):
        state["figures"] = shown.anatomy.plain(index)
        state["problem"] = shown.anatomy.problem[index]
        state["outlines"] = _outlines(shown.masks[index])
    plot = _plot(shown)
    for state, x, y in zip(states[2:], plot["xs"], plot["ys"], strict=True):
        state["x"], state["y"] = x, y
    first = int(np.argmin([abs(strength - FIRST_SHOWN * shown.strengths[-1]) for strength in shown.strengths]))
    return {
        "states": states,
        "plot": plot,
        "first": first,
        "source": shown.source,
        "direction": direction.name,
        "rows": ROWS,
        "limit": limit,
        "mask_side": shown.masks.shape[-1],
        "colours": {name: css(COLOURS[organ]) for name, organ in ORGANS.items()},
        "ramp": [(f"{(anchor + 1) / 2:.0%}", css(colour)) for anchor, colour in zip(ANCHORS, DIVERGING, strict=True)],
        "resolution": shown.original.shape[0],
        "psnr": shown.psnr,
        "ssim": shown.ssim,
        "mean_residual": states[1]["mean_change"],
        "disclaimer": provenance.DISCLAIMER,
        "software": provenance.SOFTWARE,
        "made": _made(shown, model, direction),
        "self_measured": direction.method.startswith("measure"),
        "film_side": shown.film.shape[0] if shown.film_edits is not None else 0,
        "zero": round(shown.strengths.index(0) / (len(shown.strengths) - 1), 4) if 0 in shown.strengths[1:-1] else None,
        "thanks": [re.split(URL, text) for text in _thanks(shown, model)],
    }


def readable(strength: float) -> str:
    """A strength as people read it: with a true minus, and no sign where there is no edit."""
    return strength_label(strength).replace("-", "\N{MINUS SIGN}") if strength else "0"


def _made(shown: Demonstration, model: Model, direction: Direction) -> list[tuple[str, str]]:
    """What stands under "How it was made"."""
    how = f"{shown.method}, {shown.space.upper()}"
    if shown.steps:
        how += f", {shown.steps} steps"
    if shown.fit_noise:
        how += ", the noise maps fitted too"
    radiograph = f"{shown.source} ({shown.reading}), brought to {shown.original.shape[0]} pixels a side"
    if _is_bundled(shown) and model.path == BUNDLED:
        radiograph += "; of a patient held out of the model's training, chosen as a clear example, not as a typical one"
    strengths = shown.strengths
    sweep = f"{len(strengths)} from {readable(strengths[0])} to {readable(strengths[-1])}"
    found = f"; found from {', '.join(direction.sources)}" if direction.sources else ""
    return [
        ("Radiograph", radiograph),
        ("Model", f"{model.info.get('name', model.path.name)}, fingerprint {model.fingerprint}"),
        ("Inversion", how),
        ("Reconstruction", f"PSNR {shown.psnr:.1f} dB, SSIM {shown.ssim:.3f} against the original"),
        ("Direction", f"{direction.name}, by {direction.method}{found} [{direction.digest}]"),
        ("Edit", "code + strength \N{MULTIPLICATION SIGN} direction, in all layers; the direction is a unit vector"),
        ("Strengths", sweep),
        ("Measured by", "the anatomy network that comes with the software, on each image by itself"),
        ("Software", provenance.SOFTWARE),
    ]


def _is_bundled(shown: Demonstration) -> bool:
    return shown.source == BUNDLED_RADIOGRAPH.name


def _thanks(shown: Demonstration, model: Model) -> list[str]:
    """Whom the pictures and the model come from."""
    data = [f"The model's data: {model.data_source}."] if model.data_source else []
    return ([NIH] if _is_bundled(shown) else []) + data


def _original_text(shown: Demonstration) -> dict[str, str]:
    return {
        "Title": f"{shown.source}, at {shown.original.shape[0]} pixels a side",
        "Software": provenance.SOFTWARE,
        "Disclaimer": provenance.DISCLAIMER,
        "Source": shown.source,
    }


def _grey(pixels: NDArray[np.float32], text: dict[str, str]) -> str:
    return data_uri(encode_png(pixels, text))


def _of_film(film: NDArray[np.float32], edit: CarriedEdit, text: dict[str, str]) -> dict[str, Any]:
    """What an edit of the film shows: the part that changed, and where it lies, in percent of the side."""
    found: dict[str, Any] = {
        "film_ctr": None if np.isnan(edit.ctr) else edit.ctr,
        "refused": edit.refused,
        "patch": None,
    }
    rows, columns = np.flatnonzero(edit.change.any(axis=1)), np.flatnonzero(edit.change.any(axis=0))
    if len(rows) and not edit.refused:
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        side = film.shape[0]
        part = (film + edit.change)[top:bottom, left:right]
        place = {"left": left, "top": top, "width": right - left, "height": bottom - top}
        percent = {name: round(100 * float(length) / side, 5) for name, length in place.items()}
        found["patch"] = {"image": _grey(part, text), **percent}
    return found


def _difference(change: NDArray[np.floating], limit: float, shown: Demonstration, what: str) -> str:
    """Signed difference [R, R] in the diverging colours, full at +-`limit`."""
    title = f"{shown.source}: {what}, up to +-{limit:.0%}"
    return data_uri(difference_png(change, limit, {**_original_text(shown), "Title": title}))


def _outlines(mask: NDArray[np.uint8]) -> dict[str, str]:
    """SVG paths in the pixels of a clean mask [S, S]: one an organ, and the two widths of the ratio."""
    paths = {name: "".join(map(_closed, contours(mask == organ))) for name, organ in ORGANS.items()}
    for name, organ in (("heart_width", mask == HEART), ("thorax_width", lungs(mask))):
        widest = extent(organ)
        paths[name] = ""
        if widest is not None:
            left, right, y = widest
            ends = "".join(f"M{x:g} {y - 3:g}V{y + 3:g}" for x in (left, right))
            paths[name] = f"M{left:g} {y:g}H{right:g}{ends}"
    return paths


def _closed(contour: NDArray[np.float64]) -> str:
    # Every second point: the outline is as smooth, and half as long.
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in contour[:-1:2]) + "Z"


def _plot(shown: Demonstration) -> dict[str, Any]:
    """The curve of the cardiothoracic ratio: places, ticks and the lines of original and reconstruction."""
    plot = Plot()
    ctr = shown.anatomy.ctr
    known = ctr[~np.isnan(ctr)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.4, 0.6)
    step = 0.02 if high - low < 0.12 else 0.05 if high - low < 0.4 else 0.1
    low, high = np.floor(low / step - 0.3) * step, np.ceil(high / step + 0.3) * step
    first, last = shown.strengths[0], shown.strengths[-1]

    def place(value: float) -> float | None:
        return None if np.isnan(value) else plot.y(float(value), low, high)

    xs = [plot.x(strength, first, last) for strength in shown.strengths]
    ys = [place(value) for value in ctr[2:]]
    pieces, drawing = "", False
    for x, y in zip(xs, ys, strict=True):
        pieces += "" if y is None else f"{'L' if drawing else 'M'}{x:g} {y:g}"
        drawing = y is not None
    return {
        "frame": plot,
        "xs": xs,
        "ys": ys,
        "path": pieces,
        "y_ticks": [(f"{tick:.2f}", plot.y(tick, low, high)) for tick in np.arange(low, high + step / 2, step)],
        "x_ticks": [(readable(tick), plot.x(tick, first, last)) for tick in _round_ticks(first, last)],
        "original": place(ctr[0]),
        "reconstruction": place(ctr[1]),
        "plausible": [not problem for problem in shown.anatomy.problem[2:]],
    }


def _round_ticks(first: float, last: float) -> list[float]:
    """At most nine round numbers from `first` to `last`."""
    span = last - first
    if span <= 0:
        return [first]
    steps = (multiple * 10.0**power for power in range(-6, 7) for multiple in (1, 2, 3, 5))
    step = next(step for step in steps if span / step <= 8)
    return [round(tick * step, 9) for tick in range(int(np.ceil(first / step)), int(np.floor(last / step)) + 1)]
