"""GAN training learns, grows, and carries on bit for bit after any interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from cxredit_cli.errors import InputError, MismatchError
from cxredit_cli.networks.discriminator import Discriminator
from cxredit_cli.networks.generator import Generator
from cxredit_cli.progress import SilentProgress
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.image_folder import open_images
from cxredit_cli.storage.models import DISCRIMINATOR, GENERATOR, Model, load_model
from cxredit_cli.training.checkpoint import load_checkpoint
from cxredit_cli.training.gan import train_gan
from cxredit_cli.training.gan_run import GanConfig, Run, networks_of
from cxredit_cli.training.logs import RunLog
from cxredit_cli.training.presets import gan_config

CPU = torch.device("cpu")


def tiny_config(**changes: object) -> GanConfig:
    config = gan_config(
        16,
        CPU,
        torch.float32,
        preset="small",
        grow_from=0,
        grow_kimg=(1.0,),
        pl_weight=2.0,
        overrides={"batch": 8, "channel_base": 128, "channel_max": 16, "dim": 16},
        seed=3,
    )
    return replace(config, **changes)  # type: ignore[arg-type]


def train(images: Dataset, folder: Path, config: GanConfig, kimg: float, **changes: object) -> Run:
    options: dict[str, object] = {
        "minutes": None,
        "snapshot_kimg": 0.08,
        "device": CPU,
        "precision": torch.float32,
        "init_from": None,
        "info": {"name": "test"},
        "progress": SilentProgress(),
    }
    return train_gan(images, folder, config, kimg=kimg, **{**options, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Dataset:
    """The real radiographs of the tests at 16x16."""
    folder = tmp_path_factory.mktemp("gan") / "images"
    folder.mkdir()
    for path in sorted((data / "nih").glob("*.png")):
        (folder / path.name).write_bytes(path.read_bytes())
    return open_images(folder, 16)


@pytest.fixture(scope="module")
def bright_squares(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A distribution with one factor: the grey of a centred square on black, 100 to 200."""
    folder = tmp_path_factory.mktemp("squares") / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(64):
        picture = np.zeros((16, 16), np.uint8)
        picture[4:12, 4:12] = rng.integers(100, 200)
        Image.fromarray(picture).save(folder / f"{i:03d}.png")
    return open_images(folder, 16)


def test_interrupted_training_equals_uninterrupted_bit_for_bit(images: Dataset, tmp_path: Path) -> None:
    # Growth at 96 images, path length and augmentation on: everything that has state.
    config = tiny_config(grow_from=8, grow_kimg=(0.096,), fade_kimg=0.1)
    whole = train(images, tmp_path / "whole", config, 0.24)
    train(images, tmp_path / "parts", config, 0.08)
    train(images, tmp_path / "parts", config, 0.16)
    parts = train(images, tmp_path / "parts", config, 0.24)
    assert whole.nimg == parts.nimg == 240
    assert whole.generator.resolution == 16
    first, _ = load_checkpoint(tmp_path / "whole/training/checkpoint.safetensors")
    second, _ = load_checkpoint(tmp_path / "parts/training/checkpoint.safetensors")
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []
    assert load_model(tmp_path / "whole").fingerprint == load_model(tmp_path / "parts").fingerprint


def test_a_known_factor_is_learnt(bright_squares: Dataset, tmp_path: Path) -> None:
    config = tiny_config(augment_target=0.0, gamma=0.05, pl_weight=0.0)
    run = train(bright_squares, tmp_path / "m", config, 4.0, snapshot_kimg=100.0)
    with torch.no_grad():
        pictures = run.ema(torch.randn(64, 16, generator=torch.Generator().manual_seed(0)))
    grey = (pictures + 1) * 127.5
    inside = grey[:, 0, 5:11, 5:11].mean(dim=(1, 2))
    outside = torch.cat([grey[:, 0, :3].flatten(1), grey[:, 0, 13:].flatten(1)], dim=1).mean(dim=1)
    assert 110 < inside.mean() < 190
    assert outside.mean() < 40
    assert inside.std() > 8  # the factor varies; real 29


