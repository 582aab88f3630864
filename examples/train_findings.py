"""Train a classifier of many findings at once, as a program that `cxredit` takes of anybody.

    python examples/train_findings.py dataset.h5 -o findings.pt2 --label Effusion --label Mass+Nodule --label Age

learns on the split `train` of a dataset of `cxredit prepare`, of all views, and states each label's ROC AUC on the
patients of `val`, view by view, on whom nothing was chosen. A label is one of the dataset's, several of them
(Mass+Nodule: either), or one of

    Age   60 years and more against 40 and less; those between count for neither
    Sex   female against male
    View  AP against PA

which are read from the dataset's columns. findings.pt2 is the program, findings.json beside it says what it takes and
gives (docs/how-to/explain.md), findings.report.json how it was trained and how good it is. `--architecture plain` makes
a network without shortcuts: one that finds directions and one that judges them should not be alike.

Stop it and start it again with the same words: it carries on.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from cxredit_cli.commands.console import ConsoleProgress
from cxredit_cli.errors import InputError
from cxredit_cli.metrics.classification import score_classes
from cxredit_cli.metrics.rank_statistics import auc_interval, roc_auc
from cxredit_cli.networks.any_classifier import ClassifierScore
from cxredit_cli.networks.encoder import Branch, EncoderConfig, group_norm
from cxredit_cli.networks.preparation import normalise, resize
from cxredit_cli.storage.any_classifier import load_score, write_program
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.dataset_labels import read_label_table
from cxredit_cli.storage.label_styles import LabelRow
from cxredit_cli.training.augmentation import augment
from cxredit_cli.training.draws import Draws
from cxredit_cli.training.parts import whole_batch
from cxredit_cli.training.supervised import train

Known = NDArray[np.float32]  # [N, K]: 1 where a film has the label, 0 where not, nan where it counts for neither

COLUMNS = {"Age": ("patient age", "age"), "Sex": ("patient gender", "patient sex", "sex", "gender")}
OLD, YOUNG = 60, 40  # years
PLAIN = (24, 48, 96, 160, 192)  # channels; each stage halves the side
MOVED = 0.5  # share of the pictures that are shifted, that are turned, that are scaled, whose contrast changes
DROPPED = 0.3  # of the features of the last stage, in training
BLURRED, NOISY, NOISE = 0.5, 0.5, 0.04  # shares of the pictures; of the grey range
FEWEST = 5  # films of either class that an AUC is worth


@dataclass(frozen=True)
class Training:
    """How a network is trained; nothing of it was chosen on the patients that are held out."""

    steps: int = 3000
    batch: int = 32  # half of it drawn from all films, half from those of one label after another
    lr: float = 2e-3  # peak, of AdamW
    warmup: int = 100
    weight_decay: float = 0.05
    ema: float = 0.995
    seed: int = 0
    architecture: str = "residual"
    width: int = 16  # of the residual network
    labels: str = ""  # with commas


class Findings(nn.Module):
    """Grey of 0..1, [N, 1, R, R], to log-odds [N, K]; contrast is made alike first, unless that is done."""

    def __init__(self, architecture: str, resolution: int, width: int, count: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.body, channels = plain() if architecture == "plain" else residual(resolution, width)
        side = self.body(torch.zeros(1, 1, resolution, resolution)).shape[-1]
        self.head = nn.Linear(channels * side**2, count)  # where something is counts as well as what it is
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, grey: Tensor) -> Tensor:
        """[N, 1, R, R] -> [N, K], natural logarithm."""
        return self.of_normalised(normalise(resize(grey, self.resolution)))

    def of_normalised(self, x: Tensor) -> Tensor:
        """The same of pictures whose contrast is made alike."""
        log_odds: Tensor = self.head(F.dropout(self.body(x * 2 - 1).flatten(1), DROPPED, self.training))
        return log_odds


def residual(resolution: int, width: int) -> tuple[nn.Module, int]:
    """One branch of the encoder's ResNet-18, and its last channels."""
    branch = Branch(EncoderConfig(resolution, w_dim=1, depth=18, width=width))
    return nn.Sequential(branch.stem, *branch.stages), branch.channels[-1]


