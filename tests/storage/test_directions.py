"""Direction files: round trip and refusals."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from cxredit_cli.errors import InputError, MismatchError
from cxredit_cli.storage.directions import Direction, read_direction, write_direction

VECTOR = np.zeros((2, 4), dtype=np.float32)
VECTOR[0, 1], VECTOR[1, 2] = 0.6, -0.8
DIRECTION = Direction(
    direction=VECTOR, name="Cardiomegaly", method="lda", fingerprint="0123456789abcdef", sources=["a.png", "ü.dcm"],
    statistics={"auc": 0.75, "interval": [0.6, 0.9]}, model="tiny", calibration={"real": {"slope": 0.01}},
)  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "direction.h5"
    write_direction(path, DIRECTION)
    found = read_direction(path)
    np.testing.assert_array_equal(found.direction, VECTOR)
    for name in ("name", "method", "fingerprint", "sources", "statistics", "model", "calibration", "digest"):
        assert getattr(found, name) == getattr(DIRECTION, name)
    assert [file.name for file in path.parent.iterdir()] == ["direction.h5"]  # nothing is left aside


def test_files_from_before_calibrations_are_read(tmp_path: Path) -> None:
    write_direction(tmp_path / "d.h5", Direction(VECTOR, "x", "lda", "f" * 16))
    with h5py.File(tmp_path / "d.h5") as file:
        assert "calibration" not in file
    assert read_direction(tmp_path / "d.h5").calibration == {}


def test_many_sources_fit(tmp_path: Path) -> None:
    sources = [f"patient{i:05d}/study1/view1_frontal.jpg" for i in range(5000)]
    write_direction(tmp_path / "d.h5", Direction(VECTOR, "x", "lda", "f" * 16, sources))
    assert read_direction(tmp_path / "d.h5").sources == sources


def test_another_generator_is_refused_with_both_fingerprints(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=r"0123456789abcdef.*fedcba9876543210"):
        DIRECTION.check_generator("fedcba9876543210", tmp_path / "direction.h5")
    DIRECTION.check_generator("0123456789abcdef", tmp_path / "direction.h5")


def test_wrong_files_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "direction.h5"
    path.write_text("not HDF5")
    with pytest.raises(InputError, match="not an HDF5 file"):
        read_direction(path)
    write_direction(path, DIRECTION)
    with h5py.File(path, "r+") as file:
        file["direction"][...] = 3 * VECTOR
    with pytest.raises(InputError, match="unit vector"):
        read_direction(path)
    with h5py.File(path, "r+") as file:
        file["direction"][...] = np.nan
    with pytest.raises(InputError, match="unit vector"):
        read_direction(path)
    with h5py.File(path, "r+") as file:
        del file["statistics"]
    with pytest.raises(InputError, match="damaged"):
        read_direction(path)
