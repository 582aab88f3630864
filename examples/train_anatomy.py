"""Train the anatomy network that `cxredit measure` uses, and report it on images that it was not trained on.

    train="python examples/train_anatomy.py ctr-wingspan --fold 0 --precision bf16"
    $train -o 0.safetensors --steps 1000
    $train -o 1.safetensors --steps 700 --seed 1 --refine 0.safetensors --augmentation 0.6 0.25
    $train -o 2.safetensors --steps 1000 --seed 2 --refine 1.safetensors --augmentation 0.6 0.25
    $train -o 3.safetensors --steps 900 --seed 3 --refine 1.safetensors --augmentation 1 0.55
    $train -o teacher.safetensors --average 2.safetensors 3.safetensors

A larger network learns from that one's outlines of radiographs that nobody outlined, beside the outlined ones ("noisy
student", Xie et al. 2020, arXiv 1911.04252): they are soft, from several views, and the student sees them deformed.

    student="$train --unlabelled dataset.h5"
    $student -o student.safetensors --teacher teacher.safetensors --widths 32 64 128 192 --steps 3000 --seed 11
    $student -o anatomy.safetensors --teacher student.safetensors --refine student.safetensors --steps 1000 --seed 12 \
        --augmentation 0.6 0.25

The second network, which judges what the first one found (`evaluate --dose`):

    judge="python examples/train_anatomy.py ctr-wingspan --fold 1 --precision bf16"
    $judge -o first.safetensors --steps 1000
    $judge -o anatomy_judge.safetensors --steps 700 --seed 1 --refine first.safetensors --augmentation 0.6 0.25

The first argument is the extended Wingspan data set (Dong et al., MICCAI 2018, MIT licence): `images/*.png`,
`masks/*.png` (1 right lung, 2 left lung, 3 heart) and `ctr.csv`. Its split is written down in anatomy_split.csv: fold 0
trains on 60 % of the images, fold 1 on the other 40 %; each is reported on what the other was trained on, so the two
networks share no outlined image and one can judge what the other was used to find. `*-check` is watched while training.
One image is left out: in its mask the left lung and the heart are exchanged.

Stop it and start it again with the same words: it carries on. A thousand steps take 6 to 9 minutes on one core,
outlining two thousand radiographs 3.
"""

import argparse
import csv
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cxredit_cli.anatomy.measures import measure_images
from cxredit_cli.anatomy.outlines import clean, segment
from cxredit_cli.commands.console import ConsoleProgress
from cxredit_cli.devices import resolve_device
from cxredit_cli.networks.anatomy import CLASSES, AnatomyConfig, AnatomyNetwork
from cxredit_cli.networks.preparation import normalise, resize
from cxredit_cli.storage.anatomy_network import load_anatomy, read_anatomy_info, save_anatomy
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.training.anatomy import AnatomyTraining, train_anatomy

VIEWS = ((0.0, 1.0), (0.08, 0.95), (-0.08, 1.08), (0.05, 1.15), (-0.04, 0.9))  # angle in radians, scale: of the teacher
SPLIT = Path(__file__).with_name("anatomy_split.csv")
Rows = list[dict[str, str]]


