"""Heart and lungs outlined in colour on a radiograph."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage.measure import find_contours

from cxredit_cli.figures.sheets import fitted, font
from cxredit_cli.networks.anatomy import HEART, LEFT_LUNG, RIGHT_LUNG
from cxredit_cli.radiographs import provenance

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
        for contour in contours(mask == organ):
            draw.line([(x * scale, y * scale) for x, y in contour], fill=colour, width=2)
    for colour, widest in ((COLOURS[HEART], extent(mask == HEART)), (COLOURS[RIGHT_LUNG], extent(lungs(mask)))):
        if widest is not None:
            start, end, y = (scale * value for value in widest)
            draw.line([(start, y), (end, y)], fill=colour, width=1)
            for x in (start, end):
                draw.line([(x, y - 6), (x, y + 6)], fill=colour, width=1)
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


def contours(organ: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """The closed outlines [points, (x, y)] of a mask [S, S], in pixels from its upper left corner."""
    padded = np.pad(organ.astype(np.float32), 1)  # so that outlines close at the border
    return [contour[:, ::-1] - 0.5 for contour in find_contours(padded, 0.5)]


def extent(organ: NDArray[np.bool_]) -> tuple[float, float, float] | None:
    """Left edge, right edge and height at which to draw the width of a mask [S, S]: that of the lower of its ends."""
    columns = np.flatnonzero(organ.any(0))
    if len(columns) == 0:
        return None
    left, right = int(columns[0]), int(columns[-1])
    row = max(float(np.flatnonzero(organ[:, column]).mean()) for column in (left, right))
    return float(left), float(right + 1), row + 0.5


def lungs(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where either lung is; their extent is the thorax."""
    both: NDArray[np.bool_] = (mask == RIGHT_LUNG) | (mask == LEFT_LUNG)
    return both
