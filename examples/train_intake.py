"""Train the network that looks at what comes in, choose its thresholds, and report it on patients that it never saw.

    python examples/train_intake.py dataset.h5 -o intake.safetensors

The data set is `cxredit prepare` of frontal films at 128 pixels with NIH's columns. Its patients are divided in three:
those of split val, of whom nothing is used but for the report; a sixteenth of the others, on whom the thresholds are
chosen; and the rest, whose films are trained on.

Films of ChestX-ray14 that are lateral, turned, negative or mirrored, though it calls them upright and frontal, are
listed in intake_films.csv: a first network, trained without the list, pointed them out, and each was looked at. They
are not trained on as upright films; the lateral ones of training patients are trained on as what they are. What else is
no frontal chest is made (`cxredit_cli/training/no_frontal_chest.py`), and photographs are those that scikit-image
brings, of which the second half serves the report.

The bundled network is that first one (4,000 steps, with an empty list), trained on with the list:

    python examples/train_intake.py dataset.h5 -o intake.safetensors --start first.safetensors --steps 2400 --seed 1

Stop it and start it again with the same words: it carries on. A thousand steps take five to ten minutes on one core.
"""

import argparse
import csv
import math
from pathlib import Path

import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cxredit_cli.anatomy.outlines import segment
from cxredit_cli.commands.console import ConsoleProgress
from cxredit_cli.intake.look import log_odds, score_all_ways
from cxredit_cli.networks.anatomy import LEFT_LUNG, RIGHT_LUNG
from cxredit_cli.networks.intake import IntakeNetwork, turned
from cxredit_cli.networks.preparation import normalise
from cxredit_cli.storage.anatomy_network import load_anatomy
from cxredit_cli.storage.dataset import Dataset, split_of
from cxredit_cli.storage.intake_network import load_intake, save_intake
from cxredit_cli.training.intake import IntakeFilms, IntakeTraining, train_intake
from cxredit_cli.training.no_frontal_chest import Outliers

