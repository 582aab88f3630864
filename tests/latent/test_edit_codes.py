"""Edits: w + s v, layers, and how strengths are read and written."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cxredit_cli.errors import InputError
from cxredit_cli.latent.edit_codes import edit, parse_layers
from cxredit_cli.latent.strengths import parse_strengths, parse_sweep, strength_label
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.storage.models import load_model

NUM_WS = 8


def test_edits_are_linear_in_the_strength() -> None:
    w, v = torch.randn(3, 1, 32), torch.randn(1, 32)
    moved = edit(w, v, [-1.5, 0, 3], NUM_WS)
    assert moved.shape == (3, 3, 1, 32)
    torch.testing.assert_close(moved[:, 1], w)
    torch.testing.assert_close(moved[:, 2], w + 3 * v)
    torch.testing.assert_close(edit(moved[:, 2], v, [-4.5], NUM_WS)[:, 0], moved[:, 0])


def test_the_image_is_that_of_the_moved_code(tiny_model_dir: Path) -> None:
    generator = load_model(tiny_model_dir).generator
    w, v = torch.randn(2, 1, 32), torch.randn(1, 32)
    moved = edit(w, v, [2.0], generator.num_ws)[:, 0]
    images = torch.cat(list(synthesize(generator, moved, batch=1)))
    torch.testing.assert_close(images, generator.synthesis(w + 2 * v).clamp(-1, 1), atol=1e-5, rtol=1e-5)


def test_some_layers_move_and_the_others_stay() -> None:
    w, v = torch.randn(2, 1, 32), torch.randn(1, 32)
    moved = edit(w, v, [2.0], NUM_WS, layers=[4, 5])[:, 0]
    assert moved.shape == (2, NUM_WS, 32)
    torch.testing.assert_close(moved[:, 4:6], (w + 2 * v).expand(-1, 2, -1))
    torch.testing.assert_close(moved[:, [0, 1, 2, 3, 6, 7]], w.expand(-1, 6, -1))


def test_wide_directions_and_codes() -> None:
    narrow, wide = torch.randn(2, 1, 32), torch.randn(2, NUM_WS, 32)
    direction = torch.randn(NUM_WS, 32)
    torch.testing.assert_close(edit(narrow, direction, [2.0], NUM_WS)[:, 0], narrow + 2 * direction)
    torch.testing.assert_close(edit(wide, direction[:1], [2.0], NUM_WS)[:, 0], wide + 2 * direction[:1])
    only = edit(wide, direction, [2.0], NUM_WS, layers=[7])[:, 0]
    torch.testing.assert_close(only[:, :7], wide[:, :7])
    torch.testing.assert_close(only[:, 7], wide[:, 7] + 2 * direction[7])


def test_fitted_noise_is_used(tiny_model_dir: Path) -> None:
    generator = load_model(tiny_model_dir).generator
    for layer in generator.synthesis.noise_layers():
        layer.noise_strength.fill_(0.5)
    w = torch.randn(3, 1, 32)
    noise = [torch.randn(3, 1, *shape) for shape in generator.synthesis.noise_shapes()]
    images = torch.cat(list(synthesize(generator, w, noise, batch=2)))
    torch.testing.assert_close(images, generator.synthesis(w, noise).clamp(-1, 1), atol=1e-5, rtol=1e-5)
    assert (images - torch.cat(list(synthesize(generator, w)))).abs().max() > 0.01


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="do not fit"):
        edit(torch.randn(1, 1, 32), torch.randn(1, 16), [1], NUM_WS)
    with pytest.raises(InputError, match="do not fit"):
        edit(torch.randn(1, 1, 32), torch.randn(5, 32), [1], NUM_WS)
    with pytest.raises(InputError, match="layers 0-7"):
        edit(torch.randn(1, 1, 32), torch.randn(1, 32), [1], NUM_WS, layers=[8])


@pytest.mark.parametrize(
    ("strength", "label"), [(3, "+3"), (-1.5, "-1.5"), (0, "+0"), (-0.0, "+0"), (0.25, "+0.25"), (10, "+10")]
)
def test_labels(strength: float, label: str) -> None:
    assert strength_label(strength) == label


def test_strengths_and_sweeps() -> None:
    assert parse_strengths("3") == [3]
    assert parse_strengths("-1.5,0, 3") == [-1.5, 0, 3]
    assert parse_strengths("1,1.0,2") == [1, 2]
    assert parse_sweep("-3:3:7") == [-3, -2, -1, 0, 1, 2, 3]
    assert parse_sweep("0:0.3:4") == [0, 0.1, 0.2, 0.3]


@given(st.floats(-100, 100), st.floats(-100, 100), st.integers(2, 20))
def test_labels_of_a_sweep_are_distinct(first: float, last: float, count: int) -> None:
    strengths = parse_sweep(f"{first}:{last}:{count}")
    assert len({strength_label(strength) for strength in strengths}) == len(strengths)


@pytest.mark.parametrize("text", ["", "a", "1,b", "nan", "inf", "1e9"])
def test_wrong_strengths_are_one_sentence(text: str) -> None:
    with pytest.raises(InputError, match="--strength"):
        parse_strengths(text)


@pytest.mark.parametrize("text", ["3", "1:2", "1:2:²", "1:2:1", "1:2:x", "a:2:3", "1:2:500"])
def test_wrong_sweeps_are_one_sentence(text: str) -> None:
    with pytest.raises(InputError, match="--sweep"):
        parse_sweep(text)


def test_layers() -> None:
    assert parse_layers(None, 12) is None
    assert parse_layers("4-9", 12) == [4, 5, 6, 7, 8, 9]
    assert parse_layers("0,2, 4-5", 12) == [0, 2, 4, 5]
    for text in ("", "a", "9-4", "-1", "1-"):
        with pytest.raises(InputError, match="--layers must be"):
            parse_layers(text, 12)
    with pytest.raises(InputError, match="layers 0-11"):
        parse_layers("4-99999999999", 12)
