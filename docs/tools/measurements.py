"""What lies in the folder of one measurement of a model, and how the tables show its figures."""

import json
from pathlib import Path
from typing import Any

from result_tables import VERSION, ResultTable

from cxredit_cli.storage.models import Model

MEASURED_BY = "examples/measure_model.sh"


def percent(share: float, digits: int | None = None) -> str:
    """A change as a share, with its sign; from ten percent on without decimals."""
    digits = (0 if abs(share) >= 0.1 else 1) if digits is None else digits
    text = f"{share:+.{digits}%}".replace("%", " %")
    return "0.0 %" if text in ("+0.0 %", "-0.0 %") else text


def whole(share: float) -> str:
    """A share of patients."""
    return f"{share:.0%}".replace("%", " %")


class Measured:
    """What lies in the folder of one measurement: its sections, and the model that they are of."""

    def __init__(self, folder: Path, model: Model) -> None:
        self.folder, self.model = folder, model

    def section(self, file: str, name: str) -> Any:
        """One section of an evaluation, or None where it was not made."""
        path = self.folder / f"{file}.json"
        return json.loads(path.read_text())[name] if path.exists() else None

    def table(self, what: str, data: str, columns: list[str], rows: list[list[str]]) -> ResultTable:
        """A table of this measurement."""
        return ResultTable(what, data, self.model.name, VERSION, MEASURED_BY, columns, rows)

    def films(self, what: str, split: str, view: str = "") -> str:
        """Films of a split of the data that the model learnt from, in words."""
        source = self.model.data_source.split(",")[0]
        whose = {"val": "unseen patients", "train": "training patients"}.get(split, f"the split {split}")
        side = self.model.generator.resolution
        size = f"{view}, {side}x{side}" if view else f"{side}x{side}"
        return f"{what} of {whose}{f' of {source}' if source else ''} ({size})"


def scans_of(measured: Measured, section: dict[str, Any], counted: int | None = None) -> str:
    """On what films a section was measured."""
    cohort = section["cohort"]
    label = f" {cohort['label']}" if cohort.get("label", "any") != "any" else ""
    which = measured.films(f"{cohort['images']}{label} films", cohort["split"], cohort["view"])
    text = f"{which}, one per patient"
    if counted is not None:
        text += f"; {counted} have plausible outlines at every strength and are counted"
    return f"{text}.{codes_of(section)}"


def codes_of(section: dict[str, Any]) -> str:
    """How the codes of a section were found, as a sentence."""
    how = section["cohort"].get("codes", "").partition(" (")[0]
    return f" Codes: {name_of(how)}." if how else ""


def name_of(way: str) -> str:
    """A way of inverting as the pages name it."""
    if way.startswith("encoder"):
        return "encoder"
    return way.replace(", w", ", W")


def interval(section: dict[str, Any]) -> str:
    """An AUC and its interval."""
    low, high = section["auc_interval"]
    return f"{section['auc']:.3f} ({low:.3f} to {high:.3f})"
