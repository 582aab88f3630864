"""Files of programs that would do more than compute: nothing of them runs."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cxredit_cli.errors import InputError
from cxredit_cli.storage.safe_programs import load_program, load_torchscript
from tests.storage.classifier_files import Bright, write_pt2, write_torchscript


class Writes:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def rewritten(path: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """The archive with each member changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))
    return path


def with_graph(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    def edit(name: str, content: bytes) -> bytes:
        if "/models/" not in name:
            return content
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    return rewritten(path, edit)


def test_example_inputs_are_never_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    evil = pickle.dumps(Writes(marker))
    path = rewritten(
        write_pt2(tmp_path / "mine.pt2"), lambda name, content: evil if "sample_inputs" in name else content
    )
    module = load_program(path)
    assert module(torch.zeros(3, 1, 32, 32)).shape == (3, 2)
    assert not marker.exists()


@pytest.mark.parametrize(
    "size", ["__import__('os').mkdir('ran')", "(1).__class__", "s0.__class__", "print(1)", "exec(s0)", "Symbol('os')"]
)
def test_sizes_are_formulas_and_nothing_else(size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def change(document: dict[str, Any]) -> None:
        text = json.dumps(document["graph_module"]["graph"]["tensor_values"])
        assert "expr_str" in text
        values = document["graph_module"]["graph"]["tensor_values"]
        for value in values.values():
            for side in value["sizes"]:
                if "as_expr" in side:
                    side["as_expr"]["expr_str"] = size

    with pytest.raises(InputError, match="a size that is no formula"):
        load_program(with_graph(write_pt2(tmp_path / "mine.pt2"), change))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "target", ["torch.hub.load", "torch.load", "torch.ops.aten.from_file.default", "_operator.__call__", "os.system"]
)
def test_only_operations_on_tensors_are_called(target: str, tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["graph_module"]["graph"]["nodes"][0]["target"] = target

    with pytest.raises(InputError, match="which is no operation on tensors"):
        load_program(with_graph(write_pt2(tmp_path / "mine.pt2"), change))


def test_guards_are_not_run_and_metadata_is_not_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def change(document: dict[str, Any]) -> None:
        document["guards_code"] = ["__import__('os').mkdir('ran')"]
        for node in document["graph_module"]["graph"]["nodes"]:
            node["metadata"]["nn_module_stack"] = "x,y,os.system"

    module = load_program(with_graph(write_pt2(tmp_path / "mine.pt2"), change))
    assert module(torch.zeros(1, 1, 32, 32)).shape == (1, 2)
    assert not (tmp_path / "ran").exists()


def test_what_a_graph_makes_is_on_the_device_of_the_rest(tmp_path: Path) -> None:
    class Makes(Bright):
        def forward(self, images: Tensor) -> Tensor:
            ramp = torch.arange(images.shape[-1], device="cpu", dtype=torch.float32)
            return super().forward(images * ramp.to(images.device))

    path = write_pt2(tmp_path / "mine.pt2", Makes())
    assert load_program(path)(torch.ones(3, 1, 32, 32)).device.type == "cpu"
    found = load_program(path, "meta")(torch.ones(3, 1, 32, 32, device="meta"))
    assert (found.device.type, found.shape) == ("meta", (3, 2))


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    def edit(name: str, content: bytes) -> bytes:
        return content.replace(b'"use_pickle": false', b'"use_pickle": true') if "weights_config" in name else content

    with pytest.raises(InputError, match=r"stores conv\.(weight|bias) as a pickle, which is never loaded"):
        load_program(rewritten(write_pt2(tmp_path / "mine.pt2"), edit))


def test_a_pickled_module_is_no_torchscript(tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "mine.pt"
    torch.save({"model": Bright(), "extra": Writes(marker)}, path)
    with pytest.raises(InputError, match="may be a pickle of Python objects, which is never loaded"):
        load_torchscript(path)
    assert not marker.exists()
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="no TorchScript file"):
        load_torchscript(path)


def test_torchscript_that_reads_files_is_refused(tmp_path: Path) -> None:
    class Reads(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3)) + torch.from_file("ran", True, 1, dtype=torch.float32)

    with pytest.raises(InputError, match="calls from_file, which reads or writes files"):
        load_torchscript(write_torchscript(tmp_path / "mine.pt", Reads()))
