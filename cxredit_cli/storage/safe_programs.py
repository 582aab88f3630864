"""Programs of `torch.export` and TorchScript read as data: what they compute is theirs, but no Python of the file runs.

torch's own loader of .pt2 files unpickles example inputs, evaluates the formulas of sizes as Python and looks operators
up by any dotted name. Here it is given a copy of the archive that has none of these: no pickles, formulas of names and
arithmetic alone, operators of torch's tensor library.
"""

import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.export.passes import move_to_device_pass

from cxredit_cli.errors import InputError

OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims|higher_order)\.[a-z_0-9]+(\.[A-Za-z_0-9]+)?|_operator\.[a-z]+|torch\.sym_[a-z]+"
)
NOT_THESE = re.compile(r"from_file|save|load")  # what reads or writes files, of TorchScript and of the tensor library
# Add(Symbol('s0', integer=True), Integer(1)), s0 + 1, Max(1, s0//2): names without dots, numbers and arithmetic.
QUOTED = re.compile(r"Symbol\('([suf]\d+)'(?:, [a-z]+=(?:True|False))*\)")
FORMULA = re.compile(r"[A-Za-z0-9_ +\-*/(),<>=]*")
NAMES = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SYMBOL = re.compile(
    r"[suf]\d+|int_oo|oo|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|IntTrueDiv|FloatTrueDiv|TruncToInt|RoundToInt|ToFloat|"
    r"Integer|Rational|Float|Add|Mul|Max|Min|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Pow|True|False"
)
CONTAINERS = ("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict", None)
LARGEST_HEADER = 256 << 20  # bytes of one JSON
SAMPLES = re.compile(r".*/data/sample_inputs/.*")
CONFIGS = re.compile(r".*/data/(weights|constants)/.*_config\.json")
GRAPH = re.compile(r".*/models/[^/]+\.json")


def load_program(path: Path, device: torch.device | str = "cpu") -> torch.nn.Module:
    """The module of a .pt2 file of `torch.export.save`. Raises InputError for anything but plain tensor operations.

    What the graph itself makes (a range, a mask) is made on `device` too, wherever the file was exported.
    """
    try:
        clean = _clean_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(clean)
            program.example_inputs = None  # there are none, which the next line must know
            module: torch.nn.Module = move_to_device_pass(program, str(device)).module(check_guards=False)
    except InputError:
        raise
    except Exception as error:  # torch raises errors of every kind for files that are damaged or of another version
        raise InputError(f"{path} is no program of torch.export that this torch can read: {_first(error)}") from None
    return module


def load_torchscript(path: Path) -> torch.nn.Module:
    """The module of a TorchScript file. Raises InputError where it is none, and where it would read or write files."""
    try:
        with zipfile.ZipFile(path) as archive:
            code = [name for name in archive.namelist() if "/code/" in name and name.endswith(".py")]
            if not code:
                raise InputError(
                    f"{path} holds no TorchScript; it may be a pickle of Python objects, which is never loaded. Export "
                    "the classifier with torch.export.save (.pt2), torch.jit.save (.pt) or as ONNX."
                )
            for name in code:
                called = re.findall(r"(?:torch|ops\.\w+)\.(\w+)\(", archive.read(name).decode())
                forbidden = sorted({each for each in called if NOT_THESE.search(each)})
                if forbidden:
                    raise InputError(
                        f"{path} calls {', '.join(forbidden)}, which reads or writes files; it is refused."
                    )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that TorchScript is deprecated is no news to who gives such a file
            module: torch.nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} is no TorchScript file that this torch can read: {_first(error)}") from None
    return module.eval()


def _clean_archive(path: Path) -> io.BytesIO:
    """The archive without pickles, metadata and guards; InputError where its graph is more than tensor operations."""
    clean = io.BytesIO()
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path} is no .pt2 file of torch.export: {_first(error)}") from None
    with archive, zipfile.ZipFile(clean, "w", zipfile.ZIP_STORED) as copy:
        graphs = 0
        for item in archive.infolist():
            if SAMPLES.fullmatch(item.filename):
                copy.writestr(item.filename, b"")
                continue
            content = archive.read(item)
            if CONFIGS.fullmatch(item.filename):
                _check_config(path, _json(path, content))
            elif GRAPH.fullmatch(item.filename):
                graphs += 1
                content = json.dumps(_check_graph(path, _json(path, content))).encode()
            copy.writestr(item.filename, content)
        if graphs != 1:
            raise InputError(f"{path} holds {graphs} programs of torch.export; expected one, by torch 2.8 or newer.")
    clean.seek(0)
    return clean


def _json(path: Path, content: bytes) -> Any:
    if len(content) > LARGEST_HEADER:
        raise InputError(f"{path} has a description of {len(content) >> 20} MB; it is refused.")
    return json.loads(content)


def _check_config(path: Path, document: Any) -> None:
    pickled = [name for name, entry in document.get("config", {}).items() if entry.get("use_pickle")]
    if pickled:
        raise InputError(f"{path} stores {pickled[0]} as a pickle, which is never loaded; export plain tensors.")


def _check_graph(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """The graph as it is to be loaded: nothing that is looked up or evaluated but operators and formulas of sizes."""
    document["guards_code"] = []
    formulas = list(document.get("range_constraints", {}))
    for part in _parts(document):
        called = [part["as_operator"]] if "as_operator" in part else []
        if {"target", "inputs", "metadata"} <= part.keys():  # a node; elsewhere a target is a weight's name
            part["metadata"] = {}
            called.append(part["target"])
        for name in called:
            if not isinstance(name, str) or not OPERATORS.fullmatch(name) or NOT_THESE.search(name):
                raise InputError(f"{path} calls {name}, which is no operation on tensors; it is refused.")
        if "expr_str" in part:
            formulas.append(part["expr_str"])
        for spec in (part[name] for name in ("in_spec", "out_spec") if part.get(name)):
            kinds = [inner.get("type") for inner in _parts(json.loads(spec))]
            strange = [kind for kind in kinds if kind not in CONTAINERS]
            if strange:
                raise InputError(f"{path} takes or returns {strange[0]}; expected tensors.")
    for formula in formulas:
        if not _is_formula(formula):
            raise InputError(f"{path} has a size that is no formula ({str(formula)[:60]}); it is refused.")
    return document


def _is_formula(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    bare = QUOTED.sub(r"\1", value)
    return bool(FORMULA.fullmatch(bare)) and all(map(SYMBOL.fullmatch, NAMES.findall(bare)))


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary within, outermost first."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _parts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _parts(inner)


def _first(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:200]
