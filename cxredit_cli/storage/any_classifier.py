"""Anybody's classifier from a file: a program of torch.export (.pt2), TorchScript (.pt) or ONNX, described by a JSON.

The JSON lies beside the file, with the same stem, and says what a picture must be made into and what the answer means
(docs/how-to/explain.md). A file of `classifier_network` (.safetensors) describes itself. `torchxrayvision:NAME` stands
for a classifier of that package where it is installed.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from cxredit_cli.atomic import write_text, written_aside
from cxredit_cli.errors import CxreditError, InputError
from cxredit_cli.networks.any_classifier import ClassifierScore, InputForm, Output
from cxredit_cli.networks.classifier import PreparedClassifier
from cxredit_cli.storage.classifier_network import load_classifier
from cxredit_cli.storage.safe_programs import load_program, load_torchscript

KNOWN = {"classes", "size", "channels", "range", "mean", "std", "output", "description"}
XRAYVISION = "torchxrayvision:"
OWN = ".safetensors"
KINDS = (".pt2", ".pt", ".onnx", OWN)
LARGEST_SIZE = 4096

Run = Callable[[Tensor], Tensor]
Weights = Callable[[], dict[str, Tensor]]
Loaded = tuple[InputForm, tuple[str, ...], Output, Run, Weights | None]  # without weights: not differentiable


def load_score(
    given: str, wanted: str | None, device: torch.device | str = "cpu", any_class: bool = False
) -> ClassifierScore:
    """The log-odds of the class `wanted` (None: the only one) by the classifier that `given` names, in eval mode.

    `any_class` is for those who ask about all classes: of several the first is taken where none is named. It is tried
    on two grey pictures, so that what does not fit is said here. Raises InputError.
    """
    if given.startswith(XRAYVISION):
        score = _xrayvision(given.removeprefix(XRAYVISION), wanted, device, any_class)
    else:
        path = Path(given)
        if path.suffix not in KINDS:
            raise InputError(
                f"--classifier {given}: expected a file of torch.export (.pt2), TorchScript (.pt) or ONNX (.onnx), "
                f"one of examples/train_classifier.py (.safetensors), or {XRAYVISION}NAME."
            )
        if not path.is_file():
            raise InputError(f"There is no classifier {path}.")
        form, classes, output, run, weights = (_own if path.suffix == OWN else _described)(path, device)
        sha = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        name = choose_class(path.name, classes, wanted, any_class)
        score = ClassifierScore(run, form, output, classes, name, path.name, sha, weights is not None, weights)
    return _tried(score, device)


def read_description(path: Path) -> tuple[InputForm, tuple[str, ...], Output]:
    """What the JSON beside a classifier says: its input, its classes, its output. Raises InputError."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise InputError(
            f"{beside} is missing; it must say what {path.name} takes and gives, such as "
            '{"classes": ["Effusion"], "size": 224, "channels": 1, "range": [0, 1], "output": "logits"}.'
        )
    try:
        document = json.loads(beside.read_text())
    except ValueError as error:
        raise InputError(f"{beside} is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise InputError(f"{beside} must hold one JSON object, not {type(document).__name__}.")
    unknown = sorted(set(document) - KNOWN)
    if unknown:
        raise InputError(f"{beside} has '{unknown[0]}'; known are {', '.join(sorted(KNOWN))}.")

    def refuse(key: str, expected: str) -> InputError:
        return InputError(f"{beside}: '{key}' must be {expected}, but it is {json.dumps(document.get(key))}.")

    classes, size, channels = document.get("classes"), document.get("size"), document.get("channels", 1)
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) and name for name in classes):
        raise refuse("classes", "a list of names")
    if len(set(classes)) < len(classes):
        raise refuse("classes", "a list of names, each once")
    if not isinstance(size, int) or isinstance(size, bool) or not 8 <= size <= LARGEST_SIZE:
        raise refuse("size", f"the side of its input in pixels, 8 to {LARGEST_SIZE}")
    if channels not in (1, 3):
        raise refuse("channels", "1 or 3")
    output = document.get("output")
    if output not in get_args(Output):
        raise refuse("output", f"one of {', '.join(get_args(Output))}")
    if output == "softmax" and len(classes) < 2:
        raise refuse("classes", "two names or more where the output is softmax")
    span = document.get("range", [0, 1])
    if not _are_numbers(span, 2) or span[0] == span[1]:
        raise refuse("range", "the two values of black and white, such as [0, 255]")
    mean, std = document.get("mean", []), document.get("std", [])
    for key, value in (("mean", mean), ("std", std)):
        if (mean or std) and not _are_numbers(value, channels):
            raise refuse(
                key, f"{channels} number{'s' if channels > 1 else ''}, one a channel, beside the other of mean and std"
            )
    if any(value <= 0 for value in std):
        raise refuse("std", "positive")
    form = InputForm(size, channels, float(span[0]), float(span[1]), tuple(map(float, mean)), tuple(map(float, std)))
    return form, tuple(classes), cast(Output, output)


def choose_class(file: str, classes: tuple[str, ...], wanted: str | None, any_class: bool = False) -> str:
    """The class that is meant; raises InputError where there is none such, or several and none is named."""
    if wanted is None and (any_class or len(classes) == 1):
        return classes[0]
    if wanted not in classes:
        named = "none is named" if wanted is None else f"'{wanted}' is none of them"
        raise InputError(f"{file} knows {', '.join(classes)}, and {named}; choose one with --class.")
    return wanted


