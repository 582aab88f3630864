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
    by_end: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        by_end[PurePosixPath(source.name).name].append(source)
    found: dict[str, Source] = {}
    missing: dict[str, str] = {}
    for name in names:
        if name in by_name:
            found[name] = by_name[name]
            continue
        parts = PurePosixPath(name).parts
        candidates = by_end.get(parts[-1], [])
        for depth in range(2, len(parts) + 1):
            if len(candidates) > 1:
                narrower = [c for c in candidates if PurePosixPath(c.name).parts[-depth:] == parts[-depth:]]
                candidates = narrower or candidates
        if len(candidates) == 1:
            found[name] = candidates[0]
        else:
            missing[name] = f"{len(candidates)} files have its name" if candidates else "no file has its name"
    return found, missing
