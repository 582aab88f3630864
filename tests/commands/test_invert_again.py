"""`cxredit invert` on a file that holds codes already: which radiographs are read again."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from cxredit_cli.app import app
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.storage.codes import read_codes
from cxredit_cli.storage.file_state import UNKNOWN, FileState
from cxredit_cli.storage.write_codes import CodesWriter

Invert = Callable[..., tuple[Result, list[str]]]


@pytest.fixture
def invert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path, data: Path) -> Invert:
    """Runs the command where a folder "scans" is; gives the names of what it read, too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    for path in sorted((data / "nih").glob("*.png"))[:5]:
        shutil.copy(path, tmp_path / "scans")
    read: list[str] = []

    def spy(source: Any) -> Any:
        read.append(source.name)
        return read_radiograph(source)

    monkeypatch.setattr("cxredit_cli.radiographs.read_many.read_radiograph", spy)

    def run(*arguments: object) -> tuple[Result, list[str]]:
        read.clear()
        how = ["--model", str(tiny_model_dir), "--steps", "1", "--batch", "2", "--device", "cpu"]
        return CliRunner().invoke(app, ["invert", *map(str, arguments), *how]), list(read)

    return run


def names(folder: str = "scans") -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_stopped_run_reads_what_it_has_not_inverted(invert: Invert, monkeypatch: pytest.MonkeyPatch) -> None:
    append, calls = CodesWriter.append, list[int]()

    def stop(writer: CodesWriter, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        append(writer, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(CodesWriter, "append", stop)
        invert("scans")
    assert len(read_codes(Path("codes.h5"))) == 2
    result, read = invert("scans")
    assert result.exit_code == 0, result.output
    assert read == names()[2:]
    assert "2 were there already" in result.stdout
    Path("scans/new.png").write_bytes(Path("scans", names()[0]).read_bytes())
    assert invert("scans")[1] == ["new.png"]  # the finished file was copied for it
    assert invert("scans")[1] == []
    codes = read_codes(Path("codes.h5"))
    assert codes.files(slice(None)) == [FileState.of(Path("scans", name), righting=1) for name in codes.source]
    assert codes.files([3, 1]) == [codes.files(slice(None))[row] for row in (3, 1)]


def test_a_changed_file_is_noticed(invert: Invert) -> None:
    invert("scans")
    first, second, third, *_ = names()
    shutil.copy(f"scans/{second}", f"scans/{first}")
    os.utime(f"scans/{third}", ns=(1, 2))
    before = read_codes(Path("codes.h5")).w
    for again in (first, third), (first,):  # the third is the same picture, and its new time is kept
        result, read = invert("scans")
        assert result.exit_code == 1
        assert f"{first}: codes.h5 holds another picture under this name" in result.stderr
        assert "0 inverted; 4 were there already" in result.stdout
        assert read == list(again)
    np.testing.assert_array_equal(read_codes(Path("codes.h5")).w, before)


def test_two_files_of_one_name_size_and_time_are_told_apart(invert: Invert) -> None:
    for seed, folder in enumerate("ab"):
        Path(folder).mkdir()
        np.save(f"{folder}/scan.npy", np.random.default_rng(seed).integers(0, 255, (64, 64), np.uint8))
        os.utime(f"{folder}/scan.npy", ns=(1, 1))
    assert invert("a/scan.npy")[0].exit_code == 0
    result, read = invert("b/scan.npy")
    assert read == ["scan.npy"]
    assert "holds another picture under this name" in result.stderr


def test_what_is_righted_otherwise_is_read_again(invert: Invert) -> None:
    invert("scans")
    assert invert("scans", "--right")[1] == names()
    assert invert("scans", "--right")[1] == []
    assert invert("scans", "--on-suspect", "accept")[1] == names()


def test_members_of_zips_are_read_again(invert: Invert) -> None:
    shutil.make_archive("scans", "zip", "scans")
    invert("scans.zip")
    assert read_codes(Path("codes.h5")).files(slice(None)) == [UNKNOWN] * 5
    result, read = invert("scans.zip")
    assert read == names()
    assert "5 were there already" in result.stdout


def test_codes_without_states_of_files_are_carried_on_with(invert: Invert) -> None:
    invert("scans")
    before = read_codes(Path("codes.h5"))
    with h5py.File("codes.h5", "r+") as file:
        del file["file"]
    former = read_codes(Path("codes.h5"))
    assert former.files([4, 0]) == [UNKNOWN] * 2
    result, read = invert("scans")
    assert result.exit_code == 0, result.output
    assert read == names()
    assert invert("scans")[1] == []  # now it has them
    after = read_codes(Path("codes.h5"))
    assert after.source == before.source
    np.testing.assert_array_equal(after.w, before.w)


def test_merged_parts_keep_what_files_were_like(invert: Invert) -> None:
    parts = ["codes.1-of-2.h5", "codes.2-of-2.h5"]
    for number in (1, 2):
        invert("scans", "--shard", f"{number}/2")
        assert invert("scans", "--shard", f"{number}/2")[1] == []
    assert invert("--merge", *parts, "-o", "merged.h5")[0].exit_code == 0
    result, read = invert("scans", "-o", "merged.h5")
    assert result.exit_code == 0, result.output
    assert read == []
