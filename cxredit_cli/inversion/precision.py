"""Inverting in the fastest precision that keeps gradients, and editing in full precision afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from cxredit_cli.inversion.invert import gradient_precision
from cxredit_cli.networks.generator import Generator


@contextmanager
def fast_gradients(generator: Generator) -> Iterator[None]:
    """Run the synthesis in the device's own precision for gradients (as `cxredit invert` does) inside the `with`."""
    synthesis = generator.synthesis
    before = synthesis.precision
    synthesis.precision = gradient_precision("auto", generator.mapping.w_avg.device)
    try:
        yield
    finally:
        synthesis.precision = before
