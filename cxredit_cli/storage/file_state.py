"""What a file was like when it was read, by which a later run knows whether it has to be read again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class FileState:
    """What a file system says of a file, nothing of what is in it or of where it lies; all 0 where it is unknown."""

    size: int = 0  # bytes
    time: int = 0  # of the last change to its content, nanoseconds since 1970
    inode: int = 0  # tells files of one name, size and time apart, as unpacking an archive makes them
    righting: int = 0  # how far it was righted when it was read (`Door.righting`)

    @classmethod
    def of(cls, path: Path, righting: int = 0) -> Self:
        """The file as it is now; unknown where it cannot be looked up, for reading it will say what is wrong."""
        try:
            found = path.stat()
        except OSError:
            return cls()
        return cls(found.st_size, found.st_mtime_ns, found.st_ino, righting)

    @property
    def written(self) -> tuple[int, int]:
        """Size and time, which change when a file is written: enough where its path is known too."""
        return self.size, self.time


UNKNOWN = FileState()
