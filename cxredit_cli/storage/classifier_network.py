"""A classifier on disk, with what it was trained for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cxredit_cli.networks.classifier import Classifier, ClassifierConfig
from cxredit_cli.storage.described_weights import load_described, save_described

# Cardiomegaly against No Finding. It judges directions and never takes part in finding or steering one.
BUNDLED_CLASSIFIER = Path(__file__).parent.parent / "bundled" / "classifier_judge.safetensors"
SCHEMA = "cxredit-classifier"


@dataclass(frozen=True, slots=True)
class TrainedClassifier:
    """A classifier, and what its header says of it."""

    network: Classifier
    info: dict[str, Any]  # positive, negative, view, dataset_resolution, split, auc, ...
    name: str  # of the file


def save_classifier(
    path: Path, network: Classifier, info: Mapping[str, Any], dtype: torch.dtype = torch.float16
) -> None:
    """Write the weights, and in the header the architecture and `info`."""
    save_described(path, SCHEMA, network, network.config, info, dtype)


def load_classifier(path: Path, device: torch.device | str = "cpu") -> TrainedClassifier:
    """The classifier in `path`, in eval mode and without gradients. Raises InputError."""
    network, document = load_described(
        *(path, SCHEMA, "classifier", "examples/train_classifier.py"),
        lambda **architecture: Classifier(ClassifierConfig(**architecture)),
        device,
    )
    return TrainedClassifier(network, document, path.name)


def bundled_classifier(resolution: int, device: torch.device | str = "cpu") -> TrainedClassifier | None:
    """The one that comes with the package, for models of the resolution of the images that it learnt from."""
    found = load_classifier(BUNDLED_CLASSIFIER, device)
    return found if found.info["dataset_resolution"] == resolution else None
