"""`cxredit invert` on real radiographs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from cxredit_cli.app import app
from cxredit_cli.networks.encoder import Encoder, EncoderConfig
from cxredit_cli.radiographs.sources import list_sources
from cxredit_cli.storage.codes import read_codes
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.labels import read_labels
from cxredit_cli.storage.models import load_model, save_encoder
from cxredit_cli.storage.prepare_dataset import Options, prepare

SCANS = ["00001336_000.png", "00001337_000.png", "00001338_000.png"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model_dir, tmp_path / "model")

    def invert(*arguments: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, ["invert", *map(str, arguments)], input=stdin)

    return invert


def add_encoder(folder: Path, num_outputs: int = 1) -> None:
    torch.manual_seed(0)
    generator = load_model(folder).generator
    encoder = Encoder(EncoderConfig(32, 32, num_outputs, depth=18, width=8))
    encoder.set_code_statistics(*generator.w_statistics())
    torch.nn.init.normal_(encoder.to_delta.weight, std=0.02)
    save_encoder(folder, encoder, {})


def test_optimisation_where_there_is_no_encoder_says_so_and_improves(run, data: Path) -> None:
    result = run(data / "nih" / SCANS[0], data / "nih" / SCANS[1], "--steps", 30, "--grid", "grid.png")
    assert result.exit_code == 0, result.output
    assert "has no encoder: using --method optimize" in result.stderr
    assert all(f"{name}  " in result.stdout for name in SCANS[:2])
    codes = read_codes(Path("codes.h5"))
    assert codes.source == SCANS[:2]
    assert codes.w.shape == (2, 8, 32)
    assert (codes.header.method, codes.header.space, codes.header.steps) == ("optimize", "w+", 30)
    model = load_model(Path("model"))
    codes.check_generator(model.fingerprint)
    made = model.generator.synthesis(torch.from_numpy(codes.w)).clamp(-1, 1)[:, 0].numpy()
    originals = codes.originals(slice(None)).astype(np.float32) / 127.5 - 1
    decibels = 10 * np.log10(4 / np.square(made - originals).mean(axis=(1, 2)))
    np.testing.assert_allclose(codes.psnr, decibels, atol=0.05)  # the stored original has eight bits
    assert Image.open("grid.png").size == (2 * 32, 2 * 32)


@pytest.mark.parametrize("method", ["encoder", "optimize", "hybrid"])
@pytest.mark.parametrize("space", ["w", "w+"])
def test_every_method_in_every_space(run, data: Path, method: str, space: str) -> None:
    add_encoder(Path("model"))
    result = run(data / "nih" / SCANS[0], "--method", method, "--space", space, "--steps", 3, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["method"], document["space"]) == (method, space)
    codes = read_codes(Path("codes.h5"))
    assert codes.w.shape == (1, 1 if space == "w" else 8, 32)
    assert document["inverted"] == [
        {"source": SCANS[0], "psnr": pytest.approx(codes.psnr[0]), "ssim": pytest.approx(codes.ssim[0])}
    ]


def test_a_refused_command_can_be_corrected(run, data: Path) -> None:
    add_encoder(Path("model"))
    arguments = (data / "nih" / SCANS[0], "--method", "encoder")
    assert run(*arguments, "--fit-noise").exit_code == 2
    result = run(*arguments)
    assert result.exit_code == 0, result.output


def test_an_encoder_makes_hybrid_the_default_and_its_own_space_is_kept_without_a_search(run, data: Path) -> None:
    add_encoder(Path("model"), num_outputs=1)
    document = json.loads(run(data / "nih" / SCANS[0], "--method", "encoder", "-o", "own.h5", "--json").stdout)
    assert (document["method"], document["space"]) == ("encoder", "w")
    document = json.loads(run(data / "nih" / SCANS[0], "--steps", 2, "--json").stdout)
    assert (document["method"], document["space"]) == ("hybrid", "w+")


def test_running_again_inverts_only_what_is_new(run, data: Path) -> None:
    assert run(data / "nih" / SCANS[0], "--steps", 2).exit_code == 0
    again = json.loads(run(data / "nih", "--steps", 2, "--limit", 3, "--batch", 2, "--json").stdout)
    assert again["already_done"] == 1
    assert [row["source"] for row in again["inverted"]] == SCANS[1:]
    assert read_codes(Path("codes.h5")).source == SCANS
    other = run(data / "nih" / SCANS[0], "--steps", 3)
    assert other.exit_code == 2
    assert "steps" in other.stderr


def test_a_bad_file_does_not_stop_the_others(run, data: Path) -> None:
    whole = (data / "nih" / SCANS[0]).read_bytes()
    Path("cut.png").write_bytes(whole[: len(whole) // 2])
    Path("text.png").write_text("no picture")
    result = run("cut.png", data / "nih" / SCANS[1], "text.png", "--steps", 2)
    assert result.exit_code == 1
    assert "cut.png:" in result.stderr
    assert "text.png:" in result.stderr
    assert "2 could not be read" in result.stdout
    assert read_codes(Path("codes.h5")).source == [SCANS[1]]


def test_a_list_on_stdin_a_glob_and_a_zip(run, data: Path) -> None:
    shutil.make_archive("scans", "zip", data / "nih", SCANS[2])
    result = run("-", "scans.zip", data / "nih" / "*1337*.png", "--steps", 2, stdin=f"{data / 'nih' / SCANS[0]}\n")
    assert result.exit_code == 0, result.output
    assert set(read_codes(Path("codes.h5")).source) == set(SCANS)


def test_a_dataset_by_split_view_and_label(run, data: Path) -> None:
    table = read_labels(data / "nih" / "labels.csv")
    prepare(list_sources([data / "nih"]), Path("dataset.h5"), Options(resolution=64, val_fraction=0.4), table)
    sick = run("dataset.h5", "--label", "Cardiomegaly", "--steps", 2, "--json", "-o", "sick.h5")
    assert sick.exit_code == 0, sick.output
    names = [row["source"] for row in json.loads(sick.stdout)["inverted"]]
    assert names == [name for name in names if "00001355_005" in name or "00001369" in name or "00001373" in name]
    assert len(names) == 5
    val = run("dataset.h5", "--split", "val", "--steps", 2, "--limit", 1, "--json", "-o", "val.h5")
    assert len(json.loads(val.stdout)["inverted"]) == 1
    front = run("dataset.h5", "--view", "AP", "--steps", 2, "--json", "-o", "ap.h5")
    dataset = Dataset(Path("dataset.h5"))
    expected = {name for name, view in zip(dataset.names, dataset.views, strict=True) if view == "AP"}
    assert {row["source"] for row in json.loads(front.stdout)["inverted"]} == expected
    assert 0 < len(expected) < len(dataset)
    assert "No Finding" in run("dataset.h5", "--label", "Gout").stderr
    assert run(data / "nih", "--view", "PA").exit_code == 2
    assert run(data / "nih", "--split", "val").exit_code == 2
    assert "the dataset and the option differ" in run("dataset.h5", "--fit", "pad", "-o", "pad.h5").stderr


def test_fitted_noise_is_stored_with_the_codes(run, data: Path) -> None:
    result = run(data / "nih" / SCANS[0], "--fit-noise", "--steps", 5)
    assert result.exit_code == 0, result.output
    noise = read_codes(Path("codes.h5")).noise(slice(None))
    assert noise is not None
    assert [layer.shape for layer in noise] == [
        (1, *shape) for shape in load_model(Path("model")).generator.synthesis.noise_shapes()
    ]


def test_codes_of_another_generator_are_not_mixed(run, data: Path) -> None:
    from cxredit_cli.networks.generator import Generator, GeneratorConfig
    from cxredit_cli.storage.models import save_generator

    assert run(data / "nih" / SCANS[0], "--steps", 2).exit_code == 0
    torch.manual_seed(5)
    config = GeneratorConfig(resolution=32, z_dim=32, w_dim=32, channel_base=256, channel_max=16)
    save_generator(Path("second"), Generator(config), {"name": "second"})
    result = run(data / "nih" / SCANS[1], "--steps", 2, "--model", "second")
    assert result.exit_code == 2
    assert load_model(Path("model")).fingerprint in result.stderr
    assert load_model(Path("second")).fingerprint in result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--method", "encoder"], "train-encoder"),
        (["--method", "guess"], "encoder, optimize or hybrid"),
        (["--space", "z"], "w or w+"),
        (["--fit", "stretch"], "crop or pad"),
        (["--precision", "fp16"], "fp16"),
    ],
)
def test_wrong_options_are_one_sentence(run, data: Path, arguments: list[str], expected: str) -> None:
    result = run(data / "nih" / SCANS[0], *arguments)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("codes.h5").exists()


def test_a_killed_inversion_carries_on(run, data: Path, tmp_path: Path) -> None:
    arguments = [str(data / "nih"), "--steps", "40", "--batch", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "cxredit_cli", "invert", *arguments], env=environment, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 90
    held = 0
    while held < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
        held = count(tmp_path / "codes.h5")
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = read_codes(tmp_path / "codes.h5")
    assert 2 <= len(before) < 12
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    after = read_codes(tmp_path / "codes.h5")
    assert sorted(after.source) == sorted(path.name for path in (data / "nih").glob("*.png"))
    np.testing.assert_array_equal(after.w[: len(before)], before.w)


def count(path: Path) -> int:
    """How many codes a file holds that another process is writing; HDF5 locks it, so read a copy."""
    if not path.exists():
        return 0
    copy = path.with_name("copy.h5")
    shutil.copyfile(path, copy)
    try:
        return len(read_codes(copy))
    except Exception:
        return 0


def test_another_picture_of_the_same_name_is_refused(data: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    first, second = sorted((data / "nih").glob("*.png"))[:2]
    for folder, path in (("a", first), ("b", second)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "scan.png").write_bytes(path.read_bytes())
    arguments = ["--model", str(tiny_model_dir), "--steps", "1", "-o", str(tmp_path / "codes.h5"), "--device", "cpu"]
    runner = CliRunner()
    assert runner.invoke(app, ["invert", str(tmp_path / "a/scan.png"), *arguments]).exit_code == 0
    assert runner.invoke(app, ["invert", str(tmp_path / "a/scan.png"), *arguments]).exit_code == 0
    other = runner.invoke(app, ["invert", str(tmp_path / "b/scan.png"), *arguments])
    assert other.exit_code == 1
    assert "holds another picture under this name" in other.stderr


def test_shards_merge_into_the_very_codes_of_the_whole(run, data: Path) -> None:
    arguments = [data / "nih", "--steps", 4, "--batch", 2]
    assert run(*arguments, "-o", "whole.h5").exit_code == 0
    for number in (2, 3, 1):
        assert run(*arguments, "--shard", f"{number}/3").exit_code == 0
    parts = sorted(Path().glob("codes.*-of-3.h5"))
    assert len(parts) == 3
    merged = run("--merge", *parts, "-o", "merged.h5")
    assert merged.exit_code == 0, merged.output
    assert "merged.h5: 12 codes of 3 parts" in merged.stdout
    whole, together = read_codes(Path("whole.h5")), read_codes(Path("merged.h5"))
    assert together.header == whole.header
    assert together.source == whole.source
    np.testing.assert_array_equal(together.w, whole.w)
    np.testing.assert_array_equal(together.psnr, whole.psnr)
    np.testing.assert_array_equal(together.originals(slice(None)), whole.originals(slice(None)))


def test_merging_refuses_what_is_not_one_cohort(run, data: Path) -> None:
    scans = [data / "nih" / name for name in SCANS]
    assert run(*scans, "--steps", 2, "--shard", "1/2").exit_code == 0
    assert "2/2 is missing" in run("--merge", "codes.1-of-2.h5", "-o", "merged.h5").stderr
    assert run(*scans, "--steps", 3, "--shard", "2/2").exit_code == 0
    parts = ("codes.1-of-2.h5", "codes.2-of-2.h5")
    assert "steps" in run("--merge", *parts, "-o", "merged.h5").stderr
    assert not Path("merged.h5").exists()
    Path("codes.2-of-2.h5").unlink()
    assert run(*scans, "--steps", 2, "--shard", "2/2").exit_code == 0
    assert "exists already" in run("--merge", *parts, "-o", parts[0]).stderr
    assert run("--merge", *parts, "-o", "merged.h5").exit_code == 0
    assert "--shard must be I/N" in run(*scans, "--shard", "3").stderr


def test_torchrun_gives_each_process_its_part(run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans = [data / "nih" / name for name in SCANS]
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert run(*scans, "--steps", 2, "--device", "cpu").exit_code == 0
    sources = [read_codes(Path(f"codes.{number}-of-2.h5")).source for number in (1, 2)]
    assert sources == [SCANS[:1], SCANS[1:]]


def test_tuned_codes_are_applied_and_measured_by_the_tuned_generator(run, data: Path, tmp_path: Path) -> None:
    from cxredit_cli.inversion.pivotal_tuning import synthesize_tuned
    from cxredit_cli.storage.directions import Direction, write_direction

    result = run(data / "nih" / SCANS[0], data / "nih" / SCANS[1], "--steps", 10, "--tune", "--tune-steps", 20)
    assert result.exit_code == 0, result.output
    codes = read_codes(Path("codes.h5"))
    deltas = codes.tuning(slice(None))
    assert deltas is not None
    assert deltas.shape == (2, codes.header.tuning_size)
    model = load_model(Path("model"))
    w = torch.from_numpy(codes.w)
    made = synthesize_tuned(model.generator, w, None, torch.from_numpy(deltas)).clamp(-1, 1)[:, 0].numpy()
    decibels = 10 * np.log10(4 / np.square(made - codes.originals(slice(None)) / 127.5 + 1).mean(axis=(1, 2)))
    np.testing.assert_allclose(codes.psnr, decibels, atol=0.05)
    plain = model.generator.synthesis(w).clamp(-1, 1)[:, 0].numpy()
    assert np.abs(plain - made).max() > 0.02
    vector = np.zeros((1, 32), np.float32)
    vector[0, 0] = 1
    write_direction(Path("d.h5"), Direction(vector, "any", "test", model.fingerprint, [], {}, "tiny"))
    applied = CliRunner().invoke(app, ["apply", "codes.h5", "-d", "d.h5", "--strength", "0,1", "-o", "edited"])
    assert applied.exit_code == 0, applied.output
    unchanged = np.asarray(Image.open(tmp_path / "edited" / f"{Path(SCANS[1]).stem}_+0.png")) / 127.5 - 1
    np.testing.assert_allclose(unchanged, made[1], atol=0.01)
    other = run(data / "nih" / SCANS[2], "--steps", 10)
    assert other.exit_code == 2
    assert "begun with" in other.stderr


def test_a_target_and_a_start_are_part_of_how_codes_were_made(run, data: Path) -> None:
    scan = data / "nih" / SCANS[0]
    assert (
        run(scan, "--start", "nearest", "--target-psnr", 5, "--perceptual-weight", 0.01, "--steps", 60).exit_code == 0
    )
    searched = json.loads(read_codes(Path("codes.h5")).header.search)
    assert (searched["start"], searched["target_psnr"], searched["perceptual_weight"]) == ("nearest", 5, 0.01)
    other = run(data / "nih" / SCANS[1], "--start", "nearest", "--target-psnr", 6, "--steps", 60)
    assert other.exit_code == 2
    assert "search" in other.stderr
    assert "for --start encoder use --method hybrid" in run(scan, "--method", "optimize", "--start", "encoder").stderr


def test_codes_of_an_older_version_are_read(run, data: Path) -> None:
    import h5py

    assert run(data / "nih" / SCANS[0], "--steps", 2).exit_code == 0
    with h5py.File("codes.h5", "r+") as file:
        for name in ("search", "tuning_size", "shard"):
            del file.attrs[name]
    codes = read_codes(Path("codes.h5"))
    assert (codes.header.search, codes.header.tuning_size, codes.header.shard) == ("", 0, "")
    assert codes.tuning(slice(None)) is None
