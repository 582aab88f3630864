"""The matrix of findings: on planted figures, and on pictures of a random generator."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxredit_cli.errors import InputError
from cxredit_cli.evaluation.matrix import SHOWN, Moved, judge_direction, move, reasons
from cxredit_cli.evaluation.matrix_study import ask
from cxredit_cli.latent.code_batch import CodeBatch
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.storage.anatomy_network import BUNDLED_JUDGE, load_anatomy
from cxredit_cli.storage.any_classifier import load_score
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import load_model
from tests.storage.classifier_files import write_pt2

CLASSES = ("Effusion", "Atelectasis", "Age")


def moved(slopes: tuple[float, float, float], patients: int = 40) -> Moved:
    """Patients whose log-odds, of deviation 1 between them, rise by `slopes` a strength, at 0, 1, 2 and 3."""
    strengths = np.arange(4.0)
    own = np.random.default_rng(0).normal(size=(patients, 1, 3))
    own = (own - own.mean(axis=0)) / own.std(axis=0)
    log_odds = own + strengths[:, None] * np.array(slopes)
    flat = np.full((patients, 4), 0.5)
    anatomy = dict.fromkeys(SHOWN, flat * (1 + 0.1 * strengths))
    good = np.ones((patients, 4), dtype=np.bool_)
    good[:4, 2:] = False  # a tenth
    return Moved(strengths, log_odds, anatomy, good, good, 0.01 * strengths + 0 * flat)


def test_it_is_judged_where_edited_and_unedited_first_come_apart() -> None:
    null = {"any": [moved((-0.1, 0, 0)), moved((0.05, 0, 0))], "between codes": [moved((0.15, 0, 0))]}
    found = judge_direction(moved((0.8, 0.7, -0.3)), null, CLASSES, "Effusion", ("Atelectasis",))
    # Of two normals 0.8 deviations apart the AUC is .71, of 1.6 apart .87.
    assert found["auc_by_strength"][1] == pytest.approx(0.71, abs=0.06)
    assert found["strength"] == 2
    assert found["auc"] == pytest.approx(0.87, abs=0.05)
    low, high = found["auc_interval"]
    assert low < found["auc"] < high
    assert found["rise"] == pytest.approx({"Effusion": 1.6, "Atelectasis": 1.4, "Age": -0.6})
    assert found["rise_in_deviations"] == pytest.approx(found["rise"])
    assert (found["next"], found["times_the_next"]) == ("Age", pytest.approx(1.6 / 0.6))
    assert found["random"] == {"any": pytest.approx([0.2, 0.1]), "between codes": pytest.approx([0.3])}
    assert found["times_random"] == pytest.approx(1.6 / 0.3)
    assert found["rising"] == 1
    assert (found["plausible"], found["own_nearest"], found["own_nearest_unedited"]) == (0.9, 0.9, 1)
    assert found["anatomy"] == pytest.approx({name: 0.1 if name == "ctr" else 0.2 for name in SHOWN})
    assert found["change_of_grey"] == pytest.approx(0.02)
    assert found["fails"] == []


def test_what_falls_short_is_said() -> None:
    null = {"any": [moved((0.04, 0, 0))]}
    found = judge_direction(moved((0.1, 0.09, 0.0)), null, CLASSES, "Effusion", ())
    assert found["strength"] == 3  # the largest
    short = found["fails"]
    assert [words in text for words, text in zip(("AUC 0.5", "moves Atelectasis too", "random"), short, strict=True)]
    assert len(short) == 3
    # The other way is not what was asked for, however far it goes.
    assert judge_direction(moved((-5, 0, 0)), null, CLASSES, "Effusion", ())["fails"][0].startswith("AUC 0.0")
    companion = judge_direction(moved((0.8, 0.7, 0)), null, CLASSES, "Effusion", ("Atelectasis",))
    assert companion["fails"] == []


def test_reasons_are_about_what_is_known() -> None:
    figures: dict[str, Any] = {"auc": 0.9, "times_the_next": None, "times_random": None}
    assert reasons(figures) == []


def test_a_direction_is_asked_about_the_class_of_its_name() -> None:
    direction = Direction(np.eye(1, 4, dtype=np.float32), "effusion", "drawn", "f" * 16)
    assert ask(Path("d.h5"), direction, CLASSES, {"Effusion": ["Age"]}, None).companions == ("Age",)
    assert ask(Path("d.h5"), direction, CLASSES, {}, "age").own == "Age"
    with pytest.raises(InputError, match=r"d\.h5 moves 'fever'.*knows Effusion, Atelectasis, Age"):
        ask(Path("d.h5"), direction, CLASSES, {}, "fever")
    with pytest.raises(InputError, match="'fever' is none of the classes"):
        ask(Path("d.h5"), direction, CLASSES, {"Effusion": ["fever"]}, None)


def test_every_class_is_asked_about_every_picture(tiny_model_dir: Path, tmp_path: Path) -> None:
    generator, score = load_model(tiny_model_dir).generator, load_score(str(write_pt2(tmp_path / "b.pt2")), "Left")
    codes = random_codes(generator, 0, range(5))
    originals = torch.cat(list(synthesize(generator, codes)))
    vector = torch.eye(1, 32)
    found = move(
        generator, load_anatomy(BUNDLED_JUDGE), score, CodeBatch(codes, None, None, ""), originals, vector, [3]
    )
    assert found.strengths.tolist() == [0, 3]
    with torch.no_grad():
        pictures = generator.synthesis(codes + 3 * vector).clamp(-1, 1)
        expected = [(8 * (pictures / 2 + 0.5)[..., part] - 4).mean((1, 2, 3)) for part in (slice(16), slice(16, 32))]
    assert found.log_odds.shape == (5, 2, 2)
    np.testing.assert_allclose(found.log_odds[:, 1], torch.stack(expected, 1), atol=1e-3)
    assert found.own_nearest[:, 0].all()
    np.testing.assert_allclose(found.change[:, 1], (pictures - originals).abs().mean((1, 2, 3)) / 2, atol=1e-4)
    assert not found.change[:, 0].any()
