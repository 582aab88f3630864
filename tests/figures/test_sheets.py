"""Sheets: what is where, colours that mean what the bar says, metadata."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxredit_cli.figures.sheets import (
    Panel,
    cell_side,
    difference_limit,
    diverging_colours,
    edit_sheet,
    fitted,
    font,
    save_png,
    wrapped,
)


def test_diverging_colours_are_white_at_zero_red_above_blue_below() -> None:
    colours = diverging_colours(np.array([-0.1, 0.0, 0.1, 0.3]), limit=0.1).astype(int)
    assert (colours[1] == 255).all()
    assert colours[0, 2] > colours[0, 0]  # blue
    assert colours[2, 0] > colours[2, 2]  # red
    assert (colours[3] == colours[2]).all()  # beyond the scale


def test_the_limit_covers_the_changes_and_never_blows_up_noise() -> None:
    assert difference_limit([]) == 0.02
    assert difference_limit([np.full((8, 8), 1e-4)]) == 0.02
    assert difference_limit([np.full((8, 8), 0.01), np.full((8, 8), -0.09)]) == 0.1
    assert difference_limit([np.full((8, 8), 5.0)]) == 1.0


@pytest.mark.parametrize(
    ("resolution", "side"), [(32, 224), (64, 256), (128, 256), (256, 256), (512, 512), (1024, 512)]
)
def test_cells_are_large_enough_to_see(resolution: int, side: int) -> None:
    assert cell_side(resolution) == side


@pytest.mark.parametrize("count", [1, 3, 9, 14])
def test_a_sheet_shows_every_panel(count: int) -> None:
    rng = np.random.default_rng(0)
    panels = [Panel("Original", np.full((32, 32), 0.5))]
    panels += [Panel(f"{i:+d}", rng.random((32, 32)), np.full((32, 32), 0.05), "edit\nmean 5%") for i in range(count)]
    sheet = np.asarray(edit_sheet("scan.png", panels, "Edited. Not for diagnosis."))
    red = diverging_colours(np.array(0.05), 0.05)
    assert (sheet == red).all(axis=-1).sum() >= count * 220 * 220  # all difference maps, at full scale
    assert (sheet == 128).all(axis=-1).sum() >= 220 * 220  # the original


def test_a_long_title_wraps_above_the_panels() -> None:
    panels = [Panel("Original", np.full((32, 32), 0.5))]
    short, long = edit_sheet("scan.png", panels, ""), edit_sheet("scan.png " + "many words " * 10, panels, "")
    lines = wrapped("scan.png " + "many words " * 10, short.width - 48, 19)
    assert len(lines) > 2
    assert " ".join(lines) == ("scan.png " + "many words " * 10).strip()
    assert long.height == short.height + (len(lines) - 1) * 22
    below = np.asarray(short)[70:]
    assert (np.asarray(long)[-len(below) :] == below).all()


def test_long_names_are_shortened() -> None:
    text = fitted("a" * 500, 300, 15)
    assert font(15).getlength(text) <= 300
    assert "..." in text
    assert fitted("short", 300, 15) == "short"


def test_a_saved_picture_says_what_it_is(tmp_path: Path) -> None:
    save_png(tmp_path / "new" / "a.png", Image.new("RGB", (4, 4)), {"Source": "ü.png", "Model": "tiny"})
    with Image.open(tmp_path / "new" / "a.png") as image:
        assert image.info == {"Source": "ü.png", "Model": "tiny"}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]
