"""`cxredit lda` on codes with NIH, CheXpert and plain labels."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from cxredit_cli.app import app
from cxredit_cli.networks.anatomy import AnatomyConfig, AnatomyNetwork
from cxredit_cli.storage.anatomy_network import save_anatomy
from cxredit_cli.storage.codes import CodesHeader
from cxredit_cli.storage.directions import read_direction
from cxredit_cli.storage.models import load_model
from cxredit_cli.storage.write_codes import CodesWriter

N = 60


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def lda(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["lda", *map(str, arguments)])

    return lda


def write_codes(names: list[str], positive: np.ndarray, layers: int = 1, distance: float = 4.0) -> np.ndarray:
    """Codes with one planted axis; returns the axis."""
    rng = np.random.default_rng(0)
    axis = rng.standard_normal((layers, 16))
    axis /= np.linalg.norm(axis)
    w = rng.standard_normal((len(names), layers, 16)) + distance * positive[:, None, None] * axis
    space = "w" if layers == 1 else "w+"
    header = CodesHeader("0123456789abcdef", "encoder", space, layers, 16, resolution=8, model="tiny")
    nothing = np.full(len(names), np.nan, dtype=np.float32)
    with CodesWriter(Path("codes.h5"), header) as writer:
        writer.append(names, w.astype(np.float32), nothing, nothing, np.zeros((len(names), 8, 8), np.uint8))
    return axis


def nih_labels(names: list[str], positive: np.ndarray) -> None:
    lines = ["Image Index,Finding Labels,Patient ID,View Position"]
    for index, (name, is_positive) in enumerate(zip(names, positive, strict=True)):
        lines.append(f"{name},{'Cardiomegaly|Effusion' if is_positive else 'No Finding'},{index // 2},PA")
    Path("labels.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("layers", [1, 4])
def test_a_planted_disease(run, layers: int) -> None:
    names, positive = [f"{i:08d}_000.png" for i in range(N)], np.arange(N) // 2 % 3 == 0
    axis = write_codes(names, positive, layers)
    nih_labels(names, positive)
    result = run("codes.h5", "--labels", "labels.csv", "--permutations", 50)
    assert result.exit_code == 0, result.output
    for words in ("in sample", "held out", "ROC AUC", "permutations", "bootstrap over patients"):
        assert words in result.stdout
    direction = read_direction(Path("direction.h5"))
    assert direction.name == "Cardiomegaly"
    assert direction.direction.shape == (layers, 16)
    assert direction.fingerprint == "0123456789abcdef"
    assert (direction.direction * axis).sum() > 0.75  # the positive class lies at positive strength
    assert direction.sources == names
    assert direction.statistics["auc"] > 0.9
    assert direction.statistics["p_value"] == pytest.approx(1 / 51)
    assert Path("lda.png").stat().st_size > 5000


def test_json_and_chexpert_labels(run) -> None:
    names = [f"valid/patient{i // 2:05d}/study1/view{i % 2 + 1}_frontal.jpg" for i in range(N)]
    positive = np.arange(N) // 2 % 3 == 0
    write_codes([*names, "valid/patient99999/study1/view1_frontal.jpg"], np.r_[positive, False], distance=0)
    lines = ["Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Cardiomegaly"]
    lines += [
        f"CheXpert-v1.0/{name},M,50,Frontal,PA,{'' if is_positive else '1.0'},{'1.0' if is_positive else ''}"
        for name, is_positive in zip(names, positive, strict=True)
    ]
    Path("valid.csv").write_text("\n".join(lines) + "\n")
    result = run("--labels", "valid.csv", "--folds", 3, "--permutations", 40, "--json", "--plot", "p.svg", "-o", "d.h5")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["positives"], document["negatives"]) == (20, 40)
    assert (document["positive_patients"], document["negative_patients"]) == (10, 20)
    assert document["in_sample"] > 0.5  # noise alone does that
    assert document["auc_interval"][0] < document["auc"] < document["auc_interval"][1]
    assert document["p_value"] > 0.05
    assert document["left_out"] == {"without_label": 1, "with_both": 0, "with_neither": 0, "uncertain": 0}
    assert "1 codes have no label and are left out: valid/patient99999" in result.stderr
    assert Path("p.svg").exists()
    assert Path("d.h5").exists()


def test_plain_labels_without_patients(run) -> None:
    names, positive = [f"{i}.png" for i in range(N)], np.arange(N) % 2 == 0
    write_codes(names, positive)
    rows = [f"{name},{'ill' if ill else 'well'}" for name, ill in zip(names, positive, strict=True)]
    Path("labels.csv").write_text("\n".join(["name,label", *rows]))
    result = run("--labels", "labels.csv", "--positive", "ill", "--negative", "well", "--permutations", 10)
    assert result.exit_code == 0, result.output
    assert "each image counts as its own patient" in result.stderr


def test_mistakes_are_one_sentence(run) -> None:
    names, positive = [f"{i:08d}_000.png" for i in range(N)], np.arange(N) < 4
    write_codes(names, positive)
    nih_labels(names, positive)
    for arguments, words in (
        (("nowhere.h5", "--labels", "labels.csv"), "There is no nowhere.h5"),
        (("--labels", "nowhere.csv"), "does not exist"),
        (("labels.csv", "--labels", "labels.csv"), "not an HDF5 file"),
        (("--labels", "labels.csv", "--positive", "Hernia"), "the labels are"),
        (("--labels", "labels.csv"), "positive class has 2 patients"),
        (("--labels", "labels.csv", "--plot", "x.gif"), "--plot must end in"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert words in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(("how", "left_out", "positives"), [("skip", 10, 20), ("present", 0, 30), ("absent", 10, 20)])
def test_uncertain_images_belong_to_neither_class(run, how, left_out, positives) -> None:
    """Of 60 images 20 have the disease, 10 may have it, the others are healthy; said in the result."""
    names, positive = [f"{i}.png" for i in range(N)], np.arange(N) < 30
    write_codes(names, positive)
    lines = ["image,Cardiomegaly,No Finding,patient_id"]
    lines += [f"{i}.png,{1 if i < 20 else -1 if i < 30 else 0},{int(i >= 30)},{i}" for i in range(N)]
    Path("labels.csv").write_text("\n".join(lines) + "\n")
    result = run("codes.h5", "--labels", "labels.csv", "--permutations", 5, "--uncertain", how, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["positives"] == positives
    assert found["left_out"]["uncertain"] == (left_out if how == "skip" else 0)
    assert found["left_out"]["with_neither"] == (10 if how == "absent" else 0)
    if how == "skip":
        assert "10 codes have a label that is uncertain" in result.stderr


def test_a_dataset_remembers_what_is_uncertain(run, data: Path) -> None:
    names = sorted(path.name for path in (data / "nih").glob("*.png"))
    lines = [
        "image,Cardiomegaly,No Finding",
        f"{names[0]},-1,0",
        *(f"{name},{i % 2},{1 - i % 2}" for i, name in enumerate(names[1:])),
    ]
    Path("labels.csv").write_text("\n".join(lines) + "\n")
    made = CliRunner().invoke(
        app, ["prepare", str(data / "nih"), "--labels", "labels.csv", "--resolution", "32", "--on-suspect", "accept"]
    )
    assert made.exit_code == 0, made.output
    write_codes(names, np.arange(len(names)) % 2 == 1)
    result = run("codes.h5", "--labels", "dataset.h5", "--permutations", 5, "--folds", 2, "--json")
    assert json.loads(result.stdout)["left_out"]["uncertain"] == 1


@pytest.fixture
def of_a_model(run, tiny_model_dir: Path) -> list[object]:
    """Options for codes of a model whose fourth axis is the disease."""
    names, positive = [f"{i:08d}_000.png" for i in range(N)], np.arange(N) // 2 % 3 == 0
    w = np.random.default_rng(0).standard_normal((N, 1, 32)) + 4 * positive[:, None, None] * np.eye(32)[3]
    header = CodesHeader(load_model(tiny_model_dir).fingerprint, "optimize", "w", 1, 32, 32, model="tiny")
    nothing = np.full(N, np.nan, dtype=np.float32)
    with CodesWriter(Path("codes.h5"), header) as writer:
        writer.append(names, w.astype(np.float32), nothing, nothing, np.zeros((N, 32, 32), np.uint8))
    nih_labels(names, positive)
    return ["codes.h5", "--labels", "labels.csv", "--permutations", 19, "--model", tiny_model_dir]


@pytest.mark.parametrize("metric", ["picture", "anatomy"])
def test_what_shows_stands_beside_the_plain_figures(run, of_a_model: list[object], metric: str) -> None:
    save_anatomy(Path("network.safetensors"), AnatomyNetwork(AnatomyConfig(32, (8, 8), 2)), {})
    more = ["--anatomy", "network.safetensors"] if metric == "anatomy" else []
    plain = json.loads(run(*of_a_model, "--json").stdout)
    result = run(*of_a_model, "--metric", metric, *more)
    assert result.exit_code == 0, result.output
    assert result.stdout.index("the codes as they are") < result.stdout.index(f"by {metric}")
    assert "chosen; within the folds" in result.stdout
    direction = read_direction(Path("direction.h5"))
    assert direction.method == f"lda, {metric}"
    assert direction.statistics["metric"] == metric
    assert direction.statistics["auc_of_codes"] == plain["auc"]
    document = json.loads(run(*of_a_model, "--metric", metric, *more, "--json").stdout)
    assert "by_metric" not in plain
    for name in ("auc", "in_sample", "held_out", "p_value", "auc_interval"):
        assert document[name] == plain[name]
    shown = document["by_metric"][metric]
    assert shown["auc"] == direction.statistics["auc"] != plain["auc"]
    assert len(shown["shrinkage_in_folds"]) == 5


def test_a_direction_of_labels_by_what_shows(run, of_a_model: list[object]) -> None:
    found = {}
    for metric in ("codes", "picture"):
        options = ["--codes", *of_a_model[:3], "--model", of_a_model[-1], "--metric", metric, "-o", f"by-{metric}.h5"]
        result = CliRunner().invoke(app, ["direction", "find", *map(str, options)])
        assert result.exit_code == 0, result.output
        found[metric] = read_direction(Path(f"by-{metric}.h5"))
    assert found["codes"].method == "labels, lda"
    assert found["picture"].method == "labels, lda, picture"
    assert found["picture"].statistics["auc"] > 0.8
    assert found["picture"].direction.shape == (1, 32)
    assert found["picture"].statistics["penalty"] in (0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.03, 0.01)
    result = CliRunner().invoke(app, ["direction", "--from-measure", "ctr", "--metric", "picture"])
    assert result.exit_code == 2
    assert "--metric goes with --codes and --labels" in result.stderr


def test_metrics_that_do_not_fit_are_one_sentence(run, of_a_model: list[object]) -> None:
    for arguments, words in (
        ((*of_a_model, "--metric", "pixels"), "--metric must be codes, picture or anatomy"),
        ((*of_a_model, "--metric", "picture", "--anatomy", "judge"), "--anatomy goes with --metric anatomy"),
        ((*of_a_model, "--metric", "picture", "--folds", 2), "--folds must be 3 or more"),
        ((*of_a_model[:-2], "--metric", "picture"), "holds codes of the generator"),  # of the bundled model
    ):
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert words in result.stderr
        assert "Traceback" not in result.stderr
