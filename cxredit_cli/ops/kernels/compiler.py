"""CUDA source to machine code by NVRTC, for one architecture, kept on disk. Needs neither a GPU nor its driver.

A cubin is compiled for the exact architecture: unlike PTX it then runs on every driver of the same CUDA major version.
"""

import hashlib
import os
import sys
import tempfile
from functools import cache
from pathlib import Path

from cxredit_cli.errors import CxreditError
from cxredit_cli.ops.kernels.catalogue import SOURCES, Unit, source_of

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")  # what the tests compile for
STANDARD = "c++17"
DIGEST_BYTES = 32


class KernelError(CxreditError):
    """A kernel cannot be compiled, loaded or launched; the message is a sentence that says why."""


def cubin(unit: Unit, architecture: str) -> bytes:
    """Machine code of `unit` for an architecture such as "sm_90": from the cache, or compiled and kept there."""
    source = source_of(unit)
    path = cache_folder() / f"{cache_key(source, architecture, nvrtc_version())}.cubin"
    kept = _read(path)
    if kept is None:
        kept = compile_source(source, architecture, unit.source)
        _write(path, kept)
    return kept


def compile_source(source: str, architecture: str, name: str) -> bytes:
    """The cubin of a CUDA source, by NVRTC; KernelError if it is missing or refuses the source."""
    try:
        from cuda.core import Program, ProgramOptions
    except (ImportError, RuntimeError) as error:
        raise KernelError(f"cuda-core does not load ({_line(error)}).") from error
    # Of cuda_fp16.h and the like; torch's CUDA wheels bring them.
    headers = _cuda_headers()
    options = ProgramOptions(arch=architecture, std=STANDARD, name=f"{name}.cu", include_path=[headers, str(SOURCES)])
    try:
        return bytes(Program(source, code_type="c++", options=options).compile("cubin").code)
    except Exception as error:  # cuda-core has its own types, and raises others where the library is absent
        raise KernelError(f"NVRTC does not compile {name}.cu for {architecture} ({_line(error)}).") from error


def cache_key(source: str, architecture: str, nvrtc: str) -> str:
    """Sixty-four hex digits for everything that a cubin depends on."""
    shared = (SOURCES / "common.cuh").read_text()
    return hashlib.sha256("\0".join((source, shared, f"std={STANDARD}", architecture, nvrtc)).encode()).hexdigest()


def cache_folder() -> Path:
    """Where cubins are kept: cxredit/kernels in the user's cache folder ($XDG_CACHE_HOME, ~/.cache; %LOCALAPPDATA%)."""
    variable, default = ("LOCALAPPDATA", "AppData/Local") if sys.platform == "win32" else ("XDG_CACHE_HOME", ".cache")
    named = os.environ.get(variable)
    return (Path(named) if named else Path.home() / default) / "cxredit" / "kernels"


@cache
def nvrtc_version() -> str:
    """The version of the run-time compiler, such as "13.2"; KernelError where it is not found."""
    try:
        from cuda.bindings import nvrtc

        _, major, minor = nvrtc.nvrtcVersion()
    except Exception as error:  # an ImportError, a RuntimeError, or the bindings' own type
        raise KernelError(f"NVRTC, CUDA's run-time compiler, does not load ({_line(error)}).") from error
    return f"{major}.{minor}"


@cache
def _cuda_headers() -> str:
    try:
        from cuda.pathfinder import find_nvidia_header_directory

        folder = find_nvidia_header_directory("cudart")
    except Exception as error:
        raise KernelError(f"CUDA's headers are not found ({_line(error)}).") from error
    if folder is None:
        raise KernelError("CUDA's headers are not found; torch's CUDA builds bring them.")
    return str(folder)


def _read(path: Path) -> bytes | None:
    """The cubin in a file of the cache; None where there is none, or not the whole of it."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, code = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    return code if code and hashlib.sha256(code).digest() == digest else None


def _write(path: Path, code: bytes) -> None:
    """Keep a cubin: its digest, then itself, under a name of this process alone until it is whole.

    Several processes may do so at once, and the last one wins with the same content. Where the folder cannot be
    written, nothing is kept.
    """
    aside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=f"{path.stem}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(code).digest() + code)
        os.replace(aside, path)
    except OSError:
        if aside is not None:
            Path(aside).unlink(missing_ok=True)


def _line(error: BaseException) -> str:
    """An error as one line without a full stop: the compiler's first complaint, or else the first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    complaint = next((line for line in lines if "error:" in line), lines[0] if lines else type(error).__name__)
    return complaint.rstrip(".")[:300]
