"""Check the page that README's main command left: that it is whole, needs no network, and that the heart grows."""

import json
import re
import sys
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import spearmanr


def main(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    loaded = re.findall(r"""<(?!a\b)[^>]*?\s(?:src|href)=["']?([^"'\s>]*)""", text)
    assert loaded, "the page shows nothing"
    assert all(reference.startswith("data:") for reference in loaded), "the page loads something from outside"
    assert "default-src 'none'" in text, "the page allows itself a network"
    assert "Not for diagnosis" in text, "the page does not say what it is"

    found = re.search(r'<script type="application/json" id="states">(.*?)</script>', text, re.DOTALL)
    assert found, "the page holds no measures"
    _, reconstruction, *edits = json.loads(found[1])
    strengths = [edit["strength"] for edit in edits]
    assert strengths == list(np.linspace(-6, 6, 25)), "the strengths are not -6..6"
    for edit in edits:
        picture = Image.open(BytesIO(b64decode(edit["image"].partition(",")[2])))
        picture.load()
        assert picture.mode == "L", f"the edit of {edit['strength']} is {picture.mode}"
        assert min(picture.size) >= 64, f"the edit of {edit['strength']} is {picture.size}"
        assert "not for diagnosis" in picture.info["Disclaimer"], "an edited picture does not say that it is one"
    assert edits[strengths.index(0)]["image"] == reconstruction["image"], "strength 0 changed the picture"

    ratios = [edit["figures"]["ctr"] for edit in edits]
    order = spearmanr(strengths, ratios).statistic
    assert order > 0.9, f"the heart does not grow along the slider: rank correlation {order:.2f}"
    assert ratios[-1] > ratios[0] + 0.05, f"the cardiothoracic ratio goes from {ratios[0]} to {ratios[-1]}"
    size = page.stat().st_size / 1e6
    print(f"{page}: {size:.1f} MB, {len(edits)} strengths, CTR {ratios[0]:.3f} to {ratios[-1]:.3f}, order {order:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
