"""A folder, zip or single image as a dataset, prepared once."""

import hashlib
import os
import tempfile
from pathlib import Path

from cxredit_cli.errors import InputError, MismatchError
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.radiographs.geometry import Fit
from cxredit_cli.storage.dataset import Dataset, is_prepared


def open_images(
    path: str | Path,
    resolution: int | None = None,
    fit: Fit = "crop",
    progress: Progress | None = None,
    workers: int | None = None,
) -> Dataset:
    """Open a dataset, or a folder, zip or single image as one.

    Images are prepared once (at 128 pixels unless `resolution` says otherwise, all in the split "train" or "val" by
    name) into a dataset beside the folder or zip, or in the temporary folder where that is read-only, and prepared
    again when a file changes. Edited images among those of a dataset are told to `progress`. Raises MismatchError if
    a dataset has another resolution than asked for.
    """
    path = Path(path)
    if is_prepared(path):
        dataset = Dataset(path)
        if resolution is not None and dataset.resolution != resolution:
            raise MismatchError(
                f"{path} holds images of {dataset.resolution} pixels and {resolution} are needed; prepare it again "
                f"with --resolution {resolution}."
            )
        if progress is not None and (told := dataset.edits_told):
            progress.message(told)
        return dataset
    if not path.exists():
        raise InputError(f"{path} does not exist; make a dataset with `cxredit prepare`, or name a folder or zip.")
    from cxredit_cli.radiographs.sources import list_sources
    from cxredit_cli.storage.prepare_dataset import Options, prepare

    options = Options(resolution=resolution or 128, fit=fit)
    real = path.resolve()
    name = f"{real.name}-{options.resolution}-{fit}.h5"
    beside = real.parent / name
    if not os.access(real.parent, os.W_OK):
        beside = Path(tempfile.gettempdir()) / f"cxredit-{hashlib.sha256(os.fsencode(real)).hexdigest()[:12]}-{name}"
    progress = progress or SilentProgress()
    report = prepare(list_sources([path], progress=progress), beside, options, progress=progress, workers=workers)
    for skipped, reason in report.unreadable:
        progress.message(f"{skipped}: {reason}")
    return Dataset(beside)
