"""A model is a folder: safetensors weights, model.json, optionally directions. Loading one never runs code from it."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cxredit_cli.atomic import written_aside
from cxredit_cli.errors import InputError, MismatchError
from cxredit_cli.networks.discriminator import Discriminator, DiscriminatorConfig
from cxredit_cli.networks.encoder import Encoder, EncoderConfig
from cxredit_cli.networks.generator import Generator, GeneratorConfig
from cxredit_cli.networks.layers import architecture
from cxredit_cli.radiographs.sources import printable
from cxredit_cli.storage.typed_values import typed

BUNDLED = Path(__file__).parent.parent / "bundled"
SCHEMA_VERSION = 1
Part = str
N = TypeVar("N", bound=torch.nn.Module)
MOST_OF_A_NETWORK = 2**17  # channels, layers, pixels a side
GENERATOR, DISCRIMINATOR, ENCODER = "generator", "discriminator", "encoder"


@dataclass
class Model:
    """The loaded networks of a folder, in eval mode and without gradients, and what model.json says of them."""

    path: Path
    generator: Generator
    fingerprint: str
    info: dict[str, Any] = field(default_factory=dict)
    encoder: Encoder | None = None
    discriminator: Discriminator | None = None

    @property
    def name(self) -> str:
        """What outputs call this model: its name and fingerprint."""
        return printable(f"{self.info.get('name', self.path.name)} [{self.fingerprint}]")

    @property
    def data_source(self) -> str:
        """Whom the images come from that it was trained on; "" where model.json does not say."""
        return str(self.info.get("data", {}).get("source", ""))


def find_model(path: Path | None) -> Path:
    """The folder to use: `path`, else ./model if it holds a model, else the model bundled with the package."""
    if path is not None:
        if not (path / "model.json").is_file():
            raise InputError(f"{path} is no model: expected a folder with model.json; `cxredit train-gan` makes one.")
        return path
    for folder in (Path("model"), BUNDLED):
        if (folder / "model.json").is_file():
            return folder
    raise InputError(
        "There is no model in ./model and none is bundled; train one with `cxredit train-gan`, or use --model."
    )


def load_model(
    path: Path | None, device: torch.device | str = "cpu", parts: Collection[Part] = (GENERATOR, ENCODER)
) -> Model:
    """Load the networks named in `parts` from a folder (see `find_model`); parts that it lacks are None.

    Raises InputError when the folder holds no model or a damaged one, MismatchError when its encoder was trained for
    another generator.
    """
    folder = find_model(path)
    info = read_info(folder)
    weights = _read_weights(folder / "generator.safetensors")
    generator = _build(Generator, GeneratorConfig, info, GENERATOR, folder)
    model = Model(folder, generator, fingerprint(weights), info)
    _load(generator, weights, folder)
    # model.json is written last, so what it does not name was not finished.
    if ENCODER in parts and ENCODER in info:
        owner = info.get("encoder_for")
        if owner != model.fingerprint:
            raise MismatchError(
                f"The encoder in {folder} was trained for the generator {owner}, but the generator there is "
                f"{model.fingerprint} now; run `cxredit train-encoder` again, or delete the encoder's entries."
            )
        model.encoder = _build(Encoder, EncoderConfig, info, ENCODER, folder)
        _load(model.encoder, _read_weights(folder / "encoder.safetensors"), folder)
    if DISCRIMINATOR in parts and DISCRIMINATOR in info:
        model.discriminator = _build(Discriminator, DiscriminatorConfig, info, DISCRIMINATOR, folder)
        _load(model.discriminator, _read_weights(folder / "discriminator.safetensors"), folder)
    for network in (model.generator, model.encoder, model.discriminator):
        if network is not None:
            network.to(device).eval().requires_grad_(False)
    return model


def save_generator(
    folder: Path, generator: Generator, info: Mapping[str, Any], dtype: torch.dtype | None = None
) -> None:
    """Write generator.safetensors and model.json; `info` is merged into what model.json says already.

    `dtype` stores the weights in another precision (torch.float16 halves the file).
    """
    weights = _cast(generator.state_dict(), dtype)
    folder.mkdir(parents=True, exist_ok=True)
    _write_weights(folder / "generator.safetensors", weights)
    _merge_info(
        folder,
        {**info, GENERATOR: asdict(generator.config, dict_factory=architecture), "fingerprint": fingerprint(weights)},
    )


def save_discriminator(folder: Path, discriminator: Discriminator, dtype: torch.dtype | None = None) -> None:
    """Write discriminator.safetensors, and its configuration into model.json."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: v for k, v in discriminator.state_dict().items() if not k.startswith("fade_from_rgb.")}
    _write_weights(folder / "discriminator.safetensors", _cast(weights, dtype))
    _merge_info(folder, {DISCRIMINATOR: asdict(discriminator.config, dict_factory=architecture)})


def save_encoder(folder: Path, encoder: Encoder, info: Mapping[str, Any], dtype: torch.dtype | None = None) -> None:
    """Write encoder.safetensors, and its configuration, generator and `info` (as `encoder_info`) into model.json."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_weights(folder / "encoder.safetensors", _cast(encoder.state_dict(), dtype))
    owner = fingerprint(_read_weights(folder / "generator.safetensors"))
    _merge_info(folder, {ENCODER: asdict(encoder.config), "encoder_info": dict(info), "encoder_for": owner})


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """16 hex digits of the SHA-256 over the names, types, shapes and values of tensors as they are stored."""
    digest = hashlib.sha256()
    for key in sorted(weights):
        tensor = weights[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def read_info(folder: Path) -> dict[str, Any]:
    """What model.json of a folder says."""
    try:
        info = json.loads((folder / "model.json").read_text())
    except ValueError as error:
        raise InputError(f"{folder / 'model.json'} is not JSON ({error}); restore it or train again.") from None
    if not isinstance(info, dict) or info.get("schema_version") != SCHEMA_VERSION:
        found = info.get("schema_version") if isinstance(info, dict) else type(info).__name__
        raise InputError(f"{folder / 'model.json'}: expected schema_version {SCHEMA_VERSION}, found {found}.")
    return info


def _merge_info(folder: Path, info: Mapping[str, Any]) -> None:
    path = folder / "model.json"
    merged = {**(read_info(folder) if path.is_file() else {}), **info, "schema_version": SCHEMA_VERSION}
    with written_aside(path) as partial:
        partial.write_text(json.dumps(merged, indent=2) + "\n")


def _build(network: Callable[[Any], N], kind: type[Any], info: Mapping[str, Any], part: Part, folder: Path) -> N:
    try:
        return network(typed(kind, dict(info[part]), least=1, most=MOST_OF_A_NETWORK))
    except (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise InputError(f"{folder / 'model.json'}: the entry '{part}' does not describe a {part} ({error}).") from None


def _cast(state: Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    return {k: (v if dtype is None else v.to(dtype)).detach().cpu().contiguous() for k, v in state.items()}


def _write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    with written_aside(path) as partial:
        save_file(dict(weights), partial)


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except FileNotFoundError:
        raise InputError(f"{path} is missing; a model folder needs it.") from None
    except SafetensorError as error:
        raise InputError(f"{path} is no whole safetensors file ({error}); restore it or train again.") from None


def _load(network: torch.nn.Module, weights: Mapping[str, Tensor], folder: Path) -> None:
    try:
        network.load_state_dict({key: value.float() for key, value in weights.items()})
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise InputError(f"The weights in {folder} do not fit its model.json: {first}") from None
