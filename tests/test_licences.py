"""What pip installs with cxredit may be passed on under its own licence: nothing of it is under the GPL."""

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def installed_with(name: str, seen: set[str]) -> Iterator[str]:
    """The distribution and all that it requires by default."""
    if canonicalize_name(name) in seen:
        return
    seen.add(canonicalize_name(name))
    try:
        found = distribution(name)
    except PackageNotFoundError:  # of another platform
        return
    yield name
    for text in found.requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield from installed_with(requirement.name, seen)


def licence_of(name: str) -> str:
    """What a distribution says of its licence, in a line."""
    metadata = distribution(name).metadata
    stated = [metadata.get("License-Expression", ""), metadata.get("License", "").split("\n")[0]]
    return " ".join([*stated, *(text for text in metadata.get_all("Classifier", []) if text.startswith("License"))])


def test_no_default_requirement_is_under_the_gpl():
    names = list(installed_with("cxredit", set()))
    assert "imagecodecs" in names
    assert len(names) > 20
    gpl = {name: licence_of(name) for name in names if re.search(r"\bA?GPL|GNU (Affero )?General", licence_of(name))}
    assert gpl == {}
    assert "pylibjpeg-libjpeg" not in names  # GPL-3, and it does not always say so
