"""What the machine can do at best, measured on it: copying memory and multiplying matrices."""

import torch
import torch.nn.functional as F

from cxredit_cli.benchmarks.timing import medians, stopwatch

COPIED_BYTES = {"cuda": 1 << 30}  # of the copy; far more than any cache
MATRIX_SIDE = {"cuda": 8192}
SECONDS = 0.3


def copy_bandwidth(device: torch.device) -> float:
    """Bytes per second, read and written, of one large copy."""
    size = COPIED_BYTES.get(device.type, 1 << 28)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    (seconds,) = medians([stopwatch(lambda: target.copy_(source), device)], SECONDS)
    return 2 * size / seconds


@torch.no_grad()
def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second in `dtype` of a large matrix product, or of a convolution if faster."""
    side = MATRIX_SIDE.get(device.type, 1024)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    channels = side // 4
    x = torch.randn(8, channels, 32, 32, device=device).to(dtype, memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, 3, 3, device=device).to(dtype, memory_format=torch.channels_last)
    product, convolution = medians(
        [stopwatch(lambda: a @ b, device), stopwatch(lambda: F.conv2d(x, weight, padding=1), device)], SECONDS
    )
    return max(2 * side**3 / product, 2 * x.numel() * channels * 9 / convolution)
