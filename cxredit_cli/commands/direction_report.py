"""What `cxredit direction` prints of a direction."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxredit_cli.commands.console import stderr, stdout

if TYPE_CHECKING:
    from cxredit_cli.separability.cohort import Cohort
    from cxredit_cli.storage.directions import Direction

NAMED = 5
SHOWN_MEASURES = ("heart_area", "heart_width", "thorax_width", "right_lung_height", "left_lung_height", "grey_p50")


def document(direction: "Direction", output: Path) -> dict[str, object]:
    """For --json."""
    return {
        "output": str(output),
        "name": direction.name,
        "method": direction.method,
        "shape": direction.direction.shape,
        "fingerprint": direction.fingerprint,
        "statistics": direction.statistics,
    }


def print_found(direction: "Direction", output: Path) -> None:
    """Say what was found and how well it holds up."""
    figures = direction.statistics
    stdout.print(f"{output}: {direction.name} ({direction.method})", markup=False)
    if "relative_distance" in figures:
        _print_pair(figures)
    elif "pairs" in figures:
        _print_pairs(figures)
    elif "auc" in figures:
        _print_labelled(figures)
    elif "rise_per_unit" in figures:
        _print_measured(figures)
    for other, value in figures.get("orthogonal_to", {}).items():
        stdout.print(f"  now orthogonal to {other}; the cosine was {value:+.2f}", markup=False)
    stdout.print("  `cxredit direction calibrate` measures what one unit of strength does", markup=False)


def print_carried(found: dict[str, Any]) -> None:
    """Say how edits along a direction are carried over to films."""
    how = "moving the border of the heart" if found["kind"] == "border" else "adding what changes in tone"
    stdout.print(
        f"Edits are carried over to films by {how}: {found['share_at_heart_border']:.0%} of the change lies along the "
        f"heart's border ({found['images']} generated images)",
        markup=False,
    )


def print_calibration(what: str, found: dict[str, Any]) -> None:
    """Say what one unit of strength does, and the curve of the CTR."""
    from rich.table import Table

    per_unit = found["per_unit"]
    stdout.print(
        f"{what}, {found['what']}: one unit of strength adds {found['slope']:+.4f} to the CTR "
        f"(standard deviation over images {found['slope_deviation']:.4f}); it rises from end to end in "
        f"{found['rising_overall']:.0%} of the images, at every step in {found['rising_at_every_step']:.0%}",
        markup=False,
    )
    others = ", ".join(f"{name} {per_unit[name]:+.4f}" for name in SHOWN_MEASURES)
    stdout.print(f"  and per unit: {others} (lengths, areas and grey as fractions)", markup=False)
    table = Table("strength", "CTR", "deviation", "change", "deviation", "plausible")
    columns = [found[key] for key in ("strengths", "ctr", "ctr_deviation", "ctr_change", "ctr_change_deviation")]
    for strength, ctr, spread, change, change_spread, plausible in zip(*columns, found["plausible"], strict=True):
        row = (f"{strength:+g}", f"{ctr:.3f}", f"{spread:.3f}", f"{change:+.3f}", f"{change_spread:.3f}")
        table.add_row(*row, f"{plausible:.0%}")
    stdout.print(table)
    stdout.print(
        f"  {found['used']} of {found['images']} images were plausible at every strength and enter all figures"
    )


def print_left_out(cohort: "Cohort") -> None:
    """Say on stderr which codes took no part, and why."""
    if not cohort.patients_known:
        stderr.print("The labels name no patients, so each image counts as its own patient.")
    if cohort.edited:
        stderr.print(
            f"{cohort.edited} of the {len(cohort.rows)} codes are of edited images, not of films as they were taken."
        )
    if cohort.neither:
        stderr.print(f"{cohort.neither} codes have neither label and are left out.")
    unsure = (cohort.uncertain, "have a label that is uncertain (--uncertain counts them)")
    for names, why in ((cohort.unlabelled, "have no label"), (cohort.both, "have both labels"), unsure):
        if names:
            shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
            stderr.print(f"{len(names)} codes {why} and are left out: {shown}", markup=False)


def _print_pair(figures: dict[str, Any]) -> None:
    stdout.print(
        f"  reconstructions: {figures['psnr_original']:.1f} dB original, {figures['psnr_edited']:.1f} dB edited"
    )
    stdout.print(
        f"  the codes differ by {figures['length']:.3g} (the strength that leads from one to the other): "
        f"{figures['relative_distance']:.1%} of the distance of two random codes, "
        f"{figures['deviations']:.2f} standard deviations a dimension"
    )
    if figures["against_repeat"] is not None:
        stdout.print(
            f"  that is {figures['against_repeat']:.1f} times what invisible noise in the original does to its code"
        )


def _print_pairs(figures: dict[str, Any]) -> None:
    stdout.print(
        f"  {figures['pairs']} pairs, their codes {figures['mean_length']:.3g} apart on average (standard deviation "
        f"{figures['length_deviation']:.3g}); reconstructions {figures['mean_psnr']:.1f} dB"
    )
    if figures["mean_leave_one_out"] is not None:
        stdout.print(
            f"  each pair against the others: cosine {figures['mean_leave_one_out']:.2f} on average, "
            f"{figures['lowest_leave_one_out']:.2f} at worst (chance {figures['chance_cosine']:.2f} either way); "
            f"spread {figures['spread_degrees']:.0f} degrees about the mean direction"
        )


def _print_labelled(figures: dict[str, Any]) -> None:
    low, high = figures["auc_interval"]
    stdout.print(
        f"  {figures['positive']}: {figures['positives']} images of {figures['positive_patients']} patients; "
        f"{figures['negative']}: {figures['negatives']} of {figures['negative_patients']}",
        markup=False,
    )
    stdout.print(
        f"  ROC AUC {figures['auc']:.3f} ({low:.3f} to {high:.3f}) on held-out patients in {figures['folds']} folds, "
        f"p = {figures['p_value']:.2g}; {figures['auc_in_sample']:.3f} in sample"
    )
    if "controls" in figures:
        stdout.print(f"  controlled for {'; '.join(figures['controls'])}", markup=False)
        stdout.print(
            f"  without control the AUC is {figures['auc_without_controls']:.3f}, the controls alone reach "
            f"{figures['auc_of_controls_alone']:.3f}; they explain {figures['controls_explain_of_codes']:.1%} of the "
            f"codes; cosine with the uncontrolled direction {figures['cosine_without_controls']:.2f}"
        )
        if figures["without_control_values"]:
            stdout.print(f"  {figures['without_control_values']} codes lack a control's value and are left out")
    stdout.print(f"  a strength of {figures['class_gap']:.3g} leads from the mean of one class to that of the other")


def _print_measured(figures: dict[str, Any]) -> None:
    stdout.print(
        f"  by {figures['images']:.0f} generated images one unit of strength adds {figures['rise_per_unit']:.3g}; "
        f"cosine with the direction that holds nothing: {figures['cosine_with_uncontrolled']:.2f}"
    )
    if "cosine_of_halves" in figures:
        line = f"  two halves of the images give directions of cosine {figures['cosine_of_halves']:.2f}"
        if figures["elsewhere_per_rise_uncontrolled"] > 0:  # a tone is of the whole picture: nothing is elsewhere
            spared = 1 - figures["elsewhere_per_rise"] / figures["elsewhere_per_rise_uncontrolled"]
            line += f"; at an equal rise the picture elsewhere changes {spared:.0%} less than along the one that holds "
            line += "nothing"
        stdout.print(line)
    known = "  ".join(f"{key.removeprefix('r2_')} {value:.2f}" for key, value in figures.items() if key[:3] == "r2_")
    if known:
        stdout.print(f"  how well codes predict each measure (cross-validated R2): {known}", markup=False)
