"""Make the pictures of Start and Tutorials from the bundled films: the commands of those pages, run and photographed.

    python docs/tools/make_pictures.py            # -> docs/images; a minute of one core, and Chromium for demo.png

The measured figures' pictures come from elsewhere: results/reproduction from examples/reproduce_figure.py, and
explanation/separability_of_noise.png from examples/separability_of_noise.py --plot.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parents[1]
IMAGES = DOCS / "images"
FILM = DOCS.parent / "examples" / "data" / "00000018_000.png"
OTHER = DOCS.parent / "cxredit_cli" / "bundled" / "radiographs" / "00000318_002.png"
PICTURES = ("edit.png", "sheet.png", "outlines.png", "demo.png", "ratio.png")
SIDE, GAP = 640, 12  # pixels of a film on a page


def cxredit(*words: str | Path, folder: Path) -> None:
    """Run a command as a reader would, in `folder`."""
    subprocess.run([sys.executable, "-m", "cxredit_cli", *map(str, words)], cwd=folder, check=True)


def beside(*paths: Path) -> Image.Image:
    """Pictures in a row, of one height."""
    tiles = [Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS) for path in paths]
    row = Image.new("RGB", (len(tiles) * (SIDE + GAP) - GAP, SIDE), "white")
    for i, tile in enumerate(tiles):
        row.paste(tile, (i * (SIDE + GAP), 0))
    return row


def main() -> None:
    """Make all of PICTURES."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "films").mkdir()
        for film in (FILM, OTHER):
            shutil.copy(film, folder / "films")
        cxredit("invert", "films", folder=folder)
        cxredit("apply", "codes.h5", "--films", "films", "--sweep", "-6:6:5", folder=folder)
        edited = folder / "edited"
        beside(FILM, edited / f"{FILM.stem}_+6.png").convert("L").save(IMAGES / "edit.png", optimize=True)
        sweep = ("--sweep", "-6:6:3", "-o", "three")
        cxredit("apply", "codes.h5", "--films", "films", *sweep, folder=folder)
        sheet = Image.open(folder / "three" / f"{FILM.stem}_sheet.png").convert("RGB")
        sheet.thumbnail((1400, 1400), Image.Resampling.LANCZOS)
        sheet.save(IMAGES / "sheet.png", optimize=True)
        cxredit("measure", FILM, edited / f"{FILM.stem}_+6.png", "--overlay", "outlines", folder=folder)
        drawn = sorted((folder / "outlines").glob("*.png"), key=lambda path: "+6" in path.name)
        beside(*drawn).quantize(64).save(IMAGES / "outlines.png", optimize=True)
        cxredit("measure", "edited", "--anatomy", "judge", "-o", "after.csv", folder=folder)
        program = re.search(r"```python\n(.*?)```", (DOCS / "tutorials" / "study.md").read_text(), re.DOTALL)
        if program is None:
            raise SystemExit("tutorials/study.md has lost its figure")
        (folder / "figure.py").write_text(program[1])
        subprocess.run([sys.executable, "figure.py"], cwd=folder, check=True)
        Image.open(folder / "figure.png").convert("RGB").quantize(32).save(IMAGES / "ratio.png", optimize=True)
        cxredit("demo", folder=folder)
        photograph(folder / "demo.html", IMAGES / "demo.png")


def photograph(page: Path, picture: Path) -> None:
    """The upper part of a page as Chromium shows it, with the slider at its end."""
    programs = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    text, found = re.subn(r'(id="strength" min="0" max="(\d+)" step="1" value=")\d+', r"\g<1>\g<2>", page.read_text())
    if found != 1:
        raise SystemExit(f"{page} has lost its slider")
    moved = page.with_name("moved.html")
    moved.write_text(text)
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,1000")
    subprocess.run([next(programs), *flags, f"--screenshot={picture}", moved.as_uri()], check=True)
    Image.open(picture).convert("RGB").quantize(128).save(picture, optimize=True)


if __name__ == "__main__":
    main()
