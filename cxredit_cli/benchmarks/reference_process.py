"""The textbook forms in a process of their own, whose memory the system manages as it does for any program.

The fast path on a processor includes `keep_freed_memory`. glibc's own rules adapt to what a program allocates, and stop
doing so for good once a program sets them; within one process the reference could not have them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

import torch

from cxredit_cli.benchmarks.cases import Settings
from cxredit_cli.benchmarks.catalogue import all_cases
from cxredit_cli.benchmarks.timing import Stopwatch, stopwatch
from cxredit_cli.errors import CxreditError
from cxredit_cli.ops.choice import only


@contextmanager
def reference_apart(settings: Settings, name: str) -> Iterator[list[Stopwatch]]:
    """A stopwatch for each work of the case `name`, by the reference in float32; the process lives for the `with`."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    mine, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, settings, name, torch.get_num_threads()), daemon=True)
    process.start()
    theirs.close()

    def ask(part: int, calls: int) -> float:
        try:
            mine.send((part, calls))
            answer = mine.recv()
        except (EOFError, ConnectionError):
            raise CxreditError(
                f"The system ended the reference of {name}, as it does when memory runs out; try a smaller --batch."
            ) from None
        if isinstance(answer, BaseException):
            raise answer
        return float(answer)

    parts = next(len(case.parts) for case in all_cases(settings) if case.name == name)
    try:
        yield [lambda calls, part=part: ask(part, calls) for part in range(parts)]  # type: ignore[misc]
    finally:
        mine.close()
        process.join()


def serve(connection: Connection, settings: Settings, name: str, threads: int) -> None:
    """Time the works of the case `name` as asked, until the other end is closed."""
    torch.set_num_threads(threads)
    try:
        case = next(case for case in all_cases(settings) if case.name == name)
        works = case.prepare(torch.float32, torch.contiguous_format)
        watches = [stopwatch(work, settings.device) for work in works]
        with only("reference"):
            while True:
                part, calls = connection.recv()
                connection.send(watches[part](calls))
    except (EOFError, KeyboardInterrupt):
        return
    except Exception as error:
        connection.send(error)
