"""Real radiographs to train on."""

from pathlib import Path

import pytest

from cxredit_cli.radiographs.sources import list_sources
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.labels import read_labels
from cxredit_cli.storage.prepare_dataset import Options, prepare


@pytest.fixture(scope="package")
def dataset(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The labelled images of tests/data at 32x32, two fifths of the patients held out."""
    path = tmp_path_factory.mktemp("prepared") / "dataset.h5"
    options = Options(resolution=32, val_fraction=0.4)
    prepare(list_sources([data / "nih"]), path, options, read_labels(data / "nih" / "labels.csv"))
    return Dataset(path)
