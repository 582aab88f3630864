"""What `cxredit apply` says of its edits."""

from pathlib import Path
from typing import TYPE_CHECKING

from cxredit_cli.commands.at_the_door import suspects_document
from cxredit_cli.commands.console import stderr, stdout

if TYPE_CHECKING:
    from cxredit_cli.editing.edit_run import ApplyReport

SHOWN = 12  # images; more are summed up


def apply_document(report: "ApplyReport", output: Path, direction: Path) -> dict[str, object]:
    """A run as a JSON document."""
    return {
        "output": str(output),
        "manifest": str(output / "manifest.csv"),
        "direction": str(direction),
        "images_edited": report.edited,
        "images_refused": report.refused_images,
        "images_already_done": report.already_done,
        "edits": [dict(row) for row in report.rows],
        "missed": [dict(row) for row in report.missed],
        "refused": [dict(row) for row in report.refused],
        "suspects": suspects_document(report.suspects),
        "failed": [{"source": name, "reason": reason} for name, reason in report.failed],
    }


def print_report(report: "ApplyReport", output: Path, sheets: bool) -> None:
    """Name the first edits, and count the images."""
    for row in report.rows[:SHOWN]:
        known = [f"{float(row['psnr']):.1f} dB"] if row["psnr"] else []
        known += [f"SSIM {float(row['ssim']):.3f}"] if row["ssim"] else []
        fidelity = f"reconstruction {', '.join(known)}, " if known else ""
        share = f"{float(row['mean_abs_change']):.2%}" if row["mean_abs_change"] else "an unknown part"
        change = f"edit changes {share} of the grey range on average"
        before = (row["carried"] and row["film_ctr"]) or row["reconstruction_ctr"]
        reached = f"CTR {before} to {row['ctr']}, " if row["target_ctr"] else ""
        stdout.print(f"{output / row['file']}: {reached}{fidelity}{change}", markup=False)
    if len(report.rows) > SHOWN:
        stdout.print(f"and {len(report.rows) - SHOWN} more in {output / 'manifest.csv'}", markup=False)
    kept = f", {report.already_done} were there already" if report.already_done else ""
    why = "could not be read or measured" if report.rows and report.rows[0]["target_ctr"] else "could not be read"
    failed = f", {len(report.failed)} {why}" if report.failed else ""
    written = "sheets and manifest.csv are" if sheets else "manifest.csv is"
    refused = f", {report.refused_images} refused" if report.refused_images else ""
    stdout.print(f"{report.edited} images edited{refused}{kept}{failed}; {written} in {output}", markup=False)


def print_refused(report: "ApplyReport", strict: bool) -> None:
    """Name the films whose edits were refused, once each, with the first reason and the strengths that it holds for."""
    from cxredit_cli.anatomy.measures import CUT_OFF

    first: dict[str, tuple[str, list[str]]] = {}
    for row in report.refused:
        reason, strengths = first.setdefault(row["source"], (row["refused"], []))
        if row["refused"] == reason:
            strengths.append(row["strength"])
    for name, (reason, strengths) in list(first.items())[:SHOWN]:
        hint = " (--fit pad keeps the sides of a film that is wider than high)" if CUT_OFF in reason else ""
        stderr.print(f"{name}: not edited at {', '.join(strengths)}: {reason}{hint}", markup=False)
    if len(first) > SHOWN:
        stderr.print(f"and {len(first) - SHOWN} more films, see refused in manifest.csv")
    if first:
        instead = "nothing was written" if strict else "the generator's pictures (_model) stand for them"
        stderr.print(f"Refused: {len(report.refused)} of the edits, of {len(first)} of the films; {instead}.")


def print_goal(report: "ApplyReport", limit: float) -> None:
    """Say how many edits have the ratio that was asked for, and what the first of the others came to."""
    stdout.print(
        f"The CTR asked for was reached in {len(report.rows) - len(report.missed)} of {len(report.rows)} edits."
    )
    for row in report.missed[:SHOWN]:
        near = f"the nearest within a strength of {limit:g} that keeps a plausible chest is {row['ctr']}"
        if row["carried"]:  # the border could not be moved as far
            near = f"the film itself came to {row['ctr'] or 'outlines that cannot be right'}"
        asked = f"{row['source']}: asked for a CTR of {row['target_ctr']}, {near} at {row['strength']}"
        stderr.print(asked, markup=False)
    if len(report.missed) > SHOWN:
        stderr.print(f"and {len(report.missed) - SHOWN} more, see target_ctr and ctr in manifest.csv")
