"""What comes in is looked at by the bundled network: real films of unseen and seen patients, laid and shown wrongly."""

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from cxredit_cli.errors import InputError
from cxredit_cli.intake.door import Door, check_on_suspect
from cxredit_cli.intake.look import log_odds, look, score_all_ways
from cxredit_cli.networks.intake import IntakeNetwork, turned
from cxredit_cli.radiographs.layout import LIES, Righting, turn
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.storage.intake_network import load_intake


@pytest.fixture(scope="module")
def trained():
    return load_intake()


@pytest.fixture(scope="module")
def films(data) -> np.ndarray:
    """[12, 128, 128] in 0..1."""
    paths = sorted((data / "nih").glob("*.png"))
    return np.stack([np.asarray(Image.open(path).convert("L"), dtype=np.float32) / 255 for path in paths])


def judged(trained, pictures):
    return look(trained, torch.from_numpy(np.ascontiguousarray(pictures))[:, None])


def test_upright_films_are_fine(trained, films):
    assert {verdict.words for verdict in judged(trained, films)} == {""}
    assert {verdict.words for verdict in judged(trained, films * 0.3 + 0.1)} == {""}  # of any contrast


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("lies", range(len(LIES)))
def test_how_films_lie_is_found_and_would_be_righted(trained, films, lies, negative):
    wrong = np.stack([turn(film, lies) for film in films])
    verdicts = judged(trained, 1 - wrong if negative else wrong)
    assert sum(verdict.righting == Righting(lies, negative) for verdict in verdicts) >= len(films) - 1
    for picture, verdict, film in zip(1 - wrong if negative else wrong, verdicts, films, strict=True):
        if verdict.righting == Righting(lies, negative):
            np.testing.assert_allclose(verdict.righting.right(picture), film, atol=1e-6)


@pytest.mark.parametrize("name", ["camera", "coffee", "page", "moon", "chelsea"])
def test_photographs_are_no_chests(trained, name):
    picture = Image.fromarray(getattr(skimage.data, name)()).convert("L").resize((128, 128))
    (verdict,) = judged(trained, np.asarray(picture, dtype=np.float32)[None] / 255)
    assert verdict.kind in ("no frontal chest", "turned")


def test_an_empty_picture_is_no_chest(trained):
    for picture in (np.zeros((1, 128, 128)), np.random.default_rng(0).random((1, 128, 128))):
        assert judged(trained, picture.astype(np.float32))[0].kind


def test_seen_in_all_orientations_scores_turn_with_the_picture():
    """The mean over all views of a turned picture is that of the picture, its orientations renamed."""
    torch.manual_seed(0)
    network, picture = IntakeNetwork().eval(), torch.rand(1, 1, 128, 128)
    with torch.no_grad():
        plain = score_all_ways(network, picture)
        for lies in range(8):
            again = score_all_ways(network, turned(picture, lies))
            np.testing.assert_allclose(again[:, 8:], plain[:, 8:], atol=1e-4)
            assert np.isclose(again[0, :8], plain[0, :8], atol=1e-4).sum() < 8 or lies == 0
            np.testing.assert_allclose(np.sort(again[0, :8]), np.sort(plain[0, :8]), atol=1e-4)


def test_log_odds_by_hand():
    scores = np.log(np.array([[0.5, 0.1, 0.05, 0.05, 0.2, 0.05, 0.03, 0.02, 1, 1, 1, 1]]))
    odds = log_odds(scores)
    assert odds["turned"][0] == pytest.approx(np.log(0.3 / 0.7))
    assert odds["mirrored"][0] == pytest.approx(np.log(0.2 / 0.5))
    assert odds["negative"][0] == 0


@pytest.fixture
def folder(tmp_path, films):
    """Two films as they should be, and one negative, upside down and mirrored each."""
    pictures = {"a": films[0], "b": films[1], "negative": 1 - films[2], "turned": films[3][::-1, ::-1]}
    pictures["mirrored"] = films[4][:, ::-1]
    for name, picture in pictures.items():
        levels = np.rint(np.ascontiguousarray(picture) * 255).astype(np.uint8)
        Image.fromarray(levels).save(tmp_path / f"{name}.png")
    return [(index, Source(tmp_path / f"{name}.png")) for index, name in enumerate(pictures)]


def read(door, folder):
    return {folder[index][1].stem: (content, reading) for index, content, reading in door.read(folder, 128, "crop", 8)}


def test_suspects_are_turned_away(trained, folder):
    door = Door(trained, "skip")
    found = read(door, folder)
    assert [name for name, (content, _) in found.items() if content is None] == ["negative", "turned", "mirrored"]
    assert found["negative"][1].startswith("it looks negative; --on-suspect warn")
    assert [(one.name, one.done) for one in door.suspects] == [
        *(("negative.png", "skipped"), ("turned.png", "skipped"), ("mirrored.png", "skipped")),
    ]


def test_suspects_are_marked(trained, folder):
    door = Door(trained, "warn")
    found = read(door, folder)
    assert all(content is not None for content, _ in found.values())
    assert found["mirrored"][1] == "PNG 8 bit, but it looks mirrored"
    assert [door.suspicion(source) for _, source in folder][:3] == ["", "", "it looks negative"]


def test_what_is_turned_or_negative_is_righted_and_what_is_mirrored_is_not(trained, folder, films):
    door = Door(trained, "warn", right=True)
    found = read(door, folder)
    for name, index in (("negative", 2), ("turned", 3)):
        pixels = np.frombuffer(found[name][0], np.uint8).reshape(128, 128)
        assert np.abs(pixels / 255 - films[index]).max() < 0.01
        assert "righted" in found[name][1]
    assert door.suspicion(folder[4][1]) == "it looks mirrored"
    assert door.source(folder[3][1]).righting == Righting(LIES.index("upside down"))


def test_nothing_is_looked_at_where_all_is_accepted_or_too_small(trained, folder):
    assert not Door(trained, "accept").suspects
    door = Door(trained, "skip")
    assert all(content is not None for _, content, _ in door.read(folder, 32, "crop", 8))


@pytest.mark.parametrize(
    ("tags", "picture", "words"),
    [
        ({"PresentationLUTShape": "INVERSE"}, lambda film: film, "was negative, righted"),
        ({"PatientOrientation": ["R", "F"]}, lambda film: film, "was mirrored, righted"),
        ({"PatientOrientation": ["R", "F"]}, lambda film: film[:, ::-1], ""),
    ],
)
def test_where_a_tag_and_the_picture_disagree_the_picture_decides(make_dicom, trained, films, tags, picture, words):
    stored = np.rint(np.ascontiguousarray(picture(films[0])) * 255).astype(np.uint8)
    source = Source(make_dicom(stored, WindowCenter=128, WindowWidth=256, **tags))
    door = Door(trained, "skip")
    ((_, content, reading),) = door.read([(0, source)], 128, "crop", 8)
    assert content is not None
    assert np.abs(np.frombuffer(content, np.uint8).reshape(128, 128) / 255 - films[0]).max() < 0.02
    assert reading.endswith(words)


def test_other_words_are_refused():
    with pytest.raises(InputError, match="skip, warn or accept"):
        check_on_suspect("maybe")
