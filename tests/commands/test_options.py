"""Every option is understood alone, and one that several commands have means the same in each."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from cxredit_cli import __version__
from cxredit_cli.app import app

# Options of one name that may differ, and why.
OWN = {
    "--output": "each command writes something else",
    "--batch": "training counts images an iteration; bench measures at a size of its own",
    "--model": "train-encoder writes into the folder that it reads",
    "--precision": "training and bench have half precisions that the rest has not",
    "--on-suspect": "a dataset leaves out what other commands mark",
    "--fit": "invert also takes datasets, whose images are squares already",
    "--space": "train-encoder makes the space",
    "--how": "axes that nobody named are not fitted",
    "--sweep": "demo has strengths of its own",
    "--n": "of images, components or directions",
    "--labels": "required here, a dataset there",
    "--view": "evaluate's default is PA",
    "--label": "evaluate's default is No Finding",
    "--split": "evaluate's default depends on the images",
    "--codes": "one file here, several there",
    "--images": "one dataset here, many files there",
    "--control": "a direction is found beside it, or a class judged",
    "--positive": "a direction leads to it, or a class is judged",
    "--negative": "a direction leads from it, or a class is judged",
    "--metric": "one, or several that stand beside the codes as they are",
    "--folds": "the same, with another least number",
    "--permutations": "lda counts more by default",
    "--resolution": "of a dataset, of a generator, of a measurement",
    "--name": "of a model, of a direction",
    "--channel-base": "training takes a preset's, bench a size",
    "--channel-max": "training takes a preset's, bench a size",
    "--lr": "of one network or of two",
    "--films": "those of codes here, any there",
    "--native": "how films are edited, or that it is judged",
    "--kimg": "the encoder counts real images",
    "--pl-weight": "bench has no stage of its own for it",
    "--init-from": "two networks, or one",
    "--grid": "a file here, a choice there",
    "--truncation-psi": "with and without a range",
    "--classifier": "what is explained, or a second judge",
    "--direction": "without one, explain follows the classifier",
    "--format": "of edits, of networks",
    "--class": "which is explained, or what a direction should move",
    "--randoms": "a matrix needs one",
}


def commands(command: Any, path: str = "cxredit") -> Iterator[tuple[str, Any]]:
    """All commands that do something, with their full names."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}")
    else:
        yield path, command


def options(command: Any) -> Iterator[Any]:
    for parameter in command.params:
        if parameter.param_type_name == "option" and "--help" not in parameter.opts:
            yield parameter


ALL = dict(commands(get_command(app)))


@pytest.mark.parametrize("name", ALL)
def test_options_are_understood_alone(name: str) -> None:
    for option in options(ALL[name]):
        words = (option.help or "").split()
        assert len(words) >= 3, f"{name} {option.opts[0]}: {option.help}"
        assert option.help is not None
        assert option.help.rstrip().endswith((".", ")")), f"{name} {option.opts[0]}: {option.help}"
        assert words[0][0].isupper(), f"{name} {option.opts[0]}: {option.help}"
        assert words[0] not in ("Of", "For"), f"{name} {option.opts[0]}: {option.help}"


def test_an_option_means_the_same_everywhere() -> None:
    seen: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, command in ALL.items():
        for option in options(command):
            seen[option.opts[0]][f"{option.help} {option.type_descriptor.annotation} {option.default!r}"].append(name)
    differ = {option: dict(meanings) for option, meanings in seen.items() if len(meanings) > 1}
    assert {option: meanings for option, meanings in differ.items() if option not in OWN} == {}
    assert set(OWN) <= set(differ), "a reason that is not needed"


def test_the_version_is_printed() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.strip() == f"cxredit {__version__}"


def test_every_option_stands_in_a_panel():
    panels = {
        (path, option.opts[0]): option.rich_help_panel
        for path, command in commands(get_command(app))
        for option in options(command)
        if option.opts[0] != "--help"
    }
    own = {"From images", "From labelled codes", "From a measure or a classifier"}  # the three ways of `direction find`
    assert {key for key, panel in panels.items() if panel not in {"Input", "Model", "Method", "Output", *own}} == set()
