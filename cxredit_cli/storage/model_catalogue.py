"""Which models are at hand, and what each brings."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxredit_cli.errors import CxreditError, InputError, MismatchError
from cxredit_cli.storage.anatomy_network import load_anatomy
from cxredit_cli.storage.directions import read_direction
from cxredit_cli.storage.models import BUNDLED, DISCRIMINATOR, ENCODER, GENERATOR, find_model, load_model, read_info

LOCAL = Path("model")
PER_UNIT = "_per_unit"  # ends the names of a direction's statistics that say what a strength of 1 does


@dataclass(frozen=True, slots=True)
class DirectionEntry:
    """A direction in a model's folder."""

    name: str  # of its file; `--direction` takes the file
    grows: str  # what grows along it
    method: str
    per_unit: dict[str, float]  # what a strength of 1 changes, as far as it is stored


@dataclass(slots=True)
class ModelEntry:
    """A model that loads. `problems` name what does not belong to it or cannot be used."""

    path: str
    name: str
    fingerprint: str
    resolution: int
    default: bool  # whether commands use it without --model
    bundled: bool
    kimg: float | None  # thousand images of training, None where model.json does not say
    megabytes: float  # 10^6 bytes of the files that using it needs, without those of training
    encoder: bool
    discriminator: bool
    anatomy: bool
    directions: list[DirectionEntry]
    data: dict[str, Any]  # what model.json says of the training images
    problems: list[str] = field(default_factory=list)


def list_models(folders: Sequence[Path] = ()) -> tuple[list[ModelEntry], list[tuple[str, str]]]:
    """./model if there is one, the bundled model and `folders`, each once; and those that cannot be used, with why."""
    known = [folder for folder in (LOCAL, BUNDLED) if (folder / "model.json").is_file()]
    distinct: dict[Path, Path] = {}
    for folder in (*known, *folders):
        distinct.setdefault(folder.resolve(), folder)
    entries, failed = [], []
    for folder in distinct.values():
        try:
            entries.append(describe_model(folder))
        except (CxreditError, OSError) as error:
            failed.append((str(folder), str(error)))
    return entries, failed


def describe_model(folder: Path) -> ModelEntry:
    """Load every network of a model folder once and say what it brings. Raises InputError for one that is damaged."""
    info = read_info(find_model(folder))
    parts = [GENERATOR, DISCRIMINATOR]
    if info.get("encoder_for") == info.get("fingerprint"):
        parts.append(ENCODER)
    model = load_model(folder, parts=parts)
    problems = []
    if info.get("fingerprint") != model.fingerprint:
        problems.append(f"model.json says {info.get('fingerprint')}, but the weights are {model.fingerprint}")
    if ENCODER in info and model.encoder is None:
        problems.append(f"its encoder is for the generator {info.get('encoder_for')}; run `cxredit train-encoder`")
    directions = _directions(folder, model.fingerprint, problems)
    training = info.get("training")
    return ModelEntry(
        path=str(folder),
        name=str(info.get("name", folder.name)),
        fingerprint=model.fingerprint,
        resolution=model.generator.resolution,
        default=folder.resolve() == find_model(None).resolve(),
        bundled=folder.resolve() == BUNDLED.resolve(),
        kimg=training.get("kimg") if isinstance(training, dict) else None,
        megabytes=round(_size(folder) / 1e6, 1),
        encoder=model.encoder is not None,
        discriminator=model.discriminator is not None,
        anatomy=_has_anatomy(folder, problems),
        directions=directions,
        data=dict(info["data"]) if isinstance(info.get("data"), dict) else {},
        problems=problems,
    )


def _directions(folder: Path, fingerprint: str, problems: list[str]) -> list[DirectionEntry]:
    entries = []
    for path in sorted((folder / "directions").glob("*.h5")):
        try:
            direction = read_direction(path)
            direction.check_generator(fingerprint, path)
        except MismatchError:
            problems.append(f"{path.name} is a direction of the generator {direction.fingerprint}")
            continue
        except InputError as error:
            problems.append(str(error).rstrip("."))
            continue
        per_unit = {
            name.removesuffix(PER_UNIT): float(value)
            for name, value in direction.statistics.items()
            if name.endswith(PER_UNIT) and isinstance(value, int | float)
        }
        entries.append(DirectionEntry(path.stem, direction.name, direction.method, per_unit))
    return entries


def _has_anatomy(folder: Path, problems: list[str]) -> bool:
    path = folder / "anatomy.safetensors"
    if not path.is_file():
        return False
    try:
        load_anatomy(path)
    except InputError as error:
        problems.append(str(error).rstrip("."))
        return False
    return True


def _size(folder: Path) -> int:
    files = [*folder.glob("*.safetensors"), *folder.glob("*.json"), *(folder / "directions").glob("*.h5")]
    return sum(path.stat().st_size for path in files)
