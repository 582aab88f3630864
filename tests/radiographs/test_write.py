"""PNGs that say what they are, whole or not at all."""

import numpy as np
import pytest
from PIL import Image

from cxredit_cli.radiographs.write import write_png
from cxredit_cli.storage.atomic import write_text, written_aside


@pytest.mark.parametrize(("bits", "white"), [(8, 255), (16, 65535)])
def test_levels_and_text(tmp_path, bits, white):
    pixels = np.array([[-0.5, 0.0, 0.5], [0.25, 1.0, 3.0]], dtype=np.float32)
    path = tmp_path / "folder" / "edited.png"
    write_png(path, pixels, {"Comment": "synthetic, not a patient", "cxredit:model": "größer → ß"}, bits=bits)
    image = Image.open(path)
    assert np.asarray(image).tolist() == [[0, 0, round(white / 2)], [round(white / 4), white, white]]
    assert image.text["Comment"] == "synthetic, not a patient"
    assert image.text["cxredit:model"] == "größer → ß"
    assert image.text["Software"].startswith("cxredit ")
    assert b"tEXtComment" in path.read_bytes()
    assert [file.name for file in path.parent.iterdir()] == ["edited.png"]


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def fail() -> None:
        with written_aside(path) as aside:
            aside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
