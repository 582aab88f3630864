"""A direction of change in one generator's latent space, on disk as HDF5.

Layout (schema `cxredit-direction`, version 1): `direction` float32 [1 or num_ws, w_dim], a unit vector, and attributes;
`calibration`, where it was calibrated, is absent before.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from cxredit_cli.errors import InputError, MismatchError
from cxredit_cli.radiographs.sources import printable
from cxredit_cli.storage.hdf5 import open_hdf5, replace_hdf5

SCHEMA = "cxredit-direction"
VERSION = 1
D = TypeVar("D", list[Any], dict[str, Any])
Carried = Literal["border", "tone"]  # how an edit is carried to a film: the heart's border moves, or tone is added


@dataclass(frozen=True, slots=True)
class Direction:
    """A unit vector of W ([1, w_dim], added to every layer) or W+ ([num_ws, w_dim]), and where it came from."""

    direction: NDArray[np.float32]  # [1 or num_ws, w_dim], Frobenius norm 1
    name: str  # what grows along it, such as "Cardiomegaly"
    method: str  # how it was found, such as "pair, encoder" or "lda"
    fingerprint: str  # of the generator that it belongs to
    sources: list[str] = field(default_factory=list)  # the images that it was found from
    statistics: dict[str, Any] = field(default_factory=dict)  # what was measured when it was found
    model: str = ""  # the model's name, for people
    calibration: dict[str, Any] = field(default_factory=dict)  # "generated", "real": what strengths do to the anatomy

    def check_generator(self, fingerprint: str, path: Path) -> None:
        """Raise MismatchError unless the direction belongs to the generator with `fingerprint`."""
        if self.fingerprint != fingerprint:
            raise MismatchError(
                f"{path} is a direction of the generator {self.fingerprint}, but the model is {fingerprint}; "
                "use the model that it was found with, or find it again with `cxredit direction` or `cxredit lda`."
            )

    @property
    def carried(self) -> Carried | None:
        """How its edits are carried over to films, as calibration found; None where nobody calibrated it."""
        kind = self.calibration.get("carried", {}).get("kind")
        return kind if kind in ("border", "tone") else None

    @property
    def digest(self) -> str:
        """12 hex digits that stand for the vector itself."""
        return hashlib.sha256(self.direction.astype("<f4").tobytes()).hexdigest()[:12]


def write_direction(path: Path, direction: Direction) -> None:
    """Write a direction file in one step."""
    with replace_hdf5(path) as file:
        file.attrs["schema"], file.attrs["version"] = SCHEMA, VERSION
        file["direction"] = direction.direction.astype(np.float32)
        for name in ("name", "method", "fingerprint", "model"):
            file.attrs[name] = printable(getattr(direction, name))
        file["sources"] = json.dumps(direction.sources)  # a dataset: attributes hold at most 64 kB
        file["statistics"] = json.dumps(direction.statistics)
        if direction.calibration:
            file["calibration"] = json.dumps(direction.calibration)


def read_direction(path: Path) -> Direction:
    """Read a direction file; raises InputError for a wrong or damaged one."""
    with open_hdf5(path, SCHEMA, VERSION) as file:
        vector = np.asarray(file["direction"][()], dtype=np.float32)
        texts = {name: str(file.attrs[name]) for name in ("name", "method", "fingerprint", "model")}
        sources, statistics = _document(file, "sources", list), _document(file, "statistics", dict)
        calibration = _document(file, "calibration", dict) if "calibration" in file else {}
        _check_calibration(calibration)
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if vector.ndim != 2 or not abs(norm - 1) < 1e-3:
        raise InputError(
            f"{path} should hold a unit vector [1 or num_ws, w_dim], but holds {list(vector.shape)} of norm "
            f"{norm:.3g}; make it again with `cxredit direction` or `cxredit lda`."
        )
    return Direction(direction=vector, sources=sources, statistics=statistics, calibration=calibration, **texts)


def _document(file: h5py.File, name: str, kind: type[D]) -> D:
    """JSON of a file, a list or an object; raises ValueError for anything else."""
    document = json.loads(file[name].asstr()[()])
    if not isinstance(document, kind):
        raise ValueError(f"its {name} are no {'list' if kind is list else 'object'} of JSON")
    return document


def _check_calibration(calibration: dict[str, Any]) -> None:
    for name, part in calibration.items():
        if not isinstance(part, dict):
            raise ValueError(f"{name} of its calibration is no object of JSON")
        slope = part.get("slope")
        if isinstance(slope, bool) or not (slope is None or isinstance(slope, int | float)):
            raise ValueError(f"the slope of its calibration ({name}) is no number")


def named_directions(model: Path) -> dict[str, Path]:
    """The directions that a model's folder brings, by name."""
    return {path.stem: path for path in sorted((model / "directions").glob("*.h5"))}


def find_direction(given: str | Path | None, model: Path) -> Path:
    """The file to use: `given`, a file or the name of one that the model in the folder `model` brings.

    None: ./direction.h5, else the model's cardiomegaly direction. Raises InputError where there is none.
    """
    if given is not None:
        path, known = Path(given), named_directions(model)
        if path.exists() or path.suffix:
            return path
        name = str(given).lower().translate(str.maketrans("_ +", "---"))
        if name in known:
            return known[name]
        brings = f"brings {', '.join(known)}" if known else "brings none"
        raise InputError(f"There is no direction '{given}': it is no file, and the model in {model} {brings}.")
    for candidate in (Path("direction.h5"), model / "directions" / "cardiomegaly.h5"):
        if candidate.exists():
            return candidate
    raise InputError(
        f"There is no ./direction.h5, and the model in {model} brings no direction; "
        "make one with `cxredit direction` or `cxredit lda`, or give one with --direction."
    )
