"""How `cxredit evaluate` prints its sections."""

from typing import TYPE_CHECKING, Any

from cxredit_cli.commands.console import stderr, stdout

if TYPE_CHECKING:
    from cxredit_cli.evaluation.realism import Realism, Value


def say(text: str = "") -> None:
    """One line as it is."""
    stdout.print(text, markup=False, highlight=False)


def notes(section: dict[str, Any]) -> None:
    """What stands against a section's figures, to stderr."""
    for note in section.get("notes", []):
        stderr.print(note, markup=False)


def print_realism(found: "Realism") -> None:
    """A line a figure."""

    def value(value: "Value | None") -> str:
        return "" if value is None else f"{value.mean:.4g} ± {value.spread:.2g}"

    say(
        f"{found.images} real images ({found.split}, {found.patients} patients) in halves of {found.half}, "
        f"{found.images} generated, {found.halvings} halvings"
    )
    others = any(figure.others is not None for figure in found.figures)
    line = "{:30}{:10}{:>19}{:>19}{:>7}" + ("{:>19}" if others else "")
    say(line.format("", "better", "generated", "two real halves", "ratio", "other patients"))
    for figure in found.figures:
        name = figure.name.replace("_", " ") + (f", {figure.features}" if figure.features else "")
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        better = "as real" if figure.better == "as the floor" else figure.better
        cells = (name, better, value(figure.generated), value(figure.floor), ratio, value(figure.others))
        say(line.format(*cells))
    for name, weights in found.networks.items():
        say(f"{name}: {weights}")
    for note in found.notes:
        stderr.print(note, markup=False)


def print_dose(section: dict[str, Any]) -> None:
    """The curve, what was asked, and the null."""
    cohort, direction = section["cohort"], section["direction"]
    say(
        f"Dose-response of {direction['name']} ({direction['method']}) on {cohort['images']} scans, one a patient: "
        f"{cohort['view']}, {cohort['label']}, {cohort['split']}; codes by {cohort['codes']}"
    )
    say(f"{section['used']} of them have plausible outlines at every strength; the judge measured these")
    if not section["used"]:
        notes(section)
        return
    changes, pixels, identity = section["changes"], section["pixels"], section["identity"]
    columns = {
        "strength": [f"{strength:+g}" for strength in section["strengths"]],
        "CTR": [
            f"{mean:.3f} ± {spread:.3f}"
            for mean, spread in zip(section["ctr"]["mean"], section["ctr"]["deviation"], strict=True)
        ],
        **{
            title: [f"{value:+.1%}" for value in changes[name]["mean"]]
            for title, name in (
                ("heart area", "heart_area"),
                ("thorax", "thorax_width"),
                ("r. height", "right_lung_height"),
                ("l. height", "left_lung_height"),
                ("lungs beside", "lung_area_outside_heart"),
                ("grey", "grey_median"),
            )
        },
        "in heart": [f"{value:.3f}" for value in pixels["inside_heart"]],
        "beside": [f"{value:.3f}" for value in pixels["outside_heart"]],
        "rank 1": [f"{value:.0%}" for value in identity["originals"]],
    }
    widths = [max(len(title), *map(len, cells)) + 2 for title, cells in columns.items()]
    for row in (columns, *zip(*columns.values(), strict=True)):
        say("".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))
    for check in section["checks"]:
        found = check["found"]
        text = (
            "not reached"
            if found is None
            else ("yes" if found else "no")
            if isinstance(found, bool)
            else f"{found:.3g}"
        )
        mark = {True: "held", False: "NOT HELD", None: "not to be told"}[check["held"]]
        say(f"{check['what']:42}{text:>12}  {mark} (asked: {check['asked']})")
    for null in section["null"]:
        if null["largest"] is not None:
            times = (
                "" if null["times_the_largest"] is None else f", this one {null['times_the_largest']:.1f} times that"
            )
            say(
                f"{null['directions']} random directions, {null['kind']}: end to end the CTR changes by "
                f"{null['largest']:.3f} at most{times}; monotone in {max(null['monotone']):.0%} of the patients at most"
            )
    notes(section)
