"""Timing two ways of doing the same work in turn, so that what else the machine does meets both."""

import math
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch

MIN_SECONDS = 0.02  # of one measurement; short work is repeated within it
MIN_REPETITIONS = 3

Stopwatch = Callable[[int], float]
"""Does its work so many times and returns the seconds that one took."""


def stopwatch(work: Callable[[], object], device: torch.device) -> Stopwatch:
    """Times `work`, waiting for `device` before and after."""

    def watch(calls: int) -> float:
        synchronize(device)
        started = time.perf_counter()
        for _ in range(calls):
            work()
        synchronize(device)
        return (time.perf_counter() - started) / calls

    return watch


def medians(watches: Sequence[Stopwatch], seconds: float) -> list[float]:
    """The median seconds of each stopwatch's work over repetitions in turn: a, b, a, b, ...

    Repeats until `seconds` are used, warm-up included, and at least MIN_REPETITIONS times.
    """
    started = time.perf_counter()
    for watch in watches:
        watch(1)
    first = [watch(1) for watch in watches]
    calls = [math.ceil(MIN_SECONDS / max(once, MIN_SECONDS / 1000)) for once in first]
    taken = [[once] if count == 1 else [] for once, count in zip(first, calls, strict=True)]
    while min(map(len, taken)) < MIN_REPETITIONS or time.perf_counter() - started < seconds:
        for watch, times, count in zip(watches, taken, calls, strict=True):
            times.append(watch(count))
    return [median(times) for times in taken]


def synchronize(device: torch.device) -> None:
    """Wait until `device` has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
