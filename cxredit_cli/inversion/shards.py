"""Spreading a cohort over processes and machines, and putting the parts together again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from cxredit_cli.errors import InputError
from cxredit_cli.storage.codes import read_codes
from cxredit_cli.storage.write_codes import CodesWriter
from cxredit_cli.torchrun import Place

AT_ONCE = 64  # codes in memory
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` parts, `number` from 1 on."""

    number: int = 1
    count: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}" if self.count > 1 else ""

    def of(self, items: Sequence[T], batch: int = 1) -> list[T]:
        """This part of `items`: neighbours stay together, so that the parts in order are the whole in order.

        Where there are enough of them whole batches stay together too, for sums are rounded differently in other ones:
        the parts' codes are then the very codes of the whole.
        """
        unit = batch if len(items) >= batch * self.count else 1
        units = -(-len(items) // unit)
        first, last = ((self.number - offset) * units // self.count * unit for offset in (1, 0))
        return list(items[first:last])

    def path(self, whole: Path) -> Path:
        """Where this part goes: codes.h5 becomes codes.2-of-4.h5."""
        if self.count == 1:
            return whole
        return whole.with_name(f"{whole.stem}.{self.number}-of-{self.count}{whole.suffix}")


WHOLE = Shard()


def choose_shard(given: str | None, place: Place) -> Shard:
    """The part that `given` ("2/4") names, else that of this process among several, else the whole.

    Raises InputError for what is no such part.
    """
    if given is None:
        return Shard(place.rank + 1, place.count)
    number, slash, count = given.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise InputError(f"--shard must be I/N with I from 1 to N, such as 2/4, but it is '{given}'.")
    return Shard(int(number), int(count))


def merge(parts: Sequence[Path], output: Path) -> int:
    """Write the codes of all parts of one cohort to `output`, in the cohort's order; return how many they are.

    A name that occurs twice with the same picture is kept once. Raises InputError where a part is missing, where parts
    were made in different ways, or where one name stands for two pictures; MismatchError for another generator's.
    """
    if output in parts or output.exists():
        raise InputError(f"{output} exists already; merge into a new file with -o.")
    codes = sorted((read_codes(part) for part in parts), key=lambda part: _place(part.header.shard))
    count = _place(codes[0].header.shard)[0]
    places = [_place(part.header.shard) for part in codes]
    missing = [str(Shard(number, count)) for number in range(1, count + 1) if (count, number) not in places]
    if missing and count > 1:
        raise InputError(f"Of the {count} parts {', '.join(missing)} is missing; name all parts, or invert it first.")
    header = replace(codes[0].header, shard="")
    try:
        with CodesWriter(output, header, expected=sum(map(len, codes))) as writer:
            for part in codes:
                writer.check_same(part.path, replace(part.header, shard=""))
                for start in range(0, len(part), AT_ONCE):
                    rows = slice(start, min(start + AT_ONCE, len(part)))
                    w, originals = part.some(rows), part.originals(rows)
                    noise, tuning, files = part.noise(rows), part.tuning(rows), part.files(rows)
                    new = []
                    for place, name in enumerate(part.source[rows]):
                        if name not in writer.done_sources:
                            new.append(place)
                        elif not np.array_equal(writer.original(name), originals[place]):
                            raise InputError(f"{name} is another picture in {part.path} than in the parts before it.")
                    if new:
                        writer.append(
                            [part.source[start + place] for place in new],
                            w[new],
                            part.psnr[rows][new],
                            part.ssim[rows][new],
                            originals[new],
                            None if noise is None else [layer[new] for layer in noise],
                            None if tuning is None else tuning[new],
                            [part.suspect[start + place] for place in new],
                            [part.righted[start + place] for place in new],
                            [files[place] for place in new],
                        )
            return len(writer)
    except BaseException:
        output.unlink(missing_ok=True)  # half a cohort would pass for the whole
        raise


def _place(shard: str) -> tuple[int, int]:
    number, _, count = shard.partition("/")
    return (int(count), int(number)) if count else (1, 1)
