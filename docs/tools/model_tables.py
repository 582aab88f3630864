"""Write the tables of the documents about a model from what examples/measure_model.sh left in a folder.

python docs/tools/model_tables.py measured --tables docs/results/tables --dataset dataset.h5
"""

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from result_tables import ResultTable, write_table

from cxredit_cli import __version__
from cxredit_cli.directions.comparison import cosine_table
from cxredit_cli.evaluation.dose_study import Cohort, find_cohort
from cxredit_cli.storage.anatomy_network import BUNDLED_JUDGE, load_anatomy
from cxredit_cli.storage.codes import read_codes
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.directions import read_direction
from cxredit_cli.storage.models import Model, load_model

MEASURED_BY = "examples/measure_model.sh"
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
TUNED = {  # by the files of measure_model.sh
    "untuned": "the search alone",
    "tuned": "`--tune`",
    "tuned-long": "`--fit-noise --tune --tune-steps 200 --tune-rank 16`",
}
SMALL_RISE = 0.05  # of the CTR, at which directions are compared
SIDES = ("positive", "negative")
MEASURES = {  # of realism: how its name is shown, and with how many digits
    "frechet_distance": ("Fréchet distance", 1),
    "kernel_distance": ("kernel distance", 2),
    "precision": ("precision", 2),
    "recall": ("recall", 2),
    "sliced_wasserstein": ("sliced Wasserstein, mean", 3),
    "ms_ssim": ("MS-SSIM of pairs", 3),
}


def percent(share: float, digits: int | None = None) -> str:
    """A change as a share, with its sign; from ten percent on without decimals."""
    digits = (0 if abs(share) >= 0.1 else 1) if digits is None else digits
    text = f"{share:+.{digits}%}".replace("%", " %")
    return "0.0 %" if text in ("+0.0 %", "-0.0 %") else text


def whole(share: float) -> str:
    """A share of patients."""
    return f"{share:.0%}".replace("%", " %")


class Measured:
    """What lies in the folder of one measurement: its sections, and the model that they are of."""

    def __init__(self, folder: Path, model: Model) -> None:
        self.folder, self.model = folder, model

    def section(self, file: str, name: str) -> Any:
        """One section of an evaluation, or None where it was not made."""
        path = self.folder / f"{file}.json"
        return json.loads(path.read_text())[name] if path.exists() else None

    def table(self, what: str, data: str, columns: list[str], rows: list[list[str]]) -> ResultTable:
        """A table of this measurement."""
        return ResultTable(what, data, self.model.name, __version__, MEASURED_BY, columns, rows)

    def films(self, what: str, split: str, view: str = "") -> str:
        """Films of a split of the data that the model learnt from, in words."""
        source = self.model.data_source.split(",")[0]
        whose = {"val": "unseen patients", "train": "training patients"}.get(split, f"the split {split}")
        side = self.model.generator.resolution
        size = f"{view}, {side}x{side}" if view else f"{side}x{side}"
        return f"{what} of {whose}{f' of {source}' if source else ''} ({size})"


def scans_of(measured: Measured, section: dict[str, Any], counted: int | None = None) -> str:
    """On what films a section was measured."""
    cohort = section["cohort"]
    label = f" {cohort['label']}" if cohort.get("label", "any") != "any" else ""
    which = measured.films(f"{cohort['images']}{label} films", cohort["split"], cohort["view"])
    text = f"{which}, one a patient"
    if counted is not None:
        text += f"; {counted} have plausible outlines at every strength and are counted"
    return f"{text}.{codes_of(section)}"


def codes_of(section: dict[str, Any]) -> str:
    """How the codes of a section were found, as a sentence."""
    how = section["cohort"].get("codes", "").partition(" (")[0]
    return f" Codes: {name_of(how)}." if how else ""


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


def tuned_table(measured: Measured) -> ResultTable | None:
    """How near a generator that gives way comes, and whether edits still follow; None where it was not measured."""
    rows = []
    for file, shown in TUNED.items():
        path, dose = measured.folder / f"{file}.h5", measured.section(f"dose-{file}", "dose")
        if not path.exists() or dose is None:
            return None
        codes = read_codes(path)
        rise = f"{dose['ctr_change']['mean'][-1]:+.3f}"
        rows.append([shown, f"{np.mean(codes.psnr):.1f} dB", f"{np.mean(codes.ssim):.3f}", rise, f"{dose['used']}"])
    end = f"{dose['strengths'][-1]:g}"
    columns = ["way", "PSNR", "SSIM", f"rise of the CTR at {end}", "films that count for it"]
    what = "Pivotal tuning of the generator to each film, and what an edit then does, by a network that only judges."
    return measured.table(what, scans_of(measured, dose), columns, rows)


