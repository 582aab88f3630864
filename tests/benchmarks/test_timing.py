"""Timing in turns."""

import time

import pytest
import torch

from cxredit_cli.benchmarks.timing import MIN_REPETITIONS, medians, stopwatch


def test_a_stopwatch_gives_the_seconds_of_one_call() -> None:
    watch = stopwatch(lambda: time.sleep(0.01), torch.device("cpu"))
    assert watch(3) == pytest.approx(0.01, rel=0.5)


def test_both_take_turns_until_the_time_is_used() -> None:
    order: list[str] = []

    def watch(name: str, seconds: float, calls: int) -> float:
        order.append(name)
        return seconds

    found = medians([lambda n: watch("a", 0.5, n), lambda n: watch("b", 2.0, n)], seconds=0)
    assert found == [0.5, 2.0]
    assert order == ["a", "b"] * (1 + MIN_REPETITIONS)  # one of them to warm up


def test_the_median_is_unmoved_by_one_slow_repetition() -> None:
    times = iter([9.0, 1.0, 50.0, 1.2])  # the first warms up
    assert medians([lambda n: next(times)], seconds=0) == [1.2]


def test_short_work_is_repeated_within_one_measurement() -> None:
    asked: list[int] = []

    def watch(calls: int) -> float:
        asked.append(calls)
        return 0.001

    assert medians([watch], seconds=0) == [0.001]
    assert asked[:2] == [1, 1]
    assert set(asked[2:]) == {20}
    assert len(asked[2:]) == MIN_REPETITIONS
