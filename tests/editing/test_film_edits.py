"""Edits carried over to films: on drawn hearts whose every part is known, and on a real film."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cxredit_cli.anatomy.outlines import _holes, _most_likely
from cxredit_cli.editing.border_move import NEIGHBOURHOOD, plan_move, source_radius
from cxredit_cli.editing.cardiac_layer import at, find_abdomen, find_layer, find_metal, move_layer, without_neighbours
from cxredit_cli.editing.edit_film import edit_film, measure_films, reduce
from cxredit_cli.editing.film_refusals import Evidence, refusal
from cxredit_cli.editing.heart_border import Border, find_border, follow, rays, reach, shift_at, snap
from cxredit_cli.editing.polar_warp import ANGLES, angles
from cxredit_cli.networks.anatomy import HEART, LEFT_LUNG, RIGHT_LUNG, AnatomyNetwork
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.storage.anatomy_network import load_anatomy

SIDE, X, Y, RADIUS = 256, 130.0, 140.0, 50.0
LUNG, TISSUE, RIB = 0.3, 0.6, 0.05


def disc(radius: float, side: int = SIDE, soft: float = 1.5) -> np.ndarray:
    """1 within a circle around the heart's centre, with a soft edge."""
    rows, columns = np.mgrid[:side, :side]
    scale = side / SIDE
    distance = np.hypot(rows - Y * scale, columns - X * scale)
    return np.clip((radius * scale - distance) / (2 * soft * scale) + 0.5, 0, 1).astype(np.float32)


