"""Check what README's main command left: every picture of the manifest, the sheet, and what each says of itself."""

import csv
import sys
from pathlib import Path

from PIL import Image


def main(folder: Path) -> None:
    rows = list(csv.DictReader((folder / "manifest.csv").open(newline="", encoding="utf-8")))
    assert [float(row["strength"]) for row in rows] == [-9, -6, -3, 0, 3, 6, 9], "the sweep is not -9..9"
    for row in rows:
        picture = Image.open(folder / row["file"])
        picture.load()
        assert picture.mode == "L", f"{row['file']} is {picture.mode}"
        assert min(picture.size) >= 64, f"{row['file']} is {picture.size}"
        assert "not for diagnosis" in picture.info["Disclaimer"], "an edited picture does not say that it is one"
    changes = [float(row["mean_abs_change"]) for row in rows]
    assert changes[3] == 0, "strength 0 changed the picture"
    assert min(changes[0], changes[-1]) > 0.001, "the edit changed nothing"
    sheet = Image.open(folder / rows[0]["sheet"])
    sheet.load()
    psnr, ssim = rows[0]["psnr"], rows[0]["ssim"]
    print(f"{len(rows)} edits, sheet {sheet.size[0]}x{sheet.size[1]}; reconstruction {psnr} dB, SSIM {ssim}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
