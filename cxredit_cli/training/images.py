"""The endless shuffled sequence of training images, addressable by position so that a run can be resumed anywhere."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.errors import InputError, MismatchError
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.training.parts import Part

IN_MEMORY_BYTES = 4 << 30
CHUNK = 1024


class Batches(Protocol):
    """Where a training takes its images from."""

    def batch(self, first: int, count: int, part: Part | None = None) -> Tensor:
        """Images at positions first ... first + count - 1: [count, 1, R, R] on the device, float32 in [-1, 1].

        With `part`, its images of this batch alone, in its order.
        """


class TrainingImages:
    """Images of one split at one resolution. Position i is entry i mod N of the permutation of epoch i div N.

    Data sets up to 4 GiB are held in memory on `device`; larger ones are read from the file one batch ahead.
    """

    def __init__(self, dataset: Dataset, split: str, resolution: int, device: torch.device, seed: int) -> None:
        if dataset.resolution < resolution or dataset.resolution % resolution:
            raise InputError(
                f"The images are {dataset.resolution}x{dataset.resolution}, but training at {resolution}x{resolution} "
                f"needs a multiple of that; run `cxredit prepare` with --resolution {resolution}."
            )
        self._dataset, self._resolution, self._device, self._seed = dataset, resolution, device, seed
        self._indices = dataset.indices(split)
        if len(self._indices) == 0:
            raise InputError(
                f"The data set has no image in its '{split}' split; prepare it with another --val-fraction."
            )
        self._epoch, self._order = -1, np.empty(0, np.int64)
        self._memory: Tensor | None = None
        self._reader = ThreadPoolExecutor(max_workers=1)
        self._ahead: dict[tuple[int, int, Part | None], Future[Tensor]] = {}
        if len(self._indices) * resolution**2 * 2 <= IN_MEMORY_BYTES:
            for start in range(0, len(self._indices), CHUNK):
                images = self._read(self._indices[start : start + CHUNK])
                if self._memory is None:
                    self._memory = images.new_empty((len(self._indices), *images.shape[1:]), device=device)
                self._memory[start : start + len(images)] = images

    def __len__(self) -> int:
        return len(self._indices)

    def batch(self, first: int, count: int, part: Part | None = None) -> Tensor:
        """Images at positions first ... first + count - 1: [count, 1, R, R] on the device, float32 in [-1, 1].

        With `part`, its images of this batch alone, in its order.
        """
        if self._memory is not None:
            places = torch.from_numpy(self._places(first, count, part))
            return to_network_range(self._memory[places.to(self._device, non_blocking=True)])
        ahead = self._ahead.pop((first, count, part), None)
        images = self._read(self._indices[self._places(first, count, part)]) if ahead is None else ahead.result()
        upcoming = (first + count, count, part)
        self._ahead[upcoming] = self._reader.submit(self._read, self._indices[self._places(*upcoming)])
        return to_network_range(images.to(self._device, non_blocking=True))

    def rows(self, first: int, count: int, part: Part | None = None) -> Tensor:
        """Which of the split's images `batch` gives: [N], from 0."""
        return torch.from_numpy(self._places(first, count, part))

    def _places(self, first: int, count: int, part: Part | None) -> NDArray[np.int64]:
        places = np.empty(count, np.int64)
        for k in range(count):
            epoch, position = divmod(first + k, len(self._indices))
            if epoch != self._epoch:
                self._epoch = epoch
                self._order = np.random.default_rng((self._seed, epoch)).permutation(len(self._indices))
            places[k] = self._order[position]
        return places if part is None else places[part.indices()]

    def _read(self, indices: NDArray[np.int64]) -> Tensor:
        """Stored images at the training resolution, [N, 1, R, R] uint8 or uint16."""
        stored = torch.from_numpy(self._dataset.images(indices))[:, None]
        if self._resolution == self._dataset.resolution:
            return stored
        means = F.avg_pool2d(stored.float(), self._dataset.resolution // self._resolution)
        return means.round().to(stored.dtype)


def to_network_range(stored: Tensor) -> Tensor:
    """uint8 or uint16 images to float32 in [-1, 1]."""
    return stored.float() / (torch.iinfo(stored.dtype).max / 2) - 1


def identity(dataset: Dataset) -> str:
    """16 hex digits that stand for which images a training may see: their names, splits and size."""
    listing = "\n".join(f"{name}\t{split}" for name, split in zip(dataset.names, dataset.splits, strict=True))
    return hashlib.sha256(f"{dataset.resolution}\n{listing}".encode(errors="surrogatepass")).hexdigest()[:16]


def check_identity(state: Mapping[str, Any], dataset: Dataset, folder: Path) -> None:
    """Raise MismatchError unless the run whose checkpoint holds `state` was begun on the images of `dataset`.

    With another split the run would train on patients that it is measured on.
    """
    if state["images"] != identity(dataset):
        raise MismatchError(
            f"The run in {folder} was begun on other images or another split than {dataset.path} holds; use that data "
            "set to carry on, or another folder to start anew."
        )


def provenance(dataset: Dataset) -> dict[str, object]:
    """What model.json says of the data: how images become inputs, and which images the training sees."""
    kept = {key: str(dataset.attributes[key]) for key in ("view", "include", "exclude") if dataset.attributes.get(key)}
    seen = dataset.indices("train")
    return {
        "preprocessing": {"fit": str(dataset.attributes["fit"])},
        "data": {
            "images": len(seen),
            "patients": len({dataset.patient_ids[i] for i in seen}),
            "val_fraction": float(dataset.attributes["val_fraction"]),
            "split_seed": int(dataset.attributes["seed"]),
            **kept,
        },
    }
