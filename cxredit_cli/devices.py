"""Which device and which precision to compute with."""

import ctypes
import platform
import sys

import torch

from cxredit_cli.errors import InputError
from cxredit_cli.processor import cpu_has_bfloat16, cpu_model
from cxredit_cli.torchrun import Place


def resolve_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda`, `cuda:N` or `mps` into a device that exists, else raise InputError.

    A processor's memory is then kept by the process (`keep_freed_memory`).
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device must be auto, cpu, cuda, cuda:N or mps, but it is '{name}'.") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"--device must be auto, cpu, cuda, cuda:N or mps, but it is '{name}'.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"--device {name} was asked for, but {torch.cuda.device_count()} CUDA devices are visible; "
            "run `cxredit doctor`, or use --device cpu."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("--device mps was asked for, but this machine has no Metal device; use --device cpu.")
    if device.type == "cpu":
        keep_freed_memory()
    return device


def own_device(name: str, place: Place, gpus: int, shared: bool = False) -> str:
    """The name of the device of one of several processes: for `auto` and `cuda`, the GPU of its number on its machine.

    Raises InputError where one GPU is named for several processes, and, unless GPUs may be `shared`, where a machine
    has more processes than GPUs.
    """
    if place.alone or name == "cpu" or not gpus:
        return name
    if name not in ("auto", "cuda"):
        if place.count_here == 1 or shared:
            return name
        raise InputError(
            f"--device {name} is for one process, but {place.count_here} were started here; leave it out, or use cpu."
        )
    if place.count_here > gpus and not shared:
        raise InputError(
            f"{place.count_here} processes were started on a machine with {gpus} GPUs; start one for each GPU."
        )
    return f"cuda:{place.rank_here % gpus}"


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """Turn `auto`, `fp32`, `bf16` or `fp16` into the dtype of the convolutions on `device`.

    `auto` is fp16 on a GPU, bf16 on a processor with native bfloat16 arithmetic, else fp32.
    """
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if name == "auto":
        if device.type == "cuda":
            return torch.float16
        return torch.bfloat16 if device.type == "cpu" and cpu_has_bfloat16() else torch.float32
    if name not in dtypes:
        raise InputError(f"--precision must be auto, fp32, bf16 or fp16, but it is '{name}'.")
    if name == "fp16" and device.type == "cpu":
        raise InputError("--precision fp16 needs a GPU; on a processor use bf16 or fp32.")
    return dtypes[name]


def device_name(device: torch.device) -> str:
    """The model of the GPU, or of the processor as its maker calls it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_model()


def keep_freed_memory() -> None:
    """Let the process reuse the memory that it freed, instead of handing it back and fetching it anew (glibc only).

    A network's feature maps are so large that glibc maps each one anew, and the system clears every page of it: for
    element-wise operations that takes several times as long as the arithmetic.
    """
    if has_glibc():
        mallopt = ctypes.CDLL(None).mallopt
        trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, -1)


def has_glibc() -> bool:
    """Whether the process allocates by glibc, so that `keep_freed_memory` changes something."""
    return sys.platform == "linux" and platform.libc_ver()[0] == "glibc"
