"""How long work reports itself without the library ever printing."""

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of one task; commands show it, tests and library users may ignore it."""

    def start(self, description: str, total: float | None, done: float = 0, unit: str = "img") -> None:
        """Begin a task of `total` units (None: unknown), of which `done` are already done."""

    def advance(self, done: float, **figures: float) -> None:
        """Report that `done` units are complete in all, with the figures that matter now."""

    def message(self, text: str) -> None:
        """Say one line that should stay visible."""

    def finish(self) -> None:
        """End the task."""


class SilentProgress:
    """Reports nothing."""

    def start(self, description: str, total: float | None, done: float = 0, unit: str = "img") -> None: ...

    def advance(self, done: float, **figures: float) -> None: ...

    def message(self, text: str) -> None: ...

    def finish(self) -> None: ...
