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
    """The curve, what goes with a rise of the CTR, and random directions."""
    cohort, direction = section["cohort"], section["direction"]
    say(
        f"Dose-response of {direction['name']} ({direction['method']}) on {cohort['images']} scans, one per patient: "
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
    if section["classifier"]:
        columns["log-odds"] = [f"{value:+.2f}" for value in section["classifier"]["log_odds"]["mean"]]
    widths = [max(len(title), *map(len, cells)) + 2 for title, cells in columns.items()]
    for row in (columns, *zip(*columns.values(), strict=True)):
        say("".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))
    say(
        f"The CTR rises at every step in {section['rising_at_every_step']:.0%} of the patients, and from the first "
        f"strength to the last in {section['rising_overall']:.0%}"
    )
    print_rise(section["at_rise"])
    for null in section["null"]:
        if null["largest"] is not None:
            times = (
                "" if null["times_the_largest"] is None else f", this one {null['times_the_largest']:.1f} times that"
            )
            say(
                f"{null['directions']} random directions, {null['kind']}: end to end the CTR changes by "
                f"{null['largest']:.3f} at most{times}; monotone in {max(null['monotone']):.0%} of the patients at most"
            )
    if section["classifier"]:
        print_classifier(section)
    notes(section)


def print_rise(rise: dict[str, Any] | None) -> None:
    """What else has changed where the mean CTR has risen from that of normal hearts to that of enlarged ones."""
    from cxredit_cli.evaluation.dose_summary import RISE
    from cxredit_cli.report.evaluation import AT_RISE

    if rise is None:
        say(f"At no strength here has the mean CTR risen by {RISE:.2f}, as from normal hearts to enlarged ones")
        return
    say(f"Where the mean CTR has risen by {rise['rise']:.2f}, as from normal hearts to enlarged ones:")
    say(f"{'strength':28}{rise['strength']:>10.1f}")
    for name, (title, _) in AT_RISE.items():
        say(f"{title:28}{rise['changes'][name]:>+10.1%}")
    say(f"{'own patient is the nearest':28}{rise['identity']:>10.0%}")


def print_classifier(section: dict[str, Any]) -> None:
    """What the second judge of a dose says, and of random directions."""
    from cxredit_cli.report.evaluation import stated_auc

    judge, found = section["classifier_judge"], section["classifier"]
    against = f" against {judge['negative']}" if judge["negative"] else ""
    say(f"A classifier of {judge['positive']}{against} as a second judge; {stated_auc(judge)}")
    say(
        f"From strength 0 to {section['strengths'][-1]:+g} its log-odds change by {found['rise']:+.2f}, the "
        f"probability by {found['probability_rise']:+.2f}; it rises in {found['rising']:.0%} of the patients"
    )
    for null in section["null"]:
        if null["classifier"]:
            say(
                f"{null['directions']} random directions, {null['kind']}: to either end the log-odds change by "
                f"{null['classifier']['largest']:.2f} at most, one way in {max(null['classifier']['one_way']):.0%} of "
                "the patients at most"
            )


def print_reconstruction(section: dict[str, Any]) -> None:
    """A line a way of inverting."""
    cohort = section["cohort"]
    say(f"Reconstructions of {cohort['images']} scans, one per patient: {cohort['view']}, {cohort['split']}")
    line = "{:28}{:>14}{:>15}{:>15}{:>9}{:>12}{:>9}"
    say(line.format("", "PSNR, dB", "SSIM", "MS-SSIM", "CTR, r", "CTR, error", "s/img"))
    for way in section["ways"]:
        spreads = [
            f"{way[name]['mean']:.{digits}f} ± {way[name]['deviation']:.{digits}f}"
            for name, digits in (("psnr", 1), ("ssim", 3), ("ms_ssim", 3))
        ]
        ctr = ["" if way[name] is None else f"{way[name]:.3f}" for name in ("ctr_correlation", "ctr_error")]
        say(line.format(way["way"], *spreads, *ctr, f"{way['seconds_an_image']:.3g}"))
    say(f"seconds an image on {section['device']}, {section['batch']} at a time")
    notes(section)


def print_code_error(section: dict[str, Any]) -> None:
    """A line a way of inverting."""
    say(f"Codes of {section['images']} synthetic images; 0 is exact, 1 is answering with the mean code")
    for way in section["ways"]:
        error, psnr = way["error"], way["psnr"]
        say(f"{way['way']:28}error {error['mean']:.3f} ± {error['deviation']:.3f}   PSNR {psnr['mean']:.1f} dB")


def print_native(section: dict[str, Any]) -> None:
    """A line a strength and method: what is carried, and what is kept."""
    say(f"Edits of {section['films']} films along {section['direction']} ({section['inversion']}), by another network")
    line = "{:>8} {:9}{:>9}{:>9}{:>7}{:>8}{:>8}{:>7}{:>7}{:>8}{:>9}{:>9}"
    names = ("strength", "method", "refused", "carried", "sign", "gap", "< .03", "ghost", "edge", "detail")
    say(line.format(*names, "outside", "seconds"))
    for row in section["summary"]:
        figures = ("carried", "right_sign", "median_gap", "within_.03", "ghost", "edge", "detail", "outside", "seconds")
        shown = ("" if row[name] is None else f"{row[name]:.3f}" for name in figures)
        say(line.format(f"{row['strength']:+g}", row["method"], f"{row['refused']}/{row['films']}", *shown))
    for row in section["unreadable"]:
        stderr.print(f"{row['source']}: {row['reason']}", markup=False)


def print_separability(section: dict[str, Any]) -> None:
    """Held out, in sample, by the CTR alone and controlled."""
    say(
        f"{section['positive']} ({section['positives']} images, {section['positive_patients']} patients) against "
        f"{section['negative']} ({section['negatives']}, {section['negative_patients']}) in {section['codes']}: "
        f"{section['method']}, {section['space']}"
    )
    low, high = section["auc_interval"]
    null = section["auc_null_95"]
    say(
        f"  ROC AUC held out by patient {section['auc']:.3f} ({low:.3f} to {high:.3f}), permuted labels "
        f"{null[0]:.3f} to {null[1]:.3f}, p {section['p_value']:.3g}"
    )
    null = section["in_sample_null_95"]
    say(f"  separation in sample {section['in_sample']:.2f}, permuted labels {null[0]:.2f} to {null[1]:.2f}")
    for metric, shown in section["by_metric"].items():
        (low, high), null = shown["auc_interval"], shown["auc_null_95"]
        say(
            f"  by {metric}: ROC AUC held out {shown['auc']:.3f} ({low:.3f} to {high:.3f}), permuted labels "
            f"{null[0]:.3f} to {null[1]:.3f}, p {shown['p_value']:.3g}"
        )
    ctr, controlled = section["ctr_alone"], section.get("controlled")
    if ctr is not None:
        low, high = ctr["auc_interval"]
        say(f"  by the CTR of the same images alone: AUC {ctr['auc']:.3f} ({low:.3f} to {high:.3f})")
    if controlled is not None:
        low, high = controlled["auc_interval"]
        say(
            f"  with {', '.join(controlled['without'])} taken out: AUC {controlled['auc']:.3f} ({low:.3f} to "
            f"{high:.3f}), p {controlled['p_value']:.3g}"
        )
