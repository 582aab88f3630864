"""Tables of what edits do: along the bundled direction and others, to a given ratio, and to films themselves."""

import csv
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from measurements import Measured, percent, scans_of, whole
from result_tables import ResultTable

from cxredit_cli.directions.comparison import cosine_table
from cxredit_cli.storage.directions import read_direction

DIRECTIONS = {  # by the files of measure_model.sh
    "dose": "bundled",
    "dose-w": "bundled, on codes of W",
    "dose-pair-encoder": "one pair, encoder",
    "dose-pair-hybrid": "one pair, optimised",
    "dose-pairs": "pairs, optimised",
    "dose-means": "labels, means",
    "dose-logistic-held": "labels, logistic, held",
    "dose-ctr": "CTR by regression, nothing held",
}
SHARES = {
    "heart_area": "heart area",
    "thorax_width": "thorax width",
    "right_lung_height": "right lung height",
    "left_lung_height": "left lung height",
    "lung_area_outside_heart": "lungs beside the heart",
    "grey_median": "median grey",
}
PIXELS = {"inside_heart": "pixels in the heart", "outside_heart": "pixels elsewhere"}
FOUND = tuple(file.removeprefix("dose-") for file in DIRECTIONS if file not in ("dose", "dose-w"))  # their own files
SMALL_RISE = 0.05  # of the CTR, at which directions are compared


def dose_table(measured: Measured, dose: dict[str, Any]) -> ResultTable:
    """What each strength of the bundled direction does to the films."""
    rows = []
    for i, strength in enumerate(dose["strengths"]):
        ctr = f"{dose['ctr']['mean'][i]:.3f} ± {dose['ctr']['deviation'][i]:.3f}"
        changes = [percent(dose["changes"][name]["mean"][i]) if strength else "" for name in SHARES]
        pixels = [f"{dose['pixels'][part][i]:.3f}" if strength else "" for part in PIXELS]
        odds = [f"{dose['classifier']['log_odds']['mean'][i]:+.2f}"] if dose["classifier"] else [""]
        rows.append([f"{strength:g}", ctr, *changes, *pixels, whole(dose["identity"]["originals"][i]), *odds])
    columns = ["strength", "CTR", *SHARES.values(), *PIXELS.values(), "own patient nearest", "log-odds"]
    what = "Changes against each patient's own reconstruction, by two networks that only judge."
    return measured.table(what, scans_of(measured, dose, dose["used"]), columns, rows)


def rise_table(measured: Measured, dose: dict[str, Any]) -> ResultTable:
    """What is read off beside the curve: the rise by 0.10, shares of patients, random directions."""
    rise, end, rows = dose["at_rise"], f"{dose['strengths'][-1]:g}", []
    if rise:
        rows.append([f"strength at which the mean CTR has risen by {rise['rise']:.2f}", f"{rise['strength']:.1f}"])
        rows += [[f"{shown} there", percent(rise["changes"][name], 1)] for name, shown in SHARES.items()]
    rows.append([f"rise of the mean CTR at {end}", f"{dose['ctr_change']['mean'][-1]:.3f}"])
    start = f"{dose['strengths'][0]:g}"
    rows.append([f"change of the mean CTR from {start} to {end}", f"{dose['end_to_end']:.3f}"])
    rows.append([f"CTR rises at every step, from {start} to {end}", whole(dose["rising_at_every_step"])])
    rows.append([f"CTR rises from {start} to {end} as a whole in", whole(dose["rising_overall"])])
    judged = dose["classifier"]
    if judged:
        rows.append([f"log-odds, rise from 0 to {end}", f"{judged['rise']:.1f}"])
        rows.append(["log-odds rise in", whole(judged["rising"])])
    if dose["null"]:
        shares = [share for null in dose["null"] for share in null["monotone"]]
        rows.append(["random directions monotone in at most", whole(max(shares))])
    for null in dose["null"]:
        rows.append([f"largest of {null['directions']} random directions, {null['kind']}", f"{null['largest']:.3f}"])
        if judged:
            name = f"log-odds, largest of random directions, {null['kind']}"
            rows.append([name, f"{null['classifier']['largest']:.2f}"])
    what = "Read off the same edits: changes where the mean CTR has risen, shares of patients, and random directions."
    return measured.table(what, scans_of(measured, dose, dose["used"]), ["figure", "value"], rows)


def compared_row(name: str, dose: dict[str, Any]) -> list[str]:
    """What one direction does where the mean CTR has risen by SMALL_RISE, or at the end where it never does."""
    strengths, rise = np.array(dose["strengths"]), np.array(dose["ctr_change"]["mean"])
    kept = strengths >= 0
    reached = bool(rise[kept].max() >= SMALL_RISE)
    at = float(np.interp(SMALL_RISE, rise[kept], strengths[kept])) if reached else strengths[-1]

    def there(values: list[float]) -> float:
        return float(np.interp(at, strengths, values))

    odds = dose["classifier"]
    return [
        name,
        f"{at:.1f}" if reached else "never",
        *(percent(there(dose["changes"][share]["mean"])) for share in SHARES),
        *(f"{there(dose['pixels'][part]):.3f}" for part in PIXELS),
        f"{there(odds['log_odds_change']['mean']):+.1f}" if odds else "",
        f"{rise[-1]:+.3f}",
        f"{dose['used']}",
    ]


def end_row(name: str, dose: dict[str, Any]) -> list[str]:
    """What one direction has done at the largest strength."""
    zero = dose["strengths"].index(0)
    changes = ("heart_area", "thorax_width", "right_lung_height", "left_lung_height")
    return [
        name,
        f"{dose['ctr']['mean'][zero]:.3f} to {dose['ctr']['mean'][-1]:.3f}",
        *(percent(dose["changes"][share]["mean"][-1]) for share in changes),
        whole(dose["identity"]["originals"][-1]),
        f"in {whole(dose['rising_at_every_step'])}",
    ]


