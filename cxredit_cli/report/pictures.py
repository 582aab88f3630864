"""Pictures within pages: as data that the page itself holds."""

from base64 import b64encode
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxredit_cli.figures.sheets import diverging_colours
from cxredit_cli.radiographs.write import png_text

LEVELS = 255  # of a difference map: 127 below, 127 above, and no change


def data_uri(png: bytes) -> str:
    """A PNG file as the address of an image."""
    return f"data:image/png;base64,{b64encode(png).decode()}"


def difference_png(change: NDArray[np.floating], limit: float, text: Mapping[str, str]) -> bytes:
    """Signed difference [R, R] as a PNG with the diverging colours as its palette, full at +-`limit`."""
    steps = LEVELS // 2
    levels = np.rint(np.clip(change / limit, -1, 1) * steps).astype(int) + steps
    picture = Image.fromarray(levels.astype(np.uint8), "P")
    picture.putpalette(diverging_colours(np.linspace(-limit, limit, LEVELS), limit).tobytes())
    file = BytesIO()
    picture.save(file, format="PNG", pnginfo=png_text(text))
    return file.getvalue()


def css(colour: Any) -> str:
    """A colour of three channels, 0 to 255, as style sheets write it."""
    return f"rgb({', '.join(str(int(channel)) for channel in colour)})"
