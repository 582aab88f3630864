"""What conferred disease is good for: a classifier with few real positives, with and without edited films.

    python examples/augmentation_study.py dataset.h5 -o augmentation

trains small networks that tell films with Cardiomegaly from films without a finding, with 10, 30 and 100 real
positives of the split `train`, five times each, in these ways:

    nothing added                    batches as the films come
    real positives repeated          half of each batch positive
    hearts widened by a warp         half of those positives are healthy films, warped as `cxredit edit-heart` does
    edits of films                   ... are healthy films, edited as `cxredit apply --native` does
    generator's pictures             ... are the generator's pictures of them, as `cxredit apply --no-native` gives
    edits of both classes            as before, and half of the negatives are edits too, towards a smaller heart: an
                                     edit's traces then tell nothing (films), or the same (generator's pictures)

All networks see the same healthy patients. They are tested on patients that none of them has seen: all positives
that are left, and healthy ones set aside. The generator has seen these patients' films, but no labels; those of the
split `val` and of --unseen datasets are new to it as well, and stand in a table of their own.

It writes DATASETS of the edits (native.h5, generated.h5: what `cxredit apply --to-dataset` writes), tables.md with
AUC, its change by what was added, the unseen patients and the traces, and shown.png: real positives and conferred ones.
Stop it and start it again: it carries on. Most of the time goes into the edits, some seconds a film.
"""

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from augmentation_tables import Answer, Asked, count, tables
from augmentation_training import ARMS, REPEATED, Pool, Training, answer, learn, small
from numpy.typing import NDArray
from torch import Tensor

from cxredit_cli.anatomy.measures import measure_images
from cxredit_cli.atomic import write_text, written_aside
from cxredit_cli.commands.console import ConsoleProgress
from cxredit_cli.editing.edit_heart import edit_heart
from cxredit_cli.editing.edit_many import apply_to_codes
from cxredit_cli.editing.edit_run import EditOptions
from cxredit_cli.editing.edited_dataset import LabelChange, options_like, write_edited_dataset
from cxredit_cli.editing.edited_folder import digest
from cxredit_cli.editing.find_films import find_films
from cxredit_cli.editing.write_edits import Native
from cxredit_cli.errors import InputError
from cxredit_cli.figures.grids import image_grid
from cxredit_cli.inversion import STEPS
from cxredit_cli.inversion.inputs import DatasetRow
from cxredit_cli.inversion.invert_many import InvertOptions, invert_to_file
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.radiographs.sources import list_sources
from cxredit_cli.radiographs.write import write_png
from cxredit_cli.storage.anatomy_network import BUNDLED_JUDGE, load_anatomy
from cxredit_cli.storage.codes import read_codes
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.dataset_labels import read_label_table
from cxredit_cli.storage.directions import find_direction, read_direction
from cxredit_cli.storage.models import load_model

Films = NDArray[np.int64]  # rows
CONFERRED, CONTROL = (5.0, 8.0), -3.0  # strengths: to the ratio of an enlarged heart; to a smaller one
WIDER, NARROWER = (1.17, 1.27), 0.9  # factors of the heart's width that change the ratio by about as much
ASIDE = 6  # one in so many of the edited patients shows what networks see in edits, and none learns from it
SHOWN = 6  # patients in the picture


@dataclass(frozen=True)
class Roles:
    """Which films of the dataset do what."""

    ill: Films  # with the finding, split train
    edited: Films  # healthy, one per patient
    tested: Films  # healthy, of others
    healthy: Films  # that networks learn from, those edited among them
    unseen: Films  # of the split val, with the finding or healthy


