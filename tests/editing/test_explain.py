"""Where a score's change comes from, on pictures where it is known; and a film explained from end to end."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cxredit_cli.editing.explain import Request, explain, summarise
from cxredit_cli.editing.explain_many import explain_many
from cxredit_cli.editing.score_shares import REGIONS, TILES, organ_regions, score_by_region, score_by_tile
from cxredit_cli.errors import InputError
from cxredit_cli.intake.door import Door
from cxredit_cli.inversion.request import InversionRequest
from cxredit_cli.networks.anatomy import HEART, LEFT_LUNG, RIGHT_LUNG
from cxredit_cli.networks.any_classifier import ClassifierScore, InputForm
from cxredit_cli.progress import SilentProgress
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.storage.anatomy_network import load_anatomy
from cxredit_cli.storage.intake_network import load_intake
from cxredit_cli.storage.models import load_model

SIDE = 64


def scored(pixels: Tensor, size: int = SIDE) -> ClassifierScore:
    """A score that sums the grey of some pixels, each weighed."""
    return ClassifierScore(
        lambda seen: (seen[:, 0] * pixels).sum((1, 2)), InputForm(size), "logits", ("A",), "A", "a.pt2", "0", True
    )


def drawn() -> dict[str, Tensor]:
    masks = np.zeros((1, 256, 256), np.uint8)
    masks[:, 40:200, 20:100], masks[:, 40:200, 150:230], masks[:, 120:200, 100:180] = RIGHT_LUNG, LEFT_LUNG, HEART
    return organ_regions(masks, SIDE)


def test_regions_share_no_pixel_and_leave_none() -> None:
    regions = drawn()
    assert tuple(regions) == REGIONS
    assert torch.stack([region.long() for region in regions.values()]).sum(0).eq(1).all()
    assert regions["heart"][40, 35]
    assert regions["lungs"][20, 15]
    assert regions["elsewhere"][2, 60]


def test_the_share_of_a_region_is_what_its_pixels_add() -> None:
    regions = drawn()
    weights = torch.zeros(SIDE, SIDE)
    weights[regions["heart"]], weights[regions["elsewhere"]] = 3.0, 1.0
    before, after = torch.full((1, 1, SIDE, SIDE), -0.5), torch.full((1, 1, SIDE, SIDE), 0.5)
    shares = score_by_region(scored(weights), before, after, regions)
    heart, elsewhere = (float(regions[name].sum()) for name in ("heart", "elsewhere"))
    assert shares["heart"] == pytest.approx(3 * heart / (3 * heart + elsewhere), rel=1e-5)
    assert shares["lungs"] == pytest.approx(0, abs=1e-6)
    assert sum(shares.values()) == pytest.approx(1)
    assert all(np.isnan(value) for value in score_by_region(scored(weights), before, before, regions).values())


def test_what_regions_do_together_is_shared() -> None:
    """A product of two regions' means: half of what both make is either's."""
    regions = drawn()

    def product(seen: Tensor) -> Tensor:
        grey = seen[:, 0]
        return grey[:, regions["heart"]].mean(1) * grey[:, regions["elsewhere"]].mean(1)

    both = ClassifierScore(product, InputForm(SIDE), "logits", ("A",), "A", "a.pt2", "0", True)
    before, after = torch.full((1, 1, SIDE, SIDE), -1.0), torch.full((1, 1, SIDE, SIDE), 1.0)
    assert score_by_region(both, before, after, regions) == pytest.approx({"heart": 0.5, "lungs": 0, "elsewhere": 0.5})


def test_the_map_shows_the_corner_that_counts() -> None:
    weights = torch.zeros(SIDE, SIDE)
    weights[:8, 56:] = 1
    before, after = torch.zeros(1, 1, SIDE, SIDE), torch.rand(1, 1, SIDE, SIDE)
    tiles = score_by_tile(scored(weights), before, after)
    assert tiles.shape == (TILES, TILES)
    assert tiles[0, TILES - 1] == pytest.approx(1, abs=1e-4)
    assert np.abs(tiles).sum() == pytest.approx(1, abs=1e-3)
    assert not score_by_tile(scored(weights), before, before).any()


def test_a_film_is_explained_by_what_its_score_looks_at(data: Path) -> None:
    """A score that is the brightness of the upper right corner: that corner is what the explanation shows."""
    model, network = load_model(None), load_anatomy()
    weights = torch.zeros(128, 128)
    weights[:24, 104:] = 0.02
    score = scored(weights, 128)
    with Image.open(data / "00001748_002.png") as picture:
        film = np.asarray(picture.convert("L").resize((256, 256)), np.float32) / 255
    at = float(score.log_odds(torch.from_numpy(film)[None, None] * 2 - 1)[0])
    request = Request(goal=at + 2.0, inversion=InversionRequest("encoder"))
    found = explain(model, network, score, "film.png", film, request)
    assert found.across.reached
    assert found.log_odds[-1] >= request.goal - 1e-3
    assert found.log_odds[0] < found.log_odds[found.middle] < found.log_odds[-1]
    assert found.positions == [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1]
    assert found.shares["elsewhere"] > 0.8
    row, column = np.unravel_index(found.tiles.argmax(), found.tiles.shape)
    assert (row, column) in ((0, 6), (0, 7), (1, 6), (1, 7))
    rise = found.log_odds[-1] - found.log_odds[found.middle]
    assert max(map(abs, found.null.random_rises)) < 0.5 * rise
    assert found.null.shuffled_rise is None  # no weights at hand
    # On the film itself the corner is brighter too, and the classifier says so.
    assert found.carried[1].log_odds > found.film_log_odds + 0.3
    plain = found.document()
    assert plain["states"][-1]["position"] == 1
    assert plain["on_the_film"][1]["refused"] == ""


def test_many_films_are_rows_and_are_not_done_twice(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cxredit_cli.editing.explain_many as many

    monkeypatch.setattr(many, "SHOWN", 1)
    model = load_model(None)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes((data / "00001748_002.png").read_bytes())
    (tmp_path / "c.png").write_bytes(b"no picture")
    sources = [Source(tmp_path / f"{name}.png") for name in "abc"]
    weights = torch.zeros(128, 128)
    weights[60:80, 60:80] = 0.1
    score = scored(weights, 128)
    table = tmp_path / "t.csv"

    request = Request(goal=30.0, inversion=InversionRequest("encoder"))

    def run() -> many.ExplainReport:
        door = Door(load_intake(), "accept")
        return explain_many(model, load_anatomy(), score, sources, request, table, door, SilentProgress())

    first = run()
    assert [line["source"] for line in first.rows] == ["a.png", "b.png"]
    assert len(first.shown) == 1
    assert [name for name, _ in first.failed] == ["c.png"]
    table.write_text(table.read_text() + "d.png,cut sho")  # as a kill would leave it
    again = run()
    assert again.already_done == 1
    assert [line["source"] for line in again.rows] == ["a.png", "b.png"]
    assert float(again.rows[1]["length"]) == pytest.approx(first.rows[1]["length"])
    assert summarise(again.rows)["films"] == 2
    assert many.recipe(model, score, replace(request, goal=31.0)) != many.recipe(model, score, request)
    with table.open(newline="") as file:
        assert [line["source"] for line in csv.DictReader(file) if line["recipe"]] == ["a.png", "b.png"]
    table.write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match="is another table"):
        run()
