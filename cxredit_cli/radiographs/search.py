"""Walking through folders: regular files alone, on one file system, with word of how far it is."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

from cxredit_cli.errors import InputError
from cxredit_cli.progress import Progress, SilentProgress

QUIET_S = 1.0  # a search that ends sooner is not shown
NAMED = 3
KERNEL = ("/proc", "/sys")  # what looks like files there is no data, and reading some of it never ends


class Search:
    """One search through any number of folders."""

    def __init__(self, progress: Progress | None = None) -> None:
        self.looked_at = 0  # files
        self.found = 0  # images, as the caller counts them
        self._progress = progress or SilentProgress()
        self._begun = monotonic()
        self._shown = False
        self._elsewhere: list[str] = []

    def files(self, folder: Path) -> Iterator[Path]:
        """Every regular file below `folder`, links followed, each real folder once; folders in order of name.

        Hidden folders are passed over, and so is what lies on another file system (`finish` names it). Pipes, sockets
        and devices are never opened. Raises InputError for a folder of the kernel's.
        """
        if _is_kernels(folder):
            raise InputError(f"{folder} holds no files but what the kernel shows of itself; name a folder of images.")
        device = folder.stat().st_dev
        seen: set[str] = set()  # a link to a folder above would never end
        waiting = [str(folder)]
        while waiting:
            here = waiting.pop()
            real = os.path.realpath(here)
            if real in seen:
                continue
            seen.add(real)
            with suppress(OSError):  # of a folder that may not be read, or is gone
                if os.stat(here).st_dev != device:
                    self._elsewhere.append(here)
                    continue
                folders = []
                with os.scandir(here) as entries:
                    for entry in entries:
                        if entry.is_dir():
                            if not entry.name.startswith(".") and entry.name != "__MACOSX":
                                folders.append(entry.path)
                        elif is_data(entry):
                            self.looked_at += 1
                            yield Path(entry.path)
                waiting += sorted(folders, reverse=True)
            self._show()

    def finish(self) -> None:
        """End the search, and say what was left out of it."""
        if self._shown:
            self._progress.finish()
        if self._elsewhere:
            more = len(self._elsewhere) - NAMED
            named = ", ".join(self._elsewhere[:NAMED]) + (f" and {more} more" if more > 0 else "")
            self._progress.message(f"Not searched, for on other file systems: {named}; name them to include them.")

    def _show(self) -> None:
        if not self._shown and monotonic() - self._begun > QUIET_S:
            self._shown = True
            self._progress.start("Searching", None, unit="files")
        if self._shown:
            self._progress.advance(self.looked_at, images=self.found)


def is_data(entry: "os.DirEntry[str] | Path") -> bool:
    """Whether a path is a regular file or a link to one, and none of the kernel's: reading it comes to an end."""
    try:
        return entry.is_file() and not (entry.is_symlink() and _is_kernels(entry))
    except OSError:
        return False


def _is_kernels(path: "os.PathLike[str]") -> bool:
    real = os.path.realpath(path)
    return any(real == root or real.startswith(f"{root}/") for root in KERNEL)
