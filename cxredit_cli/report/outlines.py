"""Heart and lungs outlined in colour on a radiograph."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage.measure import find_contours

from cxredit_cli.networks.anatomy import HEART, LEFT_LUNG, RIGHT_LUNG
from cxredit_cli.report import provenance
from cxredit_cli.report.sheets import fitted, font

OUTLINED = "_anatomy.png"  # the end of the file names
SIDE = 512
COLOURS = {RIGHT_LUNG: (86, 180, 233), LEFT_LUNG: (120, 220, 150), HEART: (255, 96, 80)}
SHADOW, INK = (0, 0, 0), (255, 255, 255)


def outlined(pixels: NDArray[np.floating], mask: NDArray[np.uint8], caption: str) -> Image.Image:
    """The radiograph [R, R] in 0..1 at 512x512 with the outlines of a clean mask [S, S] of the same square.

    The widest heart and the widest thorax, whose ratio is the cardiothoracic ratio, are drawn as horizontal lines.
    """
    grey = Image.fromarray(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8))
    picture = grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB")
    draw = ImageDraw.Draw(picture)
    scale = SIDE / mask.shape[0]
    for organ, colour in COLOURS.items():
        padded = np.pad((mask == organ).astype(np.float32), 1)  # so that outlines close at the border
        for contour in find_contours(padded, 0.5):
            line = [((column - 0.5) * scale, (row - 0.5) * scale) for row, column in contour]
            draw.line(line, fill=colour, width=2)
    _extent(draw, mask == HEART, scale, COLOURS[HEART])
    _extent(draw, (mask == RIGHT_LUNG) | (mask == LEFT_LUNG), scale, COLOURS[RIGHT_LUNG])
    text = fitted(caption, SIDE - 16, 17)
    draw.text((8, SIDE - 28), text, INK, font(17), stroke_width=2, stroke_fill=SHADOW)
    return picture


def outlined_text(name: str, caption: str) -> dict[str, str]:
    """PNG text of such a picture."""
    return {
        "Title": f"{name}, heart and lungs outlined",
        "Description": f"Outlines by a neural network. {caption}. {provenance.DISCLAIMER}.",
        "Software": provenance.SOFTWARE,
        "Disclaimer": provenance.DISCLAIMER,
        "Source": name,
    }


def _extent(draw: ImageDraw.ImageDraw, organ: NDArray[np.bool_], scale: float, colour: tuple[int, int, int]) -> None:
    """A line from the leftmost to the rightmost edge, at the height of the lower one, with ends."""
    columns = np.flatnonzero(organ.any(0))
    if len(columns) == 0:
        return
    left, right = int(columns[0]), int(columns[-1])
    row = max(float(np.flatnonzero(organ[:, column]).mean()) for column in (left, right))
    y, start, end = (row + 0.5) * scale, left * scale, (right + 1) * scale
    draw.line([(start, y), (end, y)], fill=colour, width=1)
    for x in (start, end):
        draw.line([(x, y - 6), (x, y + 6)], fill=colour, width=1)
