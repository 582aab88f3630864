"""What `doctor` says of the kernels: the setting, the cache, and on a GPU whether each computes what it should."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from cxredit_cli.errors import CxreditError
from cxredit_cli.ops import formulas
from cxredit_cli.ops.kernels import resample, scaling, state
from cxredit_cli.ops.kernels.catalogue import source_of, units
from cxredit_cli.ops.kernels.compiler import KernelError, cache_folder, compile_source, nvrtc_version
from cxredit_cli.ops.kernels.launch import architecture_of
from cxredit_cli.ops.kernels.tensors import SUFFIXES
from cxredit_cli.ops.upfirdn2d import setup_filter, upfirdn2d_reference

# The largest difference, of values of about one: rounding to the element's type, in the kernel and in the reference.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 6e-2}
Results = tuple[Tensor | None, ...]


@dataclass(frozen=True, slots=True)
class OnDevice:
    """A GPU, and whether the kernels are used on it; if not, why."""

    device: str
    architecture: str
    used: bool
    why_not: str | None


@dataclass(frozen=True, slots=True)
class Kernels:
    """CXREDIT_KERNELS, what is kept of compiled kernels, and each GPU."""

    setting: str
    sources: int
    cache: str
    cached: int
    compiles: bool
    why_not: str | None
    devices: tuple[OnDevice, ...]


def find() -> Kernels:
    """Look at the compiler and the cache, and try every kernel on every GPU; InputError for an unknown setting."""
    setting = state.setting()
    why_not = None
    try:
        nvrtc_version()
        compile_source(source_of(units()[0]), "sm_90", units()[0].source)
    except KernelError as error:
        why_not = str(error)
    devices = tuple(_on(index, setting) for index in range(torch.cuda.device_count()))
    folder = cache_folder()
    cached = len(list(folder.glob("*.cubin")))
    return Kernels(setting, len(units()), str(folder), cached, why_not is None, why_not, devices)


def _on(index: int, setting: str) -> OnDevice:
    device = torch.device("cuda", index)
    why_not = None
    if setting == "off":
        why_not = f"{state.VARIABLE} is off."
    else:
        try:
            state.try_out(index)
            wrong = wrong_results(device)
            if wrong:
                why_not = f"These computed something else than they should: {', '.join(wrong)}."
        except CxreditError as error:
            why_not = str(error)
        except RuntimeError as error:  # torch's own, such as no memory left
            why_not = f"The check failed ({str(error).splitlines()[0]})."
    return OnDevice(str(device), architecture_of(index), why_not is None, why_not)


def wrong_results(device: torch.device) -> list[str]:
    """The operations, with element type and layout, whose kernels differ from the references on a device."""
    wrong = []
    for dtype, layout in product(TOLERANCE, (torch.contiguous_format, torch.channels_last)):
        for name, run, expected in _cases(device, dtype, layout):
            differences = [
                (got.float() - right.float()).abs().max().item() / max(1.0, right.abs().max().item())
                for got, right in zip(run(), expected, strict=True)
                if got is not None and right is not None
            ]
            if not max(differences) <= TOLERANCE[dtype]:  # a NaN is no small difference
                wrong.append(f"{name} {SUFFIXES[dtype]} {str(layout).removeprefix('torch.')}")
    return wrong


def _cases(
    device: torch.device, dtype: torch.dtype, layout: torch.memory_format
) -> Iterator[tuple[str, Callable[[], Results], Results]]:
    """Name, kernel and expected results of each operation, on small tensors that are the same each time."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    x = normal(2, 16, 10, 12).to(dtype).contiguous(memory_format=layout)
    exact = x.float()
    odd = setup_filter((1.0, 2.0, 1.0), device)
    for kernel, up, down in ((setup_filter(device=device), 1, 1), (odd, 1, 1), (odd, 2, 1), (odd, 1, 2)):
        padding = (2, 1, 1, 2)
        arguments = (kernel, up, down, padding, False, 1.5)
        yield (
            f"upfirdn2d {tuple(kernel.shape)} up {up} down {down}",
            lambda arguments=arguments: (resample.upfirdn2d(x, *arguments),),  # type: ignore[misc]
            (upfirdn2d_reference(exact, *arguments),),
        )
    scale, next_scale, bias = normal(2, 16), normal(2, 16), normal(16)
    noise, strength = normal(2, 1, 10, 12), torch.tensor(0.5, device=device)
    yield "scale_in", lambda: (scaling.scale_in(x, scale, dtype, True),), (formulas.scale_in(exact, scale, dtype),)
    yield (
        "scale_in_backward",
        lambda: scaling.scale_in_backward(x, x, scale, [True, True]),
        formulas.scale_in_backward(exact, exact, scale),
    )
    parts = (scale, noise, strength, bias, next_scale)
    activation = (2.0**0.5, 0.2, 2.0)
    expected = formulas.scale_out(exact, parts, *activation)
    yield "scale_out", lambda: (scaling.scale_out(x, parts, *activation),), (expected,)
    # With and without the noise's gradient, which has its own layout.
    for wants_noise in (False, True):
        wanted = [True, True, wants_noise, True, True, True]
        gradients = formulas.scale_out_backward(exact, exact, parts, *activation)
        yield (
            f"scale_out_backward{' of noise' if wants_noise else ''}",
            lambda wanted=wanted: tuple(  # type: ignore[misc]
                value if value.numel() else None
                for value in scaling.scale_out_backward(x, x, parts, *activation, wanted)
            ),
            gradients,
        )
