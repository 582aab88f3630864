"""Classifiers that somebody brings: what they are given, what their answers mean, and what is refused."""

import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cxredit_cli.errors import InputError
from cxredit_cli.metrics.classification import classify
from cxredit_cli.networks.any_classifier import InputForm
from cxredit_cli.storage.any_classifier import load_score
from cxredit_cli.storage.classifier_network import BUNDLED_CLASSIFIER, load_classifier
from tests.storage.classifier_files import Bright, describe, write_pt2, write_torchscript


def pictures() -> Tensor:
    """Black, and white in the right half: [2, 1, 64, 64] in [-1, 1]."""
    images = torch.full((2, 1, 64, 64), -1.0)
    images[1, :, :, 32:] = 1
    return images


@pytest.mark.parametrize("write", [write_pt2, write_torchscript])
def test_a_program_gives_the_log_odds_of_the_class_that_is_asked_for(write: types.FunctionType, tmp_path: Path) -> None:
    path = write(tmp_path / ("mine.pt2" if write is write_pt2 else "mine.pt"))
    score = load_score(str(path), "Right")
    assert score.log_odds(pictures()).tolist() == pytest.approx([-4, 4], abs=0.3)  # gain 8 of 0 and of 1, less 4
    assert load_score(str(path), "Left").log_odds(pictures()).tolist() == pytest.approx([-4, -4], abs=0.3)
    images = (0.9 * pictures()).requires_grad_()  # what is saturated has no gradient
    (gradient,) = torch.autograd.grad(score.log_odds(images).sum(), images)
    assert gradient[..., 32:].sum().item() == pytest.approx(2 * 8 / 2, rel=0.1)  # grey is half of [-1, 1]
    assert gradient[..., :31].abs().max() < 1e-6


def test_what_a_picture_becomes_is_what_the_json_says() -> None:
    form = InputForm(size=8, channels=3, black=0, white=255, mean=(10, 20, 30), std=(1, 2, 4))
    seen = form.prepare(torch.zeros(1, 1, 8, 8))
    assert seen.shape == (1, 3, 8, 8)
    assert seen[0, :, 0, 0].tolist() == pytest.approx([117.5, 53.75, 24.375])
    # A checkerboard that is finer than the input is grey to it, not what happens to lie at its grid.
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 2.0 - 1
    assert InputForm(size=16).prepare(board[None, None])[..., 2:-2, 2:-2].std() < 0.01


@pytest.mark.parametrize(("output", "expected"), [("probabilities", math.log(0.2 / 0.8)), ("softmax", -1.0)])
def test_probabilities_and_exclusive_classes_become_log_odds(output: str, expected: float, tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.answer = nn.Parameter(torch.tensor([0.2, 0.7] if output == "probabilities" else [0.5, 1.5]))

        def forward(self, images: Tensor) -> Tensor:
            return self.answer + 0 * images.mean((1, 2, 3))[:, None]

    score = load_score(str(write_pt2(tmp_path / "mine.pt2", Fixed(), output=output)), "Left")
    assert score.log_odds(pictures()).tolist() == pytest.approx([expected] * 2, abs=1e-5)


def test_a_program_for_one_picture_is_asked_about_one_at_a_time(tmp_path: Path) -> None:
    score = load_score(str(write_pt2(tmp_path / "mine.pt2", batch=1)), "Right")
    assert score.log_odds(pictures()).tolist() == pytest.approx([-4, 4], abs=0.3)


def test_the_only_class_needs_no_name(tmp_path: Path) -> None:
    class One(Bright):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images)[:, 0]  # [N], not [N, 1]

    score = load_score(str(write_pt2(tmp_path / "mine.pt2", One(), classes=["Left"])), None)
    assert score.wanted == "Left"
    assert score.log_odds(pictures()).shape == (2,)


class Nan(Bright):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) / 0 * 0


@pytest.mark.parametrize(
    ("changes", "wanted", "said"),
    [
        ({"classes": None}, "Left", "'classes' must be a list of names, but it is null"),
        ({"classes": ["Left", "Left"]}, "Left", "each once"),
        ({"size": 4}, "Left", "8 to 4096"),
        ({"size": "32"}, "Left", "'size' must be"),
        ({"channels": 2}, "Left", "'channels' must be 1 or 3"),
        ({"output": "scores"}, "Left", "logits, probabilities, softmax"),
        ({"range": [1, 1]}, "Left", "black and white"),
        ({"mean": [0.5]}, "Left", "'std' must be 1 number"),
        ({"mean": [0.5], "std": [0]}, "Left", "'std' must be positive"),
        ({"classes": ["A", "B", "C"]}, "A", r"returns the shape \[2, 2\] for 2 images, but its JSON names 3"),
        ({"resolution": 32}, "Left", "'resolution'; known are"),
        ({"channels": 3}, "Left", r"does not take an input of shape \[2, 3, 32, 32\]"),
        ({"output": "probabilities"}, "Left", "which are no probabilities"),
        ({}, None, "Left, Right, and none is named"),
        ({}, "Effusion", "'Effusion' is none of them"),
    ],
)
def test_a_description_that_does_not_fit_is_one_sentence(
    changes: dict[str, object], wanted: str | None, said: str, tmp_path: Path
) -> None:
    path = describe(write_pt2(tmp_path / "mine.pt2"), **changes)
    with pytest.raises(InputError, match=said):
        load_score(str(path), wanted)


