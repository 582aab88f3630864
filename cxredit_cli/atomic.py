"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxredit_cli.errors import InputError


def refuse_folders(*files: Path | None) -> None:
    """Raise InputError where one of the `files` to write is a folder; commands ask before hours of work."""
    for path in files:
        if path is not None and path.is_dir():
            raise InputError(f"{path} is a folder; a file is expected, so name one in it or elsewhere.")


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; rename it to `path` when the block ends without an error.

    A process that is killed in between leaves `path` as it was, and an aside file that the next run overwrites.
    """
    path = Path(path)
    refuse_folders(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.aside")
    try:
        yield aside
        aside.chmod(0o666 & ~_umask())  # some libraries write files that nobody else can read
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` as UTF-8, whole or not at all; what is no text in it (of a path) is escaped."""
    write_bytes(path, content.encode(errors="backslashreplace"))


def _umask() -> int:
    """The permissions that new files lack; it can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