def main() -> None:
    """Edit, train, ask, tell."""
    arguments = parse()
    dataset, work = Dataset(arguments.dataset), arguments.output
    if dataset.edits_told:
        raise InputError(f"{dataset.edits_told} The study needs films as they were taken; it makes the edits itself.")
    roles = choose(dataset, arguments)
    make_edits(dataset, roles, arguments)
    patients = np.array(dataset.patient_ids)
    with_finding = set(patients[dataset.has_label(arguments.positive)])
    edits = {name: Dataset(work / f"{name}.h5") for name in ("native", "generated")}
    pools = {name: pool_of(dataset, some, roles, with_finding) for name, some in edits.items()}
    pools["warped"] = warped_pool(dataset, roles, with_finding, work / "warped.npz")
    if empty := [name for name, pool in pools.items() if not len(pool.positive) or not len(pool.control)]:
        raise InputError(f"No film could be edited so ({', '.join(empty)}), or none is left to learn from; edit more.")
    new = [(dataset, roles.unseen), *((some, labelled(some, arguments)) for some in map(Dataset, arguments.unseen))]
    ill, healthy = films(dataset, roles.ill), films(dataset, roles.healthy)
    asked = [ill, films(dataset, roles.tested), *(films(some, rows) for some, rows in new)]
    found: dict[tuple[int, str], list[Answer]] = {}
    for seed in range(arguments.seeds):
        for size in arguments.sizes:
            for arm in ARMS if size else [arm for arm in ARMS if arm.conferred]:
                options = Training(arguments.steps, seed=seed)
                place = work / "answers" / f"{size} {arm.name} {seed} {digest([asdict(options), arguments.edited])}.npz"
                learnt = draw_positives(patients[roles.ill], size, seed)
                if not place.exists():
                    network = learn(arm, options, ill[learnt], healthy, pools)
                    pool = pools[arm.conferred or "native"]
                    known, unseen = (answer(network, torch.cat(some)) for some in (asked[:2], asked[2:]))
                    shown = {"control": answer(network, pool.control), "originals": answer(network, pool.originals)}
                    save(place, known=known, unseen=unseen, **shown)
                    print(f"{size} {arm.name} {seed}", file=sys.stderr, flush=True)
                with np.load(place) as stored:
                    met = np.flatnonzero(np.isin(patients[roles.ill], patients[roles.ill][learnt]))
                    found.setdefault((size, arm.name), []).append(Answer(met, **stored))
    tested = np.concatenate([roles.ill, roles.tested])
    known_films = Asked(patients[tested], np.arange(len(tested)) < len(ill))
    unseen_films = Asked(
        np.concatenate([np.array(some.patient_ids)[rows] for some, rows in new]),
        np.concatenate([some.has_label(arguments.positive)[rows] for some, rows in new]),
    )
    counts = [["healthy films for training", *count(patients[roles.healthy])]]
    for some, name in zip(edits.values(), ("edits of films", "generator's pictures"), strict=True):
        counts.append([f"conferred, {name}", *count(np.array(some.patient_ids)[some.has_label(arguments.positive)])])
    ratio, names = ratios(dataset, tested, work / "ratio.npz"), [arm.name for arm in ARMS]
    text = tables(found, arguments.sizes, names, REPEATED, known_films, unseen_films, ratio, counts)
    write_text(work / "tables.md", text)
    draw_shown(dataset, roles, work)
    print(text)


def one_a_patient(dataset: Dataset, rows: Films, seed: int) -> Films:
    """A film of each patient, patients in random order."""
    drawn = np.random.default_rng(seed).permutation(rows)
    return np.array(list({dataset.patient_ids[row]: int(row) for row in drawn}.values()), dtype=np.int64)


def choose(dataset: Dataset, arguments: argparse.Namespace) -> Roles:
    """The films of each role; no patient has two, and who has a film with the finding is no healthy one."""
    ill = dataset.indices("train", arguments.view, arguments.positive)
    patients = np.array(dataset.patient_ids)
    with_finding = set(patients[dataset.has_label(arguments.positive)])
    order = one_a_patient(dataset, dataset.indices("train", arguments.view, arguments.negative), seed=0)
    edited, rest = order[: arguments.edited], order[arguments.edited :]
    rest = np.array([row for row in rest if patients[row] not in with_finding], dtype=np.int64)
    edited = np.sort(edited)
    tested, more = rest[: arguments.tested], rest[arguments.tested :]
    usable = np.array([row for row in edited if patients[row] not in with_finding], dtype=np.int64)
    usable = usable[~np.isin(usable, edited[::ASIDE])]
    healthy = np.concatenate([usable, more])[: arguments.negatives]
    unseen = labelled(dataset, arguments, "val")
    if not len(healthy) or not len(tested) or len(ill) <= max(arguments.sizes):
        raise InputError(
            f"{dataset.path} has {len(ill)} films with {arguments.positive} and {len(order)} healthy patients in "
            f"train, view {arguments.view}; more are needed, or smaller --sizes, --edited and --tested."
        )
    return Roles(ill, edited, tested, healthy, unseen)


