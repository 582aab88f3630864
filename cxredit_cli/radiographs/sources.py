"""Which images the user meant: files, folders, globs, zips and lists of paths become one list of sources."""

import glob
import os
import threading
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import TextIO

from cxredit_cli.errors import InputError, UnreadableImageError
from cxredit_cli.radiographs.layout import AS_IT_IS, Righting

IMAGE_SUFFIXES = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".jp2", ".j2k", ".npy"),
        *(".dcm", ".dicom", ".dic"),
    }
)
DICOM_PREFIX_END = 132  # 128 bytes of preamble, then "DICM"


def printable(name: str) -> str:
    """`name` as text that every file and terminal takes: a byte of it that is no UTF-8 becomes a backslash escape."""
    return name.encode(errors="backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class Source:
    """One image to read: a file, or a member of a zip. `name` is what is stored and shown, so it is `printable`."""

    path: Path
    member: str | None = None
    name: str = ""  # relative to the folder or zip that was given; unique within one listing
    any_view: bool = False  # take also what its tags call no frontal chest
    righting: Righting = AS_IT_IS  # what is wrong with how it lies or is shown, to be undone when it is read

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", printable(self.name or self.member or self.path.name))

    @property
    def stem(self) -> str:
        """The file name without folders and image suffix, for names of outputs."""
        last = PurePosixPath(self.name)
        return last.stem if last.suffix.lower() in IMAGE_SUFFIXES else last.name

    @property
    def parts(self) -> tuple[str, ...]:
        """The full path as parts, the zip's own path first; used to match a table's paths by their ends."""
        member = PurePosixPath(self.member).parts if self.member else ()
        return (*Path(os.path.abspath(self.path)).parts, *member)

    def read_bytes(self) -> bytes:
        """Return the encoded file. Raises UnreadableImageError."""
        try:
            if self.member is None:
                return self.path.read_bytes()
            return _open_zip(self.path).read(self.member)
        except FileNotFoundError as error:
            raise UnreadableImageError(f"{self.name}: the file does not exist; check the path.") from error
        except (OSError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile, EOFError) as error:
            where = "the file" if self.member is None else f"this member of {self.path.name}"
            raise UnreadableImageError(f"{self.name}: {where} cannot be read; it may be damaged or locked.") from error
        except Exception as error:
            if type(error).__name__ != "error":  # zlib.error and lzma's, from a damaged member
                raise
            raise UnreadableImageError(f"{self.name}: this member of {self.path.name} is damaged.") from error


def list_sources(inputs: Sequence[str | Path], stdin: TextIO | None = None, any_view: bool = False) -> list[Source]:
    """Return the images that `inputs` name, in order, each once, with unique names.

    An input is a file, a folder (searched recursively, in order of path), a glob, a zip, or "-": a list of such
    paths, one a line, on `stdin`. Inside folders and zips, files that are no image by name or DICOM prefix are left
    out; a file that is named itself is always taken. `any_view` takes also what DICOM tags call no frontal chest.
    Raises InputError if an input does not exist or holds no image.
    """
    found: list[Source] = []
    for given in inputs:
        if str(given) == "-":
            if stdin is None:
                raise InputError("The input is '-', but there is no standard input to read a list of paths from.")
            lines = [line.strip("\r\n") for line in stdin]
            paths = [line for line in lines if line.strip()]
            if not paths:
                raise InputError("Expected a list of image paths on standard input, one a line, and found none.")
            for line in paths:
                found.extend(_expand(line))
        else:
            found.extend(_expand(given))
    if not found:
        raise InputError("No input was given; name an image, a folder, a glob or a zip.")
    listed = _unique_names(_without_repeats(found))
    return [replace(source, any_view=True) for source in listed] if any_view else listed


def _expand(given: str | Path) -> list[Source]:
    path = Path(given)
    with suppress(RuntimeError):  # of ~name where there is no such user: a file may be called so
        path = path.expanduser()
    if path.is_dir():
        sources = _in_folder(path)
        expected = "DICOM files or pictures"
    elif path.is_file():
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES or (suffix != ".zip" and not zipfile.is_zipfile(path)):
            return [Source(path)]
        sources = _in_zip(path)
        expected = "DICOM files or pictures as members"
    elif glob.has_magic(str(given)):
        sources = [source for match in sorted(glob.glob(str(path), recursive=True)) for source in _expand_match(match)]
        expected = "files that match"
    else:
        raise InputError(f"{given} does not exist; name an image, a folder, a glob or a zip.")
    if not sources:
        raise InputError(f"No image was found in {given}; expected {expected}.")
    return sources


def _expand_match(match: str) -> list[Source]:
    path = Path(match)
    if path.is_dir():
        return _in_folder(path)
    return _expand(path)


def _in_folder(folder: Path) -> list[Source]:
    sources = []
    for path in sorted(_walk(folder)):
        if _is_image(path.name, partial(_head, path)):
            sources.append(Source(path, name=path.relative_to(folder).as_posix()))
    return sources


def _walk(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()  # a link to a folder above would never end
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        yield from (Path(root, name) for name in files)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(DICOM_PREFIX_END)
    except OSError:
        return b""


def _in_zip(path: Path) -> list[Source]:
    archive = _open_zip(path)

    def head(member: str) -> bytes:
        try:
            with archive.open(member) as file:
                return file.read(DICOM_PREFIX_END)
        except Exception:  # an unreadable member without an image's name is no image
            return b""

    members = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    return [
        Source(path, member)
        for member in members
        if not member.startswith("__MACOSX/") and _is_image(PurePosixPath(member).name, partial(head, member))
    ]


def _is_image(name: str, head: Callable[[], bytes]) -> bool:
    if name.startswith("."):
        return False
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return True
    # Archives name DICOM files by number or UID, without a suffix that means anything.
    if name != "DICOMDIR" and (not suffix or suffix[1:].isdigit()):
        return head()[128:DICOM_PREFIX_END] == b"DICM"
    return False


_zips = threading.local()


def _open_zip(path: Path) -> zipfile.ZipFile:
    """Return the zip, opened once per process and thread: its directory may list a million members."""
    cache: dict[tuple[str, int], zipfile.ZipFile] = _zips.__dict__.setdefault("opened", {})
    key = (str(path), os.getpid())
    if key not in cache:
        try:
            opened = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise InputError(f"{path} is not a readable zip file; it may be damaged or incomplete.") from error
        for old in cache.values():
            old.close()
        cache.clear()
        cache[key] = opened
    return cache[key]


def _without_repeats(sources: Iterable[Source]) -> list[Source]:
    first: dict[tuple[str, str | None], Source] = {}
    for source in sources:
        first.setdefault((os.path.abspath(source.path), source.member), source)
    return list(first.values())


def _unique_names(sources: list[Source]) -> list[Source]:
    """Give sources of one name as much more of their paths as tells them apart."""
    by_name: dict[str, list[int]] = defaultdict(list)
    for index, source in enumerate(sources):
        by_name[source.name].append(index)
    clashes = [index for indices in by_name.values() if len(indices) > 1 for index in indices]
    if clashes:
        full = {index: sources[index].parts for index in clashes}
        common = next(depth for depth, level in enumerate(zip_longest(*full.values())) if len(set(level)) > 1)
        sources = list(sources)
        for index in clashes:
            sources[index] = replace(sources[index], name="/".join(part for part in full[index][common:] if part))
    return sources
