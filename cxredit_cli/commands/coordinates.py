"""The coordinates of --metric for a file of codes, for the commands that have the option."""

from pathlib import Path
from typing import TYPE_CHECKING

from cxredit_cli.commands.console import ConsoleProgress

if TYPE_CHECKING:
    from cxredit_cli.latent.visible import Floats, Metric
    from cxredit_cli.storage.codes import Codes


def load_coordinates(
    codes: "Codes", metric: "Metric", model: Path | None, anatomy: Path | None, device: str
) -> "Floats | None":
    """By the model that the codes belong to, which is loaded for it; None for the codes as they are.

    Raises MismatchError for another model.
    """
    if metric == "codes":
        return None
    from cxredit_cli.devices import resolve_device
    from cxredit_cli.latent.visible import space_of, visible_coordinates
    from cxredit_cli.storage.anatomy_network import load_anatomy
    from cxredit_cli.storage.models import load_model

    on = resolve_device(device)
    loaded = load_model(model, on, parts=("generator",))
    codes.check_generator(loaded.fingerprint)
    network = load_anatomy(anatomy, on) if metric == "anatomy" else None
    return visible_coordinates(loaded, space_of(codes.header.num_ws), metric, network, ConsoleProgress())
