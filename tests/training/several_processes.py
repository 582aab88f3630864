"""Trains in several processes: `python -m tests.training.several_processes '[{"what": "gan", "processes": 2, ...}]'`.

The processes of each task are forked from this one, which has imported what they need.
"""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import torch
from safetensors.torch import save_file

from cxredit_cli.networks.generator import random_z
from cxredit_cli.processes import Processes, join
from cxredit_cli.progress import SilentProgress
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.models import load_model
from cxredit_cli.torchrun import Place
from cxredit_cli.training.encoder import EncoderTraining, train_encoder
from cxredit_cli.training.gan import team_for, train_gan, train_iteration
from cxredit_cli.training.gan_run import GanConfig, begin, save_run
from cxredit_cli.training.grow import plan_stages
from cxredit_cli.training.images import TrainingImages
from cxredit_cli.training.logs import Means
from cxredit_cli.training.presets import gan_config
from tests.forked import command, exit_codes, fork, kill_when

CPU = torch.device("cpu")
SIDE = 16  # of the pictures of `iterations`


def config(side: int, **changes: Any) -> GanConfig:
    """Tiny networks and a batch of four groups, with everything on.

    The learning rate is a fifth of the usual one: at that, rounding errors grow tenfold in each of these iterations
    once one of them puts an activation on the other side of its kink, and hide what is compared.
    """
    made = gan_config(
        side,
        CPU,
        torch.float32,
        preset="small",
        grow_from=0,
        grow_kimg=(),
        pl_weight=2.0,
        overrides={"lr": 5e-4, "batch": 12, "channel_base": 256, "channel_max": 16, "dim": 16},
        seed=3,
    )
    return replace(made, discriminator=replace(made.discriminator, mbstd_group_size=3), **changes)


def iterations(task: dict[str, Any], processes: Processes) -> None:
    """Train for some iterations and write the losses of each and the state after them."""
    settings = config(SIDE)
    stages = plan_stages(SIDE, None, ())
    run = begin(settings, stages, CPU, None)
    run.augment_p.fill_(0.5)
    team = team_for(run, settings, processes, task.get("batch_gpu"))
    images = TrainingImages(Dataset(Path(task["images"])), "train", SIDE, CPU, settings.seed)
    means, losses = Means(), []
    for _ in range(task["count"]):
        train_iteration(run, settings, stages, images, torch.float32, means, team)
        losses.append(means.read(processes))
    if processes.first:
        folder = Path(task["folder"])
        folder.mkdir()
        save_run(folder / "run.safetensors", run, settings, "")
        with torch.no_grad():
            save_file({"pictures": run.ema(random_z(4, 16, seed=0))}, folder / "pictures.safetensors")
        (folder / "losses.json").write_text(json.dumps(losses))


def gan(task: dict[str, Any], processes: Processes) -> None:
    """Train until so many thousand images, or go on until then, with growth."""
    train_gan(
        Dataset(Path(task["images"])),
        Path(task["folder"]),
        config(32, grow_from=16, grow_kimg=(0.048,), fade_kimg=0.06),
        kimg=task["kimg"],
        minutes=None,
        snapshot_kimg=10,
        device=CPU,
        precision=torch.float32,
        init_from=None,
        info={"name": "test"},
        progress=SilentProgress(),
        processes=processes,
    )


def encoder(task: dict[str, Any], processes: Processes) -> None:
    """Train the encoder of the model in the folder."""
    options = EncoderTraining(depth=18, width=8, batch=4, held_out=4, tick_kimg=0.008, learning_rate=1e-5)
    data = Dataset(Path(task["images"]))
    model = load_model(Path(task["folder"]))
    train_encoder(model, data, options, kimg=task["kimg"], minutes=None, progress=SilentProgress(), processes=processes)


class Followed(EncoderTraining):
    """Settings that remember how much of the budget was spent at each learning rate."""

    shares: ClassVar[list[float]] = []

    def learning_rate_at(self, share: float) -> float:
        self.shares.append(share)
        return super().learning_rate_at(share)


def timed(task: dict[str, Any], processes: Processes) -> None:
    """Train the encoder for part of a minute; each process writes the shares of it that it went by."""
    options = Followed(depth=18, width=8, batch=4, held_out=4, cool_down=1.0)
    folder = Path(task["folder"])
    data = Dataset(Path(task["images"]))
    model = load_model(folder)
    train_encoder(model, data, options, kimg=None, minutes=0.02, progress=SilentProgress(), processes=processes)
    (folder / f"shares-{processes.rank}.json").write_text(json.dumps(Followed.shares))


def end(sentence: str, exit_code: int) -> NoReturn:
    """As the commands do."""
    sys.stderr.write(sentence)
    os._exit(exit_code)


def killed(task: dict[str, Any]) -> None:
    """Train by the command for ever, until the first process is killed; what became of them is in ended.json."""
    os.chdir(task["folder"])
    begun = fork(task["processes"], command(task["words"]))
    kill_when(Path("m/training/checkpoint.safetensors"), begun[0])
    since = time.monotonic()
    codes = exit_codes(begun)
    Path("ended.json").write_text(json.dumps({"codes": codes, "seconds": time.monotonic() - since}))


def do(task: dict[str, Any]) -> None:
    """One task in as many processes as it asks for."""
    if task["what"] == "killed":
        killed(task)
        return

    def work(rank: int) -> None:
        with join(CPU, Place.of(os.environ), end) as processes:
            {"iterations": iterations, "gan": gan, "encoder": encoder, "timed": timed}[task["what"]](task, processes)

    if any(exit_codes(fork(task["processes"], work))):
        sys.exit(1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in json.loads(sys.argv[1]):
        do(each)