def write_program(path: Path, network: nn.Module, size: int, classes: Sequence[str]) -> None:
    """Write a network of grey pictures in 0..1, [N, 1, size, size] -> log-odds [N, classes], as .pt2 with its JSON."""
    example, free = torch.rand(2, 1, size, size), ({0: torch.export.Dim.DYNAMIC},)
    contiguous = network.cpu().to(memory_format=torch.contiguous_format).eval()
    program = torch.export.export(contiguous, (example,), dynamic_shapes=free)
    with written_aside(path) as aside, aside.open("wb") as file:
        torch.export.save(program, file)
    described = {"classes": list(classes), "size": size, "channels": 1, "range": [0, 1], "output": "logits"}
    write_text(path.with_suffix(".json"), json.dumps(described, indent=2) + "\n")


def _own(path: Path, device: torch.device | str) -> Loaded:
    """A classifier of examples/train_classifier.py: it makes the contrast alike itself."""
    trained = load_classifier(path, device)
    size = int(trained.info.get("dataset_resolution", trained.network.config.resolution))
    run, weights = _of_module(PreparedClassifier(trained.network), device)
    return InputForm(size), (str(trained.info.get("positive", path.stem)),), "logits", run, weights


def _described(path: Path, device: torch.device | str) -> Loaded:
    """A program with its JSON beside it."""
    description = read_description(path)
    if path.suffix == ".onnx":
        return *description, _onnx(path), None
    module = load_program(path, device) if path.suffix == ".pt2" else load_torchscript(path)
    return *description, *_of_module(module, device)


def _of_module(module: nn.Module, device: torch.device | str) -> tuple[Run, Weights]:
    module.to(device)
    for parameter in module.parameters():
        parameter.requires_grad_(False)

    def run(values: Tensor) -> Tensor:
        return cast(Tensor, module(values.to(device)))

    return run, lambda: dict(module.named_parameters())


def _onnx(path: Path) -> Run:
    try:
        import onnxruntime
    except ImportError:
        raise InputError(f"{path} needs onnxruntime; install it with `pip install 'cxredit[onnx]'`.") from None
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class
        raise InputError(
            f"{path} is no ONNX file that onnxruntime can run: {str(error).splitlines()[0][:200]}"
        ) from None
    (taken, *more) = session.get_inputs()
    if more:
        raise InputError(f"{path} takes {1 + len(more)} inputs; expected one, the pictures.")

    def run(values: Tensor) -> Tensor:
        (found, *_) = session.run(None, {taken.name: np.ascontiguousarray(values.detach().cpu().numpy())})
        return torch.from_numpy(np.asarray(found))

    return run


def _xrayvision(name: str, wanted: str | None, device: torch.device | str, any_class: bool) -> ClassifierScore:
    """A classifier of torchxrayvision: the package is the user's own, and its weights must be on this machine."""
    try:
        import torchxrayvision as xrv
    except ImportError:
        raise InputError(
            f"{XRAYVISION}{name} needs the package torchxrayvision; install it with `pip install torchxrayvision`."
        ) from None
    known = {key: value for key, value in xrv.models.model_urls.items() if key.startswith(("densenet", "resnet"))}
    if name not in known:
        raise InputError(f"torchxrayvision has no classifier '{name}'; use one of {', '.join(sorted(known))}.")
    address = str(known[name]["weights_url"])
    weights = Path(xrv.utils.get_cache_dir()).expanduser() / address.rsplit("/", 1)[-1]
    if not weights.is_file():
        raise InputError(
            f"The weights of {XRAYVISION}{name} are not on this machine and are not fetched by themselves; download "
            f"{address} to {weights}."
        )
    module = xrv.models.get_model(name).eval()
    classes = tuple(label for label in module.targets if label)
    columns = [index for index, label in enumerate(module.targets) if label]
    form = InputForm(int(known[name].get("input_resolution", 224)), 1, -1024.0, 1024.0)
    run, parameters = _of_module(module, device)

    def chosen(values: Tensor) -> Tensor:
        return run(values)[:, columns]

    found = choose_class(f"{XRAYVISION}{name}", classes, wanted, any_class)
    sha = hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
    # With its operating points, an answer of .5 is the threshold that the package's authors chose.
    return ClassifierScore(chosen, form, "probabilities", classes, found, f"{XRAYVISION}{name}", sha, True, parameters)


@torch.no_grad()
def _tried(score: ClassifierScore, device: torch.device | str) -> ClassifierScore:
    """The score, if it answers two pictures; else one that is asked about one at a time, if that works."""
    size = score.form.size
    ramp = torch.linspace(-1, 1, size, device=device).expand(1, 1, size, size)
    pictures = torch.cat([ramp, -ramp])
    try:
        score.log_odds(pictures)
    except InputError:
        raise
    except Exception as error:  # of any kind: it is the classifier's own
        alone = _one_at_a_time(score)
        try:
            alone.log_odds(pictures)
        except CxreditError:
            raise
        except Exception:
            shape = [2, score.form.channels, size, size]
            text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise InputError(
                f"{score.file} does not take an input of shape {shape}, which its JSON says: {text}"
            ) from None
        return alone
    return score


def _one_at_a_time(score: ClassifierScore) -> ClassifierScore:
    """For programs that were exported for a batch of one."""
    return replace(score, run=lambda values: torch.cat([score.run(one) for one in torch.split(values, 1)]))


def _are_numbers(value: Any, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(one, int | float) and not isinstance(one, bool) and np.isfinite(one) for one in value)
    )