def reach_table(measured: Measured, separability: list[dict[str, Any]]) -> ResultTable | None:
    """An axis of the codes beside networks that see pictures, on the same films; None where these were not trained."""
    rows, found = [], None
    for section in separability:
        auc = interval(section)
        rows.append([f"an axis of the codes ({name_of(section['method'])}, {section['space'].upper()})", auc])
    for space in ("w", "w+"):
        path = measured.folder / f"cnn-{space}.folds.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text())
        if space == "w":
            rows.append(["a CNN on the films", interval(found)])
            rows.append(["the cardiothoracic ratio of the films", interval(found["ctr_alone"])])
        made = found["reconstructions"]
        rows.append([f"the same CNN on the generator's pictures of the codes of {space.upper()}", interval(made)])
        ratio = f"the cardiothoracic ratio of the generator's pictures of the codes of {space.upper()}"
        rows.append([ratio, interval(made["ctr_alone"])])
    if found is None:
        return None
    counts = [f"{found[f'{side}_images']:,} films of {found[f'{side}_patients']:,} patients" for side in SIDES]
    what = "What can be told from films, from codes and from pictures of codes; held out by patient."
    data = f"{counts[0]} with the label against {counts[1]} without."
    return measured.table(what, data, ["what tells them apart", "ROC AUC"], rows)


def interval(section: dict[str, Any]) -> str:
    """An AUC and its interval."""
    low, high = section["auc_interval"]
    return f"{section['auc']:.3f} ({low:.3f} to {high:.3f})"


def reconstruction_table(measured: Measured, section: dict[str, Any]) -> ResultTable:
    """Each way of inverting."""

    def row(way: dict[str, Any]) -> list[str]:
        spreads = [
            f"{way[name]['mean']:.{digits}f} ± {way[name]['deviation']:.{digits}f}{unit}"
            for name, digits, unit in (("psnr", 1, " dB"), ("ssim", 3, ""), ("ms_ssim", 3, ""))
        ]
        ctr = [
            "" if way[name] is None else f"{way[name]:.{digits}f}"
            for name, digits in (("ctr_correlation", 2), ("ctr_error", 3))
        ]
        return [name_of(way["way"]), *spreads, *ctr, f"{way['seconds_an_image']:.2g}"]

    columns = ["method", "PSNR", "SSIM", "MS-SSIM", "CTR, correlation", "CTR, mean error", "seconds a film"]
    what = "Mean and deviation over films; the CTR by a network that only judges."
    where = f" Seconds on {section['device']}, {section['batch']} at a time."
    return measured.table(what, scans_of(measured, section) + where, columns, [row(way) for way in section["ways"]])


def name_of(way: str) -> str:
    """A way of inverting as the pages name it."""
    if way.startswith("encoder"):
        return "encoder"
    return way.replace(", w", ", W")


def code_error_table(measured: Measured, section: dict[str, Any]) -> ResultTable:
    """How far found codes are from true ones."""
    rows = [
        [
            name_of(way["way"]),
            f"{way['error']['mean']:.2f} ± {way['error']['deviation']:.2f}",
            f"{way['psnr']['mean']:.1f} dB",
        ]
        for way in section["ways"]
    ]
    what = (
        "Random codes, synthesised and inverted: squared distance to the true code over that of the mean code (0 is "
        "exact, 1 the mean code, 2 another random code)."
    )
    columns = ["method", "error of the code", "PSNR of the picture"]
    return measured.table(what, f"{section['images']} synthetic pictures.", columns, rows)


def realism_table(measured: Measured, section: dict[str, Any]) -> ResultTable:
    """Generated films beside two halves of real ones and beside other patients."""
    rows = []
    for figure in section["figures"]:
        base = max((name for name in MEASURES if figure["name"].startswith(name)), key=len)
        shown, digits = MEASURES[base]
        scale = figure["name"].removeprefix(base).strip("_")
        name = (f"sliced Wasserstein, {scale}" if scale else shown) + (
            f", {figure['features']}" if figure["features"] else ""
        )

        def value(
            value: dict[str, float] | None, digits: int = digits, kernel: bool = base == "kernel_distance"
        ) -> str:
            if value is None:
                return ""
            return f"{value['mean']:.{digits}f}" + (f" ± {value['spread']:.{digits}f}" if kernel else "")

        ratio = "" if figure["ratio"] is None else f"{figure['ratio']:.2g}"
        rows.append([name, value(figure["generated"]), value(figure["floor"]), ratio, value(figure["others"])])
    images, half = section["images"], section["half"]
    data = f"{images} films of {section['patients']} patients of the split {section['split']}, in halves of {half}, "
    columns = ["figure", "generated", "two real halves", "ratio", "other patients"]
    what = "What each figure means stands in the explanation of the evaluation."
    return measured.table(what, f"{data}and {images} generated ones.", columns, rows)


