"""What the machine can do at best, measured on it: copying memory and multiplying matrices."""

import torch

from cxredit_cli.benchmarks.timing import medians, stopwatch

COPIED_BYTES = {"cuda": 1 << 30}  # of the copy; far more than any cache
MATRIX_SIDE = {"cuda": 8192}
SECONDS = 0.5


def copy_bandwidth(device: torch.device) -> float:
    """Bytes per second, read and written, of one large copy."""
    size = COPIED_BYTES.get(device.type, 1 << 28)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    (seconds,) = medians([stopwatch(lambda: target.copy_(source), device)], SECONDS)
    return 2 * size / seconds


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of one large matrix product in `dtype`."""
    side = MATRIX_SIDE.get(device.type, 1024)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    (seconds,) = medians([stopwatch(lambda: a @ b, device)], SECONDS)
    return 2 * side**3 / seconds
