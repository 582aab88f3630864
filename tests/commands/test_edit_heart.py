"""`cxredit edit-heart` on real radiographs."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cxredit_cli.app import app
from cxredit_cli.editing.edit_heart import parse_ellipse

SCANS = ["00001336_000.png", "00001337_000.png", "00001339_000.png"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def edit(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["edit-heart", *map(str, arguments)])

    return edit


@pytest.mark.parametrize("name", SCANS)
def test_the_cardiothoracic_ratio_rises_by_about_the_scale(run, data: Path, name: str) -> None:
    result = run(data / "nih" / name, "--scale", 1.2, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["ctr_after"] / document["ctr_before"] == pytest.approx(1.2, abs=0.09)
    original, edited = (np.asarray(Image.open(path)).astype(int) for path in (data / "nih" / name, "enlarged.png"))
    assert original.shape == edited.shape
    changed = original != edited
    assert 0.05 < changed.mean() < 0.75
    assert not changed[:10].any()  # far from the heart


def test_a_smaller_heart(run, data: Path) -> None:
    document = json.loads(run(data / "nih" / SCANS[0], "--scale", 0.85, "--json", "-o", "small.png").stdout)
    assert document["ctr_after"] < 0.93 * document["ctr_before"]
    assert Path("small.png").exists()


def test_the_picture_says_what_it_is(run, data: Path) -> None:
    result = run(data / "nih" / SCANS[0])
    assert result.exit_code == 0, result.output
    assert "CTR 0." in result.stdout
    text = Image.open("enlarged.png").info
    assert "not for diagnosis" in text["Disclaimer"]
    assert "Edited" in text["Description"]
    assert text["Source"] == SCANS[0]
    assert "scaled by 1.25" in text["Edit"]
    assert Image.open("enlarged.png").mode == "L"


def test_sixteen_bits_and_any_shape_stay(run, data: Path) -> None:
    grey = np.asarray(Image.open(data / "nih" / SCANS[0]).resize((260, 260), Image.Resampling.BICUBIC)).astype(
        np.uint32
    )
    wide = np.pad(grey * 257 + np.arange(260) % 7, ((0, 0), (30, 10))).astype(np.uint16)
    Image.fromarray(wide).save("wide.png")
    document = json.loads(run("wide.png", "--json").stdout)
    assert (document["width"], document["height"], document["bits"]) == (300, 260, 16)
    edited = Image.open("enlarged.png")
    assert edited.mode.startswith("I;16")
    assert edited.size == (300, 260)
    levels = np.asarray(edited)
    np.testing.assert_array_equal(levels[:20], wide[:20])
    assert document["ctr_after"] > document["ctr_before"]


def test_a_dicom_file_with_an_ellipse_given_by_hand(run, data: Path) -> None:
    result = run(data / "dicom" / "jpegls.dcm", "--ellipse", "0.5,0.5,0.2,0.2", "--scale", 1.1, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["heart"] == "an ellipse given by hand"
    assert Image.open("enlarged.png").size == (document["width"], document["height"])


def test_an_ellipse_in_pixels_or_in_fractions() -> None:
    assert parse_ellipse("0.5,0.6,0.2,0.1", 100, 200) == (100, 60, 40, 10)
    assert parse_ellipse("100, 60, 40, 10", 100, 200) == (100, 60, 40, 10)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--scale", "2"], "from 0.7 to 1.6"),
        (["--ellipse", "1,2,3"], "CX,CY,RX,RY"),
        (["--ellipse", "400,400,20,20"], "not within the picture"),
        (["--anatomy", "none.safetensors"], "none.json"),
    ],
)
def test_wrong_options_are_one_sentence(run, data: Path, arguments: list[str], expected: str) -> None:
    result = run(data / "nih" / SCANS[0], *arguments)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert not Path("enlarged.png").exists()


def test_what_is_no_chest_needs_an_ellipse(run) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (128, 128), dtype=np.uint8)).save("noise.png")
    result = run("noise.png")
    assert result.exit_code == 2
    assert "--ellipse" in result.stderr
