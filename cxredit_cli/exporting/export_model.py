"""Writing a model's networks as ONNX files and as programs of torch.export, each checked before it is kept."""

import io
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from cxredit_cli.atomic import write_bytes, write_text
from cxredit_cli.errors import CxreditError, InputError, known_word
from cxredit_cli.exporting.programs import Port, Program, programs_of
from cxredit_cli.progress import Progress
from cxredit_cli.radiographs.provenance import DISCLAIMER, SOFTWARE
from cxredit_cli.storage.models import Model

Format = Literal["onnx", "torch"]
Run = Callable[[tuple[Tensor, ...]], Tensor]
ENDINGS: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
DESCRIPTION = "export.json"
LARGEST_DIFFERENCE = 1e-4  # of a program from the network, as a share of the network's largest value
SCHEMA, VERSION = "cxredit-export", 1


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file that was written, and how far its answers lie from the network's."""

    path: Path
    difference: float | None  # the largest, as a share of the largest value; None: nothing here could run the file


def parse_formats(words: str) -> list[Format]:
    """The formats in a list such as "onnx,torch"; raises InputError for another word."""
    return [known_word(word.strip(), Format, "--format") for word in dict.fromkeys(words.split(","))]


def export_model(model: Model, folder: Path, formats: Collection[Format], progress: Progress) -> list[ExportedFile]:
    """Write `synthesis`, `mapping` and, if there is one, `encoder` in each format, and what they are in export.json.

    A model on the processor, in float32. Raises InputError where a package is missing or the folder holds an export
    already, CxreditError where a program answers otherwise than its network.
    """
    if (folder / DESCRIPTION).exists():
        raise InputError(f"{folder} holds an export already; name another folder with -o, or delete that one.")
    if "onnx" in formats:
        _require_onnx()
    programs = programs_of(model)
    about = _about(model)
    files: list[ExportedFile] = []
    described: dict[str, Any] = {}
    progress.start("Exporting", len(programs) * len(formats), unit="files")
    for program in programs:
        recorded = program.record()
        written = []
        for format in formats:
            content = _onnx(recorded, program, about) if format == "onnx" else _torch(recorded, about)
            path = folder / f"{program.name}{ENDINGS[format]}"
            run = _runner(format, content, program)
            difference = None if run is None else largest_difference(program, run)
            if difference is not None and not difference <= LARGEST_DIFFERENCE:
                raise CxreditError(
                    f"{path} was not written: its answers differ from the network's by {difference:.1e} of the largest "
                    f"value, and at most {LARGEST_DIFFERENCE:.0e} is expected; another version of torch may help."
                )
            write_bytes(path, content)
            written.append(ExportedFile(path, difference))
            progress.advance(len(files) + len(written))
        described[program.name] = {
            "inputs": [_port(port) for port in program.inputs],
            "output": _port(program.output),
            "files": {file.path.name: {"largest_difference": file.difference} for file in written},
        }
        files += written
    progress.finish()
    document = {"schema": SCHEMA, "version": VERSION, **about, "packages": _packages(formats), "networks": described}
    write_text(folder / DESCRIPTION, json.dumps(document, indent=2) + "\n")
    return files


def largest_difference(program: Program, run: Run) -> float:
    """The largest difference of `run` from the network on the program's samples, as a share of the largest value."""
    differences, largest = [0.0], 0.0
    for inputs in program.samples:
        expected = program.run(inputs)
        differences.append(float((run(inputs) - expected).abs().max()))
        largest = max(largest, float(expected.abs().max()))
    return float(np.max(differences)) / largest if largest else float(np.max(differences))


def _require_onnx() -> None:
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"ONNX files need {' and '.join(missing)}: pip install 'cxredit[onnx]', or write torch's programs alone "
            "with --format torch."
        )


def _about(model: Model) -> dict[str, Any]:
    """What export.json and each file say of the model."""
    return {
        "intended_use": f"{DISCLAIMER}.",
        "model": model.name,
        "fingerprint": model.fingerprint,
        "data": model.data_source,
        "preprocessing": model.info.get("preprocessing", {}),
        "noise": "the model's constant noise: one code has one image",
        "numbers": "float32",
        "software": SOFTWARE,
    }


def _port(port: Port) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else size.__name__ for size in port.shape]
    return {"name": port.name, "shape": shape, "meaning": port.meaning}


def _packages(formats: Collection[Format]) -> dict[str, str]:
    names = ["torch", *(name for name in ("onnx", "onnxscript", "onnxruntime") if "onnx" in formats)]
    return {name: version(name) for name in names if find_spec(name) is not None}


def _torch(recorded: ExportedProgram, about: dict[str, Any]) -> bytes:
    content = io.BytesIO()
    torch.export.save(recorded, content, extra_files={"about.json": json.dumps(about)})
    return content.getvalue()


def _onnx(recorded: ExportedProgram, program: Program, about: dict[str, Any]) -> bytes:
    made = torch.onnx.export(
        recorded,
        input_names=[port.name for port in program.inputs],
        output_names=[program.output.name],
        dynamic_shapes=program.free,  # names alone: the sizes were freed as the program was recorded
        dynamo=True,
        verbose=False,
    )
    assert made is not None
    made.model.metadata_props.update({name: str(value) for name, value in about.items()})
    content: bytes = made.model_proto.SerializeToString()
    return content


def _runner(format: Format, content: bytes, program: Program) -> Run | None:
    """What answers as the file does; None for ONNX without onnxruntime."""
    if format == "torch":
        network = torch.export.load(io.BytesIO(content)).module()
        return torch.no_grad()(lambda inputs: network(*inputs))
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [port.name for port in program.inputs]

    def answer(inputs: tuple[Tensor, ...]) -> Tensor:
        values = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, values)[0])

    return answer
