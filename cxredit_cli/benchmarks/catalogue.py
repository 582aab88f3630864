"""The cases by their names."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from cxredit_cli.benchmarks.cases import Case, Settings
from cxredit_cli.benchmarks.operations import operation_cases
from cxredit_cli.benchmarks.whole import whole_cases
from cxredit_cli.errors import InputError


def all_cases(settings: Settings) -> list[Case]:
    """Everything that can be measured."""
    return [*operation_cases(settings), *whole_cases(settings)]


def choose_cases(settings: Settings, patterns: Sequence[str]) -> list[Case]:
    """The cases whose names match one of `patterns`, such as upfirdn2d*; without any, all. InputError for no match."""
    cases = all_cases(settings)
    chosen = [case for case in cases if any(fnmatchcase(case.name, pattern) for pattern in patterns)]
    if patterns and not chosen:
        raise InputError(
            f"--only {' '.join(patterns)} matches nothing; the names are {', '.join(case.name for case in cases)}."
        )
    return chosen or cases
