"""The heart as a layer of its own: what a radiograph has of it, and that layer moved, with ribs and vessels in place.

Radiographs add up in log attenuation (Beer and Lambert), so a film is a smooth cardiac layer plus ribs, vessels, spine,
tubes and text. S is the film averaged along the border of the heart, and H the heart's part of it, S without the lung
and the chest wall beside it; an edit moves H alone, or where the heart shrinks S, which draws the lung's tone along:

    O* = O + H(source(r)) - H(r) + sum over bands b of D_b (P_b(source(r)) / P_b(r) - 1)

D_b are bands of the film's detail O - S, and P_b how strong each is, by the angle and the distance from the border:
what comes to lie behind the heart, beside it or at its border becomes as faint or as clear as what lies there on this
film. Ribs, vessels and noise stay where they are; none is made up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage

from cxredit_cli.editing.border_move import BEYOND, DEEP, PROFILE, Move, source_radius
from cxredit_cli.editing.heart_border import Border, rays, room, smoothstep, turn
from cxredit_cli.editing.polar_warp import ANGLES, angles
from cxredit_cli.networks.anatomy import HEART

# Lengths as fractions of the side.
FINEST = 1 / 2048  # between samples of the layer along a ray, at least half a pixel
BLEND = 10 / 1024
SLOW = 16 / 1024  # farther in and out the layer has only changes that are slower than this
LUNG = 24 / 1024  # what changes more slowly outside is lung and chest wall
PARTS = 20 / 1024, 60 / 1024  # how far a growing heart's border moves while what lies beside it is left behind
BESIDE = 28 / 1024, PARTS[0] + BEYOND  # outside the border, between which what lies beside it ends
NEARLY_ALL = 0.85  # of the angles at which a rim is seen that belongs to the border
NEAR, FAR = 8 / 1024, 40 / 1024  # of the border, between which heart and lung are compared
ALONG = 4.0  # degrees: the layer's width along the border
BANDS = (1 / 1024, 2 / 1024, 4 / 1024, 8 / 1024, 16 / 1024)  # Gaussians between which a band of detail lies
STRENGTH = 2.5 / 1024  # across the border, over which the strength of a band is averaged
AROUND = 20.0  # degrees, along the border
OUTSTANDING = 4.0  # times the median around the heart, that detail counts at most
EVERY_ANGLE, EVERY = 4, 2  # where the strength of a band is known, along the border and across it
BLOCK = 2.0  # of them in the width of a Gaussian, whose blur is then known at blocks of pixels
FAINTER, CLEARER = 0.25, 2.0  # at most, in amplitude
COVERED = 0.3  # fainter by so much is what a growing heart covers
LOUDEST = 2.5  # times the strength that a band has there, beyond which what the heart covers is held back
SLOWLY = 60 / 1024  # within the border, over which slow changes of what a growing heart covers fade
UNDER = 8 / 512  # below the lowest lung or heart, over which an edit fades out
EVEN_BASE = 3 / 512  # sideways, over which that lowest line is evened out
METAL_CORE, METAL = 0.24, 0.2  # brighter than the heart, of the grey range
MARGIN = 16  # pixels, beyond which the end of a picture is not felt in a cubic spline
BAND = 2**18  # pixels at a time


@dataclass(frozen=True, slots=True)
class Layer:
    """The cardiac layer of a square of N pixels, in polar coordinates aligned with the border."""

    border: Border
    heart: NDArray[np.float32]  # [ANGLES, K] H at radius edge + offsets
    growing: NDArray[np.float32]  # the same without what lies beside it
    lung: NDArray[np.float32]  # [ANGLES, K] tone of the lung and chest wall beside it, S - H
    side: int  # N
    first: float  # the first offset
    spacing: float  # of the offsets
    bands: NDArray[np.float32]  # [B, h, w] detail of the part of the film that an edit can reach, fine to coarse
    top: int  # of that part
    left: int
    strength: NDArray[np.float32]  # [B, ANGLES / EVERY_ANGLE, K / EVERY] of each band, where `heart` is
    detail: float  # RMS of detail inside the border
    inner: NDArray[np.float64]  # [ANGLES] tone of the heart just inside the border
    metal: NDArray[np.float32]  # [m, m] 1 on pacemakers and the like: no part of the heart, left as they are
    abdomen: NDArray[np.float32]  # [M, M] 1 under the diaphragm, which is left as it is


def find_layer(film: NDArray[np.float32], border: Border, mask: NDArray[np.uint8]) -> Layer:
    """The cardiac layer of `film` [N, N], of which `mask` [M, M] has the outlines."""
    side = film.shape[0]
    spacing = max(side * FINEST, 0.5)
    low = (1 - DEEP) * float(border.edge.max()) + 2 * spacing
    high = float(np.max(room(border))) + FAR * side + 2 * spacing
    offsets = np.arange(-np.ceil(low / spacing), np.ceil(high / spacing) + 1) * spacing
    radius = np.maximum(border.edge[:, None] + offsets, 0)
    profile = rays(film, border.x, border.y, radius)
    edge = np.abs(offsets) <= PROFILE * side
    # Cubics there, for linear ones are softer; of that part alone, because a spline is fitted to all that it is given.
    top, bottom, left, right = part_of(side, border, border.edge + PROFILE * side + MARGIN)
    near = film[top:bottom, left:right], border.x - left, border.y - top
    profile[:, edge] = rays(*near, radius[:, edge], order=3)
    metal = find_metal(film, mask == HEART)
    seen = np.maximum(1 - sample(metal, side, border, radius), 1e-4)
    smoothed = turn(profile * seen, ALONG) / turn(seen, ALONG)
    if seen.min() < 0.5:  # under a device: what lies farther along the border
        wider = turn(profile * seen, 15) / turn(seen, 15)
        smoothed = np.where(turn(seen, ALONG) > 0.2, smoothed, wider)
    smoothed = flatten(smoothed, offsets, side)
    lungs = lung_beside(smoothed, offsets, side)
    heart = smoothed - lungs
    bands, top, left = find_bands(film, border, (heart + lungs[:, :1]).astype(np.float32), float(offsets[0]), spacing)
    coarse = radius[::EVERY_ANGLE, ::EVERY]
    angle = angles()[::EVERY_ANGLE, None]
    places = border.y - top + np.sin(angle) * coarse, border.x - left + np.cos(angle) * coarse
    weight = seen[::EVERY_ANGLE, ::EVERY]
    strength = [strength_of(band, places, weight, STRENGTH * side / (EVERY * spacing)) for band in bands]
    inside = (offsets >= -FAR * side) & (offsets < -NEAR * side)
    return Layer(
        border=border,
        heart=heart.astype(np.float32),
        growing=without_neighbours(heart, offsets / side, border.lung).astype(np.float32),
        lung=lungs.astype(np.float32),
        side=side,
        first=float(offsets[0]),
        spacing=spacing,
        bands=bands,
        top=top,
        left=left,
        strength=np.stack(strength),
        detail=float(np.sqrt(np.square(profile - smoothed)[:, inside].mean())),
        inner=turn(smoothed[:, inside].mean(axis=1), 6),
        metal=metal,
        abdomen=find_abdomen(mask),
    )


def find_bands(
    film: NDArray[np.float32],
    border: Border,
    smooth: NDArray[np.float32],
    first: float,
    spacing: float,
) -> tuple[NDArray[np.float32], int, int]:
    """Bands [B, h, w] of the detail of that part of `film` [N, N] which an edit can reach, and its top and left."""
    side = film.shape[0]
    reach = ndimage.maximum_filter1d(border.edge + room(border), ANGLES // 20, mode="wrap") + FAR * side
    top, bottom, left, right = part_of(side, border, reach)
    detail = np.empty((bottom - top, right - left), dtype=np.float32)
    for rows, columns, radius, position in near_pixels(side, border, reach):
        place = np.clip((radius - at(border.edge, position) - first) / spacing, 0, smooth.shape[1] - 1)
        layer = ndimage.map_coordinates(smooth, [position, place], order=1, mode="grid-wrap")
        detail[rows - top, columns - left] = film[rows, columns] - layer
    bands = np.empty((len(BANDS) + 1, *detail.shape), dtype=np.float32)
    for band, sigma in zip(bands[:-1], BANDS, strict=True):
        coarser = blur(detail, sigma * side)
        np.subtract(detail, coarser, out=band)
        detail = coarser
    bands[-1] = detail
    return bands, top, left


def blur(picture: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """A Gaussian; where it is wide, of the means of blocks of half its width, which say as much."""
    step = int(sigma / BLOCK)
    if step < 2:
        return np.asarray(ndimage.gaussian_filter(picture, sigma, mode="nearest", truncate=3.0))
    height, width = picture.shape
    padded = np.pad(picture, ((0, -height % step), (0, -width % step)), mode="edge")
    blocks = padded.reshape(len(padded) // step, step, -1, step).mean(axis=(1, 3))
    blurred = ndimage.gaussian_filter(blocks, sigma / step, mode="nearest", truncate=3.0)
    wide = F.interpolate(torch.from_numpy(blurred)[None, None], scale_factor=step, mode="bilinear")[0, 0].numpy()
    return np.asarray(wide[:height, :width])


def strength_of(
    band: NDArray[np.float32],
    places: tuple[NDArray[np.floating], NDArray[np.floating]],
    seen: NDArray[np.floating],
    across: float,
) -> NDArray[np.float32]:
    """The RMS of a band about `places` [A, k], over `across` samples of a ray; devices count less.

    What stands out at one place, such as a clip or a wire, must not make all that comes to lie there stand out.
    """
    size = np.abs(ndimage.map_coordinates(band, places, order=1, mode="nearest"))
    power = np.square(np.minimum(size, OUTSTANDING * np.median(size, axis=0))) * seen
    mean = ndimage.gaussian_filter1d(power, across, axis=1) / ndimage.gaussian_filter1d(seen, across, axis=1)
    around = AROUND * ANGLES / EVERY_ANGLE / 360
    return np.asarray(np.sqrt(ndimage.gaussian_filter1d(mean, around, axis=0, mode="wrap")), dtype=np.float32)


def flatten(layer: NDArray[np.float64], offsets: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Keep the profile across the border; farther in and out, where vessels run along it too, only its slow change."""
    flat = layer.copy()
    for beyond in (offsets < -PROFILE * side, offsets > PROFILE * side):
        mask = beyond.astype(np.float64)
        sigma = SLOW * side / (offsets[1] - offsets[0])
        total = ndimage.gaussian_filter1d(layer * mask, sigma, axis=1, mode="constant")
        slow = total / np.maximum(ndimage.gaussian_filter1d(mask, sigma, mode="constant"), 1e-3)
        share = np.clip((np.abs(offsets) - PROFILE * side) / (BLEND * side), 0, 1) * mask
        flat += share * (slow - layer)
    return flat


