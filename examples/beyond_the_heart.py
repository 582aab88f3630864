"""Directions of findings other than a large heart: found, judged on unseen patients, and laid out to be bundled.

    python examples/beyond_the_heart.py dataset.h5 --finder finder.pt2 --judge judge.pt2 -o beyond

takes two classifiers of examples/train_findings.py with the same classes (beyond_the_heart.sh makes them). It finds a
direction of each class by the gradients of the finder, with the anatomy held that the disease leaves alone and with the
other classes held; inverts films of the split val, which neither the classifiers nor the generator saw; asks the judge
what each direction does to all classes of those without a finding; and writes

    unseen.h5             the codes, one film a patient
    candidates/NAME.h5    every direction with its figures
    directions/NAME.h5    those that hold: what a model's folder takes
    matrix.json           the figures
    tables.md             the tables of docs/results/beyond-the-heart.md
    NAME.png              three unseen patients: the film, its reconstruction, three strengths, what changes
    held.png              a patient for each direction that holds

Stop it and start it again: what is there is kept.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cxredit_cli.atomic import write_text
from cxredit_cli.commands.console import ConsoleProgress
from cxredit_cli.directions.from_measure import find_class_directions
from cxredit_cli.directions.what_moves import find_what_moves
from cxredit_cli.evaluation.dose_study import Cohort, find_cohort
from cxredit_cli.evaluation.matrix_study import ask, evaluate_matrix, to_keep
from cxredit_cli.evaluation.scans import choose_scans, rows_with_codes
from cxredit_cli.figures.grids import image_grid
from cxredit_cli.inversion.inputs import DatasetRow
from cxredit_cli.inversion.invert_many import InvertOptions, invert_to_file
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.latent.code_batch import CodeBatch, take_codes
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.metrics.classification import score_classes
from cxredit_cli.metrics.rank_statistics import roc_auc
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.any_classifier import ClassifierScore
from cxredit_cli.radiographs.write import write_png
from cxredit_cli.storage.anatomy_network import BUNDLED_JUDGE, load_anatomy
from cxredit_cli.storage.any_classifier import load_score
from cxredit_cli.storage.codes import Codes, read_codes
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.dataset_labels import read_label_table
from cxredit_cli.storage.directions import Direction, read_direction, write_direction
from cxredit_cli.storage.models import Model, load_model

THORAX, LUNGS, HEART = ("thorax_width",), ("right_lung_height", "left_lung_height"), ("heart_area",)
WHITE, TONE = ("grey_p90",), ("grey_p10", "grey_p50", "grey_p90")
# What each disease leaves alone. Fluid lifts the visible base of a lung and whitens it, a collapsed part pulls at its
# borders, emphysema makes lungs large and dark; a nodule leaves everything else as it is. Age, sex and view are of the
# whole chest, but not of the exposure.
HELD = {
    "Effusion": (*THORAX, *WHITE),
    "Atelectasis": (*HEART, *WHITE),
    "Infiltration": (*THORAX, *LUNGS, *HEART, *WHITE),
    "Emphysema": WHITE,
    "Pneumothorax": (*THORAX, *HEART, *WHITE),
    "Mass+Nodule": (*THORAX, *LUNGS, *HEART, *TONE),
    "Pleural_Thickening": (*THORAX, *LUNGS, *HEART, *TONE),
    "Age": TONE,
    "Sex": TONE,
    "View": TONE,
}
# What is known to go with each, and was written down before any direction was judged: it is neither held nor counted.
COMPANIONS = {
    "Effusion": ("Atelectasis", "Infiltration", "Pleural_Thickening"),
    "Atelectasis": ("Effusion", "Infiltration"),
    "Infiltration": ("Effusion", "Atelectasis"),
    "Emphysema": ("Pneumothorax",),
    "Pneumothorax": ("Emphysema", "Effusion"),
    "Pleural_Thickening": ("Effusion",),
    "Age": ("Cardiomegaly",),
    "View": ("Cardiomegaly", "Effusion", "Atelectasis", "Infiltration"),
}
PATIENTS, COLUMNS = 3, 6  # that are drawn, and pictures of each
CALIBRATED = 64  # generated images
FEWEST = 8  # films with a finding that an AUC is worth


def main() -> None:
    """Find, judge, draw."""
    arguments = parse()
    model = load_model(arguments.model)
    anatomy, judge = load_anatomy(), load_anatomy(BUNDLED_JUDGE)
    finder, score = (load_score(str(path), None, any_class=True) for path in (arguments.finder, arguments.judge))
    dataset, folder = Dataset(arguments.dataset), arguments.output
    directions = find(model, anatomy, finder, folder / "candidates", arguments)
    codes = invert_unseen(model, judge, dataset, score, folder / "unseen.h5", arguments)
    asked = [ask(place, each, score.classes, COMPANIONS, None) for place, each in directions.items()]
    cohort = Cohort(n=arguments.patients, seed=arguments.seed, codes=codes)
    path = folder / "matrix.json"
    if path.exists():
        document = json.loads(path.read_text())
    else:
        document = evaluate_matrix(
            model, judge, score, dataset, asked, cohort, randoms=arguments.randoms, progress=ConsoleProgress()
        )
        write_text(path, json.dumps(document, indent=1) + "\n")
    scans, batch = find_cohort(model, judge, dataset, cohort)
    held: list[torch.Tensor] = []
    for (place, direction), row in zip(directions.items(), document["directions"], strict=True):
        judged = replace(direction, statistics=direction.statistics | {"unseen": to_keep(document, row)})
        if not row["fails"]:  # how its edits are carried over to films
            judged = replace(judged, calibration={"carried": find_what_moves(model, anatomy, direction, CALIBRATED)})
        write_direction(place, judged)
        rows = [draw(model, direction, batch, scans.images, row["strength"], index) for index in range(PATIENTS)]
        write_png(folder / f"{place.stem}.png", image_grid(torch.cat(rows), COLUMNS), {})
        if not row["fails"]:
            held.append(rows[len(held) % PATIENTS])
            write_direction(folder / "directions" / place.name, judged)
    if held:
        write_png(folder / "held.png", image_grid(torch.cat(held), COLUMNS), {})
    reports = [json.loads(path.with_suffix(".report.json").read_text()) for path in (arguments.finder, arguments.judge)]
    kept = what_codes_keep(model, score, dataset, codes)
    write_text(folder / "tables.md", tables(document, reports, kept))
    print((folder / "tables.md").read_text())


def find(
    model: Model, anatomy: AnatomyNetwork, finder: ClassifierScore, folder: Path, arguments: argparse.Namespace
) -> dict[Path, Direction]:
    """A direction of each class of the finder that HELD knows, by its file."""
    wanted = [name for name in HELD if name in finder.classes]
    places = {name: folder / f"{name.lower().replace('+', '-').replace('_', '-')}.h5" for name in wanted}
    if not all(place.exists() for place in places.values()):
        held = {
            name: (*HELD[name], *(o for o in finder.classes if o != name and o not in COMPANIONS.get(name, ())))
            for name in wanted
        }
        found = find_class_directions(
            model, anatomy, finder, held, arguments.generated, arguments.seed, ConsoleProgress()
        )
        for name, direction in found.items():
            write_direction(places[name], direction)
    return {place: read_direction(place) for place in places.values()}


def invert_unseen(
    model: Model,
    judge: AnatomyNetwork,
    dataset: Dataset,
    score: ClassifierScore,
    path: Path,
    arguments: argparse.Namespace,
) -> Codes:
    """Codes of PA films of val, one per patient: without a finding for the matrix, and some with each finding."""
    rows = list(choose_scans(dataset, judge, "val", n=arguments.patients, seed=arguments.seed).rows)
    patients = dataset.patient_ids
    for label in (part for name in score.classes for part in name.split("+")):
        of_patient = {patients[row]: row for row in dataset.indices("val", "PA", label)}
        rows += list(of_patient.values())[: arguments.ill]
    names = dataset.names
    targets = [DatasetRow(dataset, int(row), names[row]) for row in dict.fromkeys(rows)]
    options = InvertOptions("hybrid", "w+", "crop", arguments.steps)
    with fast_gradients(model.generator):
        invert_to_file(model, targets, options, path, ConsoleProgress())
    return read_codes(path)


def draw(
    model: Model, direction: Direction, codes: CodeBatch, originals: torch.Tensor, strength: float, index: int
) -> torch.Tensor:
    """[COLUMNS, 1, R, R] of one patient: film, reconstruction, half, once, one and a half times `strength`, change."""
    steps = torch.tensor([0, 0.5, 1, 1.5])[:, None, None] * strength
    w = codes.w[index] + steps * torch.from_numpy(direction.direction)
    noise = None if codes.noise is None else [layer[[index] * len(steps)] for layer in codes.noise]
    made = torch.cat(list(synthesize(model.generator, w, noise)))
    return torch.cat([originals[index : index + 1], made, (made[2:3] - made[:1]).clamp(-1, 1)])


def what_codes_keep(
    model: Model, score: ClassifierScore, dataset: Dataset, codes: Codes
) -> dict[str, tuple[int, float, float]]:
    """By class: films with it among the codes, and the judge's AUC on these films and on their reconstructions.

    Against the films without a finding among the codes.
    """
    pairs = rows_with_codes(dataset, codes)
    rows, places = np.array(list(pairs), dtype=np.int64), list(pairs.values())
    table_rows = read_label_table(dataset.path).rows
    labels = [table_rows[row].labels for row in rows]
    healthy = np.array(["No Finding" in each for each in labels])
    films = torch.from_numpy(dataset.images(rows).astype(np.float32))[:, None] / dataset.white * 2 - 1
    some = take_codes(codes, places)
    made = torch.cat(list(synthesize(model.generator, some.w, some.noise, tuning=some.tuning)))
    seen = [score_classes(score, pictures) for pictures in (films, made)]
    found = {}
    for column, name in enumerate(score.classes):
        ill = np.array([any(part in each for part in name.split("+")) for each in labels])
        if ill.sum() >= FEWEST:
            found[name] = (int(ill.sum()), *(_auc(values[:, column], ill, healthy) for values in seen))
    return found


def _auc(scores: NDArray[np.float64], ill: NDArray[np.bool_], healthy: NDArray[np.bool_]) -> float:
    return float(roc_auc(scores[ill | healthy], ill[ill | healthy]))


def tables(document: dict[str, Any], reports: list[dict[str, Any]], kept: dict[str, tuple[int, float, float]]) -> str:
    """The tables of docs/results/beyond-the-heart.md."""
    sys.path.append(str(Path(__file__).parents[1] / "docs" / "tools"))
    from result_tables import table

    classes, directions = document["classifier"]["classes"], document["directions"]
    seen = [
        [say(name), *(_held_out(report["labels"][name], view) for report in reports for view in ("PA", "AP"))]
        for name in classes
    ]
    lasting = [[say(name), str(count), f"{film:.2f}", f"{made:.2f}"] for name, (count, film, made) in kept.items()]
    worth = [
        [
            *(say(row["class"]), f"{row['strength']:.1f}", f"{row['auc']:.2f}", f"{row['rise'][row['class']]:+.2f}"),
            f"{row['rise'][row['next']]:+.2f} {say(row['next'])}",
            f"{max(max(values) for values in row['random'].values()):.2f}",
            *(f"{row[name]:.0%}" for name in ("own_nearest", "plausible")),
            "holds" if not row["fails"] else "; ".join(row["fails"]),
        ]
        for row in directions
    ]
    matrices = [
        [[say(row["class"]), *(_cell(row, name, unit) for name in classes)] for row in directions]
        for unit in ("rise", "rise_in_deviations")
    ]
    names = tuple(say(name) for name in classes)
    moved = [[say(row["class"]), *(percent(value) for value in row["anatomy"].values())] for row in directions]
    parts = [
        ("Held-out AUC", table(seen, ["", "finder, PA", "finder, AP", "judge, PA", "judge, AP"])),
        ("What the codes keep", table(lasting, ["", "films", "AUC, film", "AUC, reconstruction"])),
        (
            "Worth",
            table(
                worth,
                ["direction", "strength", "AUC", "log-odds", "next", "random", "own nearest", "plausible", "verdict"],
            ),
        ),
        ("Matrix, log-odds", table(matrices[0], ["direction", *names])),
        ("Matrix, deviations between patients", table(matrices[1], ["direction", *names])),
        ("Anatomy", table(moved, ["direction", *(name.replace("_", " ") for name in directions[0]["anatomy"])])),
    ]
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in parts) + "\n"


def say(label: str) -> str:
    """A class as people write it."""
    return {"Mass+Nodule": "Mass or nodule", "Sex": "Sex (F)", "View": "View (AP)"}.get(label, label.replace("_", " "))


def percent(value: float | None) -> str:
    """A change as a share, with its sign."""
    return "-" if value is None else f"{value:+.1%}".replace("%", " %")


def _held_out(label: dict[str, Any], view: str) -> str:
    figures = label.get(view, {"auc": None})
    return "-" if figures["auc"] is None else f"{figures['auc']:.2f} ({figures['positive']})"


def _cell(row: dict[str, Any], name: str, unit: str) -> str:
    text = f"{row[unit][name]:+.1f}"
    return f"**{text}**" if name == row["class"] else f"*{text}*" if name in row["companions"] else text


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--finder", type=Path, required=True, help="the classifier that directions are found with")
    parser.add_argument("--judge", type=Path, required=True, help="the one that judges them")
    parser.add_argument("--output", "-o", type=Path, default=Path("beyond"))
    parser.add_argument("--model", type=Path, help="default: ./model, else the bundled one")
    parser.add_argument("--generated", type=int, default=512, help="generated images that directions are found on")
    parser.add_argument("--patients", type=int, default=150, help="unseen ones without a finding, at most")
    parser.add_argument("--ill", type=int, default=25, help="unseen ones of each finding: how much of it codes keep")
    parser.add_argument("--steps", type=int, default=75, help="of inversion")
    parser.add_argument("--randoms", type=int, default=5, help="random directions of each kind")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
