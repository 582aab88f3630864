"""The tables of the documents, from what an evaluation writes."""

import json
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
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
        "used": 97,
        "plausible": [1.0, 1.0, 0.97],
        "ctr": {"mean": [0.46, 0.46 + rise, 0.46 + 2 * rise], "deviation": [0.06, 0.06, 0.05]},
        "ctr_change": {"mean": [0.0, rise, 2 * rise]},
        "end_to_end": 2 * rise,
        "rising_at_every_step": 0.95,
        "changes": {name: {"mean": [0.0, 0.1, 0.3]} for name in SHARES},
        "pixels": {"inside_heart": [0.0, 0.03, 0.06], "outside_heart": [0.0, 0.01, 0.02]},
        "identity": {"originals": [1.0, 1.0, 0.99]},
        "at_rise": None,
        "classifier": {"log_odds": three, "log_odds_change": three, "rise": 2.0, "rising": 1.0},
        "checks": [{"what": "mean CTR rises at every step", "asked": "yes", "found": True, "held": True}],
        "null": [],
    }


def test_tables_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "dose.json").write_text(json.dumps({"dose": dose(0.1)}))
    (tmp_path / "dose-pairs.json").write_text(json.dumps({"dose": dose(0.01)}))
    (tmp_path / "target").mkdir()
    manifest = "source,file,target_ctr,ctr,reconstruction_ctr\na,a1,0.5|0.55,0.52,0.45\nb,b1,0.5,0.5,0.4\n"
    (tmp_path / "target/manifest.csv").write_text(manifest)
    (tmp_path / "target.csv").write_text("name,ctr,plausible\na1,0.51,yes\nb1,0.7,no\n")
    done = subprocess.run(
        [sys.executable, EXAMPLES / "model_tables.py", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "| 4 | 0.560 ± 0.060 | +10.0 % | " in done.stdout
    # A rise of 0.05 is half way to 4 for the one and never reached by the other, whose end is shown.
    assert any(line.startswith("| bundled | 2.0 | +5.0 %") for line in lines)
    assert any(line.startswith("| pairs, optimised | never | +30.0 %") for line in lines)
    # One picture serves two targets; an implausible one counts for the network that steered alone.
    assert "| 0.50 | 0.075 | 0.010 | 0.010 | 0.010 | 1 of 2 |" in lines
    assert "| 0.55 | 0.100 | 0.030 | 0.040 | 0.040 | 1 of 1 |" in lines
