"""Processes as torchrun starts them, but forked from one that has imported what they need, for imports take long."""

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from cxredit_cli.app import app


def free_port() -> str:
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def fork(count: int, work: Callable[[int], None]) -> list[int]:
    """Do `work`, which is told the rank, in `count` processes; return their ids."""
    port, children = free_port(), []
    for rank in range(count):
        child = os.fork()
        if child == 0:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            code = 1
            try:
                work(rank)
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    return children


def command(words: list[str]) -> Callable[[int], None]:
    """`cxredit` with these words, for `fork`; what it says on stderr goes to <rank>.err."""

    def work(rank: int) -> None:
        with open(f"{rank}.err", "w") as errors, open(os.devnull, "w") as nothing:
            os.dup2(errors.fileno(), 2)
            os.dup2(nothing.fileno(), 1)
            app(words)

    return work


def kill_when(there: Path, process: int) -> None:
    """Kill a process as soon as a file is there."""
    while not there.exists():
        time.sleep(0.05)
    os.kill(process, signal.SIGKILL)


def exit_codes(children: list[int]) -> list[int]:
    """The exit code of each, negative for a signal, when all have ended."""
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
