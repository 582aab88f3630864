"""The door: images are read, looked at, and taken, righted, marked or turned away."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cxredit_cli.errors import known_word
from cxredit_cli.intake.look import Verdict, look
from cxredit_cli.radiographs.dicom_display import BY_PRESENTATION_SHAPE
from cxredit_cli.radiographs.dicom_position import BY_ORIENTATION
from cxredit_cli.radiographs.geometry import Fit
from cxredit_cli.radiographs.layout import MIRRORED, Righting
from cxredit_cli.radiographs.read_many import Result, read_all
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.storage.intake_network import TrainedIntake

OnSuspect = Literal["skip", "warn", "accept"]
AT_ONCE = 64
PICTURES = 96  # that are kept
SEEN_FROM = 64  # pixels a side; of smaller pictures nothing can be said


def check_on_suspect(word: str) -> OnSuspect:
    """Raise InputError unless the word of an option `--on-suspect` is one of OnSuspect."""
    known: OnSuspect = known_word(word, OnSuspect, "--on-suspect")
    return known


@dataclass(frozen=True, slots=True)
class Suspect:
    """An image that was not taken as it is."""

    name: str
    verdict: Verdict
    done: str  # "skipped", "righted" or "marked"
    picture: NDArray[np.uint8] | None  # [R, R] as it was read; None after the first PICTURES


@dataclass(slots=True)
class Door:
    """Reads images as `read_all` does, and looks at each.

    A suspect is not taken (`on_suspect` "skip"), or taken and marked ("warn"). Where `right`, films that are turned or
    negative are righted; so are those, always, that only a tag of the file turned or inverted, since tags are wrong
    more often than pictures.
    """

    trained: TrainedIntake
    on_suspect: OnSuspect
    right: bool = False
    suspects: list[Suspect] = field(default_factory=list)
    _taken: dict[Source, tuple[Source, str]] = field(default_factory=dict)
    _told: int = 0

    def read(
        self, pairs: Sequence[tuple[int, Source]], resolution: int, fit: Fit, bits: int, workers: int | None = None
    ) -> Iterator[Result]:
        """Yield what `read_all` yields; a suspect that is not taken comes as None with the reason."""
        sources = dict(pairs)
        results = read_all(pairs, resolution, fit, bits, workers)
        if self.on_suspect == "accept" or resolution < SEEN_FROM:
            yield from results
            return
        for batch in _batches(results, AT_ONCE):
            read = [result for result in batch if result[1] is not None]
            squares = [_square(content, resolution, bits) for _, content, _ in read if content is not None]
            verdicts = look(self.trained, torch.from_numpy(np.stack(squares))[:, None]) if squares else []
            judged = {index: pair for (index, *_), pair in zip(read, zip(verdicts, squares, strict=True), strict=True)}
            for index, content, reading in batch:
                if index not in judged or not judged[index][0].kind:
                    yield index, content, reading
                    continue
                verdict, square = judged[index]
                source = sources[index]
                righting = self._righting(verdict, reading)
                if righting:
                    righted = replace(source, righting=righting)
                    self._note(source, verdict, "righted", square)
                    self._taken[source] = (righted, "")
                    yield from read_all([(index, righted)], resolution, fit, bits, 1)
                elif self.on_suspect == "skip":
                    self._note(source, verdict, "skipped", square)
                    yield index, None, f"{verdict.words}; --on-suspect warn takes it all the same."
                else:
                    self._note(source, verdict, "marked", square)
                    self._taken[source] = (source, verdict.words)
                    yield index, content, f"{reading}, but {verdict.words}"

    @property
    def righting(self) -> int:
        """How far it rights: 0 not at all, 1 what only a tag turned or inverted, 2 all."""
        return 0 if self.on_suspect == "accept" else 1 + self.right

    def new_suspects(self) -> list[Suspect]:
        """The suspects since it was last asked."""
        new = self.suspects[self._told :]
        self._told = len(self.suspects)
        return new

    def source(self, source: Source) -> Source:
        """The source as it was read: one that was righted says so."""
        return self._taken.get(source, (source, ""))[0]

    def suspicion(self, source: Source) -> str:
        """What is wrong with an image that was taken all the same; "" where nothing is."""
        return self._taken.get(source, (source, ""))[1]

    def _righting(self, verdict: Verdict, reading: str) -> Righting:
        """What of a verdict is put right: all that is asked for, else what a tag of the file has done."""
        lies, negative = verdict.righting.lies, verdict.righting.negative
        if not (BY_ORIENTATION in reading or (self.right and lies != MIRRORED)):
            lies = 0
        return Righting(lies, negative and (BY_PRESENTATION_SHAPE in reading or self.right))

    def _note(self, source: Source, verdict: Verdict, done: str, square: NDArray[np.float32]) -> None:
        picture = np.rint(square * 255).astype(np.uint8) if len(self.suspects) < PICTURES else None
        self.suspects.append(Suspect(source.name, verdict, done, picture))


def _square(content: bytes, resolution: int, bits: int) -> NDArray[np.float32]:
    levels = np.frombuffer(content, np.uint8 if bits == 8 else np.uint16).reshape(resolution, resolution)
    return levels.astype(np.float32) / np.float32(2**bits - 1)


def _batches(results: Iterable[Result], size: int) -> Iterator[list[Result]]:
    iterator = iter(results)
    while batch := list(islice(iterator, size)):
        yield batch