def labelled(dataset: Dataset, arguments: argparse.Namespace, split: str | None = None) -> Films:
    """Films with the finding, then healthy ones."""
    both = (arguments.positive, arguments.negative)
    return np.concatenate([dataset.indices(split, arguments.view, label) for label in both])


def draw_positives(patients: NDArray[np.str_], size: int, seed: int) -> Films:
    """Which `size` of the positives [N] one network learns from, of whole patients but for the last."""
    order = np.random.default_rng(seed + 1).permutation(np.unique(patients))
    return np.concatenate([np.flatnonzero(patients == patient) for patient in order])[:size]


def films(dataset: Dataset, rows: Films) -> Tensor:
    """[N, 1, SIDE, SIDE] in 0..1, their contrast made alike."""
    return small(torch.from_numpy(dataset.images(rows).astype(np.float32))[:, None])


def make_edits(dataset: Dataset, roles: Roles, arguments: argparse.Namespace) -> None:
    """Edits of the chosen healthy films as datasets: of the films themselves, and as the generator's pictures."""
    work, names, progress = arguments.output, dataset.names, ConsoleProgress()
    outputs = {name: work / f"{name}.h5" for name in ("native", "generated")}
    if all(path.exists() for path in outputs.values()):
        return
    model = load_model(arguments.model)
    direction = read_direction(find_direction(arguments.direction, model.path))
    if direction.carried is None:
        raise InputError(
            "The direction is not calibrated, so films cannot be edited; see `cxredit direction calibrate`."
        )
    how = InvertOptions(arguments.method, "w" if arguments.method == "encoder" else "w+", "crop", STEPS)
    with fast_gradients(model.generator):
        targets = [DatasetRow(dataset, int(row), names[row]) for row in roles.edited]
        invert_to_file(model, targets, how, work / "healthy.h5", progress)
    for row in roles.edited:
        path = work / "films" / names[row]
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_png(path, dataset.images([int(row)])[0] / dataset.white, {"Source": names[row]})
    codes, table = read_codes(work / "healthy.h5"), read_label_table(dataset.path)
    at_hand, _ = find_films(codes.source, list_sources([work / "films"], None))
    for name, path in outputs.items():
        strengths = sorted({CONTROL, *CONFERRED, *([0.0] if name == "generated" else [])})
        native = Native(direction.carried, "crop", work / "native.key", strict=True) if name == "native" else None
        options = EditOptions(direction, strengths, native=native, sheets=False)
        made = apply_to_codes(model, codes, options, work / name, progress, at_hand if native else None)
        change = LabelChange(arguments.positive, True)
        like = options_like(dataset.path, "crop", dataset.resolution)
        write_edited_dataset(made.rows, work / name, table, {}, (), change, like, path, progress)


def pool_of(dataset: Dataset, edits: Dataset, roles: Roles, ill: set[str]) -> Pool:
    """Edits as what networks learn from, and as what shows whether they have learnt traces."""
    marks = [mark for mark in edits.edits if mark is not None]
    strengths = np.array([float(mark.strength) for mark in marks])
    usable = np.array([patient not in ill for patient in edits.patient_ids])
    aside = np.isin([mark.source for mark in marks], [dataset.names[row] for row in roles.edited[::ASIDE]])
    control = np.flatnonzero((strengths == CONTROL) & usable & aside)
    places = {name: row for row, name in enumerate(dataset.names)}
    originals = np.array([places[marks[row].source] for row in control], dtype=np.int64)
    return Pool(
        films(edits, np.flatnonzero((strengths > 0) & usable & ~aside)),
        films(edits, np.flatnonzero((strengths <= 0) & usable & ~aside)),
        films(edits, control),
        films(dataset, originals),
    )


