"""Write the tables of the documents about a model from what examples/measure_model.sh left in a folder.

python docs/tools/model_tables.py measured --tables docs/results/tables --dataset dataset.h5
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from edit_tables import direction_tables, dose_table, film_tables, rise_table, target_table
from measurements import Measured, codes_of, interval, name_of, scans_of
from result_tables import ResultTable, write_table

from cxredit_cli.evaluation.dose_study import Cohort, find_cohort
from cxredit_cli.storage.anatomy_network import BUNDLED_JUDGE, load_anatomy
from cxredit_cli.storage.codes import read_codes
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.models import load_model

TUNED = {  # by the files of measure_model.sh
    "untuned": "the search alone",
    "tuned": "`--tune`",
    "tuned-long": "`--fit-noise --tune --tune-steps 200 --tune-rank 16`",
}
SIDES = ("positive", "negative")
MEASURES = {  # of realism: how its name is shown, and with how many digits
    "frechet_distance": ("Fréchet distance", 1),
    "kernel_distance": ("kernel distance", 2),
    "precision": ("precision", 2),
    "recall": ("recall", 2),
    "sliced_wasserstein": ("sliced Wasserstein, mean", 3),
    "ms_ssim": ("MS-SSIM of pairs", 3),
}


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
    data = f"{counts[0]} with the label against {counts[1]} without. {learnt_from(measured)}"
    return measured.table(what, data, ["what tells them apart", "ROC AUC"], rows)


def learnt_from(measured: Measured) -> str:
    """That films labelled for a test are of the generator's own data, as a sentence; empty where that is not known."""
    source = measured.model.data_source.split(",")[0]
    return f"{source}; the generator saw most of them, without labels." if source else ""


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
    what = f"Held out by patient; {sections[0]['permutations']} permutations."
    return measured.table(
        what, f"{data} {learnt_from(measured)}", ["figure", *(s["space"].upper() for s in sections)], rows
    )


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
