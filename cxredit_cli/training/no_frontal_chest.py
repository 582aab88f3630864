"""Pictures that are no frontal chest radiograph, for the intake network: made, or made of photographs and of films.

Hands, slices, photographs and lateral films come in endless kinds, and few may be trained on. What is made here only
has to be so varied that a network learns what a frontal chest is, not what else there is ("outlier exposure",
Hendrycks et al. 2019, arXiv 1812.04606).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Pair = tuple[float, float] | NDArray[np.float64]


class Outliers:
    """Draws pictures [R, R] in 0..1 that are no frontal chest.

    Made of films [M, R, R] uint8, photographs [H, W] in 0..1, and real other films [K, R, R] uint8, lateral ones say.
    """

    def __init__(self, films: Tensor, photographs: Sequence[Tensor], others: Tensor) -> None:
        self.films, self.photographs, self.others = films, photographs, others
        self.side = films.shape[-1]
        self.kinds: tuple[Callable[[np.random.Generator], Tensor], ...] = (
            *(self.photograph, self.photograph, self.noise, self.blobs, self.shapes, self.lines),
            *(self.slice_of_a_body, self.slice_of_a_body, self.limb, self.limb, self.piece, self.piece),
            *(self.side_view, self.side_view, self.side_view, self.side_view),
            *((self.other_film,) * 6 if len(others) else ()),
            *(self.panels, self.shuffled, self.bent, self.squeezed, self.halves),
        )

    def draw(self, random: np.random.Generator) -> Tensor:
        """One picture of a random kind, [R, R] in 0..1."""
        return self.kinds[int(random.integers(len(self.kinds)))](random).clamp(0, 1)

    def film(self, random: np.random.Generator) -> Tensor:
        """A random film [R, R]."""
        return self.films[int(random.integers(len(self.films)))].float() / 255

    def other_film(self, random: np.random.Generator) -> Tensor:
        """One of the real films that are no frontal chest, mirrored or not, and a part of it."""
        film = self.others[int(random.integers(len(self.others)))].float() / 255
        size = random.uniform(0.75, 1)
        top, left = random.uniform(0, 1 - size, 2)
        part = self._part(film, float(top), float(left), size, size * random.uniform(0.9, 1))
        return part.flip(-1) if random.random() < 0.5 else part

    def photograph(self, random: np.random.Generator) -> Tensor:
        """A random square of a photograph."""
        whole = self.photographs[int(random.integers(len(self.photographs)))]
        size = int(min(whole.shape) * random.uniform(0.3, 1))
        top, left = (int(random.integers(length - size + 1)) for length in whole.shape)
        return self._fit(whole[top : top + size, left : left + size])

    def noise(self, random: np.random.Generator) -> Tensor:
        """Noise whose spectrum falls by a random power of the frequency: from grains to clouds."""
        grains = torch.from_numpy(random.standard_normal((self.side, self.side))).float()
        frequency = torch.fft.fftfreq(self.side)
        radius = (frequency[:, None] ** 2 + frequency[None, :] ** 2).sqrt().clamp(min=1 / self.side)
        shaped = torch.fft.ifft2(torch.fft.fft2(grains) * radius ** -random.uniform(0, 2.5)).real
        return _stretched(shaped)

    def blobs(self, random: np.random.Generator) -> Tensor:
        """A few soft ellipses of random greys on a random ground."""
        picture = torch.full((self.side, self.side), float(random.uniform(0, 1)))
        for _ in range(random.integers(1, 9)):
            inside = self._ellipse(random, random.uniform(-0.8, 0.8, 2), random.uniform(0.08, 0.8, 2))
            picture = picture * (1 - inside) + inside * float(random.uniform(0, 1))
        return self._grained(picture, random)

    def shapes(self, random: np.random.Generator) -> Tensor:
        """Rectangles and letters' strokes: pages, screens, markers."""
        picture = torch.full((self.side, self.side), float(random.integers(2)))
        for _ in range(random.integers(2, 40)):
            top, left = random.integers(0, self.side, 2)
            height, width = random.integers(1, max(self.side // int(random.integers(2, 16)), 2), 2)
            picture[top : top + height, left : left + width] = float(random.uniform(0, 1))
        return picture

    def lines(self, random: np.random.Generator) -> Tensor:
        """Stripes, squares or rings of one frequency, bent by clouds."""
        across, down = self._axes()
        angle, frequency = random.uniform(0, math.pi), random.uniform(2, 20)
        waves = torch.sin(frequency * (across * math.cos(angle) + down * math.sin(angle)) + 2 * self.noise(random))
        if random.random() < 0.5:
            waves = waves * torch.sin(frequency * (down * math.cos(angle) - across * math.sin(angle)))
        return self._grained((waves + 1) / 2, random)

    def slice_of_a_body(self, random: np.random.Generator) -> Tensor:
        """Like an axial slice: a bright ellipse on black, a rim, one or two dark lungs or none, a bright spine."""
        body = self._ellipse(
            random, random.uniform(-0.15, 0.15, 2), random.uniform(0.55, 1.2, 2), random.uniform(0, 0.2)
        )
        picture = body * float(random.uniform(0.35, 0.7))
        for _ in range(random.integers(0, 4)):
            centre, axes = random.uniform(-0.5, 0.5, 2), random.uniform(0.1, 0.45, 2)
            picture = picture * (1 - self._ellipse(random, centre, axes) * float(random.uniform(0.5, 1)) * body)
        for _ in range(random.integers(0, 6)):
            bright = self._ellipse(random, random.uniform(-0.6, 0.6, 2), random.uniform(0.03, 0.2, 2)) * body
            picture = picture * (1 - bright) + bright * float(random.uniform(0.6, 1))
        return self._grained(picture, random)

    def limb(self, random: np.random.Generator) -> Tensor:
        """Like a film of a limb: bright bars with brighter rims, in parallel or spread as fingers, in softer tissue."""
        picture = torch.full((self.side, self.side), float(random.uniform(0, 0.15)))
        spread, base = random.uniform(0, 0.5), random.uniform(0, 2 * math.pi)
        for finger in range(random.integers(1, 7)):
            angle, offset = base + spread * (finger - 2) * random.uniform(0.6, 1.2), random.uniform(-0.6, 0.6)
            centre = np.array([offset * -math.sin(base), offset * math.cos(base)]) + random.uniform(-0.25, 0.25, 2)
            length, width = random.uniform(0.3, 1.4), random.uniform(0.04, 0.22)
            flesh = self._ellipse(random, centre, (length * 1.1, width * random.uniform(1.5, 3)), 0, angle)
            bone = self._ellipse(random, centre, (length, width), 0, angle)
            marrow = self._ellipse(random, centre, (length * 0.95, width * 0.6), 0, angle)
            for layer, grey in ((flesh, random.uniform(0.2, 0.5)), (bone, random.uniform(0.7, 1)), (marrow, 0.6)):
                picture = torch.maximum(picture, layer * float(grey)) if grey != 0.6 else picture * (1 - 0.35 * layer)
        return self._grained(picture, random)

    def piece(self, random: np.random.Generator) -> Tensor:
        """A small part of a film: a shoulder, some ribs, the belly."""
        size = random.uniform(0.15, 0.38)
        at = random.uniform(0, 1 - size, 2)
        return self._part(self.film(random), float(at[0]), float(at[1]), size, size)

    def side_view(self, random: np.random.Generator) -> Tensor:
        """Like a lateral film: both halves of the chest projected onto each other, within the outline of a body."""
        film = self.film(random)
        middle = 0.5 + random.uniform(-0.05, 0.05)
        right = self._part(film, random.uniform(0, 0.08), middle - 0.42, 0.9, 0.42)
        left = self._part(film, random.uniform(0, 0.08), middle, 0.9, 0.42).flip(-1)
        both = (right + left) / 2 if random.random() < 0.7 else torch.maximum(right, left)
        if random.random() < 0.5:
            both = both.flip(-1)
        width = random.uniform(0.55, 1.0)
        columns = max(int(self.side * width), 8)
        narrow = F.interpolate(both[None, None], size=(self.side, columns), mode="bilinear", align_corners=False)[0, 0]
        picture = torch.full((self.side, self.side), float(random.choice([0.0, 0.0, 0.05, 0.2])))
        start = int(random.integers(self.side - columns + 1))
        picture[:, start : start + columns] = narrow
        across, down = self._axes()
        spine = random.choice([-1.0, 1.0]) * random.uniform(0.35, 0.75) + random.uniform(-0.2, 0.2) * (down**2)
        band = torch.exp(-(((across - spine) / random.uniform(0.08, 0.2)) ** 2))
        picture = picture + band * float(random.uniform(0.1, 0.45))
        middle_x = (start + columns / 2) / self.side * 2 - 1
        middle_y, reach = random.uniform(-0.1, 0.3), random.uniform(1.1, 1.8)
        half = width * random.uniform(0.85, 1.2)
        body = self._ellipse(random, (middle_x, middle_y), (half, reach), 0, random.uniform(-0.3, 0.3))
        belly = torch.sigmoid((down - random.uniform(0.3, 0.8) - random.uniform(-0.4, 0.4) * across) * 12)
        picture = picture * (1 - 0.7 * belly) + 0.7 * belly * float(random.uniform(0.5, 0.9))
        if random.random() < 0.6:
            top = torch.sigmoid((-down - random.uniform(0.4, 0.7) + random.uniform(-0.5, 0.5) * across) * 10)
            picture = picture * (1 - 0.6 * top) + 0.6 * top * float(random.uniform(0.3, 0.8))
        return self._grained(picture * body, random)

    def panels(self, random: np.random.Generator) -> Tensor:
        """Two or four films side by side: a figure of a paper."""
        half = self.side // 2
        columns = [torch.cat([self._shrunk(random, half) for _ in range(2)]) for _ in range(2)]
        if random.random() < 0.5:
            columns = [F.interpolate(column[None, None, :half], size=(self.side, half))[0, 0] for column in columns]
        return torch.cat(columns, dim=1)

    def shuffled(self, random: np.random.Generator) -> Tensor:
        """The squares of a film in another order."""
        count = int(random.choice([2, 4]))
        size = self.side // count
        squares = self.film(random).unfold(0, size, size).unfold(1, size, size).reshape(count**2, size, size)
        order = random.permutation(count**2)
        if (order == np.arange(count**2)).all():
            order = order[::-1].copy()
        placed = squares[torch.from_numpy(order)].reshape(count, count, size, size)
        return placed.movedim(2, 1).reshape(self.side, self.side)

    def bent(self, random: np.random.Generator) -> Tensor:
        """A film bent beyond recognition."""
        knots = torch.from_numpy(random.uniform(-1, 1, (1, 2, 5, 5))).float()
        bend = F.interpolate(knots, size=(self.side, self.side), mode="bicubic", align_corners=True)
        across, down = self._axes()
        grid = torch.stack([across.expand(self.side, -1), down.expand(-1, self.side)], dim=-1)[None]
        grid = grid + bend.movedim(1, -1) * float(random.uniform(0.3, 0.7))
        return F.grid_sample(self.film(random)[None, None], grid, padding_mode="reflection", align_corners=False)[0, 0]

    def squeezed(self, random: np.random.Generator) -> Tensor:
        """A film of half its width or height, on black: pixels that are not square."""
        narrow = max(int(self.side * random.uniform(0.25, 0.5)), 8)
        tall = F.interpolate(self.film(random)[None, None], size=(self.side, narrow), mode="area")[0, 0]
        picture = torch.zeros(self.side, self.side)
        start = (self.side - narrow) // 2
        picture[:, start : start + narrow] = tall
        return picture.T if random.random() < 0.5 else picture

    def halves(self, random: np.random.Generator) -> Tensor:
        """One lung alone, filling the frame."""
        start = random.choice([0.02, 0.55]) + random.uniform(-0.05, 0.05)
        return self._part(self.film(random), random.uniform(0, 0.3), start, random.uniform(0.5, 0.7), 0.43)

    def _shrunk(self, random: np.random.Generator, side: int) -> Tensor:
        film = self.film(random) if random.random() < 0.8 else self.photograph(random)
        return F.interpolate(film[None, None], size=(side, side), mode="area")[0, 0]

    def _part(self, film: Tensor, top: float, left: float, height: float, width: float) -> Tensor:
        """A part of a film, its edges as shares of the side, enlarged to the whole."""
        rows = slice(max(int(top * self.side), 0), max(int((top + height) * self.side), 1))
        columns = slice(max(int(left * self.side), 0), max(int((left + width) * self.side), 1))
        part = film[rows, columns]
        return F.interpolate(part[None, None], size=(self.side, self.side), mode="bilinear", align_corners=False)[0, 0]

    def _fit(self, picture: Tensor) -> Tensor:
        return F.interpolate(picture[None, None], size=(self.side, self.side), mode="area")[0, 0]

    def _axes(self) -> tuple[Tensor, Tensor]:
        at = (torch.arange(self.side) + 0.5) / self.side * 2 - 1
        return at[None, :], at[:, None]

    def _ellipse(
        self,
        random: np.random.Generator,
        centre: Pair,
        axes: Pair,
        uneven: float = 0.0,
        angle: float | None = None,
    ) -> Tensor:
        """1 within an ellipse, 0 without, with a soft edge; its outline waves by `uneven`."""
        across, down = self._axes()
        turn = random.uniform(0, math.pi) if angle is None else angle
        x, y = across - float(centre[0]), down - float(centre[1])
        along, beside = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
        radius = ((along / float(axes[0])) ** 2 + (beside / float(axes[1])) ** 2).sqrt()
        waves = torch.sin(torch.atan2(beside.expand_as(radius), along.expand_as(radius)) * int(random.integers(2, 6)))
        return torch.sigmoid((1 + uneven * waves - radius) * float(random.uniform(8, 60)))

    def _grained(self, picture: Tensor, random: np.random.Generator) -> Tensor:
        texture = self.noise(random) - 0.5
        return picture + texture * float(random.uniform(0, 0.35)) * (picture > 0.02)


def _stretched(values: Tensor) -> Tensor:
    low, high = values.min(), values.max()
    return (values - low) / (high - low).clamp(min=1e-6)
