"""The library as a notebook sees it: light to import, whole, its examples true, and the notebook itself."""

import doctest
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cxredit_cli as cx
from cxredit_cli import api
from cxredit_cli.errors import InputError
from cxredit_cli.storage.models import Model

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "notebook.ipynb"


def test_importing_it_loads_nothing_heavy() -> None:
    program = (
        "import sys, cxredit_cli as cx; print([m for m in ('torch', 'numpy', 'h5py') if m in sys.modules], dir(cx))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.startswith("[] ")
    assert "'edit_film'" in finished.stdout


def test_every_name_is_there_and_described() -> None:
    assert set(api.__all__) == set(cx.__all__) - {"__version__"}
    for name in api.__all__:
        assert getattr(cx, name) is getattr(api, name)
        if name != "BUNDLED_RADIOGRAPH":
            assert getattr(cx, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = cx.nothing


def test_the_examples_of_the_docstrings_are_true() -> None:
    found = doctest.testmod(api)
    assert found.attempted > 10
    assert found.failed == 0


@pytest.fixture(scope="module")
def model() -> Model:
    return cx.load_model()


def test_codes_on_disk_give_the_pictures_of_codes_in_memory(model: Model, tmp_path: Path) -> None:
    codes = cx.invert(model, [cx.BUNDLED_RADIOGRAPH, ROOT / "examples" / "data" / "00000018_000.png"], steps=5)
    assert codes.names == ["00000318_002.png", "00000018_000.png"]
    assert codes.w.shape == (2, model.generator.num_ws, 512)
    cx.write_codes(tmp_path / "codes.h5", model, codes)
    read = cx.read_codes(tmp_path / "codes.h5")
    np.testing.assert_array_equal(read.w, codes.w)
    direction = cx.load_direction(model=model)
    pictures = cx.edit(model, codes, direction, [0, 4])
    np.testing.assert_array_equal(cx.edit(model, read, direction, [0, 4]), pictures)
    np.testing.assert_allclose(pictures[:, 0], codes.reconstructions, atol=2e-3)
    assert (cx.measure(pictures[1]).ctr[1] > cx.measure(pictures[1]).ctr[0]).all()


def test_a_film_is_edited_at_its_own_resolution(model: Model) -> None:
    path = ROOT / "examples" / "data" / "00000018_000.png"
    direction = cx.load_direction(model=model)
    edited = cx.edit_film(model, path, direction, [0, 5], steps=60)
    assert edited.pixels(0).shape == (1024, 1024)
    np.testing.assert_array_equal(edited.pixels(0), edited.film.pixels)
    assert edited.edits[1].ctr > edited.edits[0].ctr + 0.03
    with pytest.raises(InputError, match="not calibrated"):
        cx.edit_film(model, path, cx.Direction(direction.direction, "x", "lda", model.fingerprint), [5])


def test_a_direction_from_labels(model: Model, tmp_path: Path) -> None:
    w, pictures = cx.generate(model, 60)
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    known = np.random.default_rng(0).standard_normal(512)
    positive = w[:, 0] @ known > np.median(w[:, 0] @ known)

    direction = cx.direction_from_labels(model, w, positive, name="Known")
    assert direction.direction.shape == (1, 512)
    assert np.linalg.norm(direction.direction) == pytest.approx(1, abs=1e-5)
    cx.write_direction(tmp_path / "known.h5", direction)
    assert cx.load_direction(tmp_path / "known.h5", model).name == "Known"

    shown = cx.direction_from_labels(model, w, positive, metric="picture")
    assert shown.method == "lda, picture"
    coordinates = cx.visible_coordinates(model, "w", "picture")
    found = cx.lda(w, positive, [str(index) for index in range(60)], permutations=9, coordinates=coordinates)
    assert found.axis.shape == (512,)
    assert abs(found.axis @ shown.direction[0]) > 0.5  # they may choose different strengths


def test_the_notebook_has_a_whole_study_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert len(notebook.cells) == 12
    folder = tmp_path / "examples"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "00000018_000.png").write_bytes((ROOT / "examples" / "data" / "00000018_000.png").read_bytes())
    client.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    said = "".join(
        str(output.get("data", {}).get("text/plain", ""))
        for cell in notebook.cells[1:]
        for output in cell.get("outputs", [])
    )
    assert "held-out AUC" in said
    assert "cardiomegaly" in said
    assert json.loads(NOTEBOOK.read_text())["cells"][1]["outputs"] == []  # kept without outputs
