"""Code files: round trip, kill at any moment, refusal of what does not belong together."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from cxredit_cli.errors import InputError, MismatchError
from cxredit_cli.storage import write_codes
from cxredit_cli.storage.codes import CodesHeader, read_codes
from cxredit_cli.storage.write_codes import CodesWriter

HEADER = CodesHeader(
    fingerprint="0123456789abcdef", method="optimize", space="w+", num_ws=4, w_dim=8, resolution=16, seed=3, steps=100,
    preprocessing='{"fit": "crop"}', model="tiny", noise_shapes=((4, 4), (8, 8)),
)  # fmt: skip


def batch(names: list[str], header: CodesHeader = HEADER, seed: int = 0) -> dict[str, object]:
    rng, n = np.random.default_rng(seed), len(names)
    return {
        "source": names,
        "w": rng.standard_normal((n, header.num_ws, header.w_dim)).astype(np.float32),
        "psnr": rng.uniform(20, 30, n).astype(np.float32),
        "ssim": rng.uniform(0, 1, n).astype(np.float32),
        "original": rng.integers(0, 256, (n, header.resolution, header.resolution), dtype=np.uint8),
        "noise": [rng.standard_normal((n, *shape)).astype(np.float32) for shape in header.noise_shapes],
    }


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "codes.h5"
    first, second = batch(["a.png", "b/ü.dcm"]), batch(["c" * 300], seed=1)
    with CodesWriter(path, HEADER, expected=2) as writer:
        writer.append(**first)
        writer.append(**second)  # more rows, and a longer name, than were expected
    codes = read_codes(path)
    assert codes.header == HEADER
    assert codes.source == ["a.png", "b/ü.dcm", "c" * 300]
    for name in ("w", "psnr", "ssim"):
        np.testing.assert_array_equal(getattr(codes, name), np.concatenate([first[name], second[name]]))
    np.testing.assert_array_equal(codes.originals(slice(1, 3)), np.stack([first["original"][1], second["original"][0]]))
    noise = codes.noise(slice(2, 3))
    assert noise is not None
    for layer, expected in zip(noise, second["noise"], strict=True):
        np.testing.assert_array_equal(layer, expected)
    rows = [2, 0, 0]
    np.testing.assert_array_equal(
        codes.originals(rows), np.stack([codes.originals(slice(row, row + 1))[0] for row in rows])
    )
    mixed = codes.noise(np.array(rows))
    assert mixed is not None
    for layer, *expected in zip(mixed, second["noise"], first["noise"], strict=True):
        np.testing.assert_array_equal(layer, np.stack([expected[0][0], expected[1][0], expected[1][0]]))
    with h5py.File(path) as file:  # a closed file has exactly the rows, so that any program can use it
        assert file["w"].shape == (3, 4, 8)
        assert file["source"].asstr()[0] == "a.png"


def test_a_second_writer_carries_on(tmp_path: Path) -> None:
    path = tmp_path / "codes.h5"
    for start in range(0, 50, 5):
        with CodesWriter(path, HEADER) as writer:
            assert set(writer.done_sources) == {f"{i}.png" for i in range(start)}
            writer.append(**batch([f"{i}.png" for i in range(start, start + 5)], seed=start))
    codes = read_codes(path)
    assert codes.source == [f"{i}.png" for i in range(50)]
    np.testing.assert_array_equal(codes.w[20:25], batch(["x"] * 5, seed=20)["w"])


def test_the_file_opens_after_a_kill_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "codes.h5"
    program = textwrap.dedent("""
        import sys, numpy as np
        from pathlib import Path
        from cxredit_cli.storage.codes import CodesHeader
        from cxredit_cli.storage.write_codes import CodesWriter
        header = CodesHeader(fingerprint="f" * 16, method="encoder", space="w", num_ws=1, w_dim=64, resolution=32)
        writer = CodesWriter(Path(sys.argv[1]), header, expected=3)
        print("ready", flush=True)
        while True:
            i = len(writer)
            full = np.full((2, 1, 64), i, np.float32)
            writer.append([f"{i}.png", f"{i + 1}.png"], full, full[:, 0, 0], full[:, 0, 0],
                          np.full((2, 32, 32), i % 256, np.uint8))
    """)
    rng, rows = np.random.default_rng(0), 0
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.15))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        with h5py.File(path) as file:
            count = int(file["count"][()])
        assert count >= rows  # nothing that was done is lost
        rows = count
        if rows:
            codes = read_codes(path)
            assert codes.source == [f"{i}.png" for i in range(rows)]
            np.testing.assert_array_equal(codes.w[:, 0, 0], np.arange(rows) // 2 * 2)
            np.testing.assert_array_equal(codes.originals(slice(0, rows))[:, 0, 0], np.arange(rows) // 2 * 2 % 256)
    assert rows > 10


def test_another_generator_is_refused_with_both_fingerprints(tmp_path: Path) -> None:
    path = tmp_path / "codes.h5"
    with CodesWriter(path, HEADER) as writer:
        writer.append(**batch(["a.png"]))
    with pytest.raises(MismatchError, match=r"0123456789abcdef.*fedcba9876543210"):
        CodesWriter(path, replace(HEADER, fingerprint="fedcba9876543210"))
    with pytest.raises(MismatchError, match=r"0123456789abcdef.*fedcba9876543210"):
        read_codes(path).check_generator("fedcba9876543210")
    read_codes(path).check_generator("0123456789abcdef")


@pytest.mark.parametrize("change", [{"method": "encoder"}, {"space": "w", "num_ws": 1}, {"steps": 7}])
def test_other_options_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "codes.h5"
    with CodesWriter(path, HEADER) as writer:
        writer.append(**batch(["a.png"]))
    with pytest.raises(InputError, match=f"begun with {next(iter(change))} .*-o"):
        CodesWriter(path, replace(HEADER, **change))
    assert len(read_codes(path)) == 1


def test_wrong_and_damaged_files_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "codes.h5"
    with pytest.raises(InputError, match="There is no"):
        read_codes(path)
    CodesWriter(path, HEADER).close()
    with pytest.raises(InputError, match="holds no codes yet"):
        read_codes(path)
    path.write_bytes(b"\x89PNG and something else")
    with pytest.raises(InputError, match="not an HDF5 file"):
        read_codes(path)
    with h5py.File(path, "w") as file:
        file.attrs["schema"] = "cxredit-dataset"
    with pytest.raises(InputError, match=r"cxredit-dataset file, but a cxredit-codes file"):
        read_codes(path)
    with h5py.File(path, "w") as file:
        file.attrs["schema"], file.attrs["version"] = "cxredit-codes", 99
    with pytest.raises(InputError, match=r"version 99.*upgrade"):
        read_codes(path)
    with pytest.raises(InputError, match="is a folder"):
        read_codes(tmp_path)


def test_a_truncated_or_scribbled_file_never_gives_a_traceback(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.h5", tmp_path / "codes.h5"
    with CodesWriter(whole, HEADER) as writer:
        writer.append(**batch([f"{i}.png" for i in range(4)]))
    data, rng = whole.read_bytes(), np.random.default_rng(0)
    for trial in range(60):
        hurt = bytearray(data[: len(data) * trial // 60] if trial % 2 else data)
        for at in rng.integers(0, max(min(len(hurt), 6000), 1), 20):  # the structure lies at the beginning
            if at < len(hurt):
                hurt[at] = rng.integers(0, 256)
        path.write_bytes(hurt)
        with contextlib.suppress(InputError):  # or a scribble that did not matter
            read_codes(path)


def test_an_error_before_the_first_code_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "codes.h5"

    def fail(*names: str) -> None:
        with CodesWriter(path, HEADER, expected=2) as writer:
            if names:
                writer.append(**batch([*names]))
            raise InputError("wrong options")

    with pytest.raises(InputError):
        fail()
    assert not path.exists()
    with pytest.raises(InputError):
        fail("a.png")
    with pytest.raises(InputError):
        fail()
    assert read_codes(path).source == ["a.png"]  # codes that are there stay


def test_a_file_without_a_code_refuses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "codes.h5"
    CodesWriter(path, HEADER).close()  # as of a run none of whose images could be read
    other = replace(HEADER, space="w", num_ws=1, noise_shapes=(), tuning_size=3, fingerprint="fedcba9876543210")
    with CodesWriter(path, other) as writer:
        writer.append(**batch(["a.png"], other), tuning=np.zeros((1, 3), np.float16))
    assert read_codes(path).header == other


def test_a_file_is_copied_only_where_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, copies = tmp_path / "codes.h5", []
    replace_hdf5 = write_codes.replace_hdf5
    monkeypatch.setattr(write_codes, "replace_hdf5", lambda path: copies.append(path) or replace_hdf5(path))
    writer = CodesWriter(path, HEADER, expected=8)
    writer.append(**batch(["a.png", "b.png"]))
    writer._shut()  # as a kill leaves it, with room for six more
    copies.clear()
    with CodesWriter(path, HEADER) as writer:
        writer.make_room(6)
        writer.append(**batch([f"{i}.png" for i in range(6)], seed=1))
    CodesWriter(path, HEADER).close()  # there was nothing to do
    assert copies == []
    codes = read_codes(path)
    assert len(codes) == 8
    np.testing.assert_array_equal(codes.w[:2], batch(["a.png", "b.png"])["w"])
    np.testing.assert_array_equal(codes.w[2:], batch(["x"] * 6, seed=1)["w"])

    with CodesWriter(tmp_path / "long.h5", HEADER, expected=100) as writer:
        copies.clear()
        for length in range(65, 165):  # each name is longer than all before it
            writer.append(**batch(["n" * length]))
    assert len(copies) == 2
    assert read_codes(tmp_path / "long.h5").source == ["n" * length for length in range(65, 165)]


def test_codes_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "codes.h5"
    writer, given = CodesWriter(path, HEADER, expected=9), batch(["a.png", "b.png", "c.png"])
    writer.append(**given)
    writer._shut()
    codes = read_codes(path)
    assert "w" not in vars(codes)
    np.testing.assert_array_equal(codes.some([2, 0, 0]), given["w"][[2, 0, 0]])
    for read in (codes.some(slice(1, 9)), codes.originals(slice(1, 9)), codes.noise(slice(1, 9))[0]):
        assert len(read) == 2  # not the rows that are laid out and were never written
    with h5py.File(path, "r+") as file:
        w = file["w"][:3]
        del file["w"]
        file.create_dataset("w", data=w, chunks=(1, 4, 8), compression="gzip")  # as another tool may store them
    np.testing.assert_array_equal(read_codes(path).some([2, 0, 0]), given["w"][[2, 0, 0]])
    np.testing.assert_array_equal(read_codes(path).w, given["w"])


def test_names_of_any_length_are_appended_to(tmp_path):
    """Other tools store texts at no fixed length; a file of theirs is carried on with."""
    path = tmp_path / "codes.h5"
    header = CodesHeader("0" * 16, "encoder", "w", 1, 4, resolution=8)
    picture, figure = np.zeros((1, 8, 8), np.uint8), np.zeros(1, np.float32)
    with CodesWriter(path, header) as writer:
        writer.append(["a.png"], np.zeros((1, 1, 4), np.float32), figure, figure, picture)
    with h5py.File(path, "r+") as file:
        del file["source"]
        file.create_dataset("source", data=["a.png"], dtype=h5py.string_dtype())
    with CodesWriter(path, header) as writer:
        writer.append(["b.png"], np.ones((1, 1, 4), np.float32), figure, figure, picture)
    assert read_codes(path).source == ["a.png", "b.png"]
