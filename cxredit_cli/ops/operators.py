"""The operators that have kernels: registered with torch, for tracing and compiling, and called past it otherwise.

Torch's dispatcher takes longer for a Python operator than a small layer takes on a GPU. Where nothing is traced, an
operator is therefore its implementation, or an autograd.Function round it if a gradient is needed; both ways share the
implementations and the gradients.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

_library: Any = torch.library.Library("cxredit", "DEF")  # type: ignore[no-untyped-call]
_PARTS = "Tensor? scale, Tensor? noise, Tensor? strength, Tensor? bias, Tensor? next_scale"
_ACTIVATION = "float gain, float slope, float limit"


class Operator:
    """A function of tensors with an implementation by kernels, one in plain torch, and a gradient."""

    def __init__(self, schema: str) -> None:
        self.name = schema.partition("(")[0]
        _library.define(schema)

    def implement(
        self,
        plain: Callable[..., Any],
        kernels: Callable[..., Any],
        fake: Callable[..., Any],
        save: Callable[..., None],
        backward: Callable[..., Any],
    ) -> None:
        """`fake` gives empty results, `save(ctx, inputs, output)` keeps what `backward(ctx, *grads)` needs."""
        self.plain, self.kernels = plain, kernels
        # By define and impl and not by custom_op, whose calls take more than twice as long.
        _library.impl(self.name, plain, "CPU")
        _library.impl(self.name, kernels, "CUDA")
        torch.library.register_fake(f"cxredit::{self.name}", fake, lib=_library)
        torch.library.register_autograd(f"cxredit::{self.name}", backward, setup_context=save, lib=_library)
        self.registered = getattr(torch.ops.cxredit, self.name)

        def forward(ctx: Any, *arguments: Any) -> Any:
            # Not by a setup_context, for which torch inspects the signature at every call.
            output = self.run(*arguments)
            save(ctx, arguments, output)
            return output

        attributes = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
        self.function: Any = type(f"cxredit_{self.name}", (torch.autograd.Function,), attributes)

    def run(self, *arguments: Any) -> Any:
        """The results, without a gradient."""
        return (self.kernels if arguments[0].is_cuda else self.plain)(*arguments)

    def __call__(self, *arguments: Any) -> Any:
        """The results, with a gradient if one is needed."""
        # Fake tensors and the like have types of their own; a mode wants to see every operator.
        traced = type(arguments[0]) not in (Tensor, Parameter) or torch._C._len_torch_dispatch_stack()
        if traced or torch.compiler.is_compiling():
            return self.registered(*arguments)
        if torch.is_grad_enabled() and any(isinstance(each, Tensor) and each.requires_grad for each in arguments):
            return self.function.apply(*arguments)
        return self.run(*arguments)


UPFIRDN2D = Operator(
    "upfirdn2d(Tensor x, Tensor kernel, int up, int down, SymInt[4] padding, bool flip_filter, float gain) -> Tensor"
)
SCALE_IN = Operator("scale_in(Tensor x, Tensor scale, ScalarType dtype, bool channels_last) -> Tensor")
SCALE_IN_BACKWARD = Operator(
    "scale_in_backward(Tensor grad, Tensor x, Tensor scale, bool[2] wanted) -> (Tensor, Tensor)"
)
SCALE_OUT = Operator(f"scale_out(Tensor x, {_PARTS}, {_ACTIVATION}) -> Tensor")
SCALE_OUT_BACKWARD = Operator(
    f"scale_out_backward(Tensor grad, Tensor x, {_PARTS}, {_ACTIVATION}, bool[6] wanted)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)
