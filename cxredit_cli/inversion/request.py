"""How an image becomes a code, as far as somebody said so."""

from dataclasses import dataclass

from cxredit_cli.inversion import STEPS
from cxredit_cli.radiographs.geometry import Fit


@dataclass(frozen=True, slots=True)
class InversionRequest:
    """How images become codes first."""

    method: str | None = None
    space: str | None = None
    steps: int = STEPS
    fit_noise: bool = False
    fit: Fit = "crop"
