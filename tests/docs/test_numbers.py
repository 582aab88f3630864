"""Measured figures come onto a page from a table, never by hand: numbers typed in sentences are looked for."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [str(path.relative_to(ROOT)) for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]]
UNITS = (
    *("%", "percent", "dB", "AUC", "us", "ms", "s", "seconds?", "minutes?", "min", "hours?", "kB", "MB", "GB", "GB/s"),
    *("TFLOP(?:/s)?", "kimg", "times", "images a second", "films an hour", "seconds a film"),
)
# Digits with a unit, or a decimal below 1, which is how shares, areas and errors are written.
MEASURED = re.compile(
    rf"(?<![\w.^/-])(?:[-+]?\d[\d.,]*(?:\s|-)?(?:{'|'.join(UNITS)})(?![\w-])|[-+]?0?\.\d+(?![\w.]*\d))"
)
# What may be typed, as it stands on the page, and why. An entry that stands there no longer is an error too.
ALLOWED = {
    "limits that the program is written with": {
        "docs/explanation/explaining.md": ["no longer than 0.7 of"],
        "docs/explanation/films.md": ["(0.25 to 2 times)"],
        "docs/explanation/inversion.md": ["0.02 (1 - SSIM)"],
        "docs/explanation/separability.md": ["from 0.01 to 0.9 are tried"],
        "docs/how-to/directions.md": ["within 0.005,", "1.5 times the end"],
        "docs/how-to/edit-films.md": ["than 0.12 of the film's side"],
        "docs/how-to/invert.md": ["by 40 % of that"],
        "docs/how-to/many-devices.md": ["within 30 seconds"],
        "docs/how-to/reading.md": ["(0.1 to 99.9 percent)"],
        "docs/how-to/train.md": ["every 2 kimg"],
        "docs/results/beyond-the-heart.md": ["AUC of at least 0.8", "AUC reaches 0.8"],
        "docs/results/performance.md": ["may differ by 1 %"],
        "docs/results/reproduction.md": ["rises by 0.05 with"],
        "docs/tutorials/study.md": ["within 0.005,"],
    },
    "what a test of the suite holds": {"docs/explanation/separability.md": ["above 0.95 in the tests"]},
    "arithmetic and definitions": {
        "docs/explanation/directions.md": ["its 95 % bootstrap interval"],
        "docs/explanation/many-devices.md": ["64 times what they need"],
        "docs/how-to/directions.md": ["A cosine of 0.04 is"],
        "docs/how-to/edits-as-data.md": ["CTR 0.52 is a large one"],
        "docs/results/augmentation.md": ["figures are below 0.5:"],
        "docs/tutorials/own-disease.md": ["0.5 is no better than a coin", "is near 0.5,"],
    },
    "the words of others": {
        "docs/explanation/method.md": ["over 90 % accuracy"],
        "docs/tutorials/study.md": ["line is 0.5, the usual limit"],
    },
}


def sentences(text: str) -> str:
    """A page without its code, addresses, tables, quotations and what is filled in from measured tables."""
    text = re.sub(r"^```.*?^```|<!--.*?-->|\{\{.*?\}\}|\{%.*?%\}", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|https?://\S+|\{[^}]*\}", "", text)
    return "\n".join(line for line in text.splitlines() if not line.startswith(("|", "    ", ">")))


def allowed_on(name: str) -> list[str]:
    """What may be typed on a page."""
    return [words for pages in ALLOWED.values() for words in pages.get(name, [])]


def typed(text: str, allowed: list[str]) -> list[str]:
    """The measured-looking numbers in the sentences of a page, each with the words round it."""
    text = sentences(text)
    places = [(m.start(), m.end()) for words in allowed for m in re.finditer(re.escape(words), text)]
    return [
        text[max(0, found.start() - 40) : found.end() + 20]
        for found in MEASURED.finditer(text)
        if not any(start <= found.start() and found.end() <= end for start, end in places)
    ]


def test_what_is_looked_for_is_found() -> None:
    for sentence in (
        "It reaches 31.1 dB.",
        "It rises in 92 % of the patients.",
        "An AUC of 0.81 was found.",
        "A film takes 4 s, or 0.3 s.",
        "Errors are .018 at most.",
        "In all 21.5 seconds.",
        "-0.4 at the left",
    ):
        assert typed(sentence, []), sentence
    for fine in (
        "The film has 128x128 pixels.",
        "See arXiv 2109.01071.",
        "Python 3.11 or newer",
        '{{ cell("dose", "8", "CTR") }} of them',
        "`--strength 0.5` is",
        "| 0.5 s |",
        "a strength of 12",
    ):
        assert not typed(fine, []), fine
    assert len(typed("It takes 4 s. It is written every 2 kimg.", ["every 2 kimg"])) == 1


@pytest.mark.parametrize("name", PAGES)
def test_no_measured_number_is_typed_in_a_sentence(name: str) -> None:
    assert typed((ROOT / name).read_text(), allowed_on(name)) == []


@pytest.mark.parametrize("name", sorted({name for pages in ALLOWED.values() for name in pages}))
def test_what_is_allowed_stands_there(name: str) -> None:
    text = sentences((ROOT / name).read_text())
    assert [words for words in allowed_on(name) if words not in text] == []