def warped_pool(dataset: Dataset, roles: Roles, ill: set[str], place: Path) -> Pool:
    """The same by the warp of `cxredit edit-heart`; a film without a plausible heart is left out."""
    if not place.exists():
        network, made = load_anatomy(), dict[str, list[NDArray[np.float32]]]()
        for row in roles.edited:
            film = np.asarray(dataset.images([int(row)])[0] / dataset.white, dtype=np.float32)
            try:
                pictures = [edit_heart(network, film, scale).pixels for scale in (*WIDER, NARROWER)]
            except InputError:
                continue
            made.setdefault("rows", []).append(row)
            made.setdefault("pictures", []).append(np.stack(pictures))
        save(place, **{name: np.stack(values) for name, values in made.items()})
    with np.load(place) as stored:
        rows, pictures = stored["rows"], torch.from_numpy(stored["pictures"])
    usable = np.array([dataset.patient_ids[row] not in ill for row in rows])
    aside = np.isin(rows, roles.edited[::ASIDE])
    wider, narrower = pictures[usable & ~aside, :-1].flatten(0, 1)[:, None], pictures[:, -1:]
    return Pool(
        small(wider),
        small(narrower[usable & ~aside]),
        small(narrower[usable & aside]),
        films(dataset, rows[usable & aside]),
    )


def save(place: Path, **arrays: NDArray[Any]) -> None:
    """Write arrays, whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(place) as aside, aside.open("wb") as file:
        np.savez(file, **arrays)


def ratios(dataset: Dataset, rows: Films, place: Path) -> NDArray[np.float64]:
    """The cardiothoracic ratio by the anatomy judge; the median where it finds no plausible chest."""
    if not place.exists():
        stored = torch.from_numpy(dataset.images(rows).astype(np.float32))[:, None] / dataset.white
        found = measure_images(load_anatomy(BUNDLED_JUDGE), stored)
        save(place, ratio=np.where(found.plausible, found.ctr, np.nan))
    with np.load(place) as stored:
        known = stored["ratio"]
    return np.where(np.isnan(known), np.nan_to_num(np.nanmedian(known) if (known == known).any() else 0.0), known)


def draw_shown(dataset: Dataset, roles: Roles, work: Path) -> None:
    """In rows: real positives, healthy films, and these edited, as the generator's pictures, and warped."""
    strongest = f"{max(CONFERRED):+g}"
    kinds = [Dataset(work / f"{name}.h5") for name in ("native", "generated")]
    by_name = [
        {mark.source: row for row, mark in enumerate(some.edits) if mark and mark.strength == strongest}
        for some in kinds
    ]
    with np.load(work / "warped.npz") as stored:
        warped = dict(zip(stored["rows"].tolist(), stored["pictures"][:, len(WIDER) - 1], strict=True))
    names = dataset.names
    everywhere = [row for row in roles.edited.tolist() if row in warped and all(names[row] in some for some in by_name)]
    patients = everywhere[:: max(len(everywhere) // SHOWN, 1)][:SHOWN]
    ill = one_a_patient(dataset, roles.ill, seed=1)[: len(patients)]
    rows = [dataset.images(ill) / dataset.white, dataset.images(np.array(patients, dtype=np.int64)) / dataset.white]
    rows += [
        some.images([of[names[row]] for row in patients]) / some.white for some, of in zip(kinds, by_name, strict=True)
    ]
    rows.append(np.stack([warped[row] for row in patients]))
    pictures = torch.from_numpy(np.concatenate(rows).astype(np.float32))[:, None] * 2 - 1
    text = {"Description": "Films, and edits of films. For research and education, not for diagnosis."}
    write_png(work / "shown.png", image_grid(pictures, len(patients)), text)


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--output", "-o", type=Path, default=Path("augmentation"))
    parser.add_argument("--unseen", type=Path, action="append", default=[], help="a dataset that no network has seen")
    parser.add_argument("--positive", default="Cardiomegaly")
    parser.add_argument("--negative", default="No Finding")
    parser.add_argument("--view", default="PA")
    parser.add_argument("--model", type=Path, help="default: ./model, else the bundled one")
    parser.add_argument("--direction", help="default: the model's cardiomegaly")
    parser.add_argument("--method", choices=("hybrid", "encoder"), default="hybrid", help="how films become codes")
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 10, 30, 100], help="numbers of real positives")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=Training.steps)
    parser.add_argument("--edited", type=int, default=300, help="healthy patients whose film is edited")
    parser.add_argument("--tested", type=int, default=400, help="healthy patients that are asked about")
    parser.add_argument("--negatives", type=int, default=1000, help="healthy films that networks learn from")
    return parser.parse_args()


if __name__ == "__main__":
    main()
