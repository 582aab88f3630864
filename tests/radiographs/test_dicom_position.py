"""Which films are taken, how they lie, and pixels that are not square."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from cxredit_cli.errors import UnreadableImageError
from cxredit_cli.radiographs.film import read_film
from cxredit_cli.radiographs.layout import LIES, Layout, Righting, turn, turn_back
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.radiographs.sources import Source

UPRIGHT = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
WINDOW = {"WindowCenter": 128, "WindowWidth": 256}


@pytest.mark.parametrize("lies", range(8))
def test_turning_back_undoes_turning(lies):
    assert (turn_back(turn(UPRIGHT, lies), lies) == UPRIGHT).all()


def test_lies_are_what_their_words_say():
    corner = np.array([[1, 2], [3, 4]])  # 1 at the top left
    assert turn(corner, LIES.index("upside down")).tolist() == [[4, 3], [2, 1]]
    assert turn(corner, LIES.index("mirrored")).tolist() == [[2, 1], [4, 3]]
    assert turn(corner, LIES.index("turned a quarter right")).tolist() == [[3, 1], [4, 2]]
    assert turn(corner, LIES.index("turned a quarter left")).tolist() == [[2, 4], [1, 3]]


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (["L", "F"], UPRIGHT),
        (["R", "F"], UPRIGHT[:, ::-1]),  # rows run to the patient's right: mirrored
        (["R", "H"], UPRIGHT[::-1, ::-1]),  # and columns to the head: upside down
        (["L", "H"], UPRIGHT[::-1]),
        (["F", "R"], np.rot90(UPRIGHT)),
        (["LF", "FL"], UPRIGHT),  # oblique: the first letter is the main direction
        (["", "F"], UPRIGHT),  # half a statement says nothing
    ],
)
def test_frontal_films_are_brought_to_left_and_feet(make_dicom, orientation, stored):
    path = make_dicom(np.ascontiguousarray(stored), PatientOrientation=orientation, **WINDOW)
    read = read_radiograph(path)
    np.testing.assert_allclose(read.pixels, UPRIGHT / 255, atol=1e-6)
    assert ("PatientOrientation" in read.reading) == (stored is not UPRIGHT)


@pytest.mark.parametrize(
    "spacing",
    [
        {"PixelSpacing": [0.4, 0.2]},
        {"ImagerPixelSpacing": [0.4, 0.2]},
        {"NominalScannedPixelSpacing": [0.4, 0.2]},
        {"PixelAspectRatio": [2, 1]},
    ],
)
def test_pixels_are_made_square_by_the_smaller_side(make_dicom, spacing):
    stored = np.repeat(np.arange(0, 240, 10, dtype=np.uint8)[:, None], 12, axis=1)
    read = read_radiograph(make_dicom(stored, **spacing, **WINDOW))
    assert read.pixels.shape == (48, 12)
    # Between the centres of two stored rows grey rises evenly: a quarter and three quarters of the way.
    np.testing.assert_allclose(read.pixels[1:5, 0] * 255, [2.5, 7.5, 12.5, 17.5], atol=1e-3)
    assert "made square" in read.reading


@pytest.mark.parametrize("spacing", [[0.2, 0.2], [0.2001, 0.2], [0, 0.2], [9, 0.2]])
def test_pixels_that_are_square_or_impossible_stay(make_dicom, spacing):
    assert read_radiograph(make_dicom(UPRIGHT, PixelSpacing=spacing, **WINDOW)).pixels.shape == (4, 6)


def test_a_wrong_spacing_does_not_hide_a_right_one(make_dicom):
    path = make_dicom(UPRIGHT, PixelSpacing=[9, 0.2], ImagerPixelSpacing=[0.4, 0.2], **WINDOW)
    assert read_radiograph(path).pixels.shape == (8, 6)


@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ({"ViewPosition": "LL"}, "lateral"),
        ({"ViewPosition": "LATERAL"}, "lateral"),
        ({"ViewPosition": "LLO"}, "oblique"),
        ({"ViewPosition": "RLD"}, "decubitus"),
        ({"BodyPartExamined": "HAND"}, "another part of the body"),
        ({"PatientOrientation": ["A", "F"]}, "from the side"),
    ],
)
def test_other_views_and_parts_are_named_and_taken_if_asked(make_dicom, tags, named):
    path = make_dicom(UPRIGHT, **tags, **WINDOW)
    with pytest.raises(UnreadableImageError, match=f"{named}.*--any-view"):
        read_radiograph(path)
    assert read_radiograph(Source(path, any_view=True)).pixels.shape == (4, 6)


def test_a_lateral_film_by_its_code(make_dicom):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "399067008", "SCT", "lateral projection"
    with pytest.raises(UnreadableImageError, match="lateral"):
        read_radiograph(make_dicom(UPRIGHT, ViewCodeSequence=[item], **WINDOW))


@pytest.mark.parametrize("tags", [{"ViewPosition": "PA"}, {"ViewPosition": "AP"}, {"BodyPartExamined": "PORT CHEST"}])
def test_frontal_films_of_chests_are_taken(make_dicom, tags):
    assert read_radiograph(make_dicom(UPRIGHT, **tags, **WINDOW)).pixels.shape == (4, 6)


def test_an_edit_goes_back_to_the_stored_matrix(make_dicom):
    """A film that is stored upside down, in pixels of twice their width: what changes is where it was changed."""
    stored = np.full((20, 10), 1000, np.uint16)
    tags = {"PixelSpacing": [0.1, 0.2], "PatientOrientation": ["R", "H"], "WindowCenter": 2048, "WindowWidth": 4096}
    film = read_film(make_dicom(stored, BitsStored=12, **tags))
    assert film.pixels.shape == (20, 20)
    change = np.zeros((20, 20), np.float32)
    assert (film.changed(change) == stored).all()
    change[0:4, 0:4] = 0.2  # at the top left of the film as it is seen: at the bottom right of what is stored
    changed = film.changed(change)
    assert (changed[16:, 8:] == 1000 + 819).all()  # .2 of 4095 levels
    changed[16:, 8:] = 1000
    assert (changed == stored).all()


def test_a_righted_film_is_read_upright_and_edited_as_it_lies(make_dicom):
    stored = np.ascontiguousarray(255 - UPRIGHT[::-1, ::-1])
    source = Source(make_dicom(stored, **WINDOW), righting=Righting(LIES.index("upside down"), negative=True))
    read = read_radiograph(source)
    np.testing.assert_allclose(read.pixels, UPRIGHT / 255, atol=1e-6)
    assert "upside down and negative" in read.reading
    change = np.zeros((4, 6), np.float32)
    change[0, 0] = 20 / 255
    changed = read_film(source).changed(change).astype(int)
    assert changed[3, 5] == int(stored[3, 5]) - 20  # brighter as it is seen is darker as it is stored
    assert (changed != stored).sum() == 1


@pytest.mark.parametrize("words", ["", "negative", "mirrored", "upside down and negative"])
def test_rightings_are_known_by_their_words(words):
    assert Righting.of_words(words).words == words


def test_zero_stays_zero_in_the_stored_matrix():
    """The way back may not spread a change to where there was none, by so much as a rounding error."""
    change = np.zeros((30, 60), np.float32)
    change[:, :10] = np.random.default_rng(0).normal(size=(30, 10))
    stored = Layout(0, (1.0, 1.7)).stored(change, (30, 35))
    assert not stored[:, 7:].any()
    assert stored[:, :5].any()
