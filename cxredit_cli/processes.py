"""Processes that do one thing together, as torchrun starts them: shares, sums, results, and how they end together.

All goes through torch.distributed: NCCL between GPUs, gloo between processors. A collective may wait for as long as it
takes (one process writes a checkpoint while the others are ahead of it); that all are alive is asked in a thread, by a
word of each every two seconds that may take 25.
"""

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn, TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor

from cxredit_cli.errors import CxreditError, InputError, LostProcessError
from cxredit_cli.torchrun import Place

WAIT = timedelta(hours=24)
BEAT_SECONDS = 2.0
BEAT_TIMEOUT = timedelta(seconds=25)
LOST = (
    "Another process of this work has ended, or all were told to stop; run the same command again, and it carries on "
    "where it can."
)
End = Callable[[str, int], NoReturn]  # says a sentence, if any, and ends the process with an exit code from any thread
T = TypeVar("T")


class Processes:
    """One process among `count` that work together; by default there is only one, and nothing is sent."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @property
    def first(self) -> bool:
        """Whether it is this one that writes files and speaks."""
        return self.rank == 0

    def rounds(self, items: int, size: int) -> list[range]:
        """Which of so many items this process works on, round by round: `size` neighbours at most.

        They are dealt in turn, so that the shares of all processes in one round, in order, are neighbours too, and with
        any number of processes the same `size` items are worked on at once. All have as many rounds; a last one may
        be empty.
        """
        own = self.rank * size
        return [range(items)[start + own : start + own + size] for start in range(0, items, size * self.count)]

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in order, for the first one; the others get none."""
        if self.count == 1:
            return [value]
        values: list[Any] | None = [None] * self.count if self.first else None
        dist.gather_object(value, values)
        return values or []

    def exchange(self, value: T) -> list[T]:
        """The values of all processes, in order, for each of them."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def from_first(self, work: Callable[[], T]) -> T:
        """What `work` returns in the first process, the only one that does it, for all."""
        told: list[Any] = [work() if self.first else None]
        if self.count > 1:
            dist.broadcast_object_list(told)
        result: T = told[0]
        return result

    def total(self, value: Tensor) -> Tensor:
        """The sum of `value` over all processes."""
        if self.count > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def first_alone(self, work: Callable[[], T]) -> T:
        """What `work` returns; the first process does it before the others, which find on disk what it made."""
        if not self.first:
            self.total(torch.zeros(()))
        result = work()
        if self.first:
            self.total(torch.zeros(()))
        return result

    def check_alike(self, number: int, sentence: str) -> None:
        """Raise InputError with `sentence` unless `number`, of 63 bits, is the same in all processes."""
        if self.count > 1:
            least = torch.tensor([number, -number])
            dist.all_reduce(least, dist.ReduceOp.MIN)
            if least[0] != number or -least[1] != number:
                raise InputError(sentence)


ALONE = Processes()


@contextmanager
def join(device: torch.device, place: Place, end: End) -> Iterator[Processes]:
    """Meet the other processes that torchrun started, if any, and leave together with them.

    Where one of them ends before the work is done, this one ends too: by LostProcessError, or, where it cannot be
    raised because the process waits for a device, by `end`. Where one of them fails, it says why and the others end
    without a word.
    """
    if place.alone:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=WAIT)
        heart = Heartbeat(end)
    except (RuntimeError, ValueError) as error:  # not all came, or an address is missing
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise LostProcessError(f"The processes of this work did not find each other ({reason}).") from None
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    except Exception as error:
        heart.stop_speaking()
        if isinstance(error, RuntimeError) and _of_a_collective(error):
            raise LostProcessError(LOST) from None
        all_fail = heart.give_up(getattr(error, "exit_code", 1))
        if isinstance(error, CxreditError):
            error.found_by_all = all_fail
        raise
    except BaseException:
        heart.stop_speaking()
        raise
    heart.leave_together()
    dist.destroy_process_group()


class Heartbeat:
    """A thread that notices within seconds when another process is gone or fails, or torchrun says that it is over."""

    def __init__(self, end: End) -> None:
        self._end = end
        group = dist.new_group(backend="gloo", timeout=BEAT_TIMEOUT)
        assert isinstance(group, dist.ProcessGroup)  # all are members
        self._group = group
        self._done, self._failed = False, 0  # what this process tells the others: `_failed` is its exit code
        self._all_fail = False
        self._speaker = threading.Lock()  # taken by who says why the process ends
        # A signal's handler runs in the main thread, which may be waiting for a device: the thread hears of it by this.
        self._told, tell = socket.socketpair()
        tell.setblocking(False)
        self._tell = tell
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def stop_speaking(self) -> None:
        """The main thread says why the process ends; if the other does so already, wait for the end."""
        if not self._speaker.acquire(blocking=False):
            time.sleep(60)

    def give_up(self, exit_code: int) -> bool:
        """Let the others end without a word, for this one says why; return whether all of them fail by themselves."""
        self._failed = exit_code
        self._tell.send(b"\0")
        self._thread.join(BEAT_TIMEOUT.seconds + BEAT_SECONDS)
        return self._all_fail

    def leave_together(self) -> None:
        """Wait until all processes are done."""
        self._done = True
        self._tell.send(b"\0")
        self._thread.join()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _beat(self) -> None:
        while True:
            if select.select([self._told], [], [], BEAT_SECONDS)[0] and signal.SIGTERM in self._told.recv(64):
                break
            failed = self._failed
            words = torch.tensor([-int(self._done), failed, -failed])
            try:
                dist.all_reduce(words, dist.ReduceOp.MAX, group=self._group)
            except RuntimeError:
                break
            not_done, worst, best = words.tolist()
            if failed:
                self._all_fail = best < 0
                return
            if worst and self._speaker.acquire(blocking=False):
                self._end("", worst)
            if not_done < 0:
                return
        if self._speaker.acquire(blocking=False):
            self._end(LOST, LostProcessError.exit_code)


def _of_a_collective(error: RuntimeError) -> bool:
    """Whether torch.distributed says by it that another process is gone."""
    gloo = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo")
    return isinstance(error, dist.DistError) or any(words in str(error) for words in gloo)


def start(count: int, arguments: Sequence[str]) -> int:
    """Run `python -m cxredit_cli` with `arguments` in `count` processes on this machine, by torch's launcher.

    Returns the exit code: 0, or that of the first process that failed, 1 where it was killed. Raises KeyboardInterrupt
    where this process was told to stop, after it has stopped them.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=0.1,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "cxredit_cli", *arguments)
    except ChildFailedError as error:
        return max(error.get_first_failure()[1].exitcode, 1)
    except SignalException:
        raise KeyboardInterrupt from None
    return 0
