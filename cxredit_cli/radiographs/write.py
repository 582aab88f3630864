"""Writing images that say what they are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cxredit_cli import __version__
from cxredit_cli.storage.atomic import written_aside


def write_png(
    path: str | Path, pixels: NDArray[np.floating], text: Mapping[str, str], bits: Literal[8, 16] = 8
) -> None:
    """Write `pixels` [H, W] in 0..1 (clipped) as a grey PNG with `text` as its tEXt metadata, whole or not at all.

    `text` says what the image is: synthetic or edited, by what model, direction and strength.
    """
    largest = 2**bits - 1
    levels = np.rint(np.clip(pixels, 0, 1).astype(np.float64) * largest)
    info = PngInfo()
    for key, value in {"Software": f"cxredit {__version__}", **text}.items():
        info.add_text(key, value)  # becomes iTXt where Latin-1 does not suffice
    with written_aside(Path(path)) as aside:
        image = Image.fromarray(levels.astype(np.uint8 if bits == 8 else np.uint16))
        image.save(aside, format="PNG", pnginfo=info)
