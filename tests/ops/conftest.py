"""The CUDA kernels on the host: their very sources, compiled as C++ behind host_cuda/host_cuda.h."""

import ctypes
import math
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from cxredit_cli.ops.kernels import launch as launching
from cxredit_cli.ops.kernels import resample, scaling
from cxredit_cli.ops.kernels.catalogue import SOURCES, source_of, units

SHIM = Path(__file__).parent / "host_cuda"
# For finding what lies outside of a tensor, by hand:
# CXREDIT_TEST_SANITIZE=1 ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD="$(g++ -print-file-name=libasan.so)" pytest tests/ops
SANITIZE = ["-g", "-fsanitize=address,undefined", "-fno-sanitize=vptr", "-fno-sanitize-recover=undefined"]


class Emulator:
    """Stands in for `launch.launch`: the same kernel by name, with the same grid, block and arguments."""

    def __init__(self, libraries: list[ctypes.CDLL]) -> None:
        self.libraries = libraries
        self.descending = False
        self.launched: list[str] = []

    def __call__(self, device: torch.device, kernel: str, grid, block, *arguments: int | float) -> None:
        assert device.type == "cpu"
        library = next(library for library in self.libraries if hasattr(library, f"run_{kernel}"))
        signature = getattr(library, f"signature_{kernel}")
        signature.restype = ctypes.c_char_p
        expected = signature().decode()
        # An address cannot be told from another int, but a float can.
        assert [letter == "d" for letter in expected] == [isinstance(each, float) for each in arguments], kernel
        # The limits of a launch on every GPU.
        assert 0 < grid[0] < 2**31
        assert 0 < grid[1] < 2**16
        assert 0 < grid[2] < 2**16
        assert math.prod(block) == 256
        raw = (ctypes.c_uint64 * len(arguments))()
        for i, each in enumerate(arguments):
            bits = ctypes.c_double(each) if isinstance(each, float) else ctypes.c_int64(each)
            raw[i] = ctypes.c_uint64.from_buffer(bits).value
        sizes = [(ctypes.c_uint * 3)(*size) for size in (grid, block)]
        getattr(library, f"run_{kernel}")(raw, *sizes, int(self.descending))
        self.launched.append(kernel)


@pytest.fixture(scope="session")
def host_kernels(tmp_path_factory: pytest.TempPathFactory) -> list[ctypes.CDLL]:
    """Every kernel of the package, compiled for the host."""
    if shutil.which("g++") is None:
        pytest.skip("the emulation of CUDA needs g++")
    options = ["-std=c++17", "-O1", "-shared", "-fPIC", "-w", f"-I{SHIM}", f"-I{SOURCES}"]
    options += SANITIZE if os.environ.get("CXREDIT_TEST_SANITIZE") else []
    folder = tmp_path_factory.mktemp("host_cuda")
    libraries = []
    for source in sorted({unit.source for unit in units()}):
        chosen = [unit for unit in units() if unit.source == source]
        kernels = [kernel for unit in chosen for kernel in unit.kernels]
        text = "\n".join(['#include "host_cuda.h"', source_of(*chosen), *(f"EXPORT({kernel})" for kernel in kernels)])
        program, library = folder / f"{source}.cpp", folder / f"{source}.so"
        program.write_text(text + "\n")
        subprocess.run(["g++", *options, "-o", library, program], check=True)
        libraries.append(ctypes.CDLL(str(library)))
    return libraries


@pytest.fixture
def emulator(host_kernels: list[ctypes.CDLL], monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """The kernels run on the host for the time of a test, which gives them CPU tensors."""
    stand_in = Emulator(host_kernels)
    monkeypatch.setattr(launching, "launch", stand_in)
    # Tests change what these plans depend on.
    monkeypatch.setattr(resample, "plan", resample.plan.__wrapped__)
    monkeypatch.setattr(scaling, "_plan", scaling._plan.__wrapped__)
    yield stand_in
    assert stand_in.launched


@pytest.fixture
def in_both_orders(emulator: Emulator) -> Callable[[Callable[[], object]], object]:
    """Calls a function twice, with the threads of a block in ascending and in descending order; equal bit for bit."""

    def call(function: Callable[[], object]) -> object:
        results = []
        for emulator.descending in (False, True):
            results.append(function())
        tuples = [result if isinstance(result, tuple) else (result,) for result in results]
        for first, second in zip(*tuples, strict=True):
            assert torch.equal(first, second)
        return results[0]

    return call
