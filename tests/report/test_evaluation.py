"""The page of an evaluation: whole, of one file, with every section that the report has."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxredit_cli.evaluation.dose import GREY
from cxredit_cli.report.charts import Chart, Line, ticks
from cxredit_cli.report.evaluation import write_evaluation


class Balanced(HTMLParser):
    """Reads a page and checks that what is opened is closed."""

    VOID = ("meta", "link", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.paths: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.paths += [value or "" for name, value in attrs if name == "d"]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.paths += [value or "" for name, value in attrs if name == "d"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def dose_section() -> dict[str, Any]:
    curve = {"mean": [-0.1, 0.0, 0.12], "deviation": [0.02, 0.0, 0.03]}
    names = ("heart_area", "thorax_width", "right_lung_height", "left_lung_height", "lung_area_outside_heart")
    tests = [{"on": "5 folds by patient", "positive_images": 30, "negative_images": 50}]
    cohort = {"images": 9, "view": "PA", "label": "No Finding", "split": "val", "left_out_as_implausible": 1}
    return {
        "direction": {"name": "<wide>", "method": "pair", "file": "d.h5", "sha": "abc"},
        "cohort": cohort | {"codes": "encoder, w"},
        "used": 8,
        "strengths": [-1.0, 0.0, 1.0],
        "ctr_change": curve,
        "changes": dict.fromkeys(names, curve),
        "pixels": {"inside_heart": [0.1, 0.0, 0.1], "outside_heart": [0.05, 0.0, 0.05]},
        "identity": {"originals": [1.0, 1.0, 1.0], "reconstructions": [1.0, 1.0, 0.5]},
        "rising_at_every_step": 0.9,
        "rising_overall": 1.0,
        "at_rise": {
            "rise": 0.1,
            "strength": 0.83,
            "changes": {**dict.fromkeys(names, 0.034), GREY: -0.012},
            "identity": 1,
        },
        "null": [
            {
                **{"kind": "any", "directions": 1, "largest": 0.01, "times_the_largest": 9.0},
                **{"monotone": [0.1], "curves": [[0.0, 0.0, 0.01]]},
                "classifier": {"largest": 0.21, "one_way": [0.6], "curves": [[0.0, 0.0, 0.2]]},
            }
        ],
        "classifier": {"log_odds_change": curve, "rise": 1.234, "probability_rise": 0.2, "rising": 0.75},
        "classifier_judge": {
            **{"positive": "Large", "negative": "Small", "view": "PA", "data": "drawn"},
            "tested": [{**test, "auc": 0.8, "auc_interval": [0.7, 0.9]} for test in tests],
        },
        "notes": ["It may have seen these."],
    }


def native_section() -> dict[str, Any]:
    row = {"strength": 4.0, "method": "native", "films": 5, "refused": 2, "carried": 0.96, "right_sign": 1.0}
    row |= {"median_gap": 0.007, "within_.03": 0.9, "ghost": 1.2, "ghost_fine": None, "edge": 0.9, "detail": 0.97}
    figures = [{"refused": "no room beside it"}] * 2 + [{"refused": ""}]
    section = {"films": 5, "direction": "<wide>", "inversion": "hybrid, w+, 150 steps", "figures": figures}
    return {**section, "summary": [{**row, "outside": 0.0, "seconds": None}], "unreadable": []}


def spread(mean: float) -> dict[str, float]:
    return {"mean": mean, "deviation": 0.1}


def test_a_page_of_all_sections(tmp_path: Path) -> None:
    way = {"way": "encoder, w", "psnr": spread(21), "ssim": spread(0.6), "ms_ssim": spread(0.7), "error": spread(1)}
    way |= {"ctr_correlation": None, "ctr_error": 0.02, "seconds_an_image": 0.1}
    part = {
        **{"method": "hybrid", "space": "w", "positive": "A", "negative": "B", "positives": 3, "negatives": 4},
        **{"auc": 0.7, "auc_interval": [0.6, 0.8], "auc_null_95": [0.4, 0.6], "p_value": 0.01, "in_sample": 3.0},
        **{"in_sample_null_95": [2.0, 3.0], "ctr_alone": None, "controlled": {"auc": 0.65}},
    }
    part["by_metric"] = {"anatomy": {**part, "auc": 0.8125}}
    figure = {"name": "frechet_distance", "features": "anatomy", "better": "lower", "generated": spread(40)}
    figure |= {"floor": spread(6), "others": None, "ratio": 6.6}
    report = {
        **{"model": "tiny [0]", "images": "dataset.h5", "seed": 0, "precision": "fp32", "dose": dose_section()},
        "reconstruction": {"cohort": dose_section()["cohort"], "device": "cpu", "batch": 2, "ways": [way]},
        "code_error": {"images": 3, "ways": [way]},
        "separability": [part],
        "realism": {
            **{"images": 16, "split": "val", "patients": 9, "half": 8, "truncation_psi": 1, "figures": [figure]},
            "notes": [],
        },
        "native": native_section(),
    }
    write_evaluation(tmp_path / "page.html", report, (torch.zeros(2, 3, 1, 8, 8), torch.zeros(2, 1, 8, 8)))
    text = (tmp_path / "page.html").read_text()
    page = Balanced()
    page.feed(text)
    assert page.open == []
    assert text.lstrip().startswith("<!doctype html>")
    assert page.addresses
    assert all(address.startswith("data:") for address in page.addresses)  # nothing comes from elsewhere
    assert not re.search(r"https?://", text)
    assert sum(address.startswith("data:image/png") for address in page.addresses) == 2 * 4
    assert "&lt;wide&gt;" in text
    second = ("0.800 (0.700 to 0.900) on 5 folds by patient, 30 images against 50", "+1.23", "75 %", "classifier")
    for words in (
        "It may have seen these.",
        "21.0 ± 0.1",
        "0.700 (0.600 to 0.800)",
        "w, by anatomy",
        "0.812 (0.600 to 0.800)",
        "frechet distance",
        "risen by 0.10",
        "thorax width</th><td>+3.4 % of itself",
        "median grey</th><td>-1.2 % of the grey range",
        "<td>0.96</td><td>100 %</td>",
        "no room beside it</th><td>2</td>",
        *second,
    ):
        assert words in text
    assert len([path for path in page.paths if path.startswith("M52 212") or "L" in path]) >= 8  # curves
    assert "nan" not in "".join(page.paths)


def test_a_page_of_a_direction_that_kept_no_chest(tmp_path: Path) -> None:
    dose = {**dose_section(), "used": 0, "at_rise": None, "null": [], "classifier": None}
    report = {"model": "tiny", "images": "a", "seed": 0, "precision": "fp32", "dose": dose}
    write_evaluation(tmp_path / "page.html", report, (torch.zeros(0, 3, 1, 8, 8), torch.zeros(0, 1, 8, 8)))
    assert "on the 0 scans" in (tmp_path / "page.html").read_text()


def test_a_page_of_a_direction_that_never_goes_so_far(tmp_path: Path) -> None:
    report = {
        "model": "tiny",
        "images": "a",
        "seed": 0,
        "precision": "fp32",
        "dose": {**dose_section(), "at_rise": None},
    }
    write_evaluation(tmp_path / "page.html", report)
    text = (tmp_path / "page.html").read_text()
    assert "At no strength here has the mean CTR risen by 0.10" in text
    assert "asked" not in text


def test_curves_lie_in_the_frame_and_rise_upwards() -> None:
    chart = Chart("t", "x", [0, 1, 2], [Line("a", "main", [0.0, 1.0, 2.0], [0.1, 0.1, 0.1])])
    assert [look for look, _ in chart.paths] == ["band main", "line main"]
    points = np.array([[float(v) for v in pair.split()] for pair in chart.paths[1][1][1:].split("L")])
    assert points[:, 0].tolist() == [52, 250, 448]
    assert (np.diff(points[:, 1]) < 0).all()
    assert points[:, 1].min() > 14
    assert points[:, 1].max() < 212


@pytest.mark.parametrize(("first", "last"), [(-9.5, 9.5), (0, 0.0003), (0.41, 0.62)])
def test_ticks_are_few_and_within(first: float, last: float) -> None:
    found = ticks(first, last)
    assert 3 <= len(found) <= 7
    assert first <= found[0] < found[-1] <= last
