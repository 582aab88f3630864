"""What of the patient a DICOM film shows, from where, and how it lies: body part, view, orientation, pixel spacing."""

from typing import Any

import numpy as np
import pydicom

from cxredit_cli.errors import UnreadableImageError
from cxredit_cli.radiographs.layout import LIES, Layout, turn

TAGS = (
    *("ViewPosition", "ViewCodeSequence", "BodyPartExamined", "AnatomicRegionSequence", "PatientOrientation"),
    *("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
)
# PS3.3 C.8.11.5.1.1 and what archives write beside it.
LATERAL = frozenset({"LL", "RL", "LATERAL", "LAT", "LLAT", "RLAT", "L LAT", "R LAT", "LEFT LATERAL", "RIGHT LATERAL"})
OBLIQUE = frozenset({"RLO", "LLO", "RAO", "LAO", "RPO", "LPO", "OBLIQUE"})
DECUBITUS = frozenset({"LLD", "RLD", "DECUBITUS"})
# SNOMED codes of views (PS3.16 CID 4010), both of today and of SNOMED RT.
LATERAL_CODES = frozenset({"399067008", "399173006", "399198007", "R-10228", "R-10236", "R-10232"})
# PS3.16 annex L: body parts beside the chest. A part that is not listed is taken: names are free in real archives.
# fmt: off
OTHER_PARTS = frozenset((
    "ABDOMEN", "ANKLE", "ARM", "BLADDER", "BREAST", "BUTTOCK", "CALCANEUS", "CALF", "CSPINE", "CTSPINE", "ELBOW",
    "EXTREMITY", "FACE", "FEMUR", "FINGER", "FOOT", "FOREARM", "HAND", "HEAD", "HIP", "HUMERUS", "JAW", "KNEE",
    "LEG", "LSPINE", "LSSPINE", "MANDIBLE", "MAXILLA", "NECK", "NOSE", "ORBIT", "PATELLA", "PELVIS", "RADIUS",
    "SACRUM", "SCAPULA", "SHOULDER", "SINUS", "SKULL", "SPINE", "STERNUM", "THIGH", "THUMB", "TIBIA", "TMJ", "TOE",
    "TSPINE", "TLSPINE", "ULNA", "WRIST",
))
# fmt: on
MOST_UNEVEN = 8.0  # of a pixel's sides; beyond it the tag is wrong
EVEN = 0.01
BY_ORIENTATION = "PatientOrientation"  # what `reading` says where the tag turned the film


def refuse_other_views(dataset: pydicom.Dataset) -> None:
    """Raise UnreadableImageError for what its tags call no frontal film of a chest."""
    part = str(dataset.get("BodyPartExamined") or "").strip().upper()
    if part in OTHER_PARTS:
        raise _other(f"it is a film of another part of the body (BodyPartExamined {part})")
    view = str(dataset.get("ViewPosition") or "").strip().upper()
    codes = {str(item.get("CodeValue", "")) for item in dataset.get("ViewCodeSequence") or []}
    from_the_side = {letter for value in _orientation(dataset) for letter in value[:1]} & {"A", "P"}
    if view in LATERAL or codes & LATERAL_CODES:
        raise _other(f"it is a lateral film (ViewPosition {view})" if view in LATERAL else "it is a lateral film")
    if view in OBLIQUE | DECUBITUS:
        kind = "an oblique" if view in OBLIQUE else "a decubitus"
        raise _other(f"it is {kind} film (ViewPosition {view})")
    if from_the_side:
        written = "\\".join(_orientation(dataset))
        raise _other(f"it is seen from the side (PatientOrientation {written})")


def _other(what: str) -> UnreadableImageError:
    return UnreadableImageError(f"{what}; expected a frontal film of a chest (--any-view takes it all the same).")


def layout_of(dataset: pydicom.Dataset, reading: list[str]) -> Layout:
    """How the stored matrix lies, by PatientOrientation (PS3.3 C.7.6.1.1.1), and the shape of its pixels.

    A frontal film is brought to L\\F: the patient's left at the right, the feet below.
    """
    lies = _lies(_orientation(dataset))
    if lies:
        written = "\\".join(_orientation(dataset))
        reading.append(f"{BY_ORIENTATION} {written}: {LIES[lies]}, righted")
    return Layout(lies, _aspect(dataset, reading))


def _orientation(dataset: pydicom.Dataset) -> tuple[str, ...]:
    """Where rows and columns point, in capitals; () where the tag is missing or no pair of letters."""
    value = dataset.get("PatientOrientation")
    if value is None or isinstance(value, str) or len(value) != 2:
        return ()
    return tuple(str(one).strip().upper() for one in value)


def _lies(orientation: tuple[str, ...]) -> int:
    """The index of LIES; 0 for what is no frontal orientation."""
    if not all(orientation):
        return 0
    return _LIES_OF.get(tuple(value[:1] for value in orientation), 0)


def _directions(lies: int) -> tuple[str, ...]:
    """Where rows and columns of an upright film, laid so, point."""
    sides = np.array([["", "H", ""], ["R", "", "L"], ["", "F", ""]])
    laid = turn(sides, lies)
    return str(laid[1, 2]), str(laid[2, 1])


_LIES_OF = {_directions(lies): lies for lies in range(len(LIES))}


def _aspect(dataset: pydicom.Dataset, reading: list[str]) -> tuple[float, float]:
    """Height and width of a pixel over the smaller of both, by the spacing, else by the aspect ratio."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        sides = _two_numbers(dataset.get(keyword))
        if sides is None:
            continue
        uneven = max(sides) / min(sides)
        if uneven < 1 + EVEN:
            return 1.0, 1.0
        height, width = (f"{side:g}" for side in sides)
        if uneven > MOST_UNEVEN:
            reading.append(f"{keyword} {height}/{width} ignored")
            continue
        reading.append(f"pixels of {height} x {width} made square")
        return sides[0] / min(sides), sides[1] / min(sides)
    return 1.0, 1.0


def _two_numbers(value: Any) -> tuple[float, float] | None:
    try:
        first, second = (float(one) for one in value)
    except (TypeError, ValueError):
        return None
    return (first, second) if np.isfinite([first, second]).all() and first > 0 and second > 0 else None
