"""Contact sheets: an image beside its reconstruction and its edits, and what changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cxredit_cli.atomic import written_aside
from cxredit_cli.radiographs.write import png_text

Pixels = NDArray[np.floating]  # [R, R] in 0..1

PAPER, INK, FAINT = (255, 255, 255), (24, 28, 33), (110, 118, 128)
MARGIN, GAP, LINE = 24, 12, 22
COLUMNS = 9  # the original, the reconstruction and a sweep of seven
BAR_WIDTH, BAR_SPACE = 14, 96
# Blue (darker than before) over white (as before) to red (brighter than before), even in lightness on both sides.
DIVERGING = np.array(
    [[5, 48, 97], [67, 147, 195], [209, 229, 240], [255, 255, 255], [253, 219, 199], [214, 96, 77], [103, 0, 31]], float
)
ANCHORS = np.array([-1, -0.6, -0.2, 0, 0.2, 0.6, 1])
SMALLEST_SCALE = 0.02  # of the grey range: rounding noise is not blown up into a pattern


@dataclass(frozen=True, slots=True)
class Panel:
    """One column of a sheet: a radiograph and, below it, a signed difference."""

    title: str
    pixels: Pixels
    difference: Pixels | None = None  # [R, R] in -1..1
    caption: str = ""  # what the difference is of; lines


def edit_sheet(title: str, panels: Sequence[Panel], footer: str, limit: float | None = None) -> Image.Image:
    """Radiographs above their signed differences, on one colour scale up to +-`limit` (None: the largest); wraps.

    `title` wraps too, at its spaces.
    """
    side = cell_side(panels[0].pixels.shape[0])
    if limit is None:
        limit = difference_limit([panel.difference for panel in panels if panel.difference is not None])
    rows = -(-len(panels) // COLUMNS)
    columns = -(-len(panels) // rows)
    row_height = LINE + 2 * side + GAP + 2 * LINE + GAP
    width = 2 * MARGIN + columns * side + (columns - 1) * GAP + BAR_SPACE
    lines = wrapped(title, width - 2 * MARGIN, 19)
    first = MARGIN + (len(lines) + 1) * LINE  # where the first row of panels begins
    sheet = Image.new("RGB", (width, first + rows * row_height + LINE + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for line, text in enumerate(lines):
        draw.text((MARGIN, MARGIN - 4 + line * LINE), text, INK, font(19))
    for index, panel in enumerate(panels):
        x = MARGIN + index % columns * (side + GAP)
        y = first + index // columns * row_height
        draw.text((x, y - 2), fitted(panel.title, side, 15), INK, font(15))
        sheet.paste(radiograph(panel.pixels, side), (x, y + LINE))
        below = y + LINE + side + GAP
        if panel.difference is not None:
            sheet.paste(difference_map(panel.difference, limit, side), (x, below))
            draw.rectangle((x, below, x + side - 1, below + side - 1), outline=(200, 205, 210))
            below += side + 4
        for line, text in enumerate(panel.caption.splitlines()):
            draw.text((x, below + line * 18), fitted(text, side, 13), FAINT, font(13))
    for row in range(rows):
        top = first + row * row_height + LINE + side + GAP
        colour_bar(sheet, draw, (width - MARGIN - BAR_SPACE + 2 * GAP, top), side, limit)
    draw.text((MARGIN, sheet.height - MARGIN - 12), fitted(footer, width - 2 * MARGIN, 13), FAINT, font(13))
    return sheet


def save_png(path: Path, picture: Image.Image, text: Mapping[str, str]) -> None:
    """Write a picture as PNG with `text` as its metadata, whole or not at all."""
    with written_aside(path) as aside:
        picture.save(aside, format="PNG", pnginfo=png_text(text))


def cell_side(resolution: int) -> int:
    """Side in pixels of one picture on a sheet: a whole multiple of a small image, at most 512."""
    return min(resolution * max(-(-224 // resolution), 1), 512)


def radiograph(pixels: Pixels, side: int) -> Image.Image:
    """Grey image of pixels [R, R] in 0..1 at `side`."""
    image = Image.fromarray(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8))
    return image if side == pixels.shape[0] else image.resize((side, side), Image.Resampling.BICUBIC)


def difference_limit(differences: Sequence[Pixels]) -> float:
    """The end of the colour scale: a round number that all but 0.2 % of the changed pixels stay within."""
    largest = max((float(np.quantile(np.abs(difference), 0.998)) for difference in differences), default=0.0)
    wanted = max(largest, SMALLEST_SCALE)
    steps = [0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0]
    return next((step for step in steps if step >= wanted), 1.0)


def diverging_colours(values: Pixels, limit: float) -> NDArray[np.uint8]:
    """Colours [..., 3] of signed values: white at 0, red above, blue below, full at +-limit."""
    scaled = np.clip(np.asarray(values, dtype=np.float64) / limit, -1, 1)
    channels = [np.interp(scaled, ANCHORS, DIVERGING[:, channel]) for channel in range(3)]
    colours: NDArray[np.uint8] = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return colours


def difference_map(difference: Pixels, limit: float, side: int) -> Image.Image:
    """Signed difference [R, R] in the diverging colours at `side`."""
    image = Image.fromarray(diverging_colours(difference, limit))
    return image if side == difference.shape[0] else image.resize((side, side), Image.Resampling.BICUBIC)


def colour_bar(sheet: Image.Image, draw: ImageDraw.ImageDraw, at: tuple[int, int], height: int, limit: float) -> None:
    """The scale of the differences, from +limit down to -limit, in percent of the grey range."""
    x, y = at
    ramp = np.linspace(limit, -limit, height)[:, None].repeat(BAR_WIDTH, axis=1)
    sheet.paste(Image.fromarray(diverging_colours(ramp, limit)), (x, y))
    draw.rectangle((x, y, x + BAR_WIDTH - 1, y + height - 1), outline=(200, 205, 210))
    for value, place in ((limit, 0.0), (0.0, 0.5), (-limit, 1.0)):
        label = f"{value * 100:+g} %" if value else "0"
        draw.text((x + BAR_WIDTH + 6, y + place * (height - 1)), label, FAINT, font(13), anchor="lm")
    if height >= 160:
        for line, text in enumerate(("brighter", "darker")):
            draw.text((x + BAR_WIDTH + 6, y + (0.2 + 0.6 * line) * height), text, FAINT, font(12), anchor="lm")


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, the same on every machine."""
    return ImageFont.load_default(size)


def fitted(text: str, width: float, size: int) -> str:
    """`text`, shortened in its middle until it is at most `width` pixels long."""
    face = font(size)
    keep = len(text)
    shown = text
    while keep > 4 and face.getlength(shown) > width:
        keep -= 1
        shown = f"{text[: keep - keep // 2]}...{text[len(text) - keep // 2 :]}"
    return shown


def wrapped(text: str, width: float, size: int) -> list[str]:
    """`text` in lines of at most `width` pixels, broken at spaces; what is longer without one is shortened."""
    face = font(size)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and face.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [fitted(line, width, size) for line in lines]
