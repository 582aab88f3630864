"""The whole table: each case on the fast path and as its textbook form, whether they agree, how near to the limits."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cxredit_cli.benchmarks.cases import Case, Outputs, Settings, Work
from cxredit_cli.benchmarks.catalogue import choose_cases
from cxredit_cli.benchmarks.count_operations import CountedOperations
from cxredit_cli.benchmarks.limits import copy_bandwidth, matrix_peak
from cxredit_cli.benchmarks.reference_process import reference_apart
from cxredit_cli.benchmarks.timing import Stopwatch, medians, stopwatch
from cxredit_cli.devices import device_name, has_glibc
from cxredit_cli.errors import InputError
from cxredit_cli.ops.choice import only
from cxredit_cli.processor import cpu_has_bfloat16
from cxredit_cli.progress import Progress

TOLERANCE = 1e-4  # of values in float32, against the largest of the reference
# Of gradients, against the norm of the reference's. Rounding puts a few activations on the other side of the leaky
# ReLU's kink: moving w by half a unit in the last place turns the reference's own gradient by up to 1e-3.
GRADIENT_TOLERANCE = 1e-2
SMALLEST = 16  # the window of SSIM has 11 pixels


@dataclass(frozen=True, slots=True)
class Result:
    """One row: seconds of the fast path and of the reference, and what follows from them."""

    name: str
    dtype: str
    shape: list[int]
    median_s: float
    reference_s: float
    ratio: float  # reference_s / median_s
    img_per_s: float
    max_error: float  # of values of the fast path in float32, relative to the reference's largest
    gradient_error: float | None  # norm of the gradients' difference in float32, relative to the reference's norm
    bandwidth_share: float | None  # of the copy bandwidth: the values that must move at least, in `dtype`
    peak_share: float | None  # of the matrix peak
    parts: dict[str, dict[str, float]] | None  # where works of different kinds make up the whole


@dataclass(frozen=True, slots=True)
class BenchReport:
    """The table, and the machine and the settings that it holds for."""

    device: str
    threads: int
    torch: str
    reference: str
    copy_bandwidth: float  # bytes/s
    matrix_peak: dict[str, float]  # floating-point operations/s by dtype
    settings: dict[str, object]
    results: list[Result]  # of the cases that are measured

    @property
    def wrong(self) -> list[str]:
        """The names of what does not agree with the reference."""
        return [
            result.name
            for result in self.results
            if not (result.max_error <= TOLERANCE and (result.gradient_error or 0.0) <= GRADIENT_TOLERANCE)
        ]


def run_benchmarks(
    settings: Settings, patterns: Sequence[str], seconds: float, same_process: bool, progress: Progress
) -> Iterator[BenchReport]:
    """Measure the cases that `patterns` choose (none: all), each for about `seconds`, with at least three repetitions.

    The report comes after each case, with one result more. Raises InputError before the first.
    On a processor the reference runs in float32, and with glibc in a process of its own unless `same_process`; on a
    GPU it runs in the dtype of the fast path.
    """
    side = settings.resolution
    if side < SMALLEST or side & (side - 1):
        raise InputError(f"--resolution must be a power of two of at least {SMALLEST}, but it is {side}.")
    cases = choose_cases(settings, patterns)
    on_cpu = settings.device.type == "cpu"
    apart = on_cpu and has_glibc() and not same_process

    progress.start("bench", len(cases), unit="case")
    copied = copy_bandwidth(settings.device)
    peaks = {dtype: matrix_peak(settings.device, dtype) for dtype in dict.fromkeys(case.dtype for case in cases)}
    how = "float32" if on_cpu else "the dtype of the fast path"
    report = BenchReport(
        device=describe(settings.device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        reference=f"textbook form in {how}, in {'a process of its own' if apart else 'the same process'}",
        copy_bandwidth=copied,
        matrix_peak={name_of(dtype): peak for dtype, peak in peaks.items()},
        settings={
            "resolution": side,
            "batch": settings.batch,
            "channel_base": settings.channel_base,
            "channel_max": settings.channel_max,
            "precision": name_of(settings.dtype),
            "pl_weight": settings.pl_weight,
        },
        results=[],
    )
    for number, case in enumerate(cases):
        if apart:
            process = reference_apart(settings, case.name)
        else:
            process = reference_here(settings, case, torch.float32 if on_cpu else case.dtype)
        result = measure(case, settings, seconds, process, copied, peaks[case.dtype])
        report.results.append(result)
        progress.advance(number + 1, ratio=result.ratio)
        yield report
    progress.finish()


def measure(
    case: Case,
    settings: Settings,
    seconds: float,
    reference: AbstractContextManager[list[Stopwatch]],
    copied: float,
    peak: float,
) -> Result:
    """One row; `copied` bytes and `peak` operations per second are what the machine can do."""
    agreed = agreement(case)
    works = case.prepare(case.dtype, torch.channels_last)
    with reference as references:
        pairs = [
            medians([stopwatch(work, settings.device), textbook], seconds / len(works))
            for work, textbook in zip(works, references, strict=True)
        ]
    median_s, reference_s = (
        sum(share * pair[k] for share, pair in zip(case.shares, pairs, strict=True)) for k in (0, 1)
    )
    moved = None if case.elements is None else case.elements * case.dtype.itemsize
    return Result(
        name=case.name,
        dtype=name_of(case.dtype),
        shape=list(case.shape),
        median_s=median_s,
        reference_s=reference_s,
        ratio=reference_s / median_s,
        img_per_s=settings.batch / median_s,
        max_error=agreed.max_error,
        gradient_error=agreed.gradient_error,
        bandwidth_share=None if moved is None else moved / median_s / copied,
        peak_share=agreed.operations / median_s / peak if case.matrix else None,
        parts={
            part: {"share": share, "median_s": pair[0], "reference_s": pair[1]}
            for part, share, pair in zip(case.parts, case.shares, pairs, strict=True)
        }
        if len(works) > 1
        else None,
    )


@contextmanager
def reference_here(settings: Settings, case: Case, dtype: torch.dtype) -> Iterator[list[Stopwatch]]:
    """A stopwatch for each work of `case` by the reference, in this process."""

    def textbook(work: Work) -> Callable[[], Outputs]:
        def run() -> Outputs:
            with only("reference"):
                return work()

        return run

    works = case.prepare(dtype, torch.contiguous_format)
    yield [stopwatch(textbook(work), settings.device) for work in works]


class Agreement(NamedTuple):
    """How far the fast path in float32 is from the reference, and the operations of its matrix products."""

    max_error: float
    gradient_error: float | None
    operations: float


def agreement(case: Case) -> Agreement:
    """Do the work of `case` once each way, in float32."""
    fast = case.prepare(torch.float32, torch.channels_last)
    textbook = case.prepare(torch.float32, torch.contiguous_format)
    operations = 0.0
    of_values, of_gradients = [], []
    with full_float32():
        for mine, theirs, share in zip(fast, textbook, case.shares, strict=True):
            with CountedOperations() as counted:
                computed = mine()
            operations += share * counted.total
            with only("reference"):
                expected = theirs()
            for a, b in zip(computed.values, expected.values, strict=True):
                of_values.append(relative((a - b).abs().max(), b.abs().max()))
            for ours, oracle in zip(computed.gradients, expected.gradients, strict=True):
                of_gradients.append(relative(norm([a - b for a, b in zip(ours, oracle, strict=True)]), norm(oracle)))
    return Agreement(largest(of_values), largest(of_gradients) if of_gradients else None, operations)


def largest(errors: list[float]) -> float:
    """The largest; nan if one is nan."""
    return float(torch.tensor(errors).max())


def relative(error: Tensor, scale: Tensor) -> float:
    """error / scale; no error is none, whatever the scale."""
    return float(error / scale) if error else 0.0


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """The length of all tensors as one vector."""
    length: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors]))
    return length


@contextmanager
def full_float32() -> Iterator[None]:
    """Keep GPUs from rounding the factors of float32 products to ten bits."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def describe(device: torch.device) -> str:
    """The machine in words."""
    threads = torch.get_num_threads()
    if device.type != "cpu":
        return device_name(device)
    native = ", native bfloat16" if cpu_has_bfloat16() else ""
    return f"{device_name(device)}{native}, {threads} thread{'s' if threads > 1 else ''}"


def name_of(dtype: torch.dtype) -> str:
    """float32, bfloat16 or float16."""
    return str(dtype).removeprefix("torch.")
