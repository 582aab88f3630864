"""The reference in a process of its own."""

import multiprocessing
import os
from dataclasses import replace

import pytest
import torch

from cxredit_cli.benchmarks.cases import Settings
from cxredit_cli.benchmarks.reference_process import reference_apart
from cxredit_cli.errors import CxreditError

TINY = Settings(16, 2, 64, 8, torch.device("cpu"), torch.float32, pl_weight=0.0)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="elsewhere the reference runs in the same process")


def test_each_work_of_a_case_is_timed() -> None:
    with reference_apart(TINY, "training_iteration") as (plain, with_r1):
        assert plain(1) > 0
        assert with_r1(1) > 0


def test_its_error_arrives_here() -> None:
    impossible = replace(TINY, channel_max=-1, channel_base=0, batch=0)
    with pytest.raises(RuntimeError), reference_apart(impossible, "generator_forward") as (watch,):
        watch(1)


def test_a_process_that_is_killed_is_one_sentence() -> None:
    with reference_apart(TINY, "generator_forward") as (watch,):
        watch(1)
        (child,) = multiprocessing.active_children()
        child.kill()
        child.join()
        with pytest.raises(CxreditError, match="smaller --batch"):
            watch(1)
