"""The dataset that training reads: HDF5 with every image at one resolution, and what is known of each."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from cxredit_cli.errors import InputError, MismatchError
from cxredit_cli.storage.hdf5 import DAMAGE, open_hdf5, texts
from cxredit_cli.storage.typed_values import typed

SCHEMA, VERSION = "cxredit-dataset", 2
WITHOUT_EDITS = 1  # the version of a dataset of films as they were taken, which older readers know too
Split = Literal["train", "val"]


def split_of(patient_id: str, val_fraction: float, seed: int) -> Split:
    """Return the split of a patient. It depends on nothing else, so it stays when images are added."""
    digest = hashlib.sha256(f"{seed}:{patient_id}".encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") / 2**64 < val_fraction else "train"


@dataclass(frozen=True, slots=True)
class EditMark:
    """What was done to an image that is no film as it was taken."""

    how: str  # "native": the film itself was edited; "model": it is the generator's picture
    source: str  # the film's name
    strength: str  # along the direction, with sign
    direction: str  # its name, how it was found, and in brackets what stands for its vector
    model: str  # the generator's name


@dataclass(frozen=True, slots=True)
class _Made:
    """What a dataset says of how it was made, and others rely on."""

    version: int
    fit: str
    seed: int
    val_fraction: float


class Dataset:
    """A read-only view of a prepared dataset; threads and processes may share it, and it pickles as its path."""

    def __init__(self, path: str | Path) -> None:
        """Check the header. Raises InputError for a file that is no dataset, MismatchError for a newer one."""
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"The dataset {path} does not exist; make it with `cxredit prepare`.")
        try:
            with h5py.File(self.path, "r") as file:
                self.attributes: dict[str, Any] = dict(file.attrs)
                images = file.get("images")
                if self.attributes.get("schema") != SCHEMA or images is None:
                    raise InputError(f"{path} is HDF5 but no dataset; make one with `cxredit prepare`.")
                self._shape: tuple[int, int, int] = images.shape
                self._dtype = images.dtype
                self._offset: int | None = images.id.get_offset()
            made = typed(_Made, {name: self.attributes[name] for name in _Made.__annotations__})
            if len(self._shape) != 3 or self._shape[1] != self._shape[2] or self._dtype not in (np.uint8, np.uint16):
                raise ValueError(f"its images are {self._dtype} of shape {list(self._shape)}")
        except DAMAGE as error:
            reason = f" ({error})" if isinstance(error, ValueError | LookupError) else ""
            raise InputError(f"{path} is no readable dataset{reason}; make it again with `cxredit prepare`.") from error
        if made.version > VERSION:
            raise MismatchError(
                f"{path} has version {self.attributes['version']} of the dataset format and this cxredit reads "
                f"{VERSION}; update cxredit."
            )

    def __len__(self) -> int:
        return self._shape[0]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_pixels"}

    @property
    def resolution(self) -> int:
        """Height and width of every image."""
        return self._shape[1]

    @property
    def white(self) -> int:
        """The value of white: 255, or 65535 in a dataset of 16 bits."""
        return int(np.iinfo(self._dtype).max)

    @property
    def dtype(self) -> Any:
        """uint8 or uint16."""
        return self._dtype

    @cached_property
    def _pixels(self) -> Any:
        if self._offset is not None:  # contiguous, as `prepare` writes it: no lock and no copy between processes
            return np.memmap(self.path, dtype=self._dtype, mode="r", offset=self._offset, shape=self._shape)
        with h5py.File(self.path, "r") as file:
            return file["images"][:]

    def images(self, indices: Sequence[int] | NDArray[np.integer] | slice) -> NDArray[Any]:
        """Return images [n, H, W] uint8 or uint16, in the order of `indices`, repeats allowed."""
        wanted = indices if isinstance(indices, slice) else np.asarray(indices, dtype=np.int64)
        return np.array(self._pixels[wanted])

    @cached_property
    def names(self) -> list[str]:
        """The name of each image's source."""
        return self._strings("name")

    @cached_property
    def patient_ids(self) -> list[str]:
        """The patient of each image, from the label table; the image's own name where it is unknown."""
        return self._strings("patient_id")

    @cached_property
    def views(self) -> list[str]:
        """PA, AP, LATERAL, or "" where unknown."""
        return self._strings("view")

    @cached_property
    def labels(self) -> list[str]:
        """The labels of each image as "A|B", "" where unknown."""
        return self._strings("labels")

    @cached_property
    def uncertain(self) -> list[str]:
        """The labels of each image that its table calls uncertain, as "A|B"; "" in datasets of older versions."""
        with open_hdf5(self.path, SCHEMA, VERSION) as file:
            if "uncertain" not in file:
                return [""] * len(self)
        return self._strings("uncertain")

    @cached_property
    def splits(self) -> list[str]:
        """train or val."""
        return self._strings("split")

    @cached_property
    def readings(self) -> list[str]:
        """How each image was read."""
        return self._strings("reading")

    @cached_property
    def edits(self) -> list[EditMark | None]:
        """What was done to each image; None for a film as it was taken."""
        with open_hdf5(self.path, SCHEMA, VERSION) as file:
            if "edits" not in file:
                return [None] * len(self)
            cells = [texts(file["edits"], name, len(self)) for name in EditMark.__annotations__]
        return [EditMark(*each) if each[0] else None for each in zip(*cells, strict=True)]

    @property
    def edits_told(self) -> str:
        """A sentence for whoever takes the images for films as they were taken; "" where all of them are."""
        edited = np.array([mark is not None for mark in self.edits], dtype=bool)
        if not edited.any():
            return ""
        share = f"{int(edited.sum()):,} of the {len(self):,} images in {self.path}"
        parts = ", ".join(f"{int(edited[self.indices(split)].sum()):,} in {split}" for split in ("train", "val"))
        return f"{share} are edited, not films as they were taken ({parts})."

    @cached_property
    def columns(self) -> dict[str, list[str]]:
        """Every column of the label table, by its header."""
        with open_hdf5(self.path, SCHEMA, VERSION) as file:
            return {
                str(column.attrs["header"]): texts(file["columns"], name, len(self))
                for name, column in file["columns"].items()
            }

    def has_label(self, label: str) -> NDArray[np.bool_]:
        """Return for each image whether `label` is among its labels."""
        return np.array([label in labels.split("|") for labels in self.labels], dtype=bool)

    def indices(self, split: str | None = None, view: str | None = None, label: str | None = None) -> NDArray[np.int64]:
        """Return the indices of the images in `split`, with `view` and with `label`; None does not filter."""
        keep = np.ones(len(self), dtype=bool)
        if split is not None:
            keep &= np.array(self.splits) == split
        if view is not None:
            keep &= np.array(self.views) == view
        if label is not None:
            keep &= self.has_label(label)
        return np.flatnonzero(keep)

    def _strings(self, name: str) -> list[str]:
        with open_hdf5(self.path, SCHEMA, VERSION) as file:
            return texts(file, name, len(self))


def is_prepared(path: str | Path) -> bool:
    """Whether `path` is a file of this tool (HDF5), not a folder, zip or image that has to be read first."""
    return Path(path).is_file() and bool(h5py.is_hdf5(path))
