"""Train the classifier that `cxredit evaluate --dose` asks beside the anatomy judge, or find the ceiling of a cohort.

    train="python examples/train_classifier.py dataset.h5 -o classifier.safetensors"
    $train

trains it on the images of one view in the split `train` of a dataset of `cxredit prepare`, one label against another,
and states its ROC AUC on the patients of the split `val`, on whom nothing was chosen: neither when to stop nor how.

    $train --folds 5
    $train --folds 5 --codes codes.h5

states instead the AUC of a network a fold, each on the patients that it did not see: what pixels and labels give,
beside which the AUC of codes stands. With --codes it is trained and tested on the images of that file alone, in the
folds of `cxredit lda` on it; without, on all images of the view. The cardiothoracic ratio of the same images stands
beside it. `--reconstructions` asks the same networks about the pictures that the model makes of these codes: what the
codes have kept, however it lies in them. All is written to classifier.folds.json; `--stated classifier.folds.json` puts
its AUC into the header of a network that is trained as those of the folds were, which matters where `val` has few
patients with the label.

    $train --export classifier.pt2

writes it as a program of torch.export too, with the JSON beside it that says what it takes and gives: what `cxredit
explain`, `direction --from-classifier` and `evaluate --dose` take of anybody.

Stop it and start it again with the same words: it carries on. A network takes a few minutes on one core.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.anatomy.measures import measure_images
from cxredit_cli.commands.console import ConsoleProgress
from cxredit_cli.devices import resolve_device
from cxredit_cli.errors import MismatchError
from cxredit_cli.latent.code_batch import take_codes
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.metrics.classification import classify
from cxredit_cli.metrics.rank_statistics import auc_interval, roc_auc
from cxredit_cli.networks.classifier import Classifier, ClassifierConfig, PreparedClassifier
from cxredit_cli.networks.preparation import normalise, resize
from cxredit_cli.separability.cohort import Cohort, choose_cohort
from cxredit_cli.separability.folds import assign_folds
from cxredit_cli.storage.anatomy_network import BUNDLED_JUDGE, load_anatomy
from cxredit_cli.storage.any_classifier import write_program
from cxredit_cli.storage.classifier_network import load_classifier, save_classifier
from cxredit_cli.storage.codes import Codes, read_codes
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.dataset_labels import read_label_table
from cxredit_cli.storage.models import load_model
from cxredit_cli.training.anatomy_augmentation import change_contrast
from cxredit_cli.training.augmentation import augment
from cxredit_cli.training.draws import Draws
from cxredit_cli.training.parts import whole_batch
from cxredit_cli.training.supervised import draw, train

SAVE_EVERY = 100  # steps
MOVED = 0.9  # share of the pictures that are shifted, that are turned, that are scaled
CONTRAST = 0.5  # share of the pictures whose contrast, sharpness and noise change


@dataclass(frozen=True)
class Training:
    """How a network is trained; nothing of it was chosen on the patients that are held out."""

    steps: int = 800
    batch: int = 32  # half of it of either class
    lr: float = 1e-3  # peak, of AdamW; rises over `warmup` steps and falls as a cosine to 0
    warmup: int = 50
    weight_decay: float = 0.02
    ema: float = 0.995  # of the weights that are kept, per step; shorter at the start
    seed: int = 0
    precision: str = "fp32"  # or bf16, where the processor or GPU has it


@dataclass(frozen=True)
class Run(Training):
    """What a checkpoint is of."""

    resolution: int = 64
    width: int = 16
    images: int = 0


def main() -> None:
    """Train and report."""
    arguments = parse()
    dataset = Dataset(arguments.dataset)
    labels = (arguments.positive, arguments.negative)
    names, views = dataset.names, dataset.views
    sources = [name for name, view in zip(names, views, strict=True) if view == arguments.view]
    codes = read_codes(arguments.codes) if arguments.codes else None
    if codes is not None:
        sources = codes.source
    cohort = choose_cohort(sources, read_label_table(dataset.path), *labels)
    if cohort.edited:
        print(f"{cohort.edited} of the {len(cohort.rows)} images are edited, not films as they were taken")
    rows = np.array(cohort.table_rows)
    patients = np.unique(cohort.patients, return_inverse=True)[1].astype(np.int64)
    device = resolve_device(arguments.device)
    config = ClassifierConfig(arguments.resolution, width=arguments.width)
    options = Training(arguments.steps, arguments.batch, seed=arguments.seed, precision=arguments.precision)
    stored = torch.from_numpy(dataset.images(rows).astype(np.float32))[:, None] / dataset.white
    images = resize(stored, config.resolution)
    described = f"{labels[0]} against {labels[1]}"
    if arguments.folds:
        fold = assign_folds(cohort.positive, patients, arguments.folds, arguments.seed)
        asked = {"originals": stored}
        if codes is not None and arguments.reconstructions:
            asked["reconstructions"] = reconstruct(codes, cohort.rows, arguments.model)
        log_odds = {which: np.empty(len(rows)) for which in asked}
        for index in range(arguments.folds):
            held = fold == index
            checkpoint = arguments.output.with_suffix(f".fold-{index}.checkpoint")
            network = fit(config, images[~held], cohort.positive[~held], options, checkpoint, device)
            for which, pictures in asked.items():
                log_odds[which][held] = classify(network, pictures[held])
            auc = roc_auc(log_odds["originals"][held], cohort.positive[held])
            print(f"fold {index + 1}: AUC {auc:.3f}", flush=True)
        what = f"{described}, {arguments.folds} folds by patient"
        found = {
            "folds": arguments.folds,
            **say(what, log_odds["originals"], cohort.positive, patients),
            **counted(cohort, np.ones(len(rows), dtype=bool)),
            "training": asdict(options),
            "ctr_alone": ctr_alone(stored, cohort, patients),
            "log_odds": dict(zip([names[row] for row in rows], log_odds["originals"].round(4).tolist(), strict=True)),
        }
        if "reconstructions" in asked:
            found["reconstructions"] = {
                **say("reconstructions", log_odds["reconstructions"], cohort.positive, patients),
                "ctr_alone": ctr_alone(asked["reconstructions"], cohort, patients),
            }
        arguments.output.with_suffix(".folds.json").write_text(json.dumps(found, indent=1) + "\n")
        return
    splits = dataset.splits
    held = np.array([splits[row] == "val" for row in rows])
    checkpoint = arguments.output.with_suffix(".checkpoint")
    network = fit(config, images[~held], cohort.positive[~held], options, checkpoint, device)
    info: dict[str, Any] = {
        **{"positive": labels[0], "negative": labels[1], "view": arguments.view, "data": arguments.about},
        "dataset_resolution": dataset.resolution,
        "trained_by": "examples/train_classifier.py",
        "role": "a second judge of directions: it finds none",
        "split": {"seed": int(dataset.attributes["seed"]), "val_fraction": float(dataset.attributes["val_fraction"])},
        "train": counted(cohort, ~held),
        "val": counted(cohort, held),
        "training": asdict(options),
    }
    if arguments.stated:
        stated = json.loads(arguments.stated.read_text())
        if stated["training"] != asdict(options):
            raise MismatchError(f"The networks of {arguments.stated} were trained otherwise ({stated['training']}).")
        info["by_folds"] = {
            name: value for name, value in stated.items() if name not in ("log_odds", "ctr_alone", "reconstructions")
        }
    save_classifier(arguments.output, network, info)
    network = load_classifier(arguments.output).network  # as it is stored
    found = say(f"{described}, patients of val", classify(network, images[held]), cohort.positive[held], patients[held])
    save_classifier(arguments.output, network, {**info, **found})
    if arguments.export:
        write_program(arguments.export, PreparedClassifier(network), dataset.resolution, labels[:1])


def fit(
    config: ClassifierConfig,
    images: Tensor,
    positive: NDArray[np.bool_],
    options: Training,
    checkpoint: Path,
    device: torch.device,
) -> Classifier:
    """The moving average of a network's weights after all steps, from images [N, 1, R, R] in 0..1 and their classes.

    Carries on from `checkpoint` where there is one. Raises MismatchError if that is of other options or images.
    """
    torch.manual_seed(options.seed)
    network = Classifier(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    members = [torch.from_numpy(np.flatnonzero(positive == value)) for value in (False, True)]
    half = options.batch // 2
    wanted = torch.cat([torch.zeros(half), torch.ones(half)]).to(device)

    def loss_of(network: Classifier, step: int) -> Tensor:
        chosen = torch.cat([each[draw(len(each), step, half, options.seed)] for each in members])
        x = disturb(images[chosen], options.seed, step).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16"):
            log_odds = network(x.contiguous(memory_format=torch.channels_last))
        return F.binary_cross_entropy_with_logits(log_odds.float(), wanted)

    run = Run(**asdict(options), resolution=config.resolution, width=config.width, images=len(images))
    title, progress = "Training the classifier", ConsoleProgress()
    return train(network, run, loss_of, title, checkpoint, check_every=SAVE_EVERY, progress=progress, clip=None)


def reconstruct(codes: Codes, rows: NDArray[np.int64], model: Path | None) -> Tensor:
    """What the model makes of the codes in `rows`: [N, 1, R, R] in [-1, 1]."""
    loaded = load_model(model)
    codes.check_generator(loaded.fingerprint)
    chosen = take_codes(codes, rows)
    return torch.cat(list(synthesize(loaded.generator, chosen.w, chosen.noise, tuning=chosen.tuning)))


def disturb(images: Tensor, seed: int, step: int) -> Tensor:
    """Images [N, 1, R, R] in 0..1 shifted, turned, scaled, in other contrasts, and normalised as for use."""
    draws = Draws(seed, step, "disturb", whole_batch(len(images)), images.device)
    randomness = torch.Generator().manual_seed((seed + 2) * 7_368_787 + step)
    moved = normalise(augment(images * 2 - 1, torch.tensor(MOVED), draws))
    return normalise(change_contrast(moved, randomness, CONTRAST))


def counted(cohort: Cohort, part: NDArray[np.bool_]) -> dict[str, int]:
    """Images and patients of either class."""
    patients = np.array(cohort.patients)
    return {
        f"{name}_{what}": len(values) if what == "images" else len(set(values))
        for name, value in (("positive", True), ("negative", False))
        for values in (patients[part & (cohort.positive == value)],)
        for what in ("images", "patients")
    }


def say(
    what: str, scores: NDArray[np.float64], positive: NDArray[np.bool_], patients: NDArray[np.int64]
) -> dict[str, Any]:
    """Print the AUC of scores [N] with its interval by patient, and return both; None where there is one class."""
    if positive.all() or not positive.any():
        print(f"{what}: {positive.sum()} images against {(~positive).sum()}, too few for an AUC")
        return {"auc": None, "auc_interval": None}
    numbers = np.unique(patients, return_inverse=True)[1].astype(np.int64)
    area, (low, high) = float(roc_auc(scores, positive)), auc_interval(scores, positive, numbers)
    print(
        f"{what}: ROC AUC {area:.3f} ({low:.3f} to {high:.3f}); {positive.sum()} images of "
        f"{len(set(numbers[positive]))} patients against {(~positive).sum()} of {len(set(numbers[~positive]))}"
    )
    return {"auc": round(area, 4), "auc_interval": [round(low, 4), round(high, 4)]}


def ctr_alone(images: Tensor, cohort: Cohort, patients: NDArray[np.int64]) -> dict[str, Any]:
    """The AUC of the cardiothoracic ratio of the same images, of any range, which nothing is fitted to."""
    anatomy = measure_images(load_anatomy(BUNDLED_JUDGE), images)
    known = anatomy.plausible
    found = say("their CTR alone, where plausible", anatomy.ctr[known], cohort.positive[known], patients[known])
    return {**found, "plausible_images": int(known.sum())}


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--output", "-o", type=Path, default=Path("classifier.safetensors"))
    parser.add_argument("--positive", default="Cardiomegaly")
    parser.add_argument("--negative", default="No Finding")
    parser.add_argument("--view", default="PA")
    parser.add_argument("--folds", type=int, help="state the AUC by folds of patients, and save no network")
    parser.add_argument("--codes", type=Path, help="with --folds: only the images of this file of `cxredit invert`")
    parser.add_argument(
        "--reconstructions", action="store_true", help="with --folds and --codes: ask about their pictures"
    )
    parser.add_argument("--model", type=Path, help="of the codes; default: ./model, else the bundled one")
    parser.add_argument("--stated", type=Path, help="what --folds wrote, for the file's header")
    parser.add_argument("--export", type=Path, help="write it as a program of torch.export (.pt2) too")
    parser.add_argument("--about", default="", help="where the images come from, for the file's header")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--steps", type=int, default=Training.steps)
    parser.add_argument("--batch", type=int, default=Training.batch)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    if arguments.reconstructions and not (arguments.folds and arguments.codes):
        parser.error("--reconstructions is of the codes in the folds; name --folds and --codes.")
    return arguments


if __name__ == "__main__":
    main()
