"""Directions by name: `cxredit direction list`, `direction matrix`, and every option that takes one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from cxredit_cli.app import app
from cxredit_cli.errors import InputError
from cxredit_cli.storage.directions import Direction, find_direction, read_direction, write_direction
from cxredit_cli.storage.models import BUNDLED, load_model
from tests.commands.test_evaluate import scans as scans
from tests.storage.classifier_files import write_pt2


@pytest.fixture
def model(tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """./model with directions of which one was judged on unseen patients, and one of another generator."""
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(tiny_model_dir, tmp_path / "model")
    fingerprint = load_model(folder).fingerprint
    judged = {
        "unseen": {
            **{"class": "Left", "strength": 2.5, "auc": 0.91, "rise": {"Left": 1.5, "Right": -0.4}, "next": "Right"},
            **{"random": {"any": [0.1, 0.3]}, "own_nearest": 0.97},
        }
    }
    for name, grows, found, statistics in (
        ("left", "Left", fingerprint, judged),
        ("pleural-thickening", "Right", fingerprint, {}),
        ("foreign", "Left", "f" * 16, {}),
    ):
        direction = Direction(np.eye(1, 32, dtype=np.float32), grows, "drawn", found, statistics=statistics)
        write_direction(folder / "directions" / f"{name}.h5", direction)
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_what_is_there_and_what_it_is_worth(model: Path) -> None:
    result = run("direction", "list")
    assert result.exit_code == 1  # one is of another generator
    assert "foreign.h5 is a direction of the generator ffffffffffffffff" in " ".join(result.stderr.split())
    (row,) = (line for line in result.stdout.splitlines() if "│ left" in line)
    assert [cell.strip() for cell in row.strip("│ ").split("│")] == [
        "left",
        "2.5",
        "0.91",
        "+1.5",
        "-0.4 Right",
        "0.3",
        "97%",
    ]
    assert "pleural-thickening │ -" in result.stdout
    document = json.loads(run("direction", "list", "--json").stdout)
    assert [each["name"] for each in document["directions"]] == ["left", "pleural-thickening"]
    assert document["directions"][0]["unseen"]["auc"] == 0.91
    assert document["directions"][1]["unseen"] is None
    assert [Path(each["file"]).name for each in document["failed"]] == ["foreign.h5"]


def test_a_model_may_bring_none(tiny_model_dir: Path) -> None:
    result = run("direction", "list", "--model", tiny_model_dir)
    assert result.exit_code == 0
    assert "brings no direction" in result.stdout


def test_the_bundled_ones_hold_what_the_list_says() -> None:
    document = json.loads(run("direction", "list", "--json", "--model", BUNDLED).stdout)
    assert document["failed"] == []
    assert "cardiomegaly" in [each["name"] for each in document["directions"]]
    for each in document["directions"]:
        if each["name"] != "cardiomegaly":
            figures = each["unseen"]
            assert figures["fails"] == []
            assert figures["auc"] >= 0.8
            others = [
                abs(rise)
                for name, rise in figures["rise"].items()
                if name not in (figures["class"], *figures["companions"])
            ]
            assert figures["rise"][figures["class"]] >= 2 * max(others)
            assert each["carried"] is not None  # films can be edited along it


def test_a_name_is_found_and_a_file_comes_first(model: Path) -> None:
    assert find_direction("left", model) == model / "directions" / "left.h5"
    assert find_direction("Pleural_Thickening", model).name == "pleural-thickening.h5"
    assert find_direction("new.h5", model) == Path("new.h5")  # a file's name is taken as it is
    write_direction(Path("left"), read_direction(model / "directions" / "left.h5"))
    assert find_direction("left", model) == Path("left")
    with pytest.raises(InputError, match=r"no direction 'fever'.*brings foreign, left, pleural-thickening\."):
        find_direction("fever", model)
    with pytest.raises(InputError, match="brings none"):
        find_direction("fever", model / "directions")


@pytest.mark.parametrize(
    "arguments",
    [
        ("apply", "codes.h5"),
        ("demo", "film.png"),
        ("explain", "film.png", "--classifier", "b.pt2", "--class", "Left"),
        ("evaluate", "--dose", "--images", "scans"),
    ],
)
def test_wherever_a_direction_is_taken_an_unknown_name_is_one_sentence(
    arguments: tuple[str, ...], model: Path, scans: Path, data: Path
) -> None:
    shutil.copy(next((data / "nih").glob("*.png")), "film.png")
    shutil.copytree(scans, "scans")
    write_pt2(Path("b.pt2"))
    assert run("invert", "film.png", "--steps", 1, "--method", "optimize", "-o", "codes.h5").exit_code == 0
    result = run(*arguments, "-d", "fever")
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "There is no direction 'fever': it is no file, and the model in model brings foreign, left," in said


def test_compared_and_orthogonal_by_name(model: Path) -> None:
    result = run("direction", "compare", "left", "pleural-thickening")
    assert result.exit_code == 0, result.output
    assert "+1.00" in result.stdout
    result = run("direction", "compare", "left", "fever")
    assert result.exit_code == 2
    assert "There is no direction 'fever'" in result.stderr


def test_the_matrix_says_which_findings_move(model: Path, scans: Path) -> None:
    write_pt2(Path("b.pt2"))
    options = ("--classifier", "b.pt2", "--images", scans, "--label", "any", "--view", "any", "--split", "all")
    few = ("-n", 3, "--steps", 2, "--randoms", 1, "--sweep", "0:2:2")
    result = run("direction", "matrix", "left", "pleural-thickening", *options, *few, "--keep", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document == json.loads(Path("matrix.json").read_text())
    assert document["classifier"]["classes"] == ["Left", "Right"]
    first, second = document["directions"]
    assert first["strengths"] == [0, 2]
    assert (first["class"], second["class"]) == ("Left", "Right")
    assert first["rise"] == pytest.approx(second["rise"])  # one vector under two names
    assert set(first["random"]) == {"any", "between codes"}
    kept = read_direction(model / "directions" / "left.h5").statistics["unseen"]
    assert kept["auc"] == first["auc"]
    assert kept["cohort"]["images"] == 3
    text = run("direction", "matrix", "left", *options, *few, "--companion", "Left=Right").stdout
    assert "1 Left, 2 Right" in text
    assert "matrix.json" in text
    for arguments, said in (
        (("left", *options, "--sweep", "-1:1:3"), "must be positive"),
        (("left", *options, "--companion", "Left"), "must be such as Effusion=Atelectasis"),
        (("left", *options, "--class", "Fever"), "the classifier does not know"),
        (("foreign", *options), "is a direction of the generator"),
    ):
        result = run("direction", "matrix", *arguments)
        assert result.exit_code == 2
        assert said in " ".join(result.stderr.split())