def test_other_settings_do_not_carry_on_a_run(images: Dataset, tmp_path: Path) -> None:
    config = tiny_config()
    train(images, tmp_path / "m", config, 0.016)
    with pytest.raises(InputError, match=r"lr 0\.0025 -> 0\.001"):
        train(images, tmp_path / "m", replace(config, lr=0.001), 0.032)


def test_a_finished_model_is_not_overwritten(images: Dataset, tiny_model_dir: Path) -> None:
    with pytest.raises(InputError, match="holds a model already"):
        train(images, tiny_model_dir, tiny_config(), 0.016)


def test_training_goes_on_from_a_smaller_and_a_narrower_model(images: Dataset, tmp_path: Path) -> None:
    small = tiny_config()
    small = replace(
        small,
        generator=replace(small.generator, resolution=8),
        discriminator=replace(small.discriminator, resolution=8),
    )
    train(images, tmp_path / "small", small, 0.016)
    start = load_model(tmp_path / "small", parts=(GENERATOR, DISCRIMINATOR))
    run = train(images, tmp_path / "large", tiny_config(), 0.0, init_from=start)
    mine = run.generator.state_dict()
    assert all(torch.equal(value, mine[key]) for key, value in start.generator.state_dict().items())
    wide = tiny_config()
    wide = replace(
        wide,
        generator=replace(wide.generator, channel_max=24),
        discriminator=replace(wide.discriminator, channel_max=24),
    )
    assert train(images, tmp_path / "wide", wide, 0.016, init_from=start).generator.config.channel_max == 24
    other = replace(tiny_config().generator, w_dim=8)
    with pytest.raises(InputError, match="cannot become"):
        train(images, tmp_path / "wrong", replace(tiny_config(), generator=other), 0.0, init_from=start)


def test_a_good_start_stays_in_the_average_and_a_random_one_leaves_it(images: Dataset, tmp_path: Path) -> None:
    def moved(run: Run, start: Generator) -> float:
        """How much of the way from `start` to the trained weights the average went."""
        before, after, ema = (
            torch.cat([p.detach().flatten() for p in g.synthesis.parameters()]) for g in (start, run.generator, run.ema)
        )
        return float((ema - before).norm() / (after - before).norm())

    config = tiny_config()
    torch.manual_seed(config.seed)
    random = Generator(config.generator)
    first = train(images, tmp_path / "first", config, 0.064)
    assert moved(first, random) > 0.5
    start = load_model(tmp_path / "first", parts=(GENERATOR, DISCRIMINATOR))
    train(images, tmp_path / "second", config, 0.032, init_from=start)
    second = train(images, tmp_path / "second", config, 0.064, init_from=start)  # a checkpoint keeps which it was
    assert moved(second, start.generator) < 0.02
    wider = replace(config, generator=replace(config.generator, channel_max=24))
    third = train(images, tmp_path / "third", wider, 0.064, init_from=start)
    with torch.no_grad():
        assert moved(third, networks_of(start, wider, 16)[0]) > 0.5


def test_logs_and_grids_are_written_and_bounded(images: Dataset, tmp_path: Path) -> None:
    train(images, tmp_path / "m", tiny_config(), 1.2, snapshot_kimg=1.0)
    work = tmp_path / "m" / "training"
    lines = [json.loads(line) for line in (work / "stats.jsonl").read_text().splitlines()]
    assert [line["kimg"] for line in lines] == [0.504, 1.008]
    assert {"loss_g", "loss_d", "r1", "path_length", "augment_p"} <= lines[0].keys()
    with Image.open(work / "fakes000001.png") as grid:
        assert grid.size == (8 * 16, 4 * 16)
        assert "synthetic" in grid.info["Description"]
    assert list(work.glob("events.out.tfevents*"))
    assert len(list(work.glob("checkpoint*"))) == 1


