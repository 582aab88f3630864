"""Writing edits in this process or in several, a bounded number at a time."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Self

import torch

from cxredit_cli.editing.write_edits import Job, Labels, Native, write_edits
from cxredit_cli.errors import CxreditError
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.storage.anatomy_network import load_anatomy

Rows = list[dict[str, Any]]
AHEAD = 4  # jobs a process that wait for it

_network: AnatomyNetwork | None = None  # of a worker process


class Writers:
    """Writes jobs; `written` is told the rows of each, in the order in which they were given.

    With one process a job is written when it is given. Otherwise films are spread over processes, each of which has one
    thread; `finish` waits for the last.
    """

    def __init__(
        self, labels: Labels, native: Native | None, anatomy: Path | None, jobs: int, written: Callable[[Rows], None]
    ) -> None:
        self._labels, self._native, self._written, self._jobs = labels, native, written, jobs
        self._network = load_anatomy(anatomy) if native is not None and jobs <= 1 else None
        self._waiting: deque[Future[Rows]] = deque()
        self._pool: ProcessPoolExecutor | None = None
        if jobs > 1:
            # Not forked: a fork of a process that has threads may hang.
            context = multiprocessing.get_context("spawn")
            arguments = (anatomy, native is not None)
            self._pool = ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def write(self, job: Job) -> None:
        """Write a job now, or as soon as a process is free."""
        if self._pool is None:
            self._written(write_edits(job, self._labels, self._native, self._network))
            return
        try:
            self._waiting.append(self._pool.submit(_write, job, self._labels, self._native))
        except BrokenProcessPool as error:
            raise _ended() from error
        while len(self._waiting) > AHEAD * self._jobs:
            self._take()

    def finish(self) -> None:
        """Wait until all is written."""
        while self._waiting:
            self._take()

    def _take(self) -> None:
        try:
            self._written(self._waiting.popleft().result())
        except BrokenProcessPool as error:
            raise _ended() from error


def _begin(anatomy: Path | None, native: bool) -> None:
    global _network
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that gave the work ends it
    torch.set_num_threads(1)
    _network = load_anatomy(anatomy) if native else None


def _write(job: Job, labels: Labels, native: Native | None) -> Rows:
    return write_edits(job, labels, native, _network)


def _ended() -> CxreditError:
    return CxreditError(
        "A process that writes edits ended unexpectedly, perhaps for want of memory; the same command carries on, with "
        "a smaller --jobs if it happens again."
    )
