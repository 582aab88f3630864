"""Reading pickles of networks as data: plain containers and tensors are built, and no code of the file runs.

NVlabs' tools pickle a network as a call of `torch_utils.persistence._reconstruct_persistent_obj` with a dictionary that
holds the network's state beside the source code of its class. Here that call only keeps the dictionary.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cxredit_cli.errors import InputError


@dataclass(slots=True)
class PickledModule:
    """A network, or a part of one, as its pickle describes it."""

    class_name: str
    state: dict[str, Any] = field(default_factory=dict)

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """Parameters and buffers of this module and those within, by the names that `state_dict` would give them."""
        found: dict[str, Tensor] = {}
        for group in ("_parameters", "_buffers"):
            for name, tensor in (self.state.get(group) or {}).items():
                if isinstance(tensor, Tensor):
                    found[prefix + name] = tensor.detach()
        for name, module in (self.state.get("_modules") or {}).items():
            if isinstance(module, PickledModule):
                found |= module.tensors(f"{prefix}{name}.")
        return found

    def part(self, path: str) -> "PickledModule | None":
        """The module within at a dotted path; None where there is none."""
        module: Any = self
        for name in path.split("."):
            module = (module.state.get("_modules") or {}).get(name) if isinstance(module, PickledModule) else None
        return module if isinstance(module, PickledModule) else None


class _Dictionary(dict[Any, Any]):
    """Stands for dictionaries with other names; attributes that a pickle sets on it are without effect."""


def _described(meta: Any) -> PickledModule:
    if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
        raise pickle.UnpicklingError("an object of NVlabs' without a state")
    return PickledModule(str(meta.get("class_name", "")), dict(meta["state"]))


def _storage(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), weights_only=True)


def _number_type(*arguments: Any) -> Any:
    kind = np.dtype(str(arguments[0]))
    if kind.kind not in "biuf":
        raise pickle.UnpicklingError(f"numbers of the type {kind}")
    return kind


def _number(kind: Any, content: bytes) -> Any:
    return np.frombuffer(content, kind)[0].item()


def _bytes(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1" if encoding == "latin1" else "utf-8")


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _described,
    ("dnnlib.util", "EasyDict"): _Dictionary,
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("numpy", "dtype"): _number_type,
    ("numpy.core.multiarray", "scalar"): _number,
    ("numpy._core.multiarray", "scalar"): _number,
    ("_codecs", "encode"): _bytes,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"a call of {module}.{name}")
        return ALLOWED[module, name]

    def persistent_load(self, _: Any) -> Any:
        raise pickle.UnpicklingError("an object that lies elsewhere")


def read_pickle(path: Path) -> Any:
    """What a pickle holds: containers, numbers, texts, tensors and `PickledModule`. Nothing of it is executed.

    Raises InputError, with its name, for anything else in it, and for a damaged file.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(file).load()
    except FileNotFoundError:
        raise InputError(f"There is no {path}; give the file of a network.") from None
    except pickle.UnpicklingError as error:
        said = str(error)
        if said.startswith(("a call of", "an object", "numbers of")):
            raise InputError(f"{path} holds {said}, which is not read: it could run code of the file.") from None
        raise InputError(f"{path} is no whole pickle of a network; copy it again from where it came.") from None
    except Exception as error:  # whatever a damaged pickle, or a damaged tensor in it, raises
        raise InputError(f"{path} is no whole pickle of a network; copy it again from where it came.") from error