def test_killed_training_carries_on(images: Dataset, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "cxredit_cli",
        "train-gan",
        str(images.path),
        "-o",
        "m",
        "--batch",
        "8",
        "--dim",
        "16",
    ]
    command += ["--channel-base", "128", "--channel-max", "16", "--grow-from", "0", "--kimg", "0.48"]
    command += ["--snapshot-kimg", "0.04", "--device", "cpu", "--precision", "fp32"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    checkpoint = tmp_path / "m/training/checkpoint.safetensors"
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, state = load_checkpoint(checkpoint)
    assert 0 < state["nimg"] <= 480
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    subprocess.run(
        [*command[:6], "whole", *command[7:]], cwd=tmp_path, env=environment, check=True, capture_output=True
    )
    assert load_model(tmp_path / "m").fingerprint == load_model(tmp_path / "whole").fingerprint


def test_a_large_dataset_is_read_from_disk_in_the_same_order(
    images: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cxredit_cli.training import images as module

    in_memory = module.TrainingImages(images, "train", 16, CPU, seed=1)
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 0)
    from_disk = module.TrainingImages(images, "train", 16, CPU, seed=1)
    for first in range(0, 60, 4):
        assert torch.equal(in_memory.batch(first, 4), from_disk.batch(first, 4))
    n = len(in_memory)
    epoch = torch.cat([in_memory.batch(i, 1) for i in range(n)])
    assert len({tuple(x.flatten().tolist()) for x in epoch}) == n


def test_validation_images_are_never_trained_on(tmp_path: Path, images: Dataset) -> None:
    from cxredit_cli.training.images import TrainingImages

    with h5py.File(images.path) as file:
        splits = [s.decode() for s in file["split"][:]]
    assert len(TrainingImages(images, "train", 16, CPU, seed=0)) == splits.count("train")


def test_a_run_from_another_model_has_its_own_settings() -> None:
    config = gan_config(
        16,
        CPU,
        torch.float16,
        preset="small",
        grow_from=0,
        grow_kimg=None,
        pl_weight=0.0,
        overrides={"batch": 8, "channel_base": 128, "channel_max": 16, "dim": 16},
        seed=3,
    )
    generator = Generator(replace(config.generator, conv_clamp=None))
    discriminator = Discriminator(replace(config.discriminator, conv_clamp=None, mbstd_group_size=2))
    model = Model(Path("other"), generator, "0", {}, None, discriminator)
    g, d = networks_of(model, config, 16)
    assert (g.config, d.config) == (config.generator, config.discriminator)
    for mine, given in ((g, generator), (d, discriminator)):
        torch.testing.assert_close(mine.state_dict(), given.state_dict())
    model.discriminator = Discriminator(replace(config.discriminator, channel_base=256, channel_max=32))
    with pytest.raises(InputError, match="its discriminator"):
        networks_of(model, config, 16)


def test_a_resumed_log_keeps_the_line_of_the_checkpoint(tmp_path: Path) -> None:
    kimg = next(k * 0.009 for k in range(1, 3000) if round(k * 0.009, 4) > k * 0.009)  # as sums of a batch may be
    for resume_at in (0.0, kimg):
        log = RunLog(tmp_path, resume_at)
        if not resume_at:
            log.write(kimg, {"loss": 1.0})
            log.write(kimg + 1, {"loss": 2.0})
        log.close()
    assert [json.loads(line)["loss"] for line in (tmp_path / "stats.jsonl").read_text().splitlines()] == [1.0]


def test_a_run_does_not_go_on_with_other_images(images: Dataset, bright_squares: Dataset, tmp_path: Path) -> None:
    train(images, tmp_path / "m", tiny_config(), 0.016)
    with pytest.raises(MismatchError, match="begun on other images"):
        train(bright_squares, tmp_path / "m", tiny_config(), 0.032)
