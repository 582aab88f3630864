"""What examples/measure_refusals.py spoils and counts."""

import csv
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.radiographs.write import write_png

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])  # for its neighbours
    return runpy.run_path(str(EXAMPLES / "measure_refusals.py"))


def test_films_are_spoilt_in_four_ways(tmp_path: Path, program: dict[str, object]) -> None:
    film = np.arange(64 * 64, dtype=np.float32).reshape(64, 64) / (64 * 64)
    write_png(tmp_path / "film.png", film, {})
    (tmp_path / "spoilt").mkdir()
    kinds = program["spoil"]([str(tmp_path / "film.png")], tmp_path / "spoilt")  # type: ignore[operator]
    made = {kind: read_radiograph(tmp_path / "spoilt" / name).pixels for kind, (name,) in kinds.items()}
    expected = {
        "mirrored": film[:, ::-1],
        "negative": 1 - film,
        "upside down": film[::-1],
        "turned by a quarter": np.rot90(film),
    }
    assert set(made) == set(expected)
    for kind, picture in expected.items():
        assert np.abs(made[kind] - picture).max() < 0.003, kind


def test_what_is_neither_turned_away_nor_refused_was_edited(program: dict[str, object]) -> None:
    report = {
        "failed": [{"source": "a.png", "reason": "it looks mirrored"}],
        "refused": [{"source": "b.png", "strength": "+4"}, {"source": "b.png", "strength": "+8"}],
    }
    rows = program["count"]({"mirrored": ["a.png", "b.png", "c.png"], "other": ["d.png"]}, report)  # type: ignore[operator]
    assert rows == [["mirrored", "3", "1", "1", "1"], ["other", "1", "0", "0", "1"]]


def test_hidden_hearts_are_named_once_and_of_different_patients() -> None:
    with (EXAMPLES / "hidden_hearts.csv").open(newline="") as file:
        names = [row["image"] for row in csv.DictReader(file)]
    assert len({name.partition("_")[0] for name in names}) == len(names) > 10