LISTED = Path(__file__).with_name("intake_films.csv")
PHOTOGRAPHS = (
    *("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "coins.png", "grass.png", "page.png"),
    *("hubble_deep_field.jpg", "retina.jpg", "motorcycle_left.png", "chessboard_GRAY.png"),
)
UNSEEN_PHOTOGRAPHS = (
    *("coffee.png", "gravel.png", "horse.png", "ihc.png", "microaneurysms.png", "moon.png", "phantom.png"),
    *("rocket.jpg", "text.png", "clock_motion.png", "color.png"),
)
CHOSEN_ON, REPORTED_ON, CHILD, ADULT = 0.06, 600, 6, 16
RARE = 0.998  # of the films on which thresholds are chosen stay below each, and no threshold is below these odds:
ODDS = {"mirrored": 2.0, "small_child": 2.0}  # to 1; even odds for the others
Parts = dict[str, NDArray[np.int64]]


def main() -> None:
    """Train, choose thresholds, save, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("intake.safetensors"))
    parser.add_argument("--start", type=Path, help="weights to begin with")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    data = Dataset(arguments.dataset)
    what = {row["image"]: row["what"] for row in csv.DictReader(LISTED.open())}
    listed = np.array([what.get(Path(name).name, "") for name in data.names])
    ages = np.array([float(age) if age.replace(".", "").isdigit() else np.nan for age in data.columns["Patient Age"]])
    parts = divide(data, listed, ages)
    images = data.images(slice(None))
    training = parts["train"]
    films = IntakeFilms(
        torch.from_numpy(images[training]), lungs_of(images[training]), torch.from_numpy(ages[training]).float()
    )
    others = torch.from_numpy(images[parts["others"]])
    outliers = Outliers(films.films, photographs(PHOTOGRAPHS), others)
    options = IntakeTraining(steps=arguments.steps, seed=arguments.seed)
    network = load_intake(arguments.start).network.requires_grad_(True) if arguments.start else IntakeNetwork()
    network = network.to(memory_format=torch.channels_last)
    average = train_intake(
        *(network, films, outliers, options, arguments.output.with_suffix(".checkpoint"), None, 200, ConsoleProgress())
    )
    thresholds = choose_thresholds(average, images[parts["choose"]])
    found = report(average, thresholds, images, parts, outliers.side)
    data_used = "NIH ChestX-ray14 (NIH Clinical Center; Wang et al., CVPR 2017)"
    save_intake(arguments.output, average, thresholds, {"data": data_used, "training": len(training), "report": found})


def divide(data: Dataset, listed: NDArray[np.str_], ages: NDArray[np.float64]) -> Parts:
    """The films to train on, to choose thresholds on, and to report on by view; and what is lateral, to train on."""
    held_out = np.array(data.splits) == "val"
    chosen = np.array([split_of(patient, CHOSEN_ON, 5) == "val" for patient in data.patient_ids])
    upright, adult, view = listed == "", ages >= ADULT, np.array(data.views)
    random = np.random.default_rng(0)

    def some(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        return random.permutation(np.flatnonzero(mask))[:REPORTED_ON]

    return {
        "train": np.flatnonzero(~held_out & ~chosen & upright),
        "others": np.flatnonzero(~held_out & ~chosen & np.isin(listed, ["lateral", "not a chest"])),
        "choose": some(~held_out & chosen & upright & adult),
        **{f"{name} films": some(held_out & upright & adult & (view == name)) for name in ("PA", "AP")},
        "children": np.flatnonzero(held_out & (ages <= CHILD)),
    }


def lungs_of(images: NDArray[np.uint8]) -> Tensor:
    """Where the bundled anatomy network sees lungs, [N, R, R] bool."""
    found = segment(load_anatomy(), torch.from_numpy(images)[:, None].float() / 255).masks
    return torch.from_numpy((found == LEFT_LUNG) | (found == RIGHT_LUNG))


def photographs(names: tuple[str, ...]) -> list[Tensor]:
    """Pictures that scikit-image brings, grey [H, W] in 0..1."""
    folder = Path(skimage.data.__file__).parent
    pictures = [np.asarray(Image.open(folder / name).convert("L"), dtype=np.float32) for name in names]
    return [torch.from_numpy(picture / 255) for picture in pictures]


def choose_thresholds(network: IntakeNetwork, images: NDArray[np.uint8]) -> dict[str, float]:
    """The log of ODDS, or what all but a few upright films stay below, where that is more."""
    odds = odds_of(network, as_seen(images))
    least = {name: math.log(ODDS.get(name, 1.0)) for name in odds}
    return {name: round(max(float(np.quantile(values, RARE)), least[name]), 3) for name, values in odds.items()}


def as_seen(images: NDArray[np.uint8]) -> Tensor:
    """What the network is shown: [N, 1, R, R] in 0..1."""
    return normalise(torch.from_numpy(images)[:, None].float() / 255)


@torch.no_grad()
def odds_of(network: IntakeNetwork, x: Tensor) -> dict[str, NDArray[np.float64]]:
    """Log-odds [N] of each thing that can be wrong, by all eight views."""
    return log_odds(np.concatenate([score_all_ways(network, part) for part in torch.split(x, 64)]))


def report(
    network: IntakeNetwork, thresholds: dict[str, float], images: NDArray[np.uint8], parts: Parts, side: int
) -> dict[str, dict[str, float]]:
    """Shares of films of unseen patients that each sign speaks for, as they are and made wrong; printed."""
    found: dict[str, dict[str, float]] = {}

    def tell(name: str, x: Tensor) -> None:
        odds = odds_of(network, x)
        above = {sign: values > thresholds[sign] for sign, values in odds.items()}
        shares = {sign: round(float(values.mean()), 4) for sign, values in above.items()}
        shares["any"] = round(float(np.any(list(above.values()), axis=0).mean()), 4)
        found[name] = {"images": len(x), **shares}
        print(f"{name:22} {len(x):5}  " + "  ".join(f"{sign} {share:.3f}" for sign, share in shares.items()))

    for view in ("PA films", "AP films"):
        x = as_seen(images[parts[view]])
        tell(view, x)
        tell(f"{view}, negative", 1 - x)
        tell(f"{view}, mirrored", turned(x, 4))
        for lies, name in ((1, "90 degrees"), (2, "180 degrees"), (3, "270 degrees"), (6, "upside down mirrored")):
            tell(f"{view}, {name}", turned(x, lies))
    tell("children", as_seen(images[parts["children"]]))
    unseen = Outliers(torch.zeros(1, side, side), photographs(UNSEEN_PHOTOGRAPHS), torch.zeros(0, side, side))
    random = np.random.default_rng(1)
    tell("photographs", normalise(torch.stack([unseen.photograph(random) for _ in range(100)])[:, None]))
    faces = torch.from_numpy(skimage.data.lfw_subset()[:100]).float()[:, None]
    tell("faces", normalise(torch.nn.functional.interpolate(faces, size=(side, side), mode="bilinear")))
    tell("noise", normalise(torch.stack([unseen.noise(random) for _ in range(100)])[:, None]))
    return found


if __name__ == "__main__":
    main()
