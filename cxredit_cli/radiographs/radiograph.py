"""The one type that every image file becomes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Radiograph:
    """One radiograph as it is meant to be seen."""

    pixels: NDArray[np.float32]  # [H, W], 0 (black) .. 1 (white), air dark and bone bright, full bit depth
    name: str  # of the source: a file name or the member of a zip, nothing read from DICOM tags
    reading: str  # one line: how the file was read, e.g. "DICOM RLE Lossless, 10 bit, window 550/1024, inverted"
