"""Disease-aware editing of chest X-rays, for research and education, not for diagnosis.

`import cxredit_cli as cx` gives a notebook what `cxredit_cli.api` holds, loaded when it is first asked for.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

try:
    __version__ = version("cxredit")
except PackageNotFoundError:  # sources that were never installed
    __version__ = "0+unknown"

if TYPE_CHECKING:
    from cxredit_cli.api import (
        BUNDLED_RADIOGRAPH,
        Anatomy,
        ClassifierScore,
        Codes,
        Direction,
        EditedFilm,
        Explanation,
        Inverted,
        Model,
        Radiograph,
        Separability,
        direction_from_labels,
        edit,
        edit_film,
        explain,
        generate,
        invert,
        lda,
        load_classifier,
        load_direction,
        load_model,
        look,
        measure,
        read_codes,
        read_film,
        read_radiograph,
        visible_coordinates,
        write_codes,
        write_direction,
    )

__all__ = [
    "BUNDLED_RADIOGRAPH",
    "Anatomy",
    "ClassifierScore",
    "Codes",
    "Direction",
    "EditedFilm",
    "Explanation",
    "Inverted",
    "Model",
    "Radiograph",
    "Separability",
    "__version__",
    "direction_from_labels",
    "edit",
    "edit_film",
    "explain",
    "generate",
    "invert",
    "lda",
    "load_classifier",
    "load_direction",
    "load_model",
    "look",
    "measure",
    "read_codes",
    "read_film",
    "read_radiograph",
    "visible_coordinates",
    "write_codes",
    "write_direction",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cxredit_cli import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted(__all__)
