"""Reading many images in parallel, in bounded memory."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Protocol

import numpy as np

from cxredit_cli.errors import CxreditError, InputError, UnreadableImageError
from cxredit_cli.processor import processors
from cxredit_cli.radiographs.geometry import Fit, fit_square
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.radiographs.sources import Source

BATCH = 32
LOOKS = "it looks "  # how the reason begins of an image that was read and is left out for what it shows
FEW = 64  # so few are read sooner than processes start
Result = tuple[int, bytes | None, str]  # index, pixels or None, how it was read or why it could not be


class Reader(Protocol):
    """Reads images: `read_all`, or one that looks at each before it goes on."""

    def __call__(
        self, pairs: Sequence[tuple[int, Source]], resolution: int, fit: Fit, bits: int, workers: int | None = None
    ) -> Iterator[Result]: ...


def read_all(
    pairs: Sequence[tuple[int, Source]], resolution: int, fit: Fit, bits: int, workers: int | None = None
) -> Iterator[Result]:
    """Yield (index, pixels of [resolution, resolution] as raw bytes of `bits` bits, reading) for every source.

    An image that cannot be read yields None and the reason. The order is that of `pairs`. No more than a few batches
    are held at once. `workers` processes read (None: one a CPU that this process may use).
    """
    if workers is None:
        workers = processors()
    if workers <= 1 or len(pairs) <= FEW:
        for index, source in pairs:
            yield _read_one(index, source, resolution, fit, bits)
        return
    # Not forked: a fork of a process that has threads may hang.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    batches = iter([pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH)])
    running: deque[Future[list[Result]]] = deque()
    try:
        while True:
            while len(running) < 3 * workers and (batch := next(batches, None)) is not None:
                running.append(pool.submit(_read_batch, batch, resolution, fit, bits))
            if not running:
                break
            yield from running.popleft().result()
    except BrokenProcessPool as error:
        raise CxreditError(
            "A process that reads images was ended, perhaps for lack of memory; run again with fewer --workers."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A parent that is killed outright cannot stop its workers.
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _read_batch(batch: Sequence[tuple[int, Source]], resolution: int, fit: Fit, bits: int) -> list[Result]:
    return [_read_one(index, source, resolution, fit, bits) for index, source in batch]


def _read_one(index: int, source: Source, resolution: int, fit: Fit, bits: int) -> Result:
    try:
        radiograph = read_radiograph(source)
    except UnreadableImageError as error:
        return index, None, str(error).removeprefix(f"{source.name}: ")
    except InputError:
        raise
    except MemoryError:
        return index, None, "there is not enough memory to read it."
    except Exception as error:  # one bad file never stops the rest
        return index, None, f"it could not be read ({type(error).__name__})."
    square = fit_square(radiograph.pixels, resolution, fit)
    levels = np.rint(square * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    return index, levels.tobytes(), radiograph.reading
