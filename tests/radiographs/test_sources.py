"""Files, folders, globs, zips and lists of paths."""

import os
import zipfile
from io import StringIO
from pathlib import Path

import pytest

from cxredit_cli.errors import InputError, UnreadableImageError
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.radiographs.sources import Source, list_sources


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two patients' folders with views of the same name, and what is no image."""
    root = tmp_path / "images"
    for patient in ("p1", "p2"):
        for name in ("view1.png", "view2.jpg"):
            path = root / patient / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    (root / "labels.csv").write_text("a,b")
    (root / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (root / "._view.png").write_bytes(b"x")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "view.png").write_bytes(b"x")
    (root / "IM0001").write_bytes(b"\0" * 128 + b"DICM")
    (root / "README").write_text("not an image")
    (root / "1.2.840.5").write_bytes(b"\0" * 128 + b"DICM")
    return root


NAMES = ["1.2.840.5", "IM0001", "p1/view1.png", "p1/view2.jpg", "p2/view1.png", "p2/view2.jpg"]


def names(*inputs: object, stdin: str | None = None) -> list[str]:
    return [source.name for source in list_sources(list(inputs), None if stdin is None else StringIO(stdin))]  # type: ignore[arg-type]


def test_folder_is_searched_in_order(tree):
    assert names(tree) == NAMES
    assert list_sources([tree])[2].stem == "view1"
    assert list_sources([tree])[0].stem == "1.2.840.5"


def test_another_zip_of_the_same_name_is_opened_anew(tmp_path, monkeypatch):
    for folder, member in (("one", "a.png"), ("other", "b.png")):
        (tmp_path / folder).mkdir()
        with zipfile.ZipFile(tmp_path / folder / "scans.zip", "w") as file:
            file.writestr(member, folder)
    for folder, member in (("one", "a.png"), ("other", "b.png"), ("one", "a.png")):
        monkeypatch.chdir(tmp_path / folder)
        (found,) = list_sources(["scans.zip"])
        assert (found.member, found.read_bytes()) == (member, folder.encode())
    (tmp_path / "other" / "scans.zip").replace(tmp_path / "one" / "scans.zip")
    assert [found.member for found in list_sources(["scans.zip"])] == ["b.png"]


def test_zip_gives_the_same_as_its_folder(tree, tmp_path):
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(tree.rglob("*")):
            file.write(path, path.relative_to(tree).as_posix())
    assert names(archive) == NAMES
    assert list_sources([archive])[2].read_bytes() == b"x"


def test_globs_and_single_files(tree):
    assert names(str(tree / "p1" / "*.png")) == ["view1.png"]
    assert names(str(tree / "**" / "view1.png")) == ["p1/view1.png", "p2/view1.png"]  # more path where names clash
    assert names(tree / "labels.csv") == ["labels.csv"]  # named by the user: taken as it is
    assert names(tree / "p1" / "view1.png", tree / "p2" / "view1.png", tree / "IM0001") == [
        "p1/view1.png",
        "p2/view1.png",
        "IM0001",
    ]


def test_an_image_that_is_named_twice_counts_once(tree):
    assert names(tree / "p1" / "view1.png", tree / "p1", str(tree / "p1" / "*.png")) == ["view1.png", "view2.jpg"]


def test_list_on_stdin(tree):
    given = f"{tree / 'p1' / 'view1.png'}\n\n{tree / 'p2'}\r\n"
    assert names("-", stdin=given) == ["p1/view1.png", "p2/view1.png", "view2.jpg"]
    with pytest.raises(InputError, match="one a line"):
        names("-", stdin="\n")


def test_links_that_go_round(tree):
    os.symlink(tree, tree / "p1" / "again", target_is_directory=True)
    assert names(tree) == NAMES


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match=r"none\.png does not exist"):
        names(tmp_path / "none.png")
    with pytest.raises(InputError, match="No image was found"):
        names(str(tmp_path / "*.dcm"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"expected DICOM files or pictures"):
        names(tmp_path / "empty")
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4 not a zip")
    with pytest.raises(InputError, match="not a readable zip"):
        names(tmp_path / "broken.zip")
    with pytest.raises(InputError, match="No input"):
        names()


def test_a_damaged_member_is_one_unreadable_image(tmp_path, data):
    archive = tmp_path / "images.zip"
    content = (data / "nih" / "00001336_000.png").read_bytes()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.png", content)
        file.writestr("b.png", content)
    raw = bytearray(archive.read_bytes())
    raw[3000:3100] = b"\0" * 100
    archive.write_bytes(bytes(raw))
    first, second = list_sources([archive])
    with pytest.raises(UnreadableImageError, match=r"a\.png: this member"):
        read_radiograph(first)
    assert read_radiograph(second).pixels.shape == (128, 128)


def test_a_source_of_a_path(tmp_path):
    source = Source(tmp_path / "scan.v2.dcm")
    assert (source.name, source.stem, source.member) == ("scan.v2.dcm", "scan.v2", None)


def test_a_name_that_begins_with_a_tilde_and_no_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("~nosuchuser").mkdir()
    Path("~nosuchuser", "x.png").write_bytes(b"x")
    assert names("~nosuchuser/x.png") == ["x.png"]
    with pytest.raises(InputError, match=r"~nosuchuser/y\.png does not exist"):
        names("~nosuchuser/y.png")
