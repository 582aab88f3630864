"""The edited folder: names that never collide and a manifest that survives a kill."""

import csv
from pathlib import Path

import pytest

from cxredit_cli.editing.edited_folder import EditedFolder, digest
from cxredit_cli.errors import InputError


def add(folder: EditedFolder, stem: str, label: str, identity: str, recipe: str = "r") -> None:
    path = folder.edit_path(stem, label)
    path.write_bytes(b"png")
    folder.sheet_path(stem).write_bytes(b"png")
    row = {"source": f"{stem}.png", "stem": stem, "strength": label, "file": path.name}
    folder.add_row({**row, "identity": identity, "recipe": recipe})


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_names_of_one_stem_never_meet(tmp_path: Path) -> None:
    with EditedFolder(tmp_path) as folder:
        assert folder.stem_for("scan", "A") == "scan"
        assert folder.stem_for("scan", "B") == "scan-2"
        assert folder.stem_for("scan-2", "C") == "scan-2-2"
        assert folder.stem_for("scan", "A") == "scan"
        add(folder, "scan", "+3", "A")
    with EditedFolder(tmp_path) as folder:  # another run, with the other image first
        assert folder.stem_for("scan", "B") == "scan-2"
        assert folder.stem_for("scan", "A") == "scan"


def test_what_a_killed_run_has_done_is_known(tmp_path: Path) -> None:
    with EditedFolder(tmp_path) as folder:
        add(folder, "a", "+1", "A")
        add(folder, "a", "+3", "A")
        add(folder, "b", "+1", "B")
    path = tmp_path / "manifest.csv"
    path.write_bytes(path.read_bytes()[:-9])  # the kill came while a row was written
    with EditedFolder(tmp_path) as folder:
        assert folder.is_done("a", ["+1", "+3"], "r")
        assert not folder.is_done("a", ["+1", "+3"], "another recipe")
        assert not folder.is_done("a", ["+1", "+5"], "r")
        assert not folder.is_done("b", ["+1"], "r")
        add(folder, "b", "+1", "B")
        assert folder.is_done("b", ["+1"], "r")
        folder.edit_path("a", "+1").unlink()
        assert not folder.is_done("a", ["+1"], "r")
        folder.finish()
    assert [row["file"] for row in manifest(tmp_path)] == ["a_+3.png", "b_+1.png"]


def test_the_last_row_of_a_file_counts_and_rows_are_sorted(tmp_path: Path) -> None:
    with EditedFolder(tmp_path) as folder:
        for label in ("+3", "-1.5", "+0"):
            add(folder, "a", label, "A")
        add(folder, "a", "+3", "A", recipe="newer")
        folder.finish()
    rows = manifest(tmp_path)
    assert [row["strength"] for row in rows] == ["-1.5", "+0", "+3"]
    assert rows[-1]["recipe"] == "newer"


def test_an_edit_that_was_refused_has_a_row_and_no_file(tmp_path: Path) -> None:
    row = {"source": "a.png", "stem": "a", "strength": "+3", "refused": "no room", "identity": "A", "recipe": "r"}
    with EditedFolder(tmp_path) as folder:
        add(folder, "a", "+1", "A")
        folder.add_row(row)
        assert folder.is_done("a", ["+1", "+3"], "r")
        assert not folder.is_done("a", ["+1", "+3"], "another recipe")
        folder.finish()
    assert [(row["file"], row["refused"]) for row in manifest(tmp_path)] == [("a_+1.png", ""), ("", "no room")]
    with EditedFolder(tmp_path) as folder:
        assert folder.is_done("a", ["+1", "+3"], "r")
        assert folder.stem_for("a", "B") == "a-2"


def test_files_of_two_kinds_stand_beside_each_other(tmp_path: Path) -> None:
    with EditedFolder(tmp_path) as folder:
        add(folder, "a", "+1", "A", "png")
        path = folder.edit_path("a", "+1", ".dcm")
        path.write_bytes(b"dicom")
        folder.add_row(
            {"stem": "a", "strength": "+1", "file": path.name, "source": "a", "identity": "A", "recipe": "dicom"}
        )
        assert folder.is_done("a", ["+1"], "png")
        assert folder.is_done("a", ["+1"], "dicom")
        folder.finish()
    assert [row["file"] for row in manifest(tmp_path)] == ["a_+1.png", "a_+1.dcm"]


def test_a_foreign_manifest_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="another folder with -o"):
        EditedFolder(tmp_path)
    assert (tmp_path / "manifest.csv").read_text() == "a,b\n1,2\n"


def test_digests_tell_contents_apart() -> None:
    assert digest(["a", 1]) == digest(["a", 1])
    assert len({digest(["a", 1]), digest(["a", 2]), digest(b"a"), digest(b"b")}) == 4
