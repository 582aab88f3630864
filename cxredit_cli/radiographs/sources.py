"""Which images the user meant: files, folders, globs, zips and lists of paths become one list of sources."""

import glob
import os
import threading
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import TextIO

from cxredit_cli.errors import InputError, UnreadableImageError
from cxredit_cli.progress import Progress
from cxredit_cli.radiographs.layout import AS_IT_IS, Righting
from cxredit_cli.radiographs.search import Search, is_data

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
                if self.path.exists() and not is_data(self.path):
                    raise UnreadableImageError(f"{self.name}: expected a file, but it is {_what_is(self.path)}.")
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


def list_sources(
    inputs: Sequence[str | Path],
    stdin: TextIO | None = None,
    progress: Progress | None = None,
    any_view: bool = False,
) -> list[Source]:
    """Return the images that `inputs` name, in order, each once, with unique names.

    An input is a file, a folder (searched recursively, in order of path), a glob, a zip, or "-": a list of such
    paths, one a line, on `stdin`. Inside folders and zips, files that are no image by name or DICOM prefix are left
    out, and so are pipes, devices and what lies on another file system than the folder; a file that is named itself is
    always taken. `progress` shows a search that takes long; `any_view` takes also what DICOM tags call no frontal
    chest. Raises InputError if an input does not exist or holds no image.
    """
    search = Search(progress)
    try:
        found = _find(inputs, stdin, search)
    finally:
        search.finish()
    if not found:
        raise InputError("No input was given; name an image, a folder, a glob or a zip.")
    listed = _unique_names(_without_repeats(found))
    return [replace(source, any_view=True) for source in listed] if any_view else listed


def _find(inputs: Sequence[str | Path], stdin: TextIO | None, search: Search) -> list[Source]:
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
                found.extend(_expand(line, search))
        else:
            found.extend(_expand(given, search))
    return found


def _expand(given: str | Path, search: Search) -> list[Source]:
    path = Path(given)
    with suppress(RuntimeError):  # of ~name where there is no such user: a file may be called so
        path = path.expanduser()
    before, where = search.looked_at, f"in {given}"
    if path.is_dir():
        sources = _in_folder(path, search)
        where = f"among the {search.looked_at - before:,} files in {given}"
        expected = "DICOM files or pictures"
    elif is_data(path):
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES or (suffix != ".zip" and not zipfile.is_zipfile(path)):
            return [Source(path)]
        sources = _in_zip(path)
        expected = "DICOM files or pictures as members"
    elif path.exists():
        raise InputError(f"{given} is {_what_is(path)}; name an image, a folder, a glob or a zip.")
    elif glob.has_magic(str(given)):
        matches = sorted(glob.glob(str(path), recursive=True))
        sources = [source for match in matches for source in _expand_match(Path(match), search)]
        expected = "files that match"
    else:
        raise InputError(f"{given} does not exist; name an image, a folder, a glob or a zip.")
    if not sources:
        raise InputError(f"No image was found {where}; expected {expected}.")
    return sources


def _expand_match(path: Path, search: Search) -> list[Source]:
    if path.is_dir():
        return _in_folder(path, search)
    return _expand(path, search) if is_data(path) else []


def _what_is(path: Path) -> str:
    kinds = ((path.is_dir, "a folder"), (path.is_fifo, "a pipe"), (path.is_socket, "a socket"))
    devices = ((path.is_char_device, "a device"), (path.is_block_device, "a device"))
    return next((what for is_it, what in (*kinds, *devices) if is_it()), "no file that is kept")


def _in_folder(folder: Path, search: Search) -> list[Source]:
    sources = []
    for path in search.files(folder):
        if _is_image(path.name, partial(_head, path)):
            sources.append(Source(path, name=path.relative_to(folder).as_posix()))
            search.found += 1
    return sorted(sources, key=lambda source: source.path)


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
    """Return the zip, opened once per process and thread: its directory may list a million members.

    It is opened anew where another file has taken its place, as between two calls in a notebook.
    """
    cache: dict[tuple[str, int, int, int, int], zipfile.ZipFile] = _zips.__dict__.setdefault("opened", {})
    found = path.stat()
    key = (os.path.abspath(path), os.getpid(), found.st_ino, found.st_size, found.st_mtime_ns)
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