def ribs(side: int = SIDE) -> np.ndarray:
    """Bright horizontal stripes across everything."""
    return (np.arange(side)[:, None] * SIDE // side % 12 < 4).astype(np.float32) * RIB * np.ones((1, side), np.float32)


def drawn(radius: float = RADIUS, side: int = SIDE) -> np.ndarray:
    """A round heart in a lung, under ribs."""
    return LUNG + (TISSUE - LUNG) * disc(radius, side) + ribs(side)


def masks(radius: float) -> np.ndarray:
    """A heart of a radius between two lungs that end 20 pixels from the sides."""
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[20:240, 20:130], mask[20:240, 130:236] = RIGHT_LUNG, LEFT_LUNG
    mask[disc(radius) > 0.5] = HEART
    return mask


def border_of(side: int = SIDE, unit: float = 2.0) -> Border:
    """The border of the drawn heart; a unit of strength moves it by `unit` pixels of SIDE."""
    scale, ones = side / SIDE, np.ones(ANGLES)
    edge = RADIUS * scale * ones
    shift = np.stack([unit * scale * ones, 0 * ones])
    chest, step = 110 * scale * ones, (TISSUE - LUNG) * ones
    return Border(X * scale, Y * scale, edge, edge, shift, ones, chest, step)


def radius_of(picture: np.ndarray, angle: float) -> float:
    """Where along a ray the heart becomes lung, to part of a pixel."""
    along = np.arange(20.0, 100, 0.25)
    profile = ndimage.map_coordinates(picture, [Y + np.sin(angle) * along, X + np.cos(angle) * along], order=1)
    return float(along[np.argmax(profile < (TISSUE + LUNG) / 2)])


def test_the_border_is_found_on_the_film_and_its_shift_from_the_path() -> None:
    strengths = [-6.0, -3.0, 0.0, 4.0, 8.0]
    outlines = np.stack([masks(RADIUS + 3), *(masks(RADIUS + 1.5 * s) for s in strengths)])  # the film's is 3 too large
    found = find_border(drawn() - ribs(), outlines, strengths)
    by_network, true = (reach(disc(radius) > 0.5, found.x + 0.5, found.y + 0.5) for radius in (RADIUS + 3, RADIUS))
    assert np.abs(found.outlined - by_network).max() < 2.5
    distance = np.abs(found.edge - true)
    assert np.quantile(distance, 0.9) < 1.2
    assert found.shift[0].mean() == pytest.approx(1.5, abs=0.2)
    assert np.abs(found.shift[1]).max() < 0.03
    assert found.step.mean() == pytest.approx(TISSUE - LUNG, abs=0.05)
    assert not shift_at(found, 0.0).any()
    larger = found.scaled(4.0)
    assert larger.edge.mean() == pytest.approx(4 * found.edge.mean())
    assert (larger.x + 0.5) == pytest.approx(4 * (found.x + 0.5))


def test_snapping_finds_a_border_that_is_off_by_a_known_distance() -> None:
    snapped = snap(drawn() - ribs(), X, Y, np.full(ANGLES, RADIUS + 4), 8)
    assert np.abs(snapped - RADIUS).max() < 1.1


@pytest.mark.parametrize("side", [256, 300, 512])
@pytest.mark.parametrize("strength", [-5.0, 4.0])
def test_the_heart_moves_and_ribs_stay(side: int, strength: float) -> None:
    film, border = drawn(side=side), border_of(side)
    layer = find_layer(film, border, masks(RADIUS))
    edited = film + move_layer(film, layer, plan_move(border, strength, 1.0, side))
    scale = side / SIDE
    smooth = ndimage.zoom(ndimage.gaussian_filter(edited, (6 * scale, 0)), 1 / scale, order=1)
    for angle in (-0.3, 0.0, 0.4, np.pi - 0.3, np.pi, np.pi + 0.2):  # not above, where great vessels would be
        assert radius_of(smooth, angle) == pytest.approx(RADIUS + 2 * strength, abs=1.6)
    # Ribs are where they were, between and beside the old and the new border.
    rows, columns = np.mgrid[:side, :side] / scale
    distance = np.hypot(rows - Y, columns - X)
    beside = (np.abs(rows - Y) < 25) & (distance > RADIUS - 25) & (distance < RADIUS + 25)
    for radius in (RADIUS, RADIUS + 2 * strength):
        beside &= np.abs(distance - radius) > 3
    stripes, wanted = (a - ndimage.gaussian_filter(a, (4 * scale, 0)) for a in (edited, ribs(side)))
    assert np.corrcoef(stripes[beside], wanted[beside])[0, 1] > 0.9


@given(st.floats(-6, 9), st.floats(0.6, 1.7), st.integers(0, 2**16))
@settings(max_examples=40, deadline=None)
def test_maps_rise_and_leave_the_rest_alone(strength: float, gain: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    waves = sum(np.sin(k * angles() + generator.uniform(0, 6)) * generator.uniform(0, 6) for k in range(1, 4))
    border = border_of()
    border = Border(
        X,
        Y,
        border.edge + waves,
        border.edge,
        border.shift * generator.uniform(0, 2),
        border.lung,
        border.chest,
        border.step,
    )
    move = plan_move(border, strength, gain, SIDE)
    radius = np.linspace(0, 128, 800)[None]
    source = source_radius(radius, move.each(lambda lengths: lengths[:, None]))
    assert (np.diff(source, axis=1) > 0).all()
    assert (move.inside < move.edge + np.minimum(move.shift, 0)).all()
    assert (move.outside > move.edge + np.maximum(move.shift, 0)).all()
    # Of the film's own border and the network's it is the nearer one that the neighbourhood is measured from.
    nearer = np.minimum(border.edge, border.outlined)
    assert (move.outside <= nearer + np.maximum(move.shift, 0) + NEIGHBOURHOOD * SIDE).all()
    change = move_layer(drawn(), find_layer(drawn(), border, masks(RADIUS)), move)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    far = np.hypot(rows - Y, columns - X) > move.outside.max() + 1
    assert not change[far].any()
    if strength == 0:
        assert not change.any()


def textured(seed: int = 0, behind: float = 0.4) -> np.ndarray:
    """The drawn heart without ribs, under noise that is fainter behind the heart."""
    generator = np.random.default_rng(seed)
    fine, coarse = (ndimage.gaussian_filter(generator.standard_normal((SIDE, SIDE)), sigma) for sigma in (0.6, 2.0))
    noise = 0.02 * (fine / fine.std() + coarse / coarse.std())
    heart = disc(RADIUS)
    return (LUNG + (TISSUE - LUNG) * heart + noise * (1 - (1 - behind) * heart)).astype(np.float32)


def detail_of(picture: np.ndarray, low: float, high: float, sigmas: tuple[float, float]) -> float:
    """RMS of the band between two Gaussians, between two radii, at the sides, where the drawn heart moves in full."""
    fine, coarse = (ndimage.gaussian_filter(picture, sigma) for sigma in sigmas)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(rows - Y, columns - X)
    ring = (np.abs(rows - Y) < 30) & (distance > low) & (distance < high)
    return float(np.sqrt(np.square(fine - coarse)[ring].mean()))


@pytest.mark.parametrize("sigmas", [(0.3, 1.0), (1.0, 2.5)])
@pytest.mark.parametrize("strength", [-10.0, 10.0])
def test_detail_is_as_strong_as_what_comes_to_lie_there(strength: float, sigmas: tuple[float, float]) -> None:
    film, border = textured(), border_of()
    layer = find_layer(film, border, masks(RADIUS))
    edited = film + move_layer(film, layer, plan_move(border, strength, 1.0, SIDE))
    new = RADIUS + 2 * strength
    between = (RADIUS + 7, new - 7) if strength > 0 else (new + 7, RADIUS - 7)  # where neither border's step is felt
    own = (RADIUS - 14, RADIUS - 7) if strength > 0 else (RADIUS + 7, RADIUS + 14)
    wanted, was = detail_of(film, *own, sigmas), detail_of(film, *between, sigmas)
    found = detail_of(edited, *between, sigmas)
    assert not 0.7 < was / wanted < 1.4  # as it was it would not pass
    assert 0.78 < found / wanted < 1.2
    # The same detail, only stronger or fainter.
    rows, columns = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(rows - Y, columns - X)
    ring = (np.abs(rows - Y) < 30) & (distance > between[0]) & (distance < between[1])
    before, after = (p - ndimage.gaussian_filter(p, 1.5) for p in (film, edited))
    assert np.corrcoef(before[ring], after[ring])[0, 1] > 0.9
    again = move_layer(film, find_layer(film, border, masks(RADIUS)), plan_move(border, strength, 1.0, SIDE))
    np.testing.assert_array_equal(film + again, edited)


def test_a_clip_on_the_border_does_not_roughen_it() -> None:
    film = textured()
    rows, columns = np.mgrid[:SIDE, :SIDE]
    clipped = np.where(np.hypot(rows - Y, columns - (X + RADIUS)) < 3, 1.0, film).astype(np.float32)
    changes = []
    for picture in (film, clipped):
        layer = find_layer(picture, border_of(), masks(RADIUS))
        changes.append(move_layer(picture, layer, plan_move(border_of(), 6.0, 1.0, SIDE)))
    ring = np.abs(np.hypot(rows - Y, columns - X) - (RADIUS + 12)) < 4
    beside = ring & (columns > X) & (np.abs(rows - Y) > 14) & (np.abs(rows - Y) < 24)
    rough = [detail[beside].std() for detail in (c - ndimage.gaussian_filter(c, 1.5) for c in changes)]
    assert rough[1] < 1.3 * rough[0]


def test_dark_gaps_between_vessels_are_faint_behind_the_heart_that_comes_to_cover_them() -> None:
    film, border = textured(), border_of()
    rows, columns = np.mgrid[:SIDE, :SIDE]
    spots = sum(
        np.exp(-((rows - Y - y) ** 2 + (columns - X - x) ** 2) / (2 * 2.5**2)) for x, y in ((62, -8), (61, 7), (-62, 0))
    )
    gaps = (film - 0.25 * spots).astype(np.float32)
    edited, plain = (
        picture + move_layer(picture, find_layer(picture, border, masks(RADIUS)), plan_move(border, 12.0, 1.0, SIDE))
        for picture in (gaps, film)
    )
    found = float((plain - edited)[spots > 0.9].mean())
    assert 0.01 < found < 0.05  # it shows through, by no more than what shows within the heart


def along_rays(picture: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """The mean over the sides of the heart, where it moves in full, at radii around its centre."""
    sides = np.concatenate([np.arange(-0.3, 0.4, 0.05), np.pi + np.arange(-0.3, 0.3, 0.05)])[:, None]
    return ndimage.map_coordinates(picture, [Y + np.sin(sides) * radius, X + np.cos(sides) * radius], order=1).mean(0)


def distances() -> np.ndarray:
    """Of each pixel from the heart's centre."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.hypot(rows - Y, columns - X)


def test_a_heart_that_grows_towards_the_chest_wall_leaves_no_dark_rim_before_it() -> None:
    wall = 0.25 * np.clip((distances() - RADIUS - 5) / 45, 0, 1).astype(np.float32)  # brighter and brighter outward
    film, border = drawn() - ribs() + wall, border_of()
    change = move_layer(film, find_layer(film, border, masks(RADIUS)), plan_move(border, 8.0, 1.0, SIDE))
    beyond = along_rays(change, RADIUS + 16 + np.arange(5.0, 25))
    assert np.abs(beyond).max() < 0.01
    assert along_rays(change, np.array([RADIUS + 6.0]))[0] > 0.2


def test_a_heart_that_grows_over_a_breast_has_no_dark_rim() -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    lateral = np.abs(np.arctan2(rows - Y, columns - X)) < 0.8
    breast = 0.12 * lateral * np.clip((distances() - RADIUS - 8) / 10, 0, 1)
    noise = 0.003 * np.random.default_rng(0).standard_normal((SIDE, SIDE))
    film, border = (drawn() - ribs() + breast + noise).astype(np.float32), border_of()
    change = move_layer(film, find_layer(film, border, masks(RADIUS)), plan_move(border, 10.0, 1.0, SIDE))
    beyond = change[round(Y) - 15 : round(Y) + 15, round(X + RADIUS) + 10 : round(X + RADIUS) + 40].mean(axis=0)
    assert beyond.max() > 0.15
    assert beyond.min() > -0.0135


def test_the_edit_of_a_heart_that_grows_has_no_visible_end() -> None:
    offsets = np.linspace(-0.1, 0.1, 201)
    heart = np.tile(
        0.2 - 0.25 / (1 + np.exp(-offsets / 0.002)), (ANGLES, 1)
    )  # darker than the lung, everywhere outside
    heart[:60] += 0.03 * (offsets > 0)
    growing = without_neighbours(heart, offsets, np.ones(ANGLES))
    assert np.array_equal(growing[:, offsets > 0.06], heart[:, offsets > 0.06])
    assert np.abs(np.diff(growing - heart)[:, offsets[1:] > 0.01]).max() < 0.005


def test_a_gap_beside_the_border_is_left_behind_by_a_heart_that_grows_far_but_an_enhanced_edge_is_not() -> None:
    gap = -0.1 * np.exp(-0.5 * np.square((distances() - RADIUS - 2.5) / 1.2)).astype(np.float32)
    on_the_right = (np.arange(SIDE) > X)[None] * gap * (np.abs(np.arange(SIDE) - Y) < 25)[:, None]
    rims = []
    for dark in (on_the_right, gap):
        film, border = drawn() - ribs() + dark, border_of()
        layer = find_layer(film, border, masks(RADIUS))
        change = move_layer(film, layer, plan_move(border, 10.0, 1.0, SIDE))
        middle = (film + change)[round(Y) - 6 : round(Y) + 6].mean(0)
        new_border, wide = round(X + RADIUS + 20), np.arange(0, 7)
        rims.append(float(LUNG - middle[new_border + wide].min()))
    assert rims[0] < 0.02 < 0.03 < rims[1]


def test_the_border_of_a_heart_that_grew_far_is_as_sharp_as_it_was() -> None:
    film, border = LUNG + (TISSUE - LUNG) * disc(RADIUS, soft=3), border_of()
    edited = film + move_layer(film, find_layer(film, border, masks(RADIUS)), plan_move(border, 10.0, 1.0, SIDE))
    across = np.arange(-20, 20, 0.5)
    before, after = (-np.gradient(along_rays(p, r + across)).min() for p, r in ((film, RADIUS), (edited, RADIUS + 20)))
    assert 0.9 * before < after < 1.1 * before


def test_small_bends_of_the_border_are_followed_and_move_along() -> None:
    bends = 1.2 * np.sin(40 * angles())
    rows, columns = np.mgrid[:1024, :1024]
    x, y, radius = 520.0, 560.0, 200.0
    angle = np.arctan2(rows - y, columns - x)
    edge = radius + 3 * np.interp(np.mod(angle, 2 * np.pi), angles(), bends)
    inside = np.clip((edge - np.hypot(rows - y, columns - x)) / 4 + 0.5, 0, 1)
    film = (LUNG + (TISSUE - LUNG) * inside).astype(np.float32)
    found = follow(film, x, y, np.full(ANGLES, radius))
    assert np.abs(found - radius - 3 * bends).mean() < 0.8
    assert np.corrcoef(found, bends)[0, 1] > 0.97


@pytest.mark.parametrize("strength", [-5.0, 5.0])
def test_a_rough_border_is_as_sharp_when_it_has_moved(strength: float) -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    rough = 0.7 * np.sin(50 * angles()) + 0.5 * np.sin(23 * angles())  # parts of a pixel, which no whole step follows
    edge = RADIUS + np.interp(np.mod(np.arctan2(rows - Y, columns - X), 2 * np.pi), angles(), rough)
    film = (LUNG + (TISSUE - LUNG) * np.clip((edge - distances()) / 1.5 + 0.5, 0, 1)).astype(np.float32)
    border = replace(border_of(), edge=follow(film, X, Y, np.full(ANGLES, RADIUS)))
    edited = film + move_layer(film, find_layer(film, border, masks(RADIUS)), plan_move(border, strength, 1.0, SIDE))
    offsets, sides = np.arange(-5, 5.1, 0.25), np.abs(np.cos(angles())) > 0.8
    steps = [
        -np.gradient(rays(picture, X, Y, np.full(ANGLES, radius)[:, None] + offsets), axis=1).min(axis=1)[sides]
        for picture, radius in ((film, RADIUS), (edited, RADIUS + 2 * strength))
    ]
    assert np.median(steps[1]) > 0.8 * np.median(steps[0])


def test_where_a_growing_heart_lies_on_the_diaphragm_it_leaves_no_dark_line() -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    angle = np.arctan2(rows - Y, columns - X)
    film = drawn() - ribs()
    film += np.where(np.abs(angle - np.pi / 2) < 0.8, (TISSUE + 0.15 - LUNG) * (1 - disc(RADIUS)), 0)  # the abdomen
    border = replace(border_of(), lung=np.where(np.abs(angles() - np.pi / 2) < 0.8, 0.0, 1.0))
    move = plan_move(border, 6.0, 1.0, SIDE)
    assert at(move.shift, np.array([ANGLES / 4 - 80], dtype=np.float32))[0] > 4  # or a notch would be left beside it
    change = move_layer(film, find_layer(film, border, masks(RADIUS)), move)
    assert change[np.abs(angle - np.pi / 2) < 0.7].min() > -0.05
    assert change[np.abs(angle) < 0.3].max() > 0.2


def test_a_border_that_moves_far_is_even_and_one_that_hardly_moves_keeps_its_bends() -> None:
    plain, teeth = border_of(), 3 * np.sin(36 * angles())
    border = replace(plain, edge=plain.edge + teeth)
    below = np.abs(angles() - np.pi / 2) < 1.5  # not above, where the border stays
    for strength in (-8.0, 10.0):
        moved = (border.edge + shift_at(border, strength))[below]
        assert moved.std() < 0.4
        assert moved.mean() == pytest.approx(RADIUS + 2 * strength, abs=0.5)
    nearly = (border.edge + shift_at(border, 0.5))[below]
    assert nearly.std() == pytest.approx(teeth.std(), rel=0.2)
    assert not shift_at(border, 0.0).any()


def test_nothing_grows_over_gas_under_the_diaphragm() -> None:
    mask = masks(RADIUS)
    mask[175:] = 0  # the diaphragm, with the heart upon it
    film = drawn()
    film[175:205, 80:200] = LUNG  # gas in the stomach, as dark as lung
    change = move_layer(film, find_layer(film, border_of(), mask), plan_move(border_of(), 6.0, 1.0, SIDE))
    assert find_abdomen(mask)[:175].max() == 0
    assert np.abs(change[180:]).max() < 1e-6
    assert np.abs(change[100:170]).max() > 0.2


def test_pacemakers_are_left_as_they_are() -> None:
    film = drawn()
    film[120:150, 170:186] = 1.0  # across the border at the right
    heart = disc(RADIUS) > 0.5
    assert find_metal(drawn(), heart).max() == 0
    layer = find_layer(film, border_of(), masks(RADIUS))
    change = move_layer(film, layer, plan_move(border_of(), 4.0, 1.0, SIDE))
    assert np.abs(change[128:142, 174:182]).max() < 0.02
    assert np.abs(change).max() > 0.2


def test_a_device_that_a_growing_heart_would_cover_is_a_reason() -> None:
    rising = evidence([0.37, 0.41, 0.45, 0.49, 0.53])
    beside = drawn()
    beside[105:175, 188:196] = 1.0  # eight pixels beyond the heart's border, all along its side
    for film, strength, reason in (
        (drawn(), 6.0, ""),
        (beside, 6.0, "a device lies on the border of the heart"),
        (beside, -6.0, ""),
    ):
        layer = find_layer(film, border_of(), masks(RADIUS))
        aim = rising.change(strength)
        assert refusal(rising, border_of(), layer, strength, 1.0, 0.45 + aim, aim, SIDE) == reason


def evidence(ctrs: list[float], film: float = 0.45, problem: str = "", centre: float = 0.1) -> Evidence:
    strengths = np.array([-6.0, -3.0, 0.0, 3.0, 6.0])
    changes = np.array(ctrs) - ctrs[2]
    fit = np.linalg.lstsq(np.stack([strengths, strengths**2], 1), changes, rcond=None)[0]
    return Evidence(film, ctrs[2], problem, "", strengths, np.array(ctrs), [""] * 5, centre, fit)


def test_what_cannot_be_trusted_is_refused_with_its_reason() -> None:
    rising = [0.37, 0.41, 0.45, 0.49, 0.53]
    assert evidence(rising).unusable() == ""
    assert evidence(rising).path_problem(6.0) == ""
    assert evidence(rising).change(6.0) == pytest.approx(0.08)
    assert "no chest" in evidence(rising, problem="no heart").unusable()
    assert "another heart" in evidence(rising, film=0.51).unusable()
    assert "mirrored" in evidence(rising, centre=-0.2).unusable()
    assert "by turns" in evidence([0.37, 0.41, 0.45, 0.42, 0.53]).path_problem(6.0)
    assert evidence([0.37, 0.41, 0.45, 0.42, 0.53]).path_problem(-6.0) == ""


@pytest.fixture(scope="module")
def network() -> AnatomyNetwork:
    return load_anatomy()


def warped_pictures(film: np.ndarray, strengths: list[float]) -> np.ndarray:
    """A generator's part, played by a warp: the film at 128 pixels with its heart's middle widened by the strength."""
    small = reduce(film, 128)
    rows, columns = np.mgrid[:128, :128].astype(np.float64)
    made = []
    for strength in strengths:
        scale = 1 + 0.03 * strength * np.exp(-(((columns - 70) / 34) ** 2 + ((rows - 80) / 30) ** 2))
        moved = ndimage.map_coordinates(small, [rows, 66 + (columns - 66) / scale], order=1, mode="nearest")
        made.append(moved.astype(np.float32))
    return np.stack(made)


def test_a_real_film_is_edited_as_its_pictures_are(network: AnatomyNetwork) -> None:
    film = read_radiograph(Path(__file__).parents[2] / "examples" / "data" / "00000018_000.png").pixels
    film = np.ascontiguousarray(film.reshape(512, 2, 512, 2).mean(axis=(1, 3)))
    strengths = [-6.0, -3.0, 0.0, 3.0, 6.0]
    pictures = warped_pictures(film, strengths)
    found = edit_film(network, film, pictures, strengths, [0.0, 6.0])
    still, larger = found.edits
    assert not still.change.any()
    assert larger.refused == ""
    wanted = measure_films(network, [pictures[4], pictures[2]]).ctr
    reached = measure_films(network, [film + larger.change, film]).ctr
    assert wanted[0] - wanted[1] > 0.03
    assert reached[0] - reached[1] == pytest.approx(wanted[0] - wanted[1], abs=0.015)
    assert larger.ctr == pytest.approx(reached[0], abs=0.01)
    assert 0 < (larger.change != 0).mean() < 0.25
    # Where a ratio is asked for, the film itself is brought there, whatever its pictures did.
    asked = found.film_ctr + (wanted[0] - wanted[1]) * 0.8
    (aimed,) = edit_film(network, film, pictures, strengths, [6.0], targets={6.0: asked}).edits
    assert aimed.ctr == pytest.approx(asked, abs=0.004)
    assert abs(larger.ctr - asked) > 0.006
    # Turned upside down there is nothing to be trusted.
    turned = edit_film(network, film[::-1].copy(), pictures[:, ::-1].copy(), strengths, [6.0])
    assert turned.edits[0].refused
    # What changes tone is added, smoothly.
    brighter = pictures[2] + np.array(strengths, dtype=np.float32)[:, None, None] / 60
    tone = edit_film(network, film, brighter, strengths, [3.0], "tone")
    (added,) = tone.edits
    assert np.median(added.change) == pytest.approx(0.05, abs=0.005)
    assert added.ctr == pytest.approx(measure_films(network, [film + added.change]).ctr[0])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_holes_are_scipys_and_the_likeliest_class_is_argmax(seed: int) -> None:
    generator = np.random.default_rng(seed)
    organ = ndimage.gaussian_filter(generator.standard_normal((40, 40)), 1.5) > 0
    np.testing.assert_array_equal(_holes(organ) | organ, ndimage.binary_fill_holes(organ))
    scores = torch.from_numpy(generator.integers(0, 3, (2, 4, 9, 9)).astype(np.float32))
    np.testing.assert_array_equal(_most_likely(scores).numpy(), scores.argmax(1).numpy())