def direction_tables(measured: Measured) -> Iterator[tuple[str, ResultTable]]:
    """All directions beside each other: at an equal rise, at the end, and their cosines."""
    doses = {name: measured.section(file, "dose") for file, name in DIRECTIONS.items()}
    found = {name: dose for name, dose in doses.items() if dose}
    if not found:
        return
    first = next(iter(found.values()))
    end = f"{first['strengths'][-1]:g}"
    columns = ["direction", "strength", *SHARES.values(), *PIXELS.values(), "log-odds", f"CTR at {end}", "films"]
    what = "What each direction does where it has raised the mean CTR by 0.05, by networks that only judge."
    rows = [compared_row(name, dose) for name, dose in found.items()]
    yield "directions", measured.table(what, scans_of(measured, first), columns, rows)
    rows = [end_row(name, dose) for name, dose in found.items()]
    null = [null["largest"] for null in first["null"]]
    if null:
        shares = [share for each in first["null"] for share in each["monotone"]]
        span = f"largest of ten random ones, from {first['strengths'][0]:g} to {end}"
        rows.append([span, f"by {max(null):.3f}", "", "", "", "", "", f"in {whole(max(shares))}"])
    columns = ["direction", "CTR", *list(SHARES.values())[:4], "own patient nearest", "CTR rises at every step"]
    what = f"At a strength of {end}; the CTR by a network that only judges."
    yield f"directions-at-{end}", measured.table(what, scans_of(measured, first), columns, rows)
    paths = [measured.folder / f"{name}.h5" for name in FOUND]
    if all(path.exists() for path in paths):
        paths.insert(0, measured.model.path / "directions/cardiomegaly.h5")
        named = ["bundled", *(DIRECTIONS[f"dose-{name}"] for name in FOUND)]
        cosines = cosine_table([(path, read_direction(path)) for path in paths]).tolist()
        rows = [[name, *(f"{c:.2f}" for c in row)] for name, row in zip(named, cosines, strict=True)]
        what = "Cosines of the directions; two random ones have 0.04."
        data = "The directions that are compared above."
        yield "directions-cosines", measured.table(what, data, ["direction", *named], rows)


def target_table(measured: Measured, scans: set[str] | None, codes: str = "") -> ResultTable:
    """How far the edits of `target` are from the ratio that was wanted, of all films or of `scans`."""
    with open(measured.folder / "target.csv", newline="") as file:
        judged = {row["name"]: row for row in csv.DictReader(file)}
    steered, missed, before = (defaultdict[float, list[float]](list) for _ in range(3))
    sources = set()
    with open(measured.folder / "target/manifest.csv", newline="") as file:
        for row in csv.DictReader(file):
            if scans is not None and row["source"] not in scans:
                continue
            sources.add(row["source"])
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
    columns = ["target", "unedited", "by the network that steers", "by the judge", "by the judge, median", "plausible"]
    what = "Mean distance of the CTR from the target; the judge's is over edits whose outlines it calls plausible."
    return measured.table(what, f"{measured.films(f'{len(sources)} No Finding films', 'val')}.{codes}", columns, rows)


NATIVE_FIGURES = {  # by their names in `evaluate --native`: a column, and how its figure is shown
    "carried": ("change of the ratio carried", "{:.2f}"),
    "right_sign": ("right sign", "{:.0%}"),
    "median_gap": ("median gap", "{:.3f}"),
    "within_.03": ("within .03", "{:.0%}"),
    "ghost": ("ghost", "{:.2f}"),
    "ghost_fine": ("ghost at most 1.3", "{:.0%}"),
    "ghost_here_fine": ("ghost at most 1.3 of the untouched film's", "{:.0%}"),
    "edge": ("new edge", "{:.2f}"),
    "detail": ("detail in place", "{:.2f}"),
    "thorax_90": ("thorax within", "{:.1%}"),
}
OTHER_WAYS = {"additive": "change added to the film", "enlarged": "generator's picture, enlarged"}


def native_rows(kinds: dict[str, dict[str, Any]], method: str) -> Iterator[list[str]]:
    """Films, strength, how many were refused, and NATIVE_FIGURES."""
    for kind, section in kinds.items():
        for row in section["summary"]:
            if row["method"] == method:
                figures = ((row[name], shown) for name, (_, shown) in NATIVE_FIGURES.items())
                cells = ["" if value is None else shown.format(value).replace("%", " %") for value, shown in figures]
                yield [kind, f"{row['strength']:g}", f"{row['refused']} of {row['films']}", *cells]


def film_tables(measured: Measured, kinds: dict[str, dict[str, Any]]) -> Iterator[tuple[str, ResultTable]]:
    """Edits of films of several kinds, judged at the films' own resolution, and two other ways to edit them."""
    figures = [column for column, _ in NATIVE_FIGURES.values()]
    what = "What each column means stands below the table. The ratio by a network that did not steer the edits."
    data = ", ".join(f"{section['films']} films of {kind}" for kind, section in kinds.items()) + "."
    columns = ["films", "strength", "refused", *figures]
    yield "films", measured.table(what, data, columns, list(native_rows(kinds, "native")))
    others = [
        [name, kind, strength, *cells]
        for method, name in OTHER_WAYS.items()
        for kind, strength, _, *cells in native_rows(kinds, method)
    ]
    what = "The same films edited in two other ways, with the columns of the table of edited films."
    yield "films-others", measured.table(what, data, ["way", "films", "strength", *figures], others)