def main() -> None:
    """Train, save, report."""
    arguments = parse()
    rows = list(csv.DictReader((arguments.data / "ctr.csv").open()))
    part_of = {row["image"]: row["part"] for row in csv.DictReader(arguments.split.open())}
    train = [row for row in rows if part_of[row["image"]] == f"{arguments.fold}-train"]
    watched = [row for row in rows if part_of[row["image"]] == f"{arguments.fold}-check"]
    kept_out = [row for row in rows if part_of[row["image"]].startswith(str(1 - arguments.fold))]
    options = AnatomyTraining(arguments.steps, arguments.batch, seed=arguments.seed, precision=arguments.precision)
    if arguments.average:
        average_weights(arguments.average, arguments.output)
        report(arguments.output, arguments.data, kept_out)
        return
    torch.manual_seed(options.seed)
    network = AnatomyNetwork(AnatomyConfig(widths=tuple(arguments.widths)))
    if arguments.refine:
        network = load_anatomy(arguments.refine).requires_grad_(True)
        first, last = arguments.augmentation
        options = replace(options, lr=1.5e-3, first_augmentation=first, full_augmentation=0, last_augmentation=last)
    network.to(resolve_device(arguments.device))
    images, masks = read(arguments.data, train)
    targets = shares(masks, images.shape[-1])
    taught: dict[str, object] = {}
    if arguments.teacher:
        teacher = load_anatomy(arguments.teacher)
        unlabelled, outlined = outline(teacher, arguments.unlabelled, arguments.seed, arguments.precision)
        repeats = max(round(len(unlabelled) / len(images)), 1)  # so that a batch holds about as many of either
        images = torch.cat([images.repeat(repeats, 1, 1, 1), unlabelled])
        targets = torch.cat([targets.repeat(repeats, 1, 1, 1), outlined])
        taught = {"outlined_by_a_teacher": len(unlabelled), "teacher": read_anatomy_info(arguments.teacher)["training"]}
    info: dict[str, object] = {
        "trained_by": "examples/train_anatomy.py",
        "data": "Extended Wingspan CTR dataset (Dong et al., MICCAI 2018), MIT licence",
        "split": {"fold": arguments.fold, "train": len(train), "watched": len(watched), "kept_out": len(kept_out)},
        **taught,
        "training": [*(read_anatomy_info(arguments.refine)["training"] if arguments.refine else []), asdict(options)],
    }

    best = read_anatomy_info(arguments.output).get("watched", -1.0) if arguments.output.exists() else -1.0

    def check(average: AnatomyNetwork) -> Mapping[str, float]:
        """Keep the weights that are best on the watched images: with so little data the last are not."""
        nonlocal best
        figures = evaluate(average, arguments.data, watched)
        score = figures["heart_dice"] + figures["lungs_dice"] - 2 * figures["ctr_error"]
        if score > best:
            best = score
            save_anatomy(arguments.output, average, {**info, "watched": round(score, 5)})
        return {name: figures[name] for name in ("heart_dice", "lungs_dice", "ctr_error", "ctr_bias")}

    train_anatomy(
        network,
        images,
        targets,
        options,
        arguments.output.with_suffix(".checkpoint"),
        check,
        arguments.check_every,
        ConsoleProgress(),
    )
    report(arguments.output, arguments.data, kept_out)


def average_weights(paths: list[Path], output: Path) -> None:
    """Write the mean of networks that began as the same one (Wortsman et al. 2022, arXiv 2203.05482)."""
    networks = [load_anatomy(path) for path in paths]
    states = [network.state_dict() for network in networks]
    mean = {key: torch.stack([state[key] for state in states]).mean(0) for key in states[0]}
    networks[0].load_state_dict(mean)
    infos = [read_anatomy_info(path) for path in paths]
    told = {key: value for key, value in infos[0].items() if key not in ("training", "watched", "kept_out")}
    save_anatomy(output, networks[0], {**told, "training": {"mean_of": [info["training"] for info in infos]}})


def report(path: Path, data: Path, rows: Rows) -> None:
    """Measure the weights as they are stored on images kept out, print that and add it to the JSON."""
    figures = evaluate(load_anatomy(path), data, rows)
    kept_out = {name: round(value, 5) for name, value in figures.items()}
    save_anatomy(path, load_anatomy(path), {**read_anatomy_info(path), "kept_out": kept_out})
    print(f"{path}, on {len(rows)} images kept out:")
    for name, value in figures.items():
        print(f"  {name:22} {value:.4f}")


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", "-o", type=Path, default=Path("anatomy.safetensors"))
    parser.add_argument("--fold", type=int, choices=(0, 1), default=0)
    parser.add_argument("--refine", type=Path, help="weights of the same fold to carry on from, with less augmentation")
    parser.add_argument(
        "--augmentation",
        type=float,
        nargs=2,
        default=(1.0, 0.55),
        metavar=("FIRST", "LAST"),
        help="its strength with --refine",
    )
    parser.add_argument("--average", type=Path, nargs="+", help="no training: the mean of these weights")
    parser.add_argument(
        "--widths", type=int, nargs=4, default=AnatomyConfig().widths, help="channels, without --refine"
    )
    parser.add_argument("--teacher", type=Path, help="weights of the same fold, which outline the --unlabelled images")
    parser.add_argument(
        "--unlabelled", type=Path, help="a dataset of cxredit prepare: one image a patient of its train"
    )
    parser.add_argument("--split", type=Path, default=SPLIT)
    parser.add_argument("--steps", type=int, default=AnatomyTraining.steps)
    parser.add_argument("--batch", type=int, default=AnatomyTraining.batch)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check-every", type=int, default=100)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", default="auto")
    return parser.parse_args()


