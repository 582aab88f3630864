"""The tables of what operations must read and write, and of what kernels and library calls do read and write.

Both follow from shapes: `operations-traffic` from the cases of `cxredit bench`, `kernels-traffic` from the tensors that
go into and come out of the library calls of ops/torch_forms.py, run on tensors without memory.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from result_tables import VERSION, ResultTable
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cxredit_cli.benchmarks.cases import Settings
from cxredit_cli.benchmarks.operations import operation_cases
from cxredit_cli.ops.bias_act import bias_act, scale_in, scale_out
from cxredit_cli.ops.choice import only
from cxredit_cli.ops.upfirdn2d import RESAMPLE_TAPS, downsample2d, setup_filter, upfirdn2d, upsample2d

SIDE, BASE, MOST = 128, 16384, 512  # of the generator whose highest resolution is looked at
TAPS = len(RESAMPLE_TAPS) ** 2
OF_BIAS_ACT = ("bias", "leaky ReLU", "gain")
OF_SCALE_OUT = ("demodulation", "noise", *OF_BIAS_ACT, "next style")
BATCH, CHANNELS, LARGE = 32, 128, 8192  # so large that edges and small tensors do not show


def operations_table(command: str) -> ResultTable:
    """What each operation computes, and the values that it must read and write."""
    settings = Settings(SIDE, 1, BASE, MOST, torch.device("cpu"), torch.bfloat16, 0.0)
    moved = {case.name: case.elements or 0 for case in operation_cases(settings)}
    rows = [
        [name, operations, f"{moved[case] / 1e6:.1f}", f"{moved[case] * settings.dtype.itemsize / 1e6:.1f}"]
        for name, case, operations in (
            (f"`upfirdn2d_up2` ({TAPS} taps, {TAPS // 4} of them not on zeros)", "upfirdn2d_up2", f"{TAPS // 4 * 2}"),
            ("`upfirdn2d_down2`", "upfirdn2d_down2", f"{TAPS * 2}"),
            ("`upfirdn2d_filter`", "upfirdn2d_filter", f"{TAPS * 2}"),
            (f"`bias_act` ({', '.join(OF_BIAS_ACT)})", "bias_act", f"{len(OF_BIAS_ACT)}"),
            ("scale-in (style)", "bias_act", "1"),
            (f"scale-out ({', '.join(OF_SCALE_OUT)})", "bias_act", f"{len(OF_SCALE_OUT)}"),
            ("`modulated_conv2d_torgb`", "modulated_conv2d_torgb", "2, of a value read"),
        )
    ]
    columns = ["operation", "operations a value written", "values moved at least, millions", "bytes in bf16, MB"]
    what = "What an operation must read and write at the least; derived from shapes."
    data = f"{SIDE}x{SIDE}, {settings.channels(SIDE)} channels, per image."
    return ResultTable(what, data, "", VERSION, command, columns, rows)


class CountedTraffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the values that go into and come out of all calls within the `with`; a view moves nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run `func`, and count."""
        result = func(*args, **(kwargs or {}))
        aliases = [returned.alias_info for returned in func._schema.returns]
        if not any(alias is not None and not alias.is_write for alias in aliases):
            self.values += values_of((args, kwargs, result))
        return result


def values_of(tree: object) -> int:
    """The values of all tensors in it."""
    return sum(leaf.numel() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


class Traffic(NamedTuple):
    """Values moved for each of the larger of input and output: by one pass, and by library calls."""

    fused: float
    calls: float


@torch.no_grad()
def forward(function: Callable[[Tensor], Tensor], x: Tensor) -> Traffic:
    """Of function(x)."""
    with only("torch"), CountedTraffic() as counted:
        y = function(x)
    largest = max(x.numel(), y.numel())
    return Traffic(values_of((x, y)) / largest, counted.values / largest)


def backward(function: Callable[..., Tensor], x: Tensor, *parts: Tensor) -> Traffic:
    """Of the gradients of function(x, *parts) by all of these."""
    leaves = [tensor.detach().requires_grad_() for tensor in (x, *parts)]
    with only("torch"):
        y = function(*leaves)
        grad = torch.empty_like(y)
        with CountedTraffic() as counted:
            gradients = torch.autograd.grad(y, leaves, grad)
    return Traffic(values_of((grad, x, gradients)) / x.numel(), counted.values / x.numel())


def kernels_table(command: str) -> ResultTable:
    """What each kernel moves in its one pass, and library calls in its place."""
    with torch.device("meta"):
        x, small = (torch.empty(BATCH, CHANNELS, side, side) for side in (LARGE, LARGE // 2))
        style, bias, strength = torch.empty(BATCH, CHANNELS), torch.empty(CHANNELS), torch.empty(())
        noise = torch.empty(1, 1, LARGE, LARGE)
        taps = setup_filter()

    def all_parts(x: Tensor, scale: Tensor, strength: Tensor, bias: Tensor, following: Tensor) -> Tensor:
        return scale_out(x, bias, scale=scale, noise=noise, noise_strength=strength, next_scale=following)

    rows: Iterable[tuple[str, str, dict[str, Traffic]]] = (
        (
            "`upfirdn2d` plain",
            "padding, cropping, filter, gain",
            {
                "": forward(lambda x: upfirdn2d(x, taps, padding=(1, 1, 1, 1)), x),
                "with padding that is not symmetric": forward(lambda x: upfirdn2d(x, taps, padding=(2, 1, 2, 1)), x),
            },
        ),
        (
            "`upfirdn2d` up 2",
            "the same, zero-insertion",
            {"in a transposed convolution and a crop": forward(lambda x: upsample2d(x, taps), small)},
        ),
        (
            "`upfirdn2d` down 2",
            "the same, decimation",
            {"filtered at full resolution": forward(lambda x: downsample2d(x, taps), x)},
        ),
        (
            "`scale_in`",
            "style, cast, NCHW to channels_last",
            {
                "": forward(lambda x: scale_in(x, style), x),
                "with a change of layout": forward(
                    lambda x: scale_in(x, style).contiguous(memory_format=torch.channels_last), x
                ),
            },
        ),
        (
            "`scale_in_backward`",
            "gradient of the features, and its sum with them for the style",
            {"": backward(scale_in, x, style)},
        ),
        (
            "`scale_out`",
            "demodulation, noise, bias, leaky ReLU, gain, clamp, the next layer's style",
            {
                "with bias and leaky ReLU alone": forward(lambda x: bias_act(x, bias), x),
                "with all but the clamp": forward(lambda x: all_parts(x, style, strength, bias, style), x),
            },
        ),
        (
            "`scale_out_backward`",
            "gradient of the features, and the sums for demodulation, noise, its strength, bias and next style",
            {
                "with bias and leaky ReLU alone": backward(bias_act, x, bias),
                "with all but the clamp": backward(all_parts, x, style, strength, bias, style),
            },
        ),
    )
    shown = [
        [
            *(name, fused, f"{next(iter(found.values())).fused:.3g} E"),
            "; ".join(f"{traffic.calls:.3g} E {when}".strip() for when, traffic in found.items()),
        ]
        for name, fused, found in rows
    ]
    what = (
        "Bytes moved for each element of the larger of input and output, E being the size of an element; "
        "derived from the tensors that go into and come out of the calls."
    )
    columns = ["kernel", "fused", "bytes an element at least", "as library calls"]
    data = f"Large pictures, {CHANNELS} channels, batch {BATCH}."
    return ResultTable(what, data, "", VERSION, command, columns, shown)
