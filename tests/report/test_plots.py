"""The plot of separability."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxredit_cli.report.plots import plot_separability
from cxredit_cli.separability.lda import lda


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_plot_is_written(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    positive = np.arange(60) < 20
    found = lda(rng.standard_normal((60, 8)), positive, [str(i) for i in range(60)], permutations=20)
    path = tmp_path / f"lda{suffix}"
    plot_separability(path, found, positive, ("No Finding", "Cardiomegaly"), "Cardiomegaly against No Finding")
    if suffix == ".svg":
        assert "<svg" in path.read_text()
    else:
        with Image.open(path) as image:
            assert image.width > 800
            assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 20
    assert path.stat().st_size < 100_000
