"""Processes as torchrun starts them, forked from one that has imported what they need: imports take longer than tests."""

import os
import socket
import sys
import traceback
from collections.abc import Callable


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


def exit_codes(children: list[int]) -> list[int]:
    """The exit code of each, negative for a signal, when all have ended."""
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
