"""Print what measure_model.sh left in a folder as the Markdown tables of the documents about the bundled model."""

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from performance_tables import table

from cxredit_cli.directions.comparison import cosine_table
from cxredit_cli.evaluation.dose_study import Cohort, find_cohort
from cxredit_cli.storage.anatomy_network import BUNDLED_JUDGE, load_anatomy
from cxredit_cli.storage.codes import read_codes
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.directions import read_direction
from cxredit_cli.storage.models import Model, load_model

DIRECTIONS = {
    "dose": "bundled",
    "dose-pair-encoder": "one pair, encoder",
    "dose-pair-hybrid": "one pair, optimised",
    "dose-pairs": "pairs, optimised",
    "dose-means": "labels, means",
    "dose-logistic": "labels, logistic",
    "dose-logistic-held": "labels, logistic, held",
    "dose-ctr": "CTR by regression, nothing held",
    "dose-regression": "heart width by regression",
}
SHARES = (
    "heart_area",
    "thorax_width",
    "right_lung_height",
    "left_lung_height",
    "lung_area_outside_heart",
    "grey_median",
)
SHARES_HEADER = ("heart area", "thorax width", "right lung height", "left lung height", "lungs beside", "grey")
SMALL_RISE = 0.05  # of the CTR, at which directions are compared


def section(folder: Path, file: str, name: str) -> Any:
    """One section of an evaluation, or None where it was not made."""
    path = folder / f"{file}.json"
    return json.loads(path.read_text())[name] if path.exists() else None


def percent(share: float) -> str:
    """A change as a share, with its sign."""
    text = f"{share:+.1%}".replace("%", " %")
    return text.replace("+0.0", "0.0").replace("-0.0", "0.0")


def dose_table(dose: dict[str, Any]) -> str:
    """What each strength does to the scans."""
    rows = []
    for i, strength in enumerate(dose["strengths"]):
        ctr = f"{dose['ctr']['mean'][i]:.3f} ± {dose['ctr']['deviation'][i]:.3f}"
        changes = [percent(dose["changes"][name]["mean"][i]) if strength else "" for name in SHARES]
        pixels = [f"{dose['pixels'][part][i]:.3f}" if strength else "" for part in ("inside_heart", "outside_heart")]
        nearest = f"{dose['identity']['originals'][i]:.0%}".replace("%", " %")
        odds = f"{dose['classifier']['log_odds']['mean'][i]:+.2f}"
        rows.append([f"{strength:g}", ctr, *changes, *pixels, nearest, odds])
    return table(rows, ("strength", "CTR", *SHARES_HEADER, "pixels, heart", "pixels, rest", "rank 1", "log-odds"))


def dose_words(dose: dict[str, Any]) -> str:
    """What stands beside the table: checks, shares of patients, the null."""
    lines = [f"{dose['used']} of {dose['scans']} plausible throughout, at each strength {dose['plausible']}"]
    lines += [f"{check['what']}: asked {check['asked']}, found {check['found']}" for check in dose["checks"]]
    rise = dose["at_rise"]
    if rise:
        changes = ", ".join(f"{name} {percent(rise['changes'][name])}" for name in SHARES)
        lines.append(f"at a rise of {rise['rise']:g}, strength {rise['strength']:.1f}: {changes}")
    lines.append(f"end to end {dose['end_to_end']:.3f}; CTR rises at every step in {dose['rising_at_every_step']:.0%}")
    lines.append(f"log-odds {dose['classifier']['rise']:+.2f}, rising in {dose['classifier']['rising']:.0%}")
    lines += [
        f"random, {null['kind']}: {null['largest']:.3f} at most, monotone in {max(null['monotone']):.0%} at most, "
        f"log-odds {null['classifier']['largest']:.2f} at most"
        for null in dose["null"]
    ]
    return "\n".join(lines)


def comparison_row(name: str, dose: dict[str, Any]) -> list[str]:
    """What one direction does where the mean CTR has risen by SMALL_RISE, or at the end where it never does."""
    strengths, rise = np.array(dose["strengths"]), np.array(dose["ctr_change"]["mean"])
    kept = strengths >= 0
    reached = bool(rise[kept].max() >= SMALL_RISE)
    at = float(np.interp(SMALL_RISE, rise[kept], strengths[kept])) if reached else strengths[-1]

    def there(values: list[float]) -> float:
        return float(np.interp(at, strengths, values))

    return [
        name,
        f"{at:.1f}" if reached else "never",
        *(percent(there(dose["changes"][share]["mean"])) for share in SHARES),
        *(f"{there(dose['pixels'][part]):.3f}" for part in ("inside_heart", "outside_heart")),
        f"{there(dose['classifier']['log_odds_change']['mean']):+.1f}",
        f"{rise[-1]:+.3f}",
        f"{dose['identity']['originals'][-1]:.0%}",
        f"{dose['rising_at_every_step']:.0%}",
        f"{dose['used']}",
    ]


