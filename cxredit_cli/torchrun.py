"""Which of several processes this one is, as torchrun tells it; nothing heavy is imported, so that `app` can ask."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Place:
    """One of `count` processes, the `rank`th from 0 on, and on its machine one of `count_here`."""

    rank: int = 0
    count: int = 1
    rank_here: int = 0
    count_here: int = 1

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """The place that torchrun gave; alone where it started one process, or nobody started any."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        given = [environment.get(name, default) for name, default in zip(names, ("", "", "0", "1"), strict=True)]
        if not all(text.isdecimal() for text in given) or int(given[1]) < 2:
            return cls()
        return cls(*map(int, given))

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.count == 1
