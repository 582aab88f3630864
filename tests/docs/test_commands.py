"""Every shell block of Start and Tutorials, typed as it is printed, in a folder with a few small films; those of the
other pages are understood by the program as they are printed."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from cxredit_cli.app import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*(DOCS / "start").glob("*.md"), *(DOCS / "tutorials").glob("*.md")])
OTHER_PAGES = [
    str(page.relative_to(DOCS))
    for page in sorted(DOCS.rglob("*.md"))
    if page not in PAGES and re.search(r"^(?:```bash|    cxredit )", page.read_text(), re.MULTILINE)
]
BLOCK = re.compile(r"(?:<!-- ([^>]*) -->\n)?```(bash|python)\n(.*?)```", re.DOTALL)
SHELL = re.compile(r"&&|[|;<>$`]|^(?!cxredit )")
ROOT_COMMAND: Any = get_command(app)


@dataclass(frozen=True)
class Block:
    """One block of a page: its lines, and whether they are run, parsed, or left to .ci/run."""

    note: str
    lines: tuple[str, ...]


def blocks(page: Path) -> list[Block]:
    """The blocks of shell on a page."""
    found = BLOCK.findall(page.read_text())
    return [
        Block(note, tuple(code.replace("\\\n", " ").strip().splitlines()))
        for note, kind, code in found
        if kind == "bash"
    ]


def words_of(line: str) -> list[str]:
    """The words after `cxredit`."""
    return shlex.split(line, comments=True)[1:]


def check_parses(line: str) -> None:
    """The words are understood: a command, and options and arguments that it has."""
    command, name, words, context = ROOT_COMMAND, "cxredit", words_of(line), None
    while hasattr(command, "commands"):
        context = command.make_context(name, words, parent=context)
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, words, parent=context)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path) -> Path:
    """A folder as a reader has it: films of both kinds with their labels, and the examples of the repository."""
    films = tmp_path / "films"
    films.mkdir()
    originals = sorted((data / "nih").glob("*.png"))
    rows = ["name,label,patient_id,view,Patient Age"]
    # Twelve films become twelve patients, half of them ill: the commands are tried, not the disease.
    for number, path in enumerate(originals, start=1):
        name = f"scan-{number:02d}.png"
        shutil.copy(path, films / name)
        rows.append(f"{name},{'Effusion' if number % 2 else 'No Finding'},p{number},PA,{40 + number}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def few(films: Path, n: int) -> None:
    """Leave the first films alone, where each is inverted by search."""
    for path in sorted(films.iterdir())[n:]:
        path.unlink()


def type_in(line: str, desk: Path) -> str:
    """Do what a line says; its output."""
    if not SHELL.search(line):
        result = CliRunner().invoke(app, words_of(line))
        assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
        return str(result.output)
    programs = desk / "bin"
    programs.mkdir(exist_ok=True)
    for name, call in (("cxredit", "-m cxredit_cli"), ("python", ""), ("python3", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {call} "$@"\n')
        (programs / name).chmod(0o755)
    paths = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", line], cwd=desk, env={**os.environ, **paths}, capture_output=True, text=True)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def follow(page: Path, desk: Path) -> None:
    """Type all lines of a page, in order."""
    for block in blocks(page):
        for line in block.lines:
            if block.note.startswith("parsed only: "):
                check_parses(line)
            elif not block.note.startswith("not run: "):
                type_in(line, desk)


def test_there_are_blocks_and_each_that_is_not_run_says_why() -> None:
    assert len(PAGES) >= 6
    notes = [block.note for page in PAGES for block in blocks(page)]
    assert len(notes) > 20
    assert all(re.fullmatch(r"(not run|parsed only): .{5,}|", note) for note in notes)
    assert sum(not note for note in notes) > len(notes) / 2


def test_a_line_that_is_wrong_is_found() -> None:
    check_parses("cxredit apply films/ --sweep -6:6:5   # five")
    for wrong in ("cxredit applies films/", "cxredit apply films/ --swep 3", "cxredit direction calibrate --nothing"):
        with pytest.raises(Exception, match=r"(?i)no such"):
            check_parses(wrong)


def test_readme_is_understood() -> None:
    lines = BLOCK.findall((ROOT / "README.md").read_text())[2][2].strip().splitlines()
    parts = [part.strip() for line in lines for part in line.partition("#")[0].split("&&")]
    typed = [part for part in parts if part.startswith("cxredit ")]
    assert len(typed) >= 8
    for part in typed:
        check_parses(part)


def calls(line: str) -> str | None:
    """What a line asks of cxredit, also by torchrun; None for other programs. The scripts that it names exist."""
    assert all((ROOT / script).exists() for script in re.findall(r"examples/\w+\.\w+", line)), line
    words = re.sub(r"^torchrun .*-m cxredit_cli ", "cxredit ", line)
    return words if words.startswith("cxredit ") else None


@pytest.mark.parametrize("name", OTHER_PAGES)
def test_lines_of_the_other_pages_are_understood(name: str) -> None:
    assert "\n    cxredit " not in (DOCS / name).read_text()  # a block that says what it is: ```bash
    for block in blocks(DOCS / name):
        for line in block.lines:
            if typed := calls(line):
                check_parses(typed)


def test_start(desk: Path) -> None:
    for page in sorted((DOCS / "start").glob("*.md")):
        follow(page, desk)
    edited = desk / "edited" / "00000018_000_+6.png"
    with Image.open(edited) as after, Image.open(ROOT / "examples" / "data" / edited.name.replace("_+6", "")) as before:
        assert after.size == before.size
        assert np.any(np.asarray(after) != np.asarray(before))
    assert len(list((desk / "outlines").iterdir())) == 2


def test_a_study_from_folder_to_figure(desk: Path) -> None:
    few(desk / "films", 1)
    page = DOCS / "tutorials" / "study.md"
    (program,) = [code for _, kind, code in BLOCK.findall(page.read_text()) if kind == "python"]
    (desk / "figure.py").write_text(program)
    follow(page, desk)
    assert len(list((desk / "edited").glob("scan-01_*.png"))) == 5 + 1
    with Image.open(desk / "figure.png") as figure:
        assert figure.size == (960, 560)


def test_your_own_model(desk: Path) -> None:
    follow(DOCS / "tutorials" / "own-model.md", desk)
    assert (desk / "dataset.h5").exists()


def test_your_own_disease(desk: Path) -> None:
    follow(DOCS / "tutorials" / "own-disease.md", desk)
    assert (desk / "lda.png").exists()
    assert (desk / "edited" / "scan-01_+0.png").read_bytes()


def test_a_cohort_overnight(desk: Path) -> None:
    few(desk / "films", 2)
    follow(DOCS / "tutorials" / "cohort.md", desk)
    assert len(list((desk / "rehearsal").glob("*_sheet.png"))) == 2
    assert (desk / "edited-together" / "manifest.csv").exists()