def read(folder: Path, rows: Rows, side: int = 128) -> tuple[Tensor, NDArray[np.uint8]]:
    """Images [N, 1, side, side] in 0..255, and masks [N, H, W] as they are on disk."""
    images = np.stack([np.asarray(Image.open(folder / "images" / row["image"]).convert("L")) for row in rows])
    masks = np.stack([np.asarray(Image.open(folder / "masks" / row["image"])) for row in rows])
    return F.interpolate(torch.from_numpy(images)[:, None].float(), (side, side), mode="area"), masks


def shares(masks: NDArray[np.uint8], side: int) -> Tensor:
    """How much of each pixel every class covers: masks [N, H, W] -> [N, 4, side, side] in 0..1."""
    classes = torch.stack([torch.from_numpy(masks == index).float() for index in range(len(CLASSES))], dim=1)
    return F.interpolate(classes, (side, side), mode="area")


def outline(teacher: AnatomyNetwork, path: Path, seed: int, precision: str) -> tuple[Tensor, Tensor]:
    """One plausible image of each patient of the split train, [N, 1, R, R] in 0..255, and what the teacher says of it.

    That is the mean over `VIEWS` of its probabilities [N, 4, R, R], turned back.
    """
    dataset, rows = Dataset(path), dict[str, int]()
    for row in np.random.default_rng(seed).permutation(dataset.indices("train")):
        rows.setdefault(dataset.patient_ids[row], int(row))
    levels = dataset.images(np.sort(list(rows.values()))).astype(np.float32) / dataset.white * 255
    images = resize(torch.from_numpy(levels)[:, None], teacher.config.resolution)
    images = images[torch.from_numpy(measure_images(teacher, images).plausible)]
    found = []
    with torch.no_grad():
        for part in torch.split(normalise(images), 32):
            views = []
            for angle, scale in VIEWS:
                seen = normalise(turned(part, angle, scale))
                with torch.autocast(seen.device.type, torch.bfloat16, enabled=precision == "bf16"):
                    scores = teacher(seen)
                views.append(turned(scores.float().softmax(1), -angle, 1 / scale))
            found.append(torch.stack(views).mean(0))
    return images, torch.cat(found)


def turned(images: Tensor, angle: float, scale: float) -> Tensor:
    """Images [N, C, R, R] about their middle; the negative angle and the inverse scale undo it."""
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    matrix = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]]).expand(len(images), 2, 3)
    grid = F.affine_grid(matrix, [len(images), 1, *images.shape[2:]], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def evaluate(network: AnatomyNetwork, folder: Path, rows: Rows) -> dict[str, float]:
    """Mean Dice of each organ per image, and the mean absolute error of the CTR against masks and against humans."""
    images, masks = read(folder, rows)
    kept = clean(segment(network, images, masks.shape[-1]).masks)
    figures = {
        f"{name.replace(' ', '_')}_dice": float(np.mean(dice(kept == index, masks == index)))
        for index, name in enumerate(CLASSES)
        if index
    }
    figures["lungs_dice"] = float(np.mean(dice((kept == 1) | (kept == 2), (masks == 1) | (masks == 2))))
    anatomy = measure_images(network, images)
    error = np.abs(anatomy.ctr - np.array([float(row["ctr_from_masks"]) for row in rows]))
    human = np.array([float(row["ctr"] or "nan") for row in rows])
    figures["ctr_error"] = float(np.nanmean(error))
    figures["ctr_error_worst"] = float(np.nanmax(error))
    figures["ctr_error_human"] = float(np.nanmean(np.abs(anatomy.ctr - human)))
    figures["ctr_bias"] = float(np.nanmean(anatomy.ctr - np.array([float(row["ctr_from_masks"]) for row in rows])))
    figures["ctr_error_median"] = float(np.nanmedian(error))
    figures["ctr_error_plausible"] = float(np.mean(error[anatomy.plausible]))
    figures["implausible"] = float(np.mean(~anatomy.plausible))
    return figures


def dice(found: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """2 |A and B| / (|A| + |B|) of each image, for masks [N, H, W]."""
    both = (found & wanted).sum((1, 2))
    overlap: NDArray[np.float64] = 2 * both / np.maximum(found.sum((1, 2)) + wanted.sum((1, 2)), 1)
    return overlap


if __name__ == "__main__":
    main()
