"""Figures of edits on films: of drawn hearts whose edits are known, and of a real film through the command."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxredit_cli.app import app
from cxredit_cli.editing.heart_border import Border
from cxredit_cli.editing.polar_warp import ANGLES
from cxredit_cli.evaluation.native import FilmFigures, _Details, _outside, summarise

SIDE, X, Y, RADIUS = 256, 130.0, 140.0, 50.0


def film(radius: float, ghost: float = 0.0) -> np.ndarray:
    """A round heart with some texture in a lung under ribs; `ghost` of a step stays at RADIUS."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(rows - Y, columns - X)

    def disc(size: float) -> np.ndarray:
        return np.clip((size - distance) / 2 + 0.5, 0, 1)

    ribs = 0.05 * (rows % 12 < 4)
    texture = 0.01 * np.random.default_rng(0).standard_normal((SIDE, SIDE))
    return (0.3 + 0.3 * disc(radius) + ghost * 0.3 * disc(RADIUS) + ribs + texture).astype(np.float32)


@pytest.fixture
def border() -> Border:
    """Of a heart that a unit of strength enlarges by 2 pixels."""
    ones = np.ones(ANGLES)
    shift = np.stack([2 * ones, 0 * ones])
    return Border(X, Y, RADIUS * ones, RADIUS * ones, shift, ones, 110 * ones, 0.3 * ones)


def test_a_ghost_is_told_from_a_clean_edit(border: Border) -> None:
    details = _Details(film(RADIUS), border)
    clean, haunted = details.compare(film(RADIUS + 12), 6.0), details.compare(film(RADIUS + 12, ghost=0.5), 6.0)
    assert clean["ghost"] < 1.3
    assert haunted["ghost"] > 3
    assert clean["ghost_here"] < 1.3
    assert haunted["ghost_here"] > 3
    assert clean["edge"] == pytest.approx(1, abs=0.15)
    assert clean["detail"] > 0.95
    assert clean["sharpness"] == pytest.approx(1, abs=0.1)


def test_blur_and_detail_that_moved_are_seen(border: Border) -> None:
    details = _Details(film(RADIUS), border)
    shifted = np.roll(film(RADIUS + 12), 6, axis=0)  # ribs half a period lower
    assert details.compare(shifted, 6.0)["detail"] < 0.4
    flat = np.full((SIDE, SIDE), 0.5, dtype=np.float32)
    assert details.compare(flat, 6.0)["edge"] < 0.05
    assert np.isnan(details.compare(film(RADIUS), 1.0)["ghost"])  # the borders are too near to each other
    assert np.isnan(_Details(film(RADIUS), None).compare(film(RADIUS), 6.0)["edge"])


def test_what_changes_beyond_the_heart_is_found() -> None:
    near = np.zeros((64, 64), dtype=bool)
    near[28:36, 28:36] = True
    change = np.zeros((256, 256), dtype=np.float32)
    change[120:136, 120:136] = 0.5
    assert _outside(change, near) == 0
    change[20, 20] = -10 / 255
    assert _outside(change, near) == pytest.approx(10)


def figures(carried: float, wanted: float = 0.1, refused: str = "", ghost: float = 1.0) -> FilmFigures:
    return FilmFigures("a", 6.0, "native", refused, wanted, carried, 1.0, 1.0, ghost, ghost, 1.0, 0.9, 1.0, 0.0, 0.5)


def test_films_are_summed_up_without_those_that_were_refused() -> None:
    rows = [figures(0.09), figures(0.12, ghost=2.0), figures(-0.01), figures(0.5, refused="no room")]
    found = next(row for row in summarise(rows) if row["method"] == "native")
    assert (found["films"], found["refused"]) == (4, 1)
    assert found["carried"] == pytest.approx((0.09 + 0.12 - 0.01) / 0.3)
    assert found["right_sign"] == pytest.approx(2 / 3)
    assert found["median_gap"] == pytest.approx(0.02)
    assert found["within_.03"] == pytest.approx(2 / 3)
    assert found["ghost_fine"] == pytest.approx(2 / 3)
    assert next(row for row in summarise(rows) if row["method"] == "additive")["carried"] is None


def test_a_film_through_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = Image.open(Path(__file__).parents[2] / "examples" / "data" / "00000018_000.png")
    whole.resize((256, 256), Image.Resampling.BOX).save("film.png")
    Path("broken.png").write_text("no image")
    arguments = ["evaluate", "--native", "--films", ".", "--sweep", "-4:6:2", "--steps", "60"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "native" in result.stdout
    assert "broken.png" in result.stderr
    section = json.loads(Path("evaluation.json").read_text())["native"]
    assert section["films"] == 1
    rows = {(row["strength"], row["method"]): row for row in section["summary"]}
    larger = rows[6.0, "native"]
    assert larger["refused"] == 0
    assert larger["carried"] == pytest.approx(1, abs=0.35)
    assert larger["outside"] == 0
    assert larger["ghost"] < rows[6.0, "additive"]["ghost"]
    assert rows[6.0, "enlarged"]["detail"] < 0.5 < larger["detail"]
    refused = CliRunner().invoke(app, ["evaluate", "--native"])
    assert refused.exit_code == 2
    assert "--native needs --films" in refused.stderr
