"""Whether an edited radiograph is still the same patient's: matched against all patients beside the edited anatomy."""

import numpy as np
from numpy.typing import NDArray


def own_is_nearest(
    pictures: NDArray[np.float32], gallery: NDArray[np.float32], own: int, region: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """[S]: whether `gallery[own]` is the nearest of a gallery [N, R, R] to each of the pictures [S, R, R].

    Nearest is the highest correlation of the pixels in `region` [R, R], so brightness and contrast do not count.
    """
    likeness = _standard(pictures[:, region]) @ _standard(gallery[:, region]).T
    return np.asarray(likeness.argmax(axis=1) == own)


def _standard(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    centred = pixels.astype(np.float64) - pixels.mean(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12))
