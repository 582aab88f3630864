"""The page of `cxredit evaluate`: a report with plots and pictures in one HTML file that needs no network."""

from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from cxredit_cli import __version__
from cxredit_cli.evaluation.dose_summary import RISE
from cxredit_cli.radiographs import provenance
from cxredit_cli.radiographs.write import encode_png
from cxredit_cli.report.charts import Chart, Line
from cxredit_cli.report.pages import write_page
from cxredit_cli.storage.prepare_dataset import kind_of

AT_RISE = {  # measures of a dose: what each is called, and of what its change is a share
    "heart_area": ("heart area", "of itself"),
    "thorax_width": ("thorax width", "of itself"),
    "right_lung_height": ("right lung height", "of itself"),
    "left_lung_height": ("left lung height", "of itself"),
    "lung_area_outside_heart": ("lungs beside the heart", "of themselves"),
    "grey_median": ("median grey", "of the grey range"),
}


def write_evaluation(path: Path, report: dict[str, Any], pictures: tuple[Tensor, Tensor] | None = None) -> None:
    """Write the page of a report, whole or not at all.

    `pictures` belong to its section `dose`: edits [P, S, 1, R, R] and their originals [P, 1, R, R], in [-1, 1].
    """
    dose, refused = report.get("dose"), report.get("native", {}).get("figures", [])
    context = {
        "report": report,
        "charts": [] if dose is None or not dose["used"] else dose_charts(dose),
        "at_rise": AT_RISE,
        "rise": RISE,
        "classifier_auc": "" if dose is None or not dose["classifier"] else stated_auc(dose["classifier_judge"]),
        "refusals": Counter(kind_of(row["refused"]) for row in refused if row["refused"]).most_common(),
        "strips": [] if pictures is None else _strips(report, *pictures),
        "software": f"cxredit {__version__}",
        "disclaimer": provenance.DISCLAIMER,
    }
    write_page(path, "evaluation_page/page.html", context)


def dose_charts(section: dict[str, Any]) -> list[Chart]:
    """The response of the CTR beside random directions, what else changed, where, and whose picture it still is."""
    strengths, changes = section["strengths"], section["changes"]
    others = {
        "heart area": ("heart", "heart_area"),
        "thorax width": ("thorax", "thorax_width"),
        "right lung height": ("right", "right_lung_height"),
        "left lung height": ("left", "left_lung_height"),
        "lungs beside the heart's path": ("beside", "lung_area_outside_heart"),
    }
    pixels, identity = section["pixels"], section["identity"]
    second = [classifier_chart(section)] if section["classifier"] else []
    return [
        response_chart(
            "Change of the CTR, mean and spread over patients",
            strengths,
            section["ctr_change"],
            {null["kind"]: null["curves"] for null in section["null"]},
        ),
        *second,
        Chart(
            "Change of the rest of the anatomy, mean",
            "strength",
            strengths,
            [Line(title, look, changes[name]["mean"]) for title, (look, name) in others.items()],
            percent=True,
        ),
        Chart(
            "Change of pixels, share of the grey range",
            "strength",
            strengths,
            [
                Line("in and around the heart", "heart", pixels["inside_heart"]),
                Line("in the rest", "main", pixels["outside_heart"]),
            ],
            percent=True,
        ),
        Chart(
            "Nearest of all patients is its own, beside the heart",
            "strength",
            strengths,
            [
                Line("among originals", "main", identity["originals"]),
                Line("among reconstructions", "thorax", identity["reconstructions"]),
            ],
            percent=True,
            within=(0.0, 1.05),
        ),
    ]


def stated_auc(judge: dict[str, Any]) -> str:
    """How well the classifier of a section `dose` tells its labels apart on patients that it did not learn from."""
    tests = [
        f"{test['auc']:.3f} ({test['auc_interval'][0]:.3f} to {test['auc_interval'][1]:.3f}) on {test['on']}, "
        f"{test['positive_images']} images against {test['negative_images']}"
        for test in judge["tested"]
    ]
    return f"ROC AUC {'; '.join(tests)}" if tests else "its AUC on other patients is not known"


def classifier_chart(section: dict[str, Any]) -> Chart:
    """The response of the second judge."""
    return response_chart(
        f"Change of the classifier's log-odds of {section['classifier_judge']['positive']}, mean and spread",
        section["strengths"],
        section["classifier"]["log_odds_change"],
        {null["kind"]: null["classifier"]["curves"] if null["classifier"] else [] for null in section["null"]},
    )


def response_chart(
    title: str, strengths: list[float], change: dict[str, Any], random: dict[str, list[list[float]]]
) -> Chart:
    """What a direction changes, with its spread, beside the curves of each kind of random directions."""
    null = [
        Line(f"random, {kind}" if index == 0 else "", f"random-{number}", curve)
        for number, (kind, curves) in enumerate(random.items())
        for index, curve in enumerate(curves)
    ]
    return Chart(
        title, "strength", strengths, [*null, Line("this direction", "main", change["mean"], change["deviation"])]
    )


def _strips(report: dict[str, Any], pictures: Tensor, originals: Tensor) -> list[list[tuple[str, str]]]:
    """A row a patient: caption and PNG of the original and of every strength."""
    dose = report["dose"]
    what = f"{dose['direction']['name']} ({dose['direction']['method']}) [{dose['direction']['sha']}]"
    rows = []
    for number, (edits, original) in enumerate(zip(pictures, originals, strict=True), start=1):
        name = f"scan {number} of the evaluation"
        row = [("original", _png(original, {"Title": name, "Disclaimer": provenance.DISCLAIMER}))]
        for strength, edit in zip(dose["strengths"], edits, strict=True):
            text = provenance.edited(report["model"], name, what, f"{strength:+g}", "all")
            row.append((f"{strength:+.3g}", _png(edit, text)))
        rows.append(row)
    return rows


def _png(image: Tensor, text: dict[str, str]) -> str:
    pixels = (image[0].float().numpy() / 2 + 0.5).astype(np.float32)
    return f"data:image/png;base64,{b64encode(encode_png(pixels, text)).decode()}"
