"""Cosines in W and W+, Gram-Schmidt, and the direction of many pairs."""

from pathlib import Path

import numpy as np
import pytest

from cxredit_cli.directions.comparison import chance_cosine, cosine_table, without_others
from cxredit_cli.directions.vectors import cosine, mean_pair_direction, orthogonalise
from cxredit_cli.errors import InputError, MismatchError
from cxredit_cli.storage.directions import Direction


def direction(vector: np.ndarray, name: str = "x", fingerprint: str = "a" * 16) -> Direction:
    return Direction((vector / np.linalg.norm(vector)).astype(np.float32), name, "lda", fingerprint)


def test_a_direction_of_w_is_the_same_step_in_each_layer() -> None:
    narrow = np.array([[3.0, 4.0]])
    assert cosine(narrow, narrow.repeat(5, axis=0)) == pytest.approx(1)
    assert cosine(narrow, np.array([[3.0, 4.0], [-3.0, -4.0]])) == pytest.approx(0)
    assert cosine(narrow, np.array([[3.0, 4.0], [0.0, 0.0]])) == pytest.approx(0.5**0.5)
    assert cosine(narrow, np.array([[-4.0, 3.0]])) == pytest.approx(0)


def test_the_table_is_symmetric_and_refuses_other_generators() -> None:
    rng = np.random.default_rng(0)
    found = [(Path(f"{i}.h5"), direction(rng.normal(size=(rows, 8)))) for i, rows in enumerate((1, 4, 1))]
    cosines = cosine_table(found)
    np.testing.assert_allclose(cosines, cosines.T)
    np.testing.assert_allclose(np.diag(cosines), 1, atol=1e-6)
    assert chance_cosine([d for _, d in found]) == pytest.approx(8**-0.5)
    foreign = (Path("f.h5"), direction(rng.normal(size=(1, 8)), fingerprint="b" * 16))
    with pytest.raises(MismatchError, match=f"{'b' * 16}.*{'a' * 16}"):
        cosine_table([*found, foreign])


def test_orthogonal_by_hand() -> None:
    found, kept = orthogonalise(np.array([[3.0, 4.0, 0.0]]), [np.array([[0.0, 2.0, 0.0]])])
    np.testing.assert_allclose(found, [[1, 0, 0]], atol=1e-12)
    assert kept == pytest.approx(0.6)
    # Two that are nearly one span a plane all the same.
    found, _ = orthogonalise(np.array([[1.0, 1.0, 1.0]]), [np.array([[0, 1.0, 0]]), np.array([[0, 1.0, 0.1]])])
    np.testing.assert_allclose(found, [[1, 0, 0]], atol=1e-9)


@pytest.mark.parametrize("rows", [(1, 1), (1, 4), (4, 1), (4, 4)])
def test_nothing_is_left_along_the_others_in_w_and_w_plus(rows: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    start, others = rng.normal(size=(rows[0], 6)), [rng.normal(size=(rows[1], 6)) for _ in range(3)]
    found, _ = orthogonalise(start, others)
    assert found.shape == start.shape
    assert np.linalg.norm(found) == pytest.approx(1)
    for other in others:
        assert cosine(found, other) == pytest.approx(0, abs=1e-9)
    assert cosine(found, start) > 0


def test_a_direction_says_what_it_was_freed_of() -> None:
    view = direction(np.array([[0.0, 1.0, 0.0]]), "view")
    found = without_others(direction(np.array([[3.0, 4.0, 0.0]])), [(Path("view.h5"), view)])
    assert found.method == "lda, orthogonal to view"
    assert found.statistics["orthogonal_to"] == {"view.h5 (view)": pytest.approx(0.8)}
    with pytest.raises(InputError, match="Nothing is left"):
        without_others(view, [(Path("view.h5"), view)])


def test_the_mean_of_normalised_differences_by_hand() -> None:
    before = np.zeros((2, 1, 2), dtype=np.float32)
    after = np.array([[[5.0, 0.0]], [[0.0, 0.1]]], dtype=np.float32)  # each pair counts the same
    found, statistics = mean_pair_direction(before, after)
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5]], rtol=1e-6)
    assert statistics.resultant == pytest.approx(0.5**0.5)
    assert statistics.spread_degrees == pytest.approx(45)
    assert statistics.leave_one_out == [pytest.approx(0), pytest.approx(0)]
    assert statistics.mean_length == pytest.approx(2.55)
    assert "share hardly any direction" in (statistics.warning() or "")


def test_many_noisy_pairs_find_what_they_share() -> None:
    rng = np.random.default_rng(2)
    true = np.eye(64)[0]
    before = rng.normal(size=(40, 1, 64)).astype(np.float32)
    after = before + (2 * true + 0.5 * rng.normal(size=(40, 1, 64))).astype(np.float32)
    found, statistics = mean_pair_direction(before, after)
    assert found[0] @ true > 0.9
    single = (after[0, 0] - before[0, 0]) / np.linalg.norm(after[0, 0] - before[0, 0])
    assert found[0] @ true > single @ true
    others = (after - before)[1:] / np.linalg.norm((after - before)[1:], axis=2, keepdims=True)
    mean = others.mean(axis=0)[0]
    assert statistics.leave_one_out[0] == pytest.approx(float(single @ mean / np.linalg.norm(mean)), abs=1e-5)
    assert statistics.warning() is None


def test_equal_codes_and_opposite_pairs_are_refused() -> None:
    before = np.ones((2, 1, 3), dtype=np.float32)
    after = before.copy()
    after[0] += 1
    with pytest.raises(InputError, match="pair 2"):
        mean_pair_direction(before, after)
    after[1] -= 1
    with pytest.raises(InputError, match="cancel"):
        mean_pair_direction(before, after)
