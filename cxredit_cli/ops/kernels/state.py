"""Whether the kernels are used on a device: as CXREDIT_KERNELS says, tried once, and given up for good if they fail.

auto (the default) uses them where they work, and says once where they do not; on makes that an error; off leaves every
operation to torch.
"""

import logging
import os
from typing import Literal, cast

import torch

from cxredit_cli.errors import CxreditError, InputError
from cxredit_cli.ops.kernels.compiler import KernelError
from cxredit_cli.ops.kernels.launch import architecture_of, launch

VARIABLE = "CXREDIT_KERNELS"
OLDEST = (7, 5)  # compute capability: the oldest that CUDA 13 compiles for
Setting = Literal["auto", "on", "off"]

# Without a handler of the caller's own, logging writes such a message to stderr as one plain line.
_logger = logging.getLogger("cxredit")
_usable: dict[int, bool] = {}


def setting() -> Setting:
    """What CXREDIT_KERNELS asks for."""
    value = os.environ.get(VARIABLE, "auto")
    if value not in ("auto", "on", "off"):
        raise InputError(f"{VARIABLE} is {value!r}; expected auto, on or off.")
    return cast(Setting, value)


def usable(device: torch.device) -> bool:
    """Whether operations on this device go through the kernels; the answer stands for the life of the process.

    The first question compiles, loads and runs one small kernel and compares what it computes.
    """
    index = torch.cuda.current_device() if device.index is None else device.index
    known = _usable.get(index)
    return _decide(index) if known is None else known


def fail(device: torch.device, error: KernelError) -> None:
    """Use no kernels on this device any more, and say so once; with CXREDIT_KERNELS=on, raise instead."""
    if setting() == "on":
        raise CxreditError(
            f"{VARIABLE} is on, but the CUDA kernels cannot be used: {error} See cxredit doctor."
        ) from error
    index = 0 if device.index is None else device.index
    if _usable.get(index) is not False:
        _logger.warning(
            "cxredit: the CUDA kernels are not used on cuda:%d, operations are slower: %s See cxredit doctor.",
            index,
            error,
        )
    _usable[index] = False


def _decide(index: int) -> bool:
    if setting() == "off":
        _usable[index] = False
        return False
    if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
        return False  # nothing can be compiled or compared now; the next question decides
    try:
        try_out(index)
    except KernelError as error:
        fail(torch.device("cuda", index), error)
        return False
    _usable[index] = True
    return True


def try_out(index: int) -> None:
    """Run one kernel on a device and compare what it computes; KernelError says why that does not work."""
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        raise KernelError(f"torch finds no NVIDIA GPU cuda:{index}.")
    if torch.version.hip is not None:
        raise KernelError("This torch is built for ROCm, not for CUDA.")
    capability = torch.cuda.get_device_capability(index)
    if capability < OLDEST:
        raise KernelError(
            f"{torch.cuda.get_device_name(index)} is older than CUDA 13 supports ({architecture_of(index)})."
        )
    device = torch.device("cuda", index)
    x, scale = torch.arange(64.0, device=device), torch.full((1,), 0.5, device=device)
    y = torch.zeros_like(x)
    arguments = (x.data_ptr(), y.data_ptr(), scale.data_ptr(), 1, 1, 64, 1, 64)
    launch(device, "scale_in_planes_wide_f32_f32", (1, 1, 1), (16, 16, 1), *arguments)
    try:
        right = torch.equal(y, x * 0.5)
    except RuntimeError as error:  # what a kernel does wrong is reported by the next call that waits for it
        raise KernelError(f"The first kernel failed ({error}).") from error
    if not right:
        raise KernelError("The first kernel computed something else than it should.")
