"""Which implementation of an operation runs: decided here and nowhere else.

`reference` is the textbook form, the oracle of the tests and the yardstick of `cxredit bench`; `torch` arranges library
calls so that they are fast, on every device; `kernels` are this package's CUDA kernels. `traced` is for programs that
other tools run, in float32: library calls too, but nothing is kept between them and nothing depends on a batch's size.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from torch import Tensor

from cxredit_cli.ops.kernels.state import usable

Path = Literal["reference", "traced", "torch", "kernels"]
_asked_for: ContextVar[Path | None] = ContextVar("asked_for", default=None)


def path_for(x: Tensor) -> Path:
    """The implementation for an operation on `x`."""
    return _asked_for.get() or ("kernels" if x.is_cuda and usable(x.device) else "torch")


def rearranges(x: Tensor) -> bool:
    """Whether layers keep prepared weights for operations on `x`, and share their multiplications."""
    return path_for(x) not in ("reference", "traced")


@contextmanager
def only(path: Path) -> Iterator[None]:
    """Let every operation within the block take `path`; for comparisons and exports."""
    token = _asked_for.set(path)
    try:
        yield
    finally:
        _asked_for.reset(token)
