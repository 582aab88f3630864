"""What a display shutter of a DICOM film hides (PS3.3 C.7.6.11): everything outside of its opening."""

import numpy as np
import pydicom
from numpy.typing import NDArray
from skimage.draw import polygon2mask

TAGS = (
    *("ShutterShape", "ShutterLeftVerticalEdge", "ShutterRightVerticalEdge", "ShutterUpperHorizontalEdge"),
    *("ShutterLowerHorizontalEdge", "CenterOfCircularShutter", "RadiusOfCircularShutter"),
    "VerticesOfThePolygonalShutter",
)


def outside_shutter(dataset: pydicom.Dataset) -> NDArray[np.bool_] | None:
    """Which stored pixels [H, W] the shutter hides; None where there is none or it hides nothing or everything.

    Of several shapes each hides what lies outside of it. Rows and columns are counted from 1; those of an edge are
    seen.
    """
    shapes = dataset.get("ShutterShape")
    if not shapes:
        return None
    named = [shapes] if isinstance(shapes, str) else list(shapes)
    shape = (int(dataset.Rows), int(dataset.Columns))
    row, column = np.arange(1, shape[0] + 1)[:, None], np.arange(1, shape[1] + 1)[None, :]
    seen = np.ones(shape, dtype=bool)
    if "RECTANGULAR" in named:
        left, right = int(dataset.ShutterLeftVerticalEdge), int(dataset.ShutterRightVerticalEdge)
        upper, lower = int(dataset.ShutterUpperHorizontalEdge), int(dataset.ShutterLowerHorizontalEdge)
        seen &= (column >= left) & (column <= right) & (row >= upper) & (row <= lower)
    if "CIRCULAR" in named:
        (down, across), radius = dataset.CenterOfCircularShutter, int(dataset.RadiusOfCircularShutter)
        seen &= (row - int(down)) ** 2 + (column - int(across)) ** 2 <= radius**2
    if "POLYGONAL" in named:
        corners = np.array(dataset.VerticesOfThePolygonalShutter, dtype=float).reshape(-1, 2)
        seen &= polygon2mask(shape, corners - 1)
    return None if seen.all() or not seen.any() else ~seen
