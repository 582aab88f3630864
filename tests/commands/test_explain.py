"""`cxredit explain`, and the other commands that take anybody's classifier."""

import json
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from cxredit_cli.app import app
from cxredit_cli.storage.directions import read_direction
from cxredit_cli.storage.models import BUNDLED
from tests.storage.classifier_files import write_pt2

FILM = Path(__file__).parents[1] / "data" / "00001748_002.png"


class Corner(nn.Module):
    """Looks at the upper left corner alone."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.zeros(1, 1, 32, 32)
        weight[..., :6, :6] = 0.4
        self.conv = nn.Conv2d(1, 1, 32)
        with torch.no_grad():
            self.conv.weight.copy_(weight)
            self.conv.bias.fill_(-9.0)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.conv(images)
        return scores.flatten(1)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def corner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_pt2(tmp_path / "corner.pt2", Corner(), classes=["Sick"])


def test_a_film_is_explained_on_a_page(corner: Path) -> None:
    result = run("explain", FILM, "--classifier", corner, "--target", 0.5, "--steps", 20, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document == json.loads(Path("explanation.json").read_text())
    (one,) = document["explanations"]
    assert (document["class"], one["source"], one["reached"]) == ("Sick", FILM.name, True)
    assert one["states"][-1]["probability"] >= 0.499 > one["reconstruction"]["probability"]
    assert one["score_by_region"]["elsewhere"] > 0.8
    assert sum(one["score_by_region"].values()) == pytest.approx(1, abs=0.01)
    assert one["change_of_log_odds"] > 2 * abs(one["null"]["shuffled_weights_change_of_log_odds"])
    page = Path("explanation.html").read_text()
    assert "Not for diagnosis" in page
    assert "NIH" in page
    assert page.count("data:image/png") > 15
    addresses = set(re.findall(r"https?://[^\s,;<\"]+", page))
    assert all("nihcc" in address for address in addresses)  # named, not asked for
    assert not Path("explanation.csv").exists()


def test_along_a_direction_no_gradient_is_needed(corner: Path) -> None:
    direction = BUNDLED / "directions" / "cardiomegaly.h5"
    result = run("explain", FILM, "--classifier", corner, "-d", direction, "--method", "encoder")
    assert result.exit_code == 0, result.output
    assert FILM.name in result.stdout
    document = json.loads(Path("explanation.json").read_text())
    assert document["direction"].startswith("cardiomegaly")
    assert document["explanations"][0]["null"]["shuffled_weights_change_of_log_odds"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name a radiograph"),
        ((FILM,), "Give --classifier"),
        ((FILM, "--classifier", "none.pt2"), "There is no classifier none.pt2"),
        ((FILM, "--classifier", "corner.pt2", "--class", "Well"), "'Well' is none of them"),
        ((FILM, "--classifier", "corner.pt2", "-o", "page.html"), "name it .json"),
        ((FILM, "--classifier", "corner.pt2", "-o", "corner.json"), "describes the classifier"),
        ((FILM, "--classifier", "corner.pt2", "-d", "none.h5"), "none.h5"),
    ],
)
def test_mistakes_are_one_sentence(arguments: tuple[object, ...], said: str, corner: Path) -> None:
    result = run("explain", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_a_direction_raises_the_score_that_it_was_found_with(corner: Path) -> None:
    result = run("direction", "--from-classifier", corner, "--n", 40, "--hold", "", "-o", "sick.h5", "--json")
    assert result.exit_code == 0, result.output
    found = read_direction(Path("sick.h5"))
    assert found.name == "Sick"
    assert found.method.startswith("classifier corner.pt2 [")
    assert found.statistics["rise_per_unit"] > 0
    from cxredit_cli.latent.random_codes import random_codes
    from cxredit_cli.storage.any_classifier import load_score
    from cxredit_cli.storage.models import load_model

    generator, score = load_model(None).generator, load_score(str(corner), None)
    w = random_codes(generator, 7, range(8))
    with torch.no_grad():
        before = score.log_odds(generator.synthesis(w))
        after = score.log_odds(generator.synthesis(w + 3 * torch.from_numpy(found.direction)))
    assert (after > before).all()


def test_a_classifier_is_one_way_to_a_direction(corner: Path) -> None:
    for arguments, said in (
        (("--from-classifier", corner, "--from-measure", "ctr"), "not both"),
        (("--from-measure", "ctr", "--class", "Sick"), "--class goes with --from-classifier"),
        (("--from-classifier", corner, "--how", "svm"), "gradients or regression"),
        (("--from-classifier", corner, "--hold", "fever"), "'fever' is no measure"),
    ):
        result = run("direction", *arguments)
        assert result.exit_code == 2
        assert said in " ".join(result.output.split())


def test_regression_serves_a_classifier_without_gradients(
    corner: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from dataclasses import replace

    from cxredit_cli.storage import any_classifier

    whole = any_classifier.load_score

    def blind(given: str, wanted: str | None, device: torch.device | str = "cpu") -> object:
        return replace(whole(given, wanted, device), differentiable=False, weights=None)

    monkeypatch.setattr(any_classifier, "load_score", blind)
    result = run("explain", FILM, "--classifier", corner)
    assert result.exit_code == 2
    assert "has no gradients (ONNX); give a direction with -d" in " ".join(result.output.split())
    result = run("direction", "--from-classifier", corner, "--how", "gradients", "--n", 60)
    assert result.exit_code == 2
    assert "use --how regression" in result.output
    result = run("direction", "--from-classifier", corner, "--n", 64, "--hold", "")
    assert result.exit_code == 0, result.output
    assert "regression" in read_direction(Path("direction.h5")).method


def test_a_notebook_explains_too(corner: Path) -> None:
    import cxredit_cli as cx

    score = cx.load_classifier(corner)
    assert score.wanted == "Sick"
    found = cx.explain(cx.load_model(), score, cx.read_film(FILM), target=0.4, method="encoder")
    assert found.across.reached
    assert found.shares["elsewhere"] > 0.8
