"""A CSV that grows a row at a time, so that a run that is killed carries on: its last row may be cut off, no other."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self, TextIO


class GrowingTable:
    """Rows of texts in `columns`, each in the file when `append` returns.

    Several processes may read; one of them appends, and takes away what a kill cut off.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, tuple(columns)
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_another(self) -> bool:
        """Whether the file is there and has other columns."""
        return next(self._read(), self.columns) != self.columns

    def rows(self) -> Iterator[tuple[str, ...]]:
        """The rows that are whole, in the order in which they came; what is no UTF-8 in them is replaced."""
        lines = self._read()
        next(lines, None)
        return (cells for cells in lines if len(cells) == len(self.columns))

    def append(self, cells: Iterable[object]) -> None:
        """Add a row; what is no text in it (of a path) is escaped."""
        if self._file is None:
            self._file = self._open()
        self._write(cells)

    def close(self) -> None:
        """Let go of the file; `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> TextIO:
        whole = self._length_of_whole_rows()
        self._file = self.path.open("a", newline="", encoding="utf-8", errors="backslashreplace")
        self._file.truncate(whole)
        if whole == 0:
            self._write(self.columns)
        return self._file

    def _write(self, cells: Iterable[object]) -> None:
        assert self._file is not None
        csv.writer(self._file, lineterminator="\n").writerow(cells)
        self._file.flush()

    def _read(self) -> Iterator[tuple[str, ...]]:
        left = self._length_of_whole_rows()
        if left:
            with self.path.open("rb") as file:
                yield from map(tuple, csv.reader(_texts(file, left)))

    def _length_of_whole_rows(self) -> int:
        """Bytes up to the last end of a line that is not within quotes."""
        length = place = quotes = 0
        if self.path.exists():
            with self.path.open("rb") as file:
                for line in file:
                    place, quotes = place + len(line), quotes + line.count(b'"')
                    if quotes % 2 == 0 and line.endswith(b"\n"):
                        length = place
        return length


def _texts(lines: Iterable[bytes], length: int) -> Iterator[str]:
    """The first lines, of so many bytes together."""
    for line in lines:
        if length <= 0:
            return
        length -= len(line)
        yield line.decode(errors="replace")
