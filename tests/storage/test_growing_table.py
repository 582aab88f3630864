"""A table that a kill may cut off anywhere."""

from pathlib import Path

from cxredit_cli.storage.growing_table import GrowingTable

COLUMNS = ("name", "what")
ROWS = [("a", "plain"), ("b", 'with "quotes", commas\nand lines'), ("", ""), ("d", "é")]


def test_cut_off_anywhere_the_whole_rows_are_left_and_others_follow(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with GrowingTable(path, COLUMNS) as table:
        ends = [0]
        for row in ROWS:
            table.append(row)
            ends.append(path.stat().st_size)
    content = path.read_bytes()
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        whole = sum(length >= end for end in ends[1:])
        with GrowingTable(path, COLUMNS) as table:
            assert not table.is_another()
            assert list(table.rows()) == ROWS[:whole]
            table.append(("e", "later"))
            table.append(("f", "and later"))
        assert list(GrowingTable(path, COLUMNS).rows()) == [*ROWS[:whole], ("e", "later"), ("f", "and later")]


def test_another_table_is_told(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n")
    assert GrowingTable(path, COLUMNS).is_another()
    assert not GrowingTable(tmp_path / "none.csv", COLUMNS).is_another()
    assert list(GrowingTable(tmp_path / "none.csv", COLUMNS).rows()) == []


def test_what_is_no_text_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with GrowingTable(path, COLUMNS) as table:
        table.append(("caf\udce9", 3))
    assert list(GrowingTable(path, COLUMNS).rows()) == [(r"caf\udce9", "3")]
