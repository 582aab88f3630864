"""The films that codes were made of, among files."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from cxredit_cli.radiographs.sources import Source


def find_films(names: Sequence[str], sources: Sequence[Source]) -> tuple[dict[str, Source], dict[str, str]]:
    """The film of each name of a code file, and why there is none for the others.

    A film is found by its whole name, else by as much of the end of its path as tells it apart. Whether it is the film
    that was inverted is for whoever reads it to check.
    """
    by_name = {source.name: source for source in sources}
    by_ends = _ByEnds(sources)
    found: dict[str, Source] = {}
    missing: dict[str, str] = {}
    for name in names:
        candidates = [by_name[name]] if name in by_name else by_ends.find(PurePosixPath(name).parts)
        if len(candidates) == 1:
            found[name] = candidates[0]
        else:
            missing[name] = f"{len(candidates)} files have its name" if candidates else "no file has its name"
    return found, missing


class _ByEnds:
    """Sources by the last parts of their paths, listed for each depth that is asked for.

    All films of a cohort may have the same few file names, one folder a patient.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._paths = [(PurePosixPath(source.name).parts, source) for source in sources]
        self._depths: list[dict[tuple[str, ...], list[Source]]] = []

    def find(self, parts: tuple[str, ...]) -> list[Source]:
        """The sources that agree with as many last parts as any does."""
        candidates: list[Source] = []
        for depth in range(1, len(parts) + 1):
            candidates = self._ending(parts[-depth:]) or candidates
            if len(candidates) <= 1:
                break
        return candidates

    def _ending(self, parts: tuple[str, ...]) -> list[Source]:
        while len(self._depths) < len(parts):
            depth, by_end = len(self._depths) + 1, defaultdict[tuple[str, ...], list[Source]](list)
            for path, source in self._paths:
                if len(path) >= depth:
                    by_end[path[-depth:]].append(source)
            self._depths.append(by_end)
        return self._depths[len(parts) - 1].get(parts, [])
