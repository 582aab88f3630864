"""The edited folder: names that never collide and a manifest that survives a kill."""

import csv
from pathlib import Path

import pytest

from cxredit_cli.editing import edited_folder
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


def test_of_many_images_each_thousand_has_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edited_folder, "A_FOLDER", 2)
    with EditedFolder(tmp_path, images=2) as folder:
        add(folder, folder.stem_for("scan", "A", 0), "+3", "A")
    with EditedFolder(tmp_path, images=4) as folder:
        stems = [folder.stem_for("scan", identity, number) for number, identity in enumerate("ABCD")]
        assert stems == ["scan", "000/scan", "001/scan", "001/scan-2"]  # the first is where it was before
        for stem, identity in zip(stems[1:], "BCD", strict=True):
            folder.edit_path(stem, "+3").parent.mkdir(exist_ok=True)
            add(folder, stem, "+3", identity)
    with EditedFolder(tmp_path, images=4) as folder:
        assert [folder.stem_for("scan", identity, number) for number, identity in enumerate("ABCD")] == stems
        assert all(folder.is_done(stem, ["+3"], "r") for stem in stems[:1])


def test_without_sheets_an_image_is_done_when_its_edits_are(tmp_path: Path) -> None:
    with EditedFolder(tmp_path, sheets=False) as folder:
        add(folder, "a", "+3", "A")
        folder.sheet_path("a").unlink()
        assert folder.is_done("a", ["+3"], "r")
        assert folder.labels_done("a", "r") == ["+3"]
    with EditedFolder(tmp_path) as folder:
        assert not folder.is_done("a", ["+3"], "r")
        assert folder.labels_done("a", "r") == []


def test_names_and_rows_are_found_without_a_search(tmp_path: Path) -> None:
    """A cohort whose films are all called alike, one folder a patient."""

    class Counted(set[str]):
        asked = 0

        def __contains__(self, name: object) -> bool:
            Counted.asked += 1
            return super().__contains__(name)

    with EditedFolder(tmp_path) as folder:
        folder._taken = Counted()
        stems = [folder.stem_for("view1_frontal", f"{number:012x}") for number in range(300)]
    assert stems[-1] == "view1_frontal-300"
    assert Counted.asked <= 2 * 300


def test_rows_share_what_they_have_in_common(tmp_path: Path) -> None:
    with EditedFolder(tmp_path) as folder:
        add(folder, "a", "".join(["+", "1"]), "A", recipe="".join(["long", "recipe"]))
        add(folder, "a", "".join(["+", "2"]), "A", recipe="".join(["long", "recipe"]))
        first, second = folder.rows_of("a", ["+1", "+2"], "longrecipe")
    assert first["recipe"] is second["recipe"]
    assert dict(second)["file"] == "a_+2.png"
