"""How tensors lie in memory, and what the kernels need to know of it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cxredit_cli.ops.kernels.launch import Size

SUFFIXES = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}
THREADS = 256  # of a block: THREADS in common.cuh
MOST_BLOCKS = 65535  # along y and z
MOST_ELEMENTS = 2**31  # of one sample: its positions are 32-bit numbers, those of the whole tensor 64-bit ones
# About what a large GPU runs at once. A thread takes more than the least work only while so many are left.
ENOUGH_THREADS = 2**17


def memory_format(x: Tensor) -> torch.memory_format:
    """The layout that results for `x` get: its own, if it is channels_last, or the contiguous one."""
    if x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def within_limits(x: Tensor) -> bool:
    """Whether the kernels take a tensor of this type and size."""
    return x.dtype in SUFFIXES and x.numel() > 0 and x.numel() // len(x) < MOST_ELEMENTS


def parameter(values: Tensor | None) -> Tensor | None:
    """A small tensor as the kernels take it: float32, contiguous, aligned."""
    if values is None:
        return None
    if values.dtype != torch.float32 or not values.is_contiguous():
        values = values.to(torch.float32).contiguous()
    return values.clone() if values.data_ptr() % 16 else values


def address(tensor: Tensor | None) -> int:
    """Where the tensor lies; 0 for None."""
    return 0 if tensor is None else tensor.data_ptr()


def power_of_two(number: int, most: int) -> int:
    """The smallest power of two that is not below `number`, but at most `most`, itself one."""
    return min(1 << max(number - 1, 0).bit_length(), most)


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass over all elements [samples, channels, pixels] in one of two layouts, and how it is cut into blocks."""

    layout: str  # "channels_last" or "planes", as in the kernels' names
    width: str  # "wide" or "narrow"
    samples: int
    channels: int
    pixels: int
    blocks_of_channels: int  # 1 for planes
    pixels_of_block: int
    chunks: int  # how many parts the pixels are in
    grid: Size
    block: Size

    @property
    def sizes(self) -> tuple[int, int, int, int, int]:
        """The last arguments of every kernel that makes such a pass."""
        return self.samples, self.channels, self.pixels, self.blocks_of_channels, self.pixels_of_block

    @property
    def partials(self) -> int:
        """How many sums of one kind a backward kernel leaves."""
        return self.samples * self.chunks * self.channels

    @property
    def blocks(self) -> int:
        """How many blocks there are; a pass has no third dimension."""
        return self.grid[0] * self.grid[1]


def plan(layout: str, samples: int, channels: int, pixels: int, vector: int, most_rounds: int) -> Pass:
    """Cut a pass into blocks: `vector` elements at once where that is possible, up to `most_rounds` in a thread."""
    width = "wide"
    if (channels if layout == "channels_last" else pixels) % vector:
        vector = 1
    if vector == 1:
        width = "narrow"
    if layout == "channels_last":
        vectors = ceil_div(channels, vector)
        lanes = power_of_two(vectors, 32)
        rows = THREADS // lanes
        blocks = ceil_div(vectors, lanes)
        rounds = _rounds(samples * blocks * lanes * pixels, most_rounds, ceil_div(pixels, rows))
        chunks = ceil_div(pixels, rows * rounds)
        grid = (blocks * chunks, min(samples, MOST_BLOCKS), 1)
        return Pass(layout, width, samples, channels, pixels, blocks, rows * rounds, chunks, grid, (lanes, rows, 1))
    vectors = ceil_div(pixels, vector)
    lanes = power_of_two(vectors, THREADS)
    rows = THREADS // lanes
    rounds = _rounds(samples * channels * vectors, most_rounds, ceil_div(vectors, lanes))
    rounds = max(rounds, ceil_div(vectors, lanes * MOST_BLOCKS))
    pixels_of_block = lanes * vector * rounds
    chunks = ceil_div(pixels, pixels_of_block)
    grid = (ceil_div(samples * channels, rows), chunks, 1)
    return Pass(layout, width, samples, channels, pixels, 1, pixels_of_block, chunks, grid, (lanes, rows, 1))


def _rounds(threads: int, most: int, available: int) -> int:
    """How many elements or vectors one thread takes in turn: a power of two."""
    rounds = 1
    while rounds < most and rounds < available and threads // (2 * rounds) >= ENOUGH_THREADS:
        rounds *= 2
    return rounds
