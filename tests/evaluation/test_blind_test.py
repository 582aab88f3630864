"""The blind test by machine: it tells what can be told, and nothing where there is nothing to tell."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from cxredit_cli.editing.edit_film import reduce
from cxredit_cli.errors import InputError
from cxredit_cli.evaluation.blind_test import (
    PATCH,
    as_written,
    auc_of_sizes,
    border_patches,
    match_ratios,
    paste,
    tell_apart,
)
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.storage.anatomy_network import load_anatomy


def noise(films: int, seed: int) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).standard_normal((films, 4, PATCH, PATCH)).astype(np.float32))


def test_marks_are_found_and_noise_is_not() -> None:
    untouched, patients = noise(16, 0), [str(n // 2) for n in range(16)]
    marked = [film.copy() for film in noise(16, 1)]
    for film in marked:
        film[:, 40:44] += 2.0  # a line across each patch
    found = tell_apart("native", untouched, marked, patients, folds=2, steps=60)
    assert found.auc > 0.95
    assert (found.films, found.patients) == (16, 8)
    assert found.low <= found.auc <= found.high
    nothing = tell_apart("native", untouched, noise(16, 2), patients, folds=2, steps=60)
    assert 0.2 < nothing.auc < 0.8


def test_all_pictures_have_the_greys_of_a_file() -> None:
    film = (np.arange(256, dtype=np.float32) / 255).reshape(16, 16)
    np.testing.assert_array_equal(as_written(film), film)
    changed = as_written(film + np.float32(0.3 / 255))
    np.testing.assert_allclose(changed * 255, np.round(changed * 255), atol=1e-4)
    assert as_written(film + 1).max() == 1


def test_too_few_patients_are_an_error() -> None:
    with pytest.raises(InputError, match="folds"):
        tell_apart("native", noise(4, 0), noise(4, 1), ["1"] * 4, folds=2)


def test_neighbourhoods_of_a_real_film() -> None:
    network = load_anatomy()
    film = read_radiograph(Path(__file__).parents[2] / "examples" / "data" / "00000018_000.png").pixels
    film = np.ascontiguousarray(film.reshape(256, 4, 256, 4).mean(axis=(1, 3)))
    patches = border_patches(network, film)
    assert patches is not None
    assert patches.shape[1:] == (PATCH, PATCH)
    np.testing.assert_allclose(patches.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(patches.std(axis=(1, 2)), 1, atol=1e-4)
    assert border_patches(network, reduce(film, 64)) is None  # smaller than a patch
    small = reduce(film, 128)
    rows, columns = np.mgrid[:128, :128].astype(np.float64)
    bump = np.exp(-(((columns - 70) / 34) ** 2 + ((rows - 80) / 30) ** 2))
    grown = 66 + (columns - 66) / (1 + 0.15 * bump)
    picture = ndimage.map_coordinates(small, [rows, grown], order=1, mode="nearest").astype(np.float32)
    # The pasted picture is the generator's at the heart and the film's elsewhere.
    pasted = paste(network, film, picture)
    assert (pasted != film).mean() < 0.4
    np.testing.assert_allclose(reduce(pasted, 128)[75:85, 66:76], picture[75:85, 66:76], atol=0.02)


def test_edited_hearts_are_of_the_sizes_of_untouched_ones() -> None:
    strengths = [-8.0, -4.0, 0.0, 4.0, 8.0]
    rng = np.random.default_rng(0)
    ctrs = np.concatenate([rng.normal(0.44, 0.03, 40).clip(0.36, 0.499), rng.normal(0.55, 0.02, 12).clip(0.501, 0.62)])
    changes = np.array(strengths) * rng.normal(0.011, 0.001, (52, 1))
    goals = match_ratios(ctrs, changes, strengths)
    found = [(own, *goal) for own, goal in zip(ctrs, goals, strict=True) if goal is not None]
    own, strength, ratio = np.array(found).T
    assert len(found) >= 44
    assert len(set(ratio)) == len(ratio)  # each film's is given once
    assert set(ratio) <= set(ctrs)
    assert np.abs(ratio - own).min() >= 0.015
    np.testing.assert_array_equal(np.sign(ratio - own), np.sign(strength))
    np.testing.assert_array_equal(ratio > 0.5, own > 0.5)
    assert 0.45 < auc_of_sizes(np.stack([own, ratio], axis=1)) < 0.55
    # Ratios as a fixed strength leaves them would tell.
    assert auc_of_sizes(np.stack([own, own + np.sign(strength) * 0.06], axis=1)) > 0.7


def test_films_that_cannot_be_measured_or_edited_have_no_goal() -> None:
    changes = np.array([[0.0, 0.05], [0.0, 0.05], [0.0, -0.05], [0.0, np.nan]])
    goals = match_ratios(np.array([0.40, 0.45, 0.40, np.nan]), changes, [0.0, 4.0])
    assert goals == [(4.0, 0.45), None, None, None]