def lung_beside(layer: NDArray[np.float64], offsets: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """What of a layer [ANGLES, K] is lung and chest wall: its slow change outside, and inside what it is nearest to it.

    They stay where they are. Moved along with a heart that grows they leave a dark rim before a near chest wall.
    """
    first = int(np.argmax(offsets > PROFILE * side))
    slow = ndimage.gaussian_filter1d(layer[:, first:], LUNG * side / (offsets[1] - offsets[0]), axis=1, mode="nearest")
    return turn(np.concatenate([np.repeat(slow[:, :1], first, axis=1), slow], axis=1), ALONG)


def without_neighbours(
    heart: NDArray[np.float64], offsets: NDArray[np.float64], lung: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A heart [ANGLES, K] as it grows: what happens to lie beside its border at one angle does not move far along.

    That is a vessel along it, or a dark gap between the two. Outward the heart only falls off, and no farther below the
    lung than it does at nearly all angles, as films do whose edges were enhanced. `offsets` [K] are in sides; where the
    edit of a heart that grows ends, all is as it was, or the end would be seen.
    """
    outside, beside = offsets > 0, lung > 0.5
    moving = heart.copy()
    usual = np.minimum(np.quantile(heart[beside] if beside.any() else heart, NEARLY_ALL, axis=0), 0)
    falling = np.minimum.accumulate(heart[:, outside], axis=1)
    begin, end = BESIDE
    near = 1 - smoothstep(np.clip((offsets[outside] - begin) / (end - begin), 0, 1))
    moving[:, outside] += near * (np.maximum(falling, usual[outside]) - heart[:, outside])
    return moving


def find_metal(film: NDArray[np.float32], heart: NDArray[np.bool_]) -> NDArray[np.float32]:
    """1 on pacemakers and the like [m, m], m at most 512, known by their white beside the heart's."""
    step = max(film.shape[0] // 512, 1)
    small = film[::step, ::step]
    index = np.arange(small.shape[0]) * heart.shape[0] // small.shape[0]
    tone = float(np.median(small[heart[np.ix_(index, index)]]))
    core = ndimage.binary_opening(small > tone + METAL_CORE, iterations=max(round(4 * small.shape[0] / 512), 1))
    if not core.any():
        return np.zeros((1, 1), dtype=np.float32)
    body = ndimage.binary_propagation(core, mask=small > tone + METAL)
    body = ndimage.binary_opening(ndimage.binary_closing(body, iterations=8), iterations=3)
    near = ndimage.binary_dilation(body, iterations=5).astype(np.float32)
    return np.asarray(ndimage.gaussian_filter(near, 1.0), dtype=np.float32)


def find_abdomen(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """1 under the diaphragm [M, M]: there gas in the stomach is as dark as lung, and no heart grows over it."""
    side, organs = len(mask), mask > 0
    below = np.where(organs.any(axis=0), side - 1 - np.argmax(organs[::-1], axis=0), side)
    lowest = ndimage.gaussian_filter1d(below.astype(np.float64), EVEN_BASE * side, mode="nearest")
    depth = (np.arange(side)[:, None] - lowest) / (UNDER * side)
    return smoothstep(np.clip(depth, 0, 1)).astype(np.float32)


def sample(mask: NDArray[np.float32], side: int, border: Border, radius: NDArray[np.float64]) -> NDArray[np.float32]:
    """A mask [m, m] of a square of `side` pixels at radii [ANGLES, K] around the border's centre."""
    if mask.size == 1:
        return np.full(radius.shape, mask[0, 0], dtype=np.float32)
    scale = mask.shape[0] / side
    return rays(mask, (border.x + 0.5) * scale - 0.5, (border.y + 0.5) * scale - 0.5, radius * scale)


def move_layer(film: NDArray[np.float32], layer: Layer, move: Move) -> NDArray[np.float32]:
    """What the move changes of `film` [N, N], in grey; 0 where nothing moves."""
    change, (gains, limits) = np.zeros_like(film), gains_of(layer, move)
    for rows, columns, radius, position in near_pixels(layer.side, layer.border, move.outside):
        here = move.each(partial(at, position=position))
        moves = (radius > here.inside) & (radius < here.outside) & (here.shift != 0)
        if moves.any():
            where = rows[moves], columns[moves]
            bands = layer.bands[:, where[0] - layer.top, where[1] - layer.left]
            there = here.each(itemgetter(moves))
            change[where] = change_of(film[where], bands, layer, gains, limits, radius[moves], position[moves], there)
    return change


def gains_of(layer: Layer, move: Move) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What each band is multiplied by, less 1, where `Layer.strength` is, and how large it may then be.

    It becomes as strong as where the layer comes from. A vessel of the hilum stands out of the lung by many times that,
    and would out of the heart that covers it.
    """
    some = move.each(lambda lengths: lengths[::EVERY_ANGLE, None])
    edge, shift = some.edge, some.shift
    spacing = EVERY * layer.spacing
    radius = np.maximum(edge + layer.first + np.arange(layer.strength.shape[2]) * spacing, 0)
    source = np.where(shift != 0, source_radius(radius, some), radius)
    place = np.clip((source - edge - layer.first) / spacing, 0, layer.strength.shape[2] - 1)
    rows = np.broadcast_to(np.arange(len(edge))[:, None], place.shape)
    there = [ndimage.map_coordinates(table, [rows, place], order=1, mode="nearest") for table in layer.strength]
    ratio = (np.stack(there) + 1e-6) / (layer.strength + 1e-6)
    gains = np.clip(ratio, FAINTER, CLEARER) - 1
    # A heart that grows makes fainter what it covers and leaves the lung beside it as it is; one that shrinks changes
    # what it uncovers, its own old border included. Slow changes, such as a breast's, fade slowly within a heart that
    # grows over them, or it would have a dark rim.
    depth = (edge + shift - radius) / layer.side
    within = smoothstep(np.clip(depth / PROFILE + 0.5, 0, 1))
    covers, uncovers = np.minimum(gains, 0) * within, gains * (1 - within)
    covers[-1] = np.minimum(gains[-1], 0) * smoothstep(np.clip(depth / SLOWLY, 0, 1))
    uncovers[-1] = 0
    gains = np.where(shift > 0, covers, np.where(shift < 0, uncovers, 0))
    return np.asarray(gains, dtype=np.float32), np.asarray(LOUDEST * np.stack(there), dtype=np.float32)


def change_of(
    grey: NDArray[np.float32],
    bands: NDArray[np.float32],
    layer: Layer,
    gains: NDArray[np.float32],
    limits: NDArray[np.float32],
    radius: NDArray[np.float32],
    position: NDArray[np.float32],
    move: Move,
) -> NDArray[np.float32]:
    """The change of pixels [n] of the film with `bands` [B, n], all of them within the reach of the move there."""
    edge, shift = move.edge, move.shift

    def look(
        table: NDArray[np.float32], r: NDArray[np.floating], angle_step: int = 1, step: int = 1
    ) -> NDArray[np.float32]:
        place = np.clip((r - edge - layer.first) / (step * layer.spacing), 0, table.shape[1] - 1)
        found = ndimage.map_coordinates(table, [position / angle_step, place], order=1, mode="grid-wrap")
        return np.asarray(found, dtype=np.float32)

    source = source_radius(radius, move)
    moved = look(layer.heart, source)
    far = smoothstep(np.clip((shift / layer.side - PARTS[0]) / (PARTS[1] - PARTS[0]), 0, 1))
    if far.any():
        moved += far * (look(layer.growing, source) - moved)
    change = moved - look(layer.heart, radius)
    growing = shift > 0
    if not growing.all():  # lung becomes brighter away from a heart, of whatever size it is
        change += np.where(growing, 0, look(layer.lung, source) - look(layer.lung, radius))
    # Where the heart lies on the diaphragm, its border leaves no dark line, nor a bright one.
    sign = np.sign(shift)
    change -= sign * np.minimum(change * sign, 0) * (1 - at(layer.border.lung, position))
    for band, gain, limit in zip(bands, gains, limits, strict=True):
        less = look(gain, radius, EVERY_ANGLE, EVERY)
        kept = band * (1 + less)
        if growing.any():
            loudest = np.maximum(look(limit, radius, EVERY_ANGLE, EVERY), 1e-6)
            covered = np.clip(-less / COVERED, 0, 1) * growing
            kept = kept + covered * (loudest * np.tanh(kept / loudest) - kept)
        change += kept - band
    angle = position * (2 * np.pi / ANGLES)
    for left_alone in (layer.abdomen, layer.metal):
        if left_alone.size > 1:
            scale = left_alone.shape[0] / layer.side
            x = (layer.border.x + np.cos(angle) * radius + 0.5) * scale - 0.5
            y = (layer.border.y + np.sin(angle) * radius + 0.5) * scale - 0.5
            change = change * (1 - ndimage.map_coordinates(left_alone, [y, x], order=1, mode="nearest"))
    # What the heart grows over becomes no brighter than the heart.
    most = np.maximum(at(layer.inner, position), moved + at(layer.lung[:, 0], position)) + 2 * layer.detail
    grown = growing & (radius > edge - NEAR / 2 * layer.side)
    limited = np.minimum(grey + change, np.maximum(grey, most)) - grey
    return np.asarray(np.where(grown, limited, change), dtype=np.float32)


def near_pixels(
    side: int, border: Border, outside: NDArray[np.floating]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]]:
    """Rows, columns, radii and fractional angles of the pixels around the border's centre, some rows at a time."""
    top, bottom, left, right = part_of(side, border, outside)
    at_once = max(BAND // max(right - left, 1), 1)
    for start in range(top, bottom, at_once):
        rows, columns = np.mgrid[start : min(start + at_once, bottom), left:right]
        y, x = rows - border.y, columns - border.x
        angle = np.mod(np.arctan2(y, x), 2 * np.pi) * (ANGLES / (2 * np.pi))
        yield rows, columns, np.hypot(y, x).astype(np.float32), angle.astype(np.float32)


def part_of(side: int, border: Border, outside: NDArray[np.floating]) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the part of the square that `outside` [ANGLES] encloses."""
    down, across = border.y + np.sin(angles()) * outside, border.x + np.cos(angles()) * outside
    top, bottom = max(int(down.min()) - 2, 0), min(int(down.max()) + 4, side)
    left, right = max(int(across.min()) - 2, 0), min(int(across.max()) + 4, side)
    return top, bottom, left, right


def at(values: NDArray[np.floating], position: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values [ANGLES] at fractional angles, linear between neighbours."""
    around = np.interp(position, np.arange(ANGLES + 1), np.append(values, values[0]))
    return np.asarray(around, dtype=np.float32)
