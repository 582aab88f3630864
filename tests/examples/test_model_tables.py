"""The tables of the documents, from what an evaluation writes."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "tools" / "model_tables.py"
SHARES = (
    "heart_area",
    "thorax_width",
    "right_lung_height",
    "left_lung_height",
    "lung_area_outside_heart",
    "grey_median",
)


def dose(rise: float) -> dict[str, object]:
    """What `evaluate --dose` writes of a direction that raises the CTR by `rise` at 4 and by twice that at 8."""
    three = {"mean": [-1.0, 0.0, 1.0], "deviation": [1.0, 1.0, 1.0]}
    return {
        "strengths": [0.0, 4.0, 8.0],
        "scans": 100,
        "cohort": {"images": 100, "view": "PA", "label": "No Finding", "split": "val"},
        "used": 97,
        "plausible": [1.0, 1.0, 0.97],
        "ctr": {"mean": [0.46, 0.46 + rise, 0.46 + 2 * rise], "deviation": [0.06, 0.06, 0.05]},
        "ctr_change": {"mean": [0.0, rise, 2 * rise]},
        "end_to_end": 2 * rise,
        "rising_at_every_step": 0.95,
        "rising_overall": 1.0,
        "changes": {name: {"mean": [0.0, 0.1, 0.3]} for name in SHARES},
        "pixels": {"inside_heart": [0.0, 0.03, 0.06], "outside_heart": [0.0, 0.01, 0.02]},
        "identity": {"originals": [1.0, 1.0, 0.99]},
        "at_rise": None,
        "classifier": {"log_odds": three, "log_odds_change": three, "rise": 2.0, "rising": 1.0},
        "null": [],
    }


def test_tables_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "dose.json").write_text(json.dumps({"dose": dose(0.1)}))
    (tmp_path / "dose-pairs.json").write_text(json.dumps({"dose": dose(0.01)}))
    (tmp_path / "target").mkdir()
    manifest = "source,file,target_ctr,ctr,reconstruction_ctr\na,a1,0.5|0.55,0.52,0.45\nb,b1,0.5,0.5,0.4\n"
    (tmp_path / "target/manifest.csv").write_text(manifest)
    (tmp_path / "target.csv").write_text("name,ctr,plausible\na1,0.51,yes\nb1,0.7,no\n")
    words = [SCRIPT, tmp_path, "--tables", tmp_path / "tables"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    def rows(name: str) -> list[list[str]]:
        return list(json.loads((tmp_path / "tables" / f"{name}.json").read_text())["rows"])

    assert {path.stem for path in (tmp_path / "tables").iterdir()} == {
        *("dose", "dose-rise", "target", "directions", "directions-at-8")
    }
    assert rows("dose")[1][:3] == ["4", "0.560 ± 0.060", "+10 %"]
    assert done.stdout.startswith("dose\n\n| strength | CTR | ")
    # A rise of 0.05 is half way to 4 for the one and never reached by the other, whose end is shown.
    assert rows("directions")[0][:3] == ["bundled", "2.0", "+5.0 %"]
    assert rows("directions")[1][:3] == ["pairs, optimised", "never", "+30 %"]
    # One picture serves two targets; an implausible one counts for the network that steered alone.
    assert rows("target") == [
        ["0.50", "0.075", "0.010", "0.010", "0.010", "1 of 2"],
        ["0.55", "0.100", "0.030", "0.040", "0.040", "1 of 1"],
    ]
    document = json.loads((tmp_path / "tables" / "dose.json").read_text())
    assert document["data"].startswith(
        "100 No Finding films of unseen patients of NIH ChestX-ray14 (PA, 128x128), one per patient; 97"
    )
    assert document["model"].startswith("nih-cxr-128 [")


def test_the_other_sections_of_a_folder(tmp_path: Path) -> None:
    mean = {"mean": 30.26, "deviation": 1.04}
    way = {"way": "hybrid, w+, 150 steps", "psnr": mean, "ssim": mean, "ms_ssim": mean, "error": mean}
    way |= {"ctr_correlation": 0.974, "ctr_error": 0.0111, "seconds_an_image": 4.26}
    cohort = {"images": 224, "view": "PA", "label": "any", "split": "val"}
    found = {"cohort": cohort, "device": "cpu", "batch": 16, "ways": [way]}
    (tmp_path / "reconstruction.json").write_text(json.dumps({"reconstruction": found}))
    (tmp_path / "code-error.json").write_text(json.dumps({"code_error": {"images": 24, "ways": [way]}}))
    value = {"mean": 13.14, "spread": 0.06}
    figures = [
        {"name": name, "features": features, "generated": value, "floor": value, "others": None, "ratio": 1.0}
        for name, features in (("frechet_distance", "anatomy"), ("sliced_wasserstein_64", ""))
    ]
    realism = {"images": 634, "half": 317, "patients": 228, "split": "val", "figures": figures}
    (tmp_path / "realism.json").write_text(json.dumps({"realism": realism}))
    row = {"strength": -6.0, "method": "native", "films": 32, "refused": 4, "carried": 0.966, "right_sign": 1.0}
    row |= {"median_gap": 0.0071, "within_.03": 0.86, "ghost": None, "ghost_here": 0.7, "edge": 0.96, "detail": 0.93}
    row |= {"ghost_fine": 0.81, "ghost_here_fine": 0.9, "thorax_90": 0.0049}
    native = {"films": 32, "summary": [row, {**row, "method": "additive"}]}
    (tmp_path / "native-512.json").write_text(json.dumps({"native": native}))
    words = [SCRIPT, tmp_path, "--tables", tmp_path / "tables"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    def rows(name: str) -> list[list[str]]:
        return list(json.loads((tmp_path / "tables" / f"{name}.json").read_text())["rows"])

    spread = ["30.3 ± 1.0 dB", "30.260 ± 1.040", "30.260 ± 1.040"]
    assert rows("reconstruction") == [["hybrid, W+, 150 steps", *spread, "0.97", "0.011", "4.3"]]
    assert rows("code-error") == [["hybrid, W+, 150 steps", "30.26 ± 1.04", "30.3 dB"]]
    assert [row[:2] for row in rows("realism")] == [
        ["Fréchet distance, anatomy", "13.1"],
        ["sliced Wasserstein, 64", "13.140"],
    ]
    shown = ["0.97", "100 %", "0.007", "86 %", "", "81 %", "90 %", "0.96", "0.93", "0.5 %"]
    assert rows("films") == [["512", "-6", "4 of 32", *shown]]
    assert rows("films-others") == [["change added to the film", "512", "-6", *shown]]


def test_what_networks_see_stands_beside_an_axis(tmp_path: Path) -> None:
    """Rows of codes come from the evaluation, those of pictures from the folds of examples/train_classifier.py."""
    auc = {"auc": 0.8, "auc_interval": [0.7, 0.9]}
    axis = {**auc, "auc_null_95": [0.4, 0.6], "p_value": 0.005, "in_sample": 8.0, "in_sample_null_95": [4.0, 6.0]}
    axis |= {
        "ctr_alone": auc,
        "method": "hybrid",
        "space": "w",
        "positive": "A",
        "positives": 3,
        "positive_patients": 2,
    }
    axis |= {"steps": 50, "by_metric": {"picture": {**axis, "auc": 0.85, "shrinkage": 0.1}}}
    axis |= {"negative": "B", "negatives": 9, "negative_patients": 8, "permutations": 200}
    (tmp_path / "separability.json").write_text(json.dumps({"separability": [axis]}))
    folds = {**auc, "positive_images": 3, "positive_patients": 2, "negative_images": 9, "negative_patients": 8}
    seen = {**auc, "auc": 0.85, "ctr_alone": {**auc, "auc": 0.75}}
    for space in ("w", "w+"):
        document = {**folds, "auc": 0.91, "ctr_alone": {**auc, "auc": 0.88}, "reconstructions": seen}
        (tmp_path / f"cnn-{space}.folds.json").write_text(json.dumps(document))
    words = [SCRIPT, tmp_path, "--tables", tmp_path / "tables"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "tables" / "reach.json").read_text())
    assert table["data"].startswith(
        "3 films of 2 patients with the label against 9 films of 8 patients without. NIH ChestX-ray14; the generator"
    )
    assert [row[1][:5] for row in table["rows"]] == ["0.800", "0.910", "0.880", "0.850", "0.750", "0.850", "0.750"]
    assert table["rows"][0][0] == "an axis of the codes (hybrid, W)"
    document = json.loads((tmp_path / "tables" / "separability.json").read_text())
    assert document["what"] == "Held out by patient; 200 permutations."
    separability = document["rows"]
    assert separability[0] == ["AUC held out by patient", "0.800 (0.700 to 0.900)"]
    assert separability[2] == ["AUC by picture", "0.850 (0.700 to 0.900)"]
