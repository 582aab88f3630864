"""Launches of the kernels: on the device of the tensors, on its current stream, with nothing but the launch itself.

No memory is allocated and nothing waits, so launches may be captured in CUDA graphs once a kernel has been used: its
first use compiles and loads it.
"""

import threading
from functools import lru_cache
from typing import Any

import torch

from cxredit_cli.ops.kernels.catalogue import Unit, unit_of
from cxredit_cli.ops.kernels.compiler import KernelError, cubin

Size = tuple[int, int, int]
Argument = int | float  # the address of a tensor, 0 for an absent one, or an int; a float. All take eight bytes

_kernels: dict[tuple[int, str], Any] = {}  # (device, kernel) -> cuda.core.Kernel
_loaded: dict[tuple[str, Unit], Any] = {}  # (architecture, unit) -> cuda.core.ObjectCode, which kernels belong to
_streams: dict[int, Any] = {}  # address -> cuda.core.Stream, which borrows it
_bound = threading.local()  # index: of the device whose context was last made current in this thread, here


def launch(device: torch.device, kernel: str, grid: Size, block: Size, *arguments: Argument) -> None:
    """Run `kernel` with `grid` blocks of `block` threads on the current stream of `device`, in torch's own context.

    KernelError if the kernel cannot be compiled, loaded or started. The caller keeps the tensors alive that the
    arguments point at until it has returned to torch, whose allocator keeps the order of the stream from there on.
    """
    current = torch.cuda.current_device()
    index = current if device.index is None else device.index
    if index != current:
        with torch.cuda.device(index):
            return _launch(index, kernel, grid, block, arguments)
    return _launch(index, kernel, grid, block, arguments)


def architecture_of(index: int) -> str:
    """The architecture of a device as NVRTC names it, such as "sm_90"."""
    major, minor = torch.cuda.get_device_capability(index)
    return f"sm_{major}{minor}"


def _launch(index: int, name: str, grid: Size, block: Size, arguments: tuple[Argument, ...]) -> None:
    from cuda.core import launch

    kernel = _kernels.get((index, name))
    if kernel is None:
        kernel = _kernels[index, name] = _load(index, name)
    stream = current_stream(index)
    bind_context(index)
    try:
        launch(stream, _config(grid, block), kernel, *arguments)
    except Exception as error:  # of cuda-core's own types
        raise KernelError(f"{name} does not start ({error}).") from error


def bind_context(index: int) -> None:
    """Make the device's primary context, which is torch's, current in the calling thread, once a thread and device.

    The threads that autograd runs gradients in begin without one: torch leaves it to the first call of the CUDA
    runtime, and a launch through the driver is none. Where torch changes the device it binds that context itself.
    """
    if getattr(_bound, "index", None) != index:
        from cuda.core import Device

        try:
            Device(index).set_current()
        except Exception as error:  # of cuda-core's own types
            raise KernelError(f"The context of cuda:{index} cannot be made current ({error}).") from error
        _bound.index = index


def _load(index: int, name: str) -> Any:
    """The kernel, compiled or from the cache, loaded onto a device."""
    unit, architecture = unit_of(name), architecture_of(index)
    code = cubin(unit, architecture)
    try:
        from cuda.core import ObjectCode

        loaded = _loaded.get((architecture, unit))
        if loaded is None:
            loaded = _loaded[architecture, unit] = ObjectCode.from_cubin(code, name=unit.source)
        return loaded.get_kernel(name)
    except Exception as error:
        raise KernelError(f"{name} does not load ({error}).") from error


def current_stream(index: int) -> Any:
    """Torch's current stream on a device as a cuda.core.Stream. The objects are kept: making one takes microseconds."""
    # What torch.cuda.current_stream().cuda_stream is, without the object between.
    address = torch._C._cuda_getCurrentRawStream(index)
    stream = _streams.get(address)
    if stream is None:
        from cuda.core import LEGACY_DEFAULT_STREAM, Stream

        stream = _streams[address] = Stream.from_handle(address) if address else LEGACY_DEFAULT_STREAM
    return stream


@lru_cache(maxsize=4096)
def _config(grid: Size, block: Size) -> Any:
    from cuda.core import LaunchConfig

    return LaunchConfig(grid=grid, block=block)
