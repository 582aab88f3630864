"""What the operating system refuses becomes one sentence and an exit code."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxredit_cli.app import app, describe_os_error


@pytest.mark.parametrize(
    ("number", "words", "code"),
    [
        (errno.ENOSPC, "No space is left", 1),
        (errno.EROFS, "Read-only file system: out.h5", 1),
        (errno.ENAMETOOLONG, "name too long", 1),
        (errno.ENOENT, "No such file or directory: out.h5", 2),
        (errno.EEXIST, "a file where a folder is expected", 2),
        (errno.EACCES, "Permission denied: out.h5", 2),
    ],
)
def test_each_refusal_is_a_sentence(number: int, words: str, code: int) -> None:
    sentence, exit_code = describe_os_error(OSError(number, os.strerror(number), "out.h5"))
    assert words in sentence
    assert exit_code == code


@pytest.mark.parametrize(
    ("command", "carries_on"),
    [
        *(("train-gan", True), ("train-encoder", True), ("invert scan.png", True), ("generate", True)),
        *(("measure scan.png", False), ("evaluate --realism", False), ("bench", False), ("direction discover", False)),
    ],
)
def test_a_stopped_command_says_whether_it_carries_on(
    command: str, carries_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cxredit_cli.devices.resolve_device", stop)
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 130
    assert "Stopped" in result.stderr
    assert ("the same command carries on" in result.stderr) == carries_on


@pytest.mark.parametrize(
    "command",
    [
        *("prepare nih -o", "invert nih -o", "invert nih --grid", "invert --merge a.h5 -o", "edit-heart nih/1.png -o"),
        *("direction --from-measure ctr -o", "lda -o", "lda --plot", "demo -o", "generate --codes", "measure nih -o"),
        "evaluate --realism -o",
    ],
)
@pytest.mark.parametrize("folder", [".", "nih"])
def test_a_folder_where_a_file_is_to_be_written(
    command: str, folder: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nih").mkdir()
    shutil.copy(data / "nih" / "00001336_000.png", "nih/1.png")
    result = CliRunner().invoke(app, [*command.split(), folder])
    assert result.exit_code == 2, result.output
    assert f"{folder} is a folder; a file is expected" in result.stderr
    assert list(tmp_path.rglob("*")) == [tmp_path / "nih", tmp_path / "nih" / "1.png"]


@pytest.mark.parametrize(
    "command",
    [
        *("prepare scan.png", "train-gan", "train-encoder", "generate", "evaluate --realism", "lda"),
        *("direction", "direction calibrate", "direction discover"),
    ],
)
def test_seeds_have_a_largest(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--seed", str(2**32)])
    assert result.exit_code == 2
    assert "--seed" in result.stderr


def test_what_is_no_refusal_of_the_system_stays_an_error() -> None:
    with pytest.raises(OSError, match="a library's own"):
        describe_os_error(OSError("a library's own words"))


@pytest.mark.parametrize(
    "command",
    [
        *("prepare scan.png", "lda", "demo", "export", "explain", "models", "bench", "doctor", "direction compare"),
        *("direction discover", "direction calibrate", "direction a.png b.png", "direction --codes codes.h5"),
    ],
)
def test_what_is_work_for_one_process_is_not_done_by_several(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for rank, sentences in (("0", 1), ("1", 0)):
        for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "8"}.items():
            monkeypatch.setenv(name, value)
        result = CliRunner().invoke(app, command.split())
        assert result.exit_code == 2
        assert result.stderr.count(" is work for one process, but torchrun started 8") == sentences, result.stderr
        assert result.stderr.count("\n") == sentences
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_option_is_said_by_one_of_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    for rank, words in (("0", "--gpus 4 was asked for, but torchrun started 8"), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        result = CliRunner().invoke(app, ["train-gan", "--gpus", "4", "--device", "cpu"])
        assert result.exit_code == 2
        assert words in result.stderr
        assert bool(result.stderr) == bool(words)
