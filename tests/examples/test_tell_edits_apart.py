"""What examples/tell_edits_apart.py says of detail, on pictures whose detail is known."""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "tell_edits_apart.py"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(sys, "path", [str(SCRIPT.parent), *sys.path])  # for its neighbours
    return runpy.run_path(str(SCRIPT))


def test_detail_is_compared_at_equal_distance_from_the_border(program: dict[str, Any]) -> None:
    sides, ratios, bands = program["Sides"], program["ratios"], len(program["BANDS"])
    random = np.random.default_rng(0)
    columns = np.tile(np.arange(256, dtype=np.float64), (256, 1))
    everywhere = np.ones((256, 256), dtype=bool)
    # Detail is strong in lung (to the right of the border) and half as strong in the heart.
    noise = random.standard_normal((bands, 256, 256)).astype(np.float32)
    before = sides(noise * np.where(columns < 128, 0.5, 1.0), (columns - 128) / 256, everywhere)
    moved = (columns - 100) / 256  # the heart has become smaller
    followed = sides(noise * np.where(columns < 100, 0.5, 1.0), moved, everywhere)
    left_behind = sides(noise * np.where(columns < 128, 0.5, 1.0), moved, everywhere)
    appeared = (moved > 0) & (columns < 128)
    assert ratios(before, followed, appeared) == pytest.approx(1, abs=0.05)
    assert ratios(before, left_behind, appeared) == pytest.approx(0.5, abs=0.05)
    assert np.isnan(ratios(before, followed, columns < 0)).all()


def test_a_region_is_shown_where_it_was_large_enough(program: dict[str, Any]) -> None:
    range_of = program["range_of"]
    nothing = np.full(3, np.nan)
    assert range_of([np.array([0.9, 1.0, 1.3]), np.array([0.7, 1.0, 1.1]), nothing]) == "0.80 to 1.20"
    assert range_of([nothing, nothing]) == ""


def test_it_says_how_it_is_called() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert "films-blind films-detail" in done.stdout
