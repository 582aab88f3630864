"""How a stored matrix lies in the film as one looks at it: turned or mirrored, of pixels that are not square."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# What was done to an upright film: mirrored left to right first (4 to 7), then turned by quarters anticlockwise.
LIES = (
    *("upright", "turned a quarter left", "upside down", "turned a quarter right", "mirrored"),
    *("mirrored and turned a quarter left", "mirrored and upside down"),
    "mirrored and turned a quarter right",
)
MIRRORED = 4


def turn(upright: NDArray[Any], lies: int) -> NDArray[Any]:
    """An upright film [H, W, ...] laid as LIES says."""
    return np.rot90(upright[:, ::-1] if lies >= MIRRORED else upright, lies % 4)


def turn_back(lying: NDArray[Any], lies: int) -> NDArray[Any]:
    """A film [H, W, ...] that lies as LIES says, upright."""
    turned = np.rot90(lying, -(lies % 4))
    return turned[:, ::-1] if lies >= MIRRORED else turned


@dataclass(frozen=True, slots=True)
class Layout:
    """From the stored matrix to the upright film of square pixels, and back."""

    lies: int = 0  # how the stored matrix lies: an index of LIES
    aspect: tuple[float, float] = (1.0, 1.0)  # height and width of a stored pixel; the smaller is 1

    def upright(self, stored: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pixels [H, W] as stored, turned, with the longer side of each pixel divided so that pixels are square."""
        if self.aspect != (1, 1):
            height, width = (round(length * by) for length, by in zip(stored.shape, self.aspect, strict=True))
            stored = _resized(stored, (height, width), Image.Resampling.BILINEAR)
        return np.ascontiguousarray(turn_back(stored, self.lies))

    def stored(self, change: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
        """A change of the upright film as one of the stored matrix [H, W]; exactly 0 where it is 0 nearby."""
        lying = np.ascontiguousarray(turn(change, self.lies))
        if lying.shape == shape[:2]:
            return lying
        return _resized(lying, (shape[0], shape[1]), Image.Resampling.BOX)


def _resized(values: NDArray[np.float32], shape: tuple[int, int], how: Image.Resampling) -> NDArray[np.float32]:
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), how), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Righting:
    """What has to be undone to see a film as it should be, beyond what its file says: a wrong turn, a negative."""

    lies: int = 0
    negative: bool = False

    def __bool__(self) -> bool:
        return bool(self.lies or self.negative)

    @classmethod
    def of_words(cls, words: str) -> "Righting":
        """The one whose `words` these are. Raises ValueError for others."""
        lies = words.removesuffix("negative").removesuffix(" and ")
        return cls(LIES.index(lies) if lies else 0, words.endswith("negative"))

    @property
    def words(self) -> str:
        """What was wrong; "" if nothing was."""
        wrong = [LIES[self.lies]] * (self.lies > 0) + ["negative"] * self.negative
        return " and ".join(wrong)

    def told(self, reading: str) -> str:
        """How a film was read, with what was put right."""
        return f"{reading}, was {self.words}, righted" if self else reading

    def right(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pixels [H, W] in 0..1 as they should be seen."""
        turned = turn_back(pixels, self.lies)
        return np.ascontiguousarray(1 - turned if self.negative else turned, dtype=np.float32)

    def undo(self, change: NDArray[np.float32]) -> NDArray[np.float32]:
        """A change of the film as it should be seen, as one of the film as it was read."""
        laid = turn(change, self.lies)
        return np.ascontiguousarray(-laid if self.negative else laid, dtype=np.float32)


AS_IT_IS = Righting()
