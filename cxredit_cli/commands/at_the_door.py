"""What commands that take images share: the door that looks at each, and what they say of suspects."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cxredit_cli.commands.console import stderr

if TYPE_CHECKING:
    from cxredit_cli.intake.door import Door, Suspect

NAMED = 12


def open_door(on_suspect: str, right: bool, device: object) -> "Door":
    """The door with the bundled network; raises InputError for an `--on-suspect` that there is not."""
    from cxredit_cli.intake.door import Door, check_on_suspect
    from cxredit_cli.storage.intake_network import load_intake

    return Door(load_intake(device=device), check_on_suspect(on_suspect), right)  # type: ignore[arg-type]


def say_suspects(suspects: "Sequence[Suspect]") -> None:
    """Name the first suspects that were marked or righted; those that were skipped are named with the failures."""
    told = [suspect for suspect in suspects if suspect.done != "skipped"]
    for suspect in told[:NAMED]:
        end = ", righted" if suspect.done == "righted" else ""
        stderr.print(f"{suspect.name}: {suspect.verdict.words}{end}", markup=False)
    if len(told) > NAMED:
        stderr.print(f"and {len(told) - NAMED} more images that look wrong")
    rightable = sum(suspect.verdict.kind in ("turned", "negative") for suspect in told if suspect.done == "marked")
    if rightable:
        stderr.print(f"{rightable} of them would be put right by --right.")


def suspects_document(suspects: "Sequence[Suspect]") -> list[dict[str, str]]:
    """The suspects as they stand in a JSON document."""
    return [{"source": one.name, "problem": one.verdict.words, "done": one.done} for one in suspects]