def plain() -> tuple[nn.Module, int]:
    """Convolutions one after the other without shortcuts (Simonyan and Zisserman 2015), and the last channels."""
    layers: list[nn.Module] = []
    before = 1
    for channels in PLAIN:
        kernel = 5 if before == 1 else 3
        layers += [nn.Conv2d(before, channels, kernel, 2, kernel // 2, bias=False), group_norm(channels), nn.ReLU()]
        if before > 1:
            layers += [nn.Conv2d(channels, channels, 3, 1, 1, bias=False), group_norm(channels), nn.ReLU()]
        before = channels
    return nn.Sequential(*layers), before


def main() -> None:
    """Train, export, report."""
    arguments = parse()
    dataset = Dataset(arguments.dataset)
    if dataset.edits_told:
        print(dataset.edits_told)
    labels = tuple(arguments.label)
    known = read_known(dataset, labels)
    training = np.array([split == "train" for split in dataset.splits])
    options = Training(
        **{name: getattr(arguments, name) for name in ("steps", "batch", "seed", "architecture", "width")},
        labels=",".join(labels),
    )
    torch.manual_seed(options.seed)
    network = Findings(options.architecture, arguments.resolution, options.width, len(labels))
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = dataset.images(np.flatnonzero(training))
    average = train(
        network,
        options,
        Loss(images, dataset.white, known[training], options, arguments.precision == "bf16"),
        "Training the classifier",
        arguments.output.with_suffix(".checkpoint"),
        progress=ConsoleProgress(),
    )
    write_program(arguments.output, average, dataset.resolution, labels)
    score = load_score(str(arguments.output), labels[0])  # as it is stored
    report: dict[str, Any] = {
        "training": asdict(options),
        "films": int(training.sum()),
        "patients": len({patient for patient, ours in zip(dataset.patient_ids, training, strict=True) if ours}),
        "labels": held_out(score, dataset, known, training),
    }
    arguments.output.with_suffix(".report.json").write_text(json.dumps(report, indent=1) + "\n")


def read_known(dataset: Dataset, labels: Sequence[str]) -> Known:
    """What is known of each film of each label. Raises InputError for a label that no film has."""
    table = read_label_table(dataset.path)
    headers = [header.lower() for header in table.columns]
    columns = []
    for label in labels:
        names = label.split("+")
        if label in COLUMNS:
            header = next((header for header in COLUMNS[label] if header in headers), None)
            if header is None:
                raise InputError(f"{dataset.path} has no column for {label} ({', '.join(COLUMNS[label])}).")
            place = headers.index(header)
            columns.append([attribute(label, row.values[place]) for row in table.rows])
        elif label == "View":
            columns.append([float(row.view == "AP") if row.view else np.nan for row in table.rows])
        else:
            for name in names:
                if name not in table.label_names:
                    raise InputError(f"No film has the label '{name}'; there are {', '.join(table.label_names)}.")
            columns.append([has(row, names) for row in table.rows])
    return np.array(columns, dtype=np.float32).T


def attribute(label: str, cell: str) -> float:
    """A cell of the column of Age or Sex as 1, 0 or nan."""
    if label == "Sex":
        return {"F": 1.0, "M": 0.0}.get(cell.strip().upper()[:1], np.nan)
    try:
        years = float(cell.strip().rstrip("Y"))
    except ValueError:
        return np.nan
    return 1.0 if years >= OLD else 0.0 if years <= YOUNG else np.nan


def has(row: LabelRow, names: Sequence[str]) -> float:
    """1 where a film has one of the labels, nan where it may have."""
    if any(name in row.labels for name in names):
        return 1.0
    return np.nan if any(name in row.uncertain for name in names) else 0.0


class Loss:
    """The binary cross-entropy of a step's films, of what is known of them."""

    def __init__(self, images: NDArray[Any], white: int, known: Known, options: Training, bf16: bool) -> None:
        self.images, self.white, self.known, self.options, self.bf16 = images, white, known, options, bf16
        self.members = [np.flatnonzero(column == 1) for column in known.T]

    def __call__(self, network: Findings, step: int) -> Tensor:
        """The loss of one step, which its number decides."""
        random, half = np.random.default_rng([self.options.seed, step]), self.options.batch // 2
        rows = [int(row) for row in random.integers(0, len(self.known), self.options.batch - half)]
        # Half of a batch has the labels in turn: the rarest is one film in a hundred.
        rows += [int(random.choice(self.members[(step * half + place) % len(self.members)])) for place in range(half)]
        pictures = torch.from_numpy(self.images[rows].astype(np.float32))[:, None] / self.white
        x = disturb(resize(pictures, network.resolution), self.options.seed, step)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            log_odds = network.of_normalised(x.contiguous(memory_format=torch.channels_last))
        wanted = torch.from_numpy(self.known[rows])
        counts = wanted.isfinite()
        return F.binary_cross_entropy_with_logits(log_odds.float()[counts], wanted[counts])


def disturb(images: Tensor, seed: int, step: int) -> Tensor:
    """Images [N, 1, R, R] in 0..1 shifted, turned, scaled, in other contrasts, some blurred or noisy; normalised."""
    draws = Draws(seed, step, "disturb", whole_batch(len(images)), images.device)
    x = normalise(augment(images * 2 - 1, torch.tensor(MOVED), draws))
    soft = F.interpolate(F.avg_pool2d(x, 2), size=x.shape[-2:], mode="bilinear", align_corners=False)
    blurred, noisy = (draws.uniform()[:, None, None, None] < share for share in (BLURRED, NOISY))
    x = torch.where(blurred, soft, x)
    random = torch.Generator().manual_seed((seed + 2) * 7_368_787 + step)
    return torch.where(noisy, x + NOISE * torch.randn(x.shape, generator=random), x)


def held_out(
    score: ClassifierScore, dataset: Dataset, known: Known, training: NDArray[np.bool_]
) -> dict[str, dict[str, Any]]:
    """Print and return each label's AUC on the films that were not learnt from, by view; None of too few films."""
    rows = np.flatnonzero(~training)
    views = np.array(dataset.views)[rows]
    patients = np.unique(np.array(dataset.patient_ids)[rows], return_inverse=True)[1].astype(np.int64)
    pictures = torch.from_numpy(dataset.images(rows).astype(np.float32))[:, None] / dataset.white * 2 - 1
    log_odds = score_classes(score, pictures)
    found: dict[str, dict[str, Any]] = {}
    for index, label in enumerate(score.classes):
        found[label] = {"train_positive": int((known[training, index] == 1).sum())}
        for view in ("all", *sorted(set(views))):
            ours = np.isfinite(known[rows, index]) & ((views == view) | (view == "all"))
            positive = known[rows[ours], index] == 1
            counts = [int(positive.sum()), int((~positive).sum())]
            figures: dict[str, Any] = {"positive": counts[0], "negative": counts[1], "auc": None, "interval": None}
            if min(counts) >= FEWEST:
                scores = log_odds[ours, index]
                whose = np.unique(patients[ours], return_inverse=True)[1].astype(np.int64)
                figures["auc"] = round(float(roc_auc(scores, positive)), 4)
                figures["interval"] = [round(end, 4) for end in auc_interval(scores, positive, whose)]
            found[label][view] = figures
        texts = [
            f"{view} {each['auc']:.3f} ({each['positive']} of {each['positive'] + each['negative']} films)"
            for view, each in found[label].items()
            if isinstance(each, dict) and each["auc"] is not None
        ]
        print(f"{label}: AUC {', '.join(texts) or 'not to be told'}", flush=True)
    return found


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--output", "-o", type=Path, default=Path("findings.pt2"))
    parser.add_argument("--label", action="append", required=True, help="repeatable")
    parser.add_argument("--architecture", choices=("residual", "plain"), default="residual")
    parser.add_argument("--resolution", type=int, default=64, help="a power of two")
    parser.add_argument("--width", type=int, default=Training.width, help="of the residual network")
    parser.add_argument("--steps", type=int, default=Training.steps)
    parser.add_argument("--batch", type=int, default=Training.batch)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    return parser.parse_args()


if __name__ == "__main__":
    main()