def test_what_is_no_classifier_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no classifier"):
        load_score(str(tmp_path / "none.pt2"), None)
    with pytest.raises(InputError, match=r"expected a file of torch.export \(.pt2\)"):
        load_score(str(tmp_path / "weights.pth"), None)
    path = write_pt2(tmp_path / "mine.pt2")
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"mine.json is missing; it must say what mine.pt2 takes"):
        load_score(str(path), None)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(InputError, match="is no JSON"):
        load_score(str(path), None)
    with pytest.raises(InputError, match="values that are no numbers"):
        load_score(str(write_pt2(tmp_path / "nan.pt2", Nan())), "Left")
    describe(tmp_path / "broken.pt2").write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"is no \.pt2 file"):
        load_score(str(tmp_path / "broken.pt2"), "Left")


def test_a_classifier_of_torchxrayvision_must_have_its_weights_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchxrayvision", None)
    with pytest.raises(InputError, match="pip install torchxrayvision"):
        load_score("torchxrayvision:densenet121-res224-all", "Effusion")

    class Standing(nn.Module):
        """Stands for a network of the package: its targets have gaps, its input is -1024 to 1024."""

        targets = ("Effusion", "", "Mass")

        def forward(self, images: Tensor) -> Tensor:
            assert images.min() >= -1024
            assert images.max() > 1000
            value = (images.mean((1, 2, 3)) / 1024 + 1) / 2
            return torch.stack([value, torch.full_like(value, torch.nan), 1 - value], dim=1)

    package = types.SimpleNamespace(
        models=types.SimpleNamespace(
            model_urls={"densenet121-res224-all": {"weights_url": "https://example.org/a.pt"}},
            get_model=lambda name: Standing(),
        ),
        utils=types.SimpleNamespace(get_cache_dir=lambda: str(tmp_path)),
    )
    monkeypatch.setitem(sys.modules, "torchxrayvision", package)
    with pytest.raises(InputError, match="has no classifier 'resnet9'"):
        load_score("torchxrayvision:resnet9", "Effusion")
    with pytest.raises(InputError, match=r"are not on this machine .* download https://example.org/a.pt to"):
        load_score("torchxrayvision:densenet121-res224-all", "Effusion")
    (tmp_path / "a.pt").write_bytes(b"weights")
    score = load_score("torchxrayvision:densenet121-res224-all", "Mass")
    assert score.log_odds(pictures()).tolist() == pytest.approx([math.log((1 - 1e-6) / 1e-6), 0], abs=0.05)


def test_onnx_gives_the_same_answers_and_no_gradients(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    half = onnx.numpy_helper.from_array(np.full((1, 2), 0.5, np.float32), "half")
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
            helper.make_node("Mul", ["column", "half"], ["scores"]),
        ],
        "mine",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["N", 1, 32, 32])],
        [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["N", 2])],
        [half, onnx.numpy_helper.from_array(np.array([1]), "one")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = describe(tmp_path / "mine.onnx")
    path.write_bytes(model.SerializeToString())
    score = load_score(str(path), "Right")
    assert score.log_odds(pictures()).tolist() == pytest.approx([0, 0.25], abs=0.01)
    assert not score.differentiable
    path.write_bytes(b"no model")
    with pytest.raises(InputError, match="is no ONNX file"):
        load_score(str(path), "Right")


def test_onnx_without_onnxruntime_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    describe(tmp_path / "mine.onnx").write_bytes(b"")
    with pytest.raises(InputError, match=r"pip install 'cxredit\[onnx\]'"):
        load_score(str(tmp_path / "mine.onnx"), "Right")


def test_the_package_s_own_kind_describes_itself() -> None:
    score = load_score(str(BUNDLED_CLASSIFIER), None)
    assert (score.wanted, score.form.size, score.differentiable) == ("Cardiomegaly", 128, True)
    images = torch.rand(2, 1, 128, 128, requires_grad=True)
    found = score.log_odds(images)
    expected = classify(load_classifier(BUNDLED_CLASSIFIER).network, images.detach())  # whatever its contrast
    assert found.detach().numpy() == pytest.approx(expected, abs=1e-4)
    (gradient,) = torch.autograd.grad(found.sum(), images)
    assert gradient.abs().sum() > 0
    assert score.weights is not None


def test_another_safetensors_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match="holds no classifier of version 1"):
        load_score(str(BUNDLED_CLASSIFIER.with_name("intake.safetensors")), None)
