"""How far the bundled networks that measure, judge and look can be trusted, as tables in Markdown.

    python examples/measure_instruments.py all.h5 --outlined ctr-wingspan \
        | python docs/tools/result_tables.py anatomy anatomy-judge anatomy-nih classifier-judge intake

The data set is `cxredit prepare --on-suspect warn` of PA and AP films with NIH's columns (without that option the
network at the door has left out what it took for wrong already), split as for the bundled model; its patients of the
split val trained none of these networks. --outlined is the extended Wingspan data set (train_anatomy.py says more);
each anatomy network is asked about the films that trained the other one. Some minutes of one core.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from train_anatomy import SPLIT, evaluate, read
from train_intake import LISTED, as_seen, divide, odds_of

from cxredit_cli.anatomy.measures import measure_images
from cxredit_cli.metrics.classification import classify
from cxredit_cli.metrics.rank_statistics import auc_interval, roc_auc
from cxredit_cli.networks.intake import turned
from cxredit_cli.networks.preparation import normalise
from cxredit_cli.storage.anatomy_network import BUNDLED_ANATOMY, BUNDLED_JUDGE, load_anatomy
from cxredit_cli.storage.classifier_network import BUNDLED_CLASSIFIER, load_classifier
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.intake_network import TrainedIntake, load_intake

ILL, HEALTHY = "Cardiomegaly", "No Finding"
HEALTHY_FILMS = 500  # of either view, for the CTR
LIES = {  # how a film can be put wrong by turning it: `turned`'s numbers
    "turned by a quarter or a half, mirrored or not": (1, 2, 3, 5, 6, 7),
    "mirrored": (4,),
}


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--outlined", type=Path, required=True, help="the extended Wingspan data set")
    parser.add_argument("--split", type=Path, default=SPLIT, help="which of its films trained which network")
    arguments = parser.parse_args()
    dataset = Dataset(arguments.dataset)
    rows = list(csv.DictReader((arguments.outlined / "ctr.csv").open()))
    part_of = {row["image"]: row["part"] for row in csv.DictReader(arguments.split.open())}
    for path, fold in ((BUNDLED_ANATOMY, 0), (BUNDLED_JUDGE, 1)):
        kept_out = [row for row in rows if part_of[row["image"]].startswith(str(1 - fold))]
        print_outlines(evaluate(load_anatomy(path), arguments.outlined, kept_out), kept_out)
    print_ratios(dataset)
    print_classifier(dataset)
    films, _ = read(arguments.outlined, rows)
    print_intake(dataset, normalise(films / 255))


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """A table and an empty line."""
    for cells in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(cells)} |")
    print()


def percent(share: float) -> str:
    """With one decimal."""
    return f"{share:.1%}".replace("%", " %")


def print_outlines(figures: dict[str, float], kept_out: list[dict[str, str]]) -> None:
    """Dice and errors of the CTR of one anatomy network."""
    lungs = (figures[f"{name}_dice"] for name in ("lungs", "right_lung", "left_lung"))
    human = sum(bool(row["ctr"]) for row in kept_out)
    rows = [
        ["Dice of the heart", f"{figures['heart_dice']:.3f}"],
        ["Dice of both lungs; right; left", "; ".join(f"{value:.3f}" for value in lungs)],
        [
            "CTR, mean absolute error against the masks'",
            f"{figures['ctr_error']:.4f} (median {figures['ctr_error_median']:.3f}, worst "
            f"{figures['ctr_error_worst']:.3f})",
        ],
        ["the same, plausible ones only", f"{figures['ctr_error_plausible']:.4f}"],
        ["CTR, mean absolute error against a human's", f"{figures['ctr_error_human']:.4f} ({human} films)"],
        ["CTR, mean difference from the masks'", f"{figures['ctr_bias']:+.4f}"],
        ["called implausible", percent(figures["implausible"])],
    ]
    print_table(["figure", "value"], rows)


def pictures_of(dataset: Dataset, rows: NDArray[np.int64]) -> Tensor:
    """Films [N, 1, R, R] in 0..1."""
    return torch.from_numpy(dataset.images(np.sort(rows)).astype(np.float32))[:, None] / dataset.white


def print_ratios(dataset: Dataset) -> None:
    """The CTR of the ill and the healthy by view, and how well it tells them apart."""
    network, found = load_anatomy(), []
    for view in ("PA", "AP"):
        ill, healthy = (np.asarray(dataset.indices(None, view, label)) for label in (ILL, HEALTHY))
        healthy = np.random.default_rng(0).permutation(healthy)[:HEALTHY_FILMS]
        ill_ctr, healthy_ctr = (measure_images(network, pictures_of(dataset, rows)) for rows in (ill, healthy))
        ratios = [anatomy.ctr[anatomy.plausible] for anatomy in (ill_ctr, healthy_ctr)]
        area = float(roc_auc(np.concatenate(ratios), np.repeat([True, False], [len(part) for part in ratios])))
        implausible = 1 - np.concatenate([ill_ctr.plausible, healthy_ctr.plausible]).mean()
        cells = [f"{part.mean():.3f} ({len(rows)} films)" for part, rows in zip(ratios, (ill, healthy), strict=True)]
        found.append([view, *cells, f"{area:.2f}", percent(float(implausible))])
    print_table(["view", ILL, HEALTHY, "ROC AUC", "implausible"], found)


def print_classifier(dataset: Dataset) -> None:
    """The classifier that judges: as its file states it by folds, and asked about unseen patients now."""
    trained = load_classifier(BUNDLED_CLASSIFIER)
    info = trained.info["by_folds"]
    low, high = info["auc_interval"]
    folds = (
        f"trained in the same way, {info['folds']} folds by patient: {info['positive_images']} films of "
        f"{info['positive_patients']} patients against {info['negative_images']:,} of {info['negative_patients']:,}"
    )
    chosen = [np.asarray(dataset.indices("val", trained.info["view"], label)) for label in (ILL, HEALTHY)]
    rows = np.sort(np.concatenate(chosen))
    positive = np.isin(rows, chosen[0])
    patients = np.unique([dataset.patient_ids[row] for row in rows], return_inverse=True)[1].astype(np.int64)
    scores = classify(trained.network, pictures_of(dataset, rows))
    own = auc_interval(scores, positive, patients)
    counts = [f"{part.sum()} films of {len(set(patients[part]))} patients" for part in (positive, ~positive)]
    unseen = f"the bundled file, on unseen patients: {counts[0]} against {counts[1]}"
    area = float(roc_auc(scores, positive))
    cells = [
        [folds, f"{info['auc']:.3f} ({low:.3f} to {high:.3f})"],
        [unseen, f"{area:.3f} ({own[0]:.3f} to {own[1]:.3f})"],
    ]
    print_table(["networks", "ROC AUC"], cells)


def print_intake(dataset: Dataset, elsewhere: Tensor) -> None:
    """What the intake network says of films of unseen adults, as they are and put wrong; `elsewhere` [N, 1, R, R]."""
    trained = load_intake()
    what = {row["image"]: row["what"] for row in csv.DictReader(LISTED.open())}
    listed = np.array([what.get(Path(name).name, "") for name in dataset.names])
    ages = np.array(
        [float(age) if age.replace(".", "").isdigit() else np.nan for age in dataset.columns["Patient Age"]]
    )
    parts = divide(dataset, listed, ages)
    seen = {
        f"{len(parts[name])} {name}": as_seen(dataset.images(np.sort(parts[name]))) for name in ("PA films", "AP films")
    }
    seen[f"{len(elsewhere)} PA films of another hospital"] = elsewhere
    rows = [
        ["false alarms of any kind", *(percent(any_alarm(trained, x)) for x in seen.values())],
        ["negative, found", *(percent(alarms(trained, 1 - x, "negative")) for x in seen.values())],
    ]
    for name, lies in LIES.items():
        sign = "mirrored" if name == "mirrored" else "turned"
        shares = (np.mean([alarms(trained, turned(x, how), sign) for how in lies]) for x in seen.values())
        rows.append([f"{name}, found", *(percent(float(share)) for share in shares)])
    print_table(["figure", *seen], rows)


def alarms(trained: TrainedIntake, x: Tensor, sign: str) -> float:
    """The share of x [N, 1, R, R] that one sign speaks of."""
    return float((odds_of(trained.network, x)[sign] > trained.thresholds[sign]).mean())


def any_alarm(trained: TrainedIntake, x: Tensor) -> float:
    """The share of x [N, 1, R, R] that any sign speaks of."""
    odds = odds_of(trained.network, x)
    return float(np.any([odds[sign] > limit for sign, limit in trained.thresholds.items()], axis=0).mean())


if __name__ == "__main__":
    main()
