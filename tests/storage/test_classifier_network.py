"""A classifier's file: whole with what it is for, and refused where it is something else."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cxredit_cli.errors import InputError
from cxredit_cli.networks.classifier import Classifier, ClassifierConfig
from cxredit_cli.storage.classifier_network import (
    BUNDLED_CLASSIFIER,
    bundled_classifier,
    load_classifier,
    save_classifier,
)


def test_one_file_holds_the_network_and_what_it_is_for(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Classifier(ClassifierConfig(32, width=8)).eval()
    torch.nn.init.normal_(network.head.weight)
    path = tmp_path / "judge.safetensors"
    save_classifier(path, network, {"positive": "Large", "auc": 0.8}, torch.float32)
    found = load_classifier(path)
    images = torch.rand(2, 1, 32, 32)
    assert torch.equal(found.network(images), network(images))
    assert (found.name, found.info["positive"], found.info["auc"]) == ("judge.safetensors", "Large", 0.8)
    assert not found.network.training
    assert not any(parameter.requires_grad for parameter in found.network.parameters())
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_classifier_is_refused_in_a_sentence(tmp_path: Path) -> None:
    other, text, damaged = (tmp_path / name for name in ("other.safetensors", "text.safetensors", "damaged"))
    save_file({"a": torch.zeros(1)}, other)
    text.write_text("no tensors")
    save_classifier(damaged, Classifier(ClassifierConfig(32, width=8)), {})
    damaged.write_bytes(damaged.read_bytes().replace(b'\\"depth\\": 18', b'\\"depth\\": 34'))
    for path, words in {
        other: "holds no classifier",
        text: "does not hold the classifier",
        damaged: "does not hold the classifier",
        tmp_path / "none": "There is no classifier",
        tmp_path: "There is no classifier",
    }.items():
        with pytest.raises(InputError, match=words):
            load_classifier(path)


def test_the_bundled_one_is_for_models_of_its_images_resolution() -> None:
    found = bundled_classifier(128)
    assert found is not None
    assert found.info["positive"] == "Cardiomegaly"
    assert 0.8 < found.info["by_folds"]["auc"] < 1
    assert "NIH Clinical Center" in found.info["data"]
    assert bundled_classifier(32) is None
    assert BUNDLED_CLASSIFIER.stat().st_size < 2e6


def test_it_takes_no_part_in_finding_a_direction() -> None:
    package = BUNDLED_CLASSIFIER.parents[1]
    for folder in ("latent", "inversion", "training"):
        for module in (package / folder).glob("*.py"):
            text = module.read_text()
            assert not [name for name in ("networks.classifier", "storage.classifier", "classifying") if name in text]