def target_table(folder: Path, scans: set[str] | None) -> str:
    """How far the edits of `target` are from the ratio that was asked for, of all scans or of `scans`."""
    with open(folder / "target.csv", newline="") as file:
        judged = {row["name"]: row for row in csv.DictReader(file)}
    steered, missed, before = (defaultdict[float, list[float]](list) for _ in range(3))
    with open(folder / "target/manifest.csv", newline="") as file:
        for row in csv.DictReader(file):
            if scans is not None and row["source"] not in scans:
                continue
            by_judge = judged[row["file"]]
            for target in map(float, row["target_ctr"].split("|")):
                steered[target].append(abs(float(row["ctr"]) - target))
                before[target].append(abs(float(row["reconstruction_ctr"]) - target))
                if by_judge["ctr"] and by_judge["plausible"] == "yes":
                    missed[target].append(abs(float(by_judge["ctr"]) - target))
    rows = [
        [
            f"{target:.2f}",
            *(f"{np.mean(errors[target]):.3f}" for errors in (before, steered, missed)),
            f"{np.median(missed[target]):.3f}",
            f"{len(missed[target])} of {len(steered[target])}",
        ]
        for target in sorted(steered)
    ]
    return table(rows, ("target", "unedited", "by the steering network", "by the judge", "median", "plausible"))


def separability_table(sections: list[dict[str, Any]]) -> str:
    """Whether labels separate, one row a file of codes."""
    rows = [
        [
            f"{s['codes']}: {s['positives']} of {s['positive_patients']} against {s['negatives']} of "
            f"{s['negative_patients']}",
            f"{s['auc']:.3f} ({s['auc_interval'][0]:.3f} to {s['auc_interval'][1]:.3f})",
            f"{s['auc_null_95'][0]:.3f} to {s['auc_null_95'][1]:.3f}; {s['p_value']:.3f}",
            f"{s['in_sample']:.2f}; {s['in_sample_null_95'][0]:.2f} to {s['in_sample_null_95'][1]:.2f}",
            f"{s['ctr_alone']['auc']:.3f}",
        ]
        for s in sections
    ]
    return table(rows, ("codes", "AUC", "permuted labels; p", "in sample; permuted", "CTR alone"))


def cosines(folder: Path, model: Model) -> str:
    """The cosines of all directions."""
    paths = {"bundled": model.path / "directions/cardiomegaly.h5"}
    paths |= {name: folder / f"{file.removeprefix('dose-')}.h5" for file, name in DIRECTIONS.items() if file != "dose"}
    found = [(path, read_direction(path)) for path in paths.values()]
    rows = [[name, *(f"{c:.2f}" for c in row)] for name, row in zip(paths, cosine_table(found).tolist(), strict=True)]
    return table(rows, ("", *paths))


def scans_of_dose(folder: Path, model: Model, dataset: Dataset, n: int) -> set[str]:
    """The names of the scans that `evaluate --dose -n N` drew."""
    cohort = Cohort(codes=read_codes(folder / "scans.h5"), n=n)
    scans, _ = find_cohort(model, load_anatomy(BUNDLED_JUDGE), dataset, cohort)
    return {dataset.names[row] for row in scans.rows}


def main(folder: Path, model: Model, dataset: Dataset | None) -> None:
    """All tables whose figures are there; with the dataset, that of the targets for the scans of the dose too."""
    for file in ("reconstruction", "code-error", "realism"):
        if (folder / f"{file}.txt").exists():
            print((folder / f"{file}.txt").read_text())
    dose = section(folder, "dose", "dose")
    if dose:
        print(dose_table(dose), dose_words(dose), sep="\n\n", end="\n\n")
    if (folder / "target.csv").exists():
        print(target_table(folder, None), end="\n\n")
        if dose and dataset is not None:
            print(target_table(folder, scans_of_dose(folder, model, dataset, dose["scans"])), end="\n\n")
    doses = {name: section(folder, file, "dose") for file, name in DIRECTIONS.items()}
    rows = [comparison_row(name, found) for name, found in doses.items() if found]
    if rows:
        ends = ("pixels, heart", "pixels, rest", "log-odds", "CTR at the end", "rank 1", "every step", "used")
        print(table(rows, ("", "strength", *SHARES_HEADER, *ends)), end="\n\n")
    if len(rows) == len(DIRECTIONS):
        print(cosines(folder, model), end="\n\n")
    for file in ("separability", "views"):
        sections = section(folder, file, "separability")
        if sections:
            print(separability_table(sections), end="\n\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dataset", type=Path, help="for the targets of the scans of the dose alone")
    parser.add_argument("--model", type=Path, help="default: ./model, else the bundled one")
    options = parser.parse_args()
    main(options.folder, load_model(options.model), None if options.dataset is None else Dataset(options.dataset))