def separability_table(measured: Measured, sections: list[dict[str, Any]]) -> ResultTable:
    """Whether labels separate, a column a file of codes."""
    auc = [interval(s) for s in sections]
    null = [f"{s['auc_null_95'][0]:.3f} to {s['auc_null_95'][1]:.3f}; {s['p_value']:.3f}" for s in sections]
    in_sample = [
        f"{s['in_sample']:.2f}; {s['in_sample_null_95'][0]:.2f} to {s['in_sample_null_95'][1]:.2f}" for s in sections
    ]
    alone = [s["ctr_alone"] for s in sections]
    ctr = [interval(a) if a else "" for a in alone]
    rows = [["AUC held out by patient", *auc], ["AUC of permuted labels; p", *null]]
    for metric in sections[0]["by_metric"]:
        shown = [s["by_metric"][metric] for s in sections]
        null = [f"{s['auc_null_95'][0]:.3f} to {s['auc_null_95'][1]:.3f}; {s['p_value']:.3f}" for s in shown]
        rows += [[f"AUC by {metric}", *map(interval, shown)], [f"by {metric}, of permuted labels; p", *null]]
        rows.append([f"by {metric}, shrinkage chosen", *(f"{s['shrinkage']:g}" for s in shown)])
    rows += [
        ["separation in sample; of permuted labels", *in_sample],
        ["AUC of the CTR alone", *ctr],
    ]
    data = " ".join(
        f"{s['space'].upper()}: {s['positives']} {s['positive']} films of {s['positive_patients']} patients against "
        f"{s['negatives']} {s['negative']} of {s['negative_patients']}; {s['method']}, {s['steps']} steps."
        for s in sections
    )
    return measured.table("Held out by patient.", data, ["figure", *(s["space"].upper() for s in sections)], rows)


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


def scans_of_dose(measured: Measured, dataset: Dataset, n: int) -> set[str]:
    """The names of the films that `evaluate --dose -n N` drew."""
    cohort = Cohort(codes=read_codes(measured.folder / "scans.h5"), n=n)
    scans, _ = find_cohort(measured.model, load_anatomy(BUNDLED_JUDGE), dataset, cohort)
    return {dataset.names[row] for row in scans.rows}


def all_tables(measured: Measured, dataset: Dataset | None) -> Iterator[tuple[str, ResultTable]]:
    """All tables whose figures are there, by name."""
    for file, name, make in (
        ("reconstruction", "reconstruction", reconstruction_table),
        ("code-error", "code_error", code_error_table),
        ("realism", "realism", realism_table),
        ("separability", "separability", separability_table),
    ):
        section = measured.section(file, name)
        if section:
            yield file, make(measured, section)
    dose = measured.section("dose", "dose")
    if dose:
        yield "dose", dose_table(measured, dose)
        yield "dose-rise", rise_table(measured, dose)
    if (measured.folder / "target.csv").exists():
        some = scans_of_dose(measured, dataset, dose["cohort"]["images"]) if dose and dataset is not None else None
        yield "target", target_table(measured, some, codes_of(dose) if dose else "")
    yield from direction_tables(measured)
    tuned, reach = tuned_table(measured), reach_table(measured, measured.section("separability", "separability") or [])
    if tuned is not None:
        yield "tuned", tuned
    if reach is not None:
        yield "reach", reach
    kinds = {
        path.stem.removeprefix("native-"): json.loads(path.read_text())
        for path in measured.folder.glob("native-*.json")
    }
    if kinds:
        yield from film_tables(measured, {kind: found["native"] for kind, found in sorted(kinds.items())})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", type=Path, required=True, help="where the tables go")
    parser.add_argument("--dataset", type=Path, help="for the targets of the films of the dose alone")
    parser.add_argument("--model", type=Path, help="default: ./model, else the bundled one")
    options = parser.parse_args()
    of = Measured(options.folder, load_model(options.model))
    for name, made in all_tables(of, None if options.dataset is None else Dataset(options.dataset)):
        write_table(name, made, options.tables)
        print(f"{name}\n\n{made.markdown()}\n")
