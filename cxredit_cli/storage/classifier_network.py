"""A classifier on disk: one safetensors file, whose header says what it is and what it was trained for."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from cxredit_cli.atomic import written_aside
from cxredit_cli.errors import InputError
from cxredit_cli.networks.classifier import Classifier, ClassifierConfig

# Cardiomegaly against No Finding. It judges directions and never takes part in finding or steering one.
BUNDLED_CLASSIFIER = Path(__file__).parent.parent / "bundled" / "classifier_judge.safetensors"
SCHEMA, VERSION, KEY = "cxredit-classifier", 1, "cxredit"


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
    state = {key: value.detach().to("cpu", dtype).contiguous() for key, value in network.state_dict().items()}
    document = {"schema": SCHEMA, "version": VERSION, "architecture": asdict(network.config), **info}
    with written_aside(path) as aside:
        save_file(state, aside, metadata={KEY: json.dumps(document)})


def load_classifier(path: Path, device: torch.device | str = "cpu") -> TrainedClassifier:
    """The classifier in `path`, in eval mode and without gradients. Raises InputError."""
    if not path.is_file():
        raise InputError(f"There is no classifier {path}; make one with examples/train_classifier.py.")
    try:
        with safe_open(path, framework="pt") as file:
            document = json.loads((file.metadata() or {}).get(KEY, "{}"))
        if document.get("schema") != SCHEMA or document.get("version") != VERSION:
            raise InputError(
                f"{path} holds no classifier of version {VERSION}; make one with examples/train_classifier.py."
            )
        network = Classifier(ClassifierConfig(**document["architecture"]))
        network.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} does not hold the classifier that its header describes: {first}") from None
    return TrainedClassifier(network.to(device).eval().requires_grad_(False), document, path.name)


def bundled_classifier(resolution: int, device: torch.device | str = "cpu") -> TrainedClassifier | None:
    """The one that comes with the package, for models of the resolution of the images that it learnt from."""
    found = load_classifier(BUNDLED_CLASSIFIER, device)
    return found if found.info["dataset_resolution"] == resolution else None
