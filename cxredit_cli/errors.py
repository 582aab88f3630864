"""What can go wrong, in one sentence for the user; `app.main` turns each into an exit code."""

from typing import Any, get_args


class CxreditError(Exception):
    """The work could not be done although the request was right (exit code 1)."""

    exit_code = 1
    found_by_all = True  # of several processes that work together: one says it for them


class InputError(CxreditError):
    """The input or the options are wrong: say what was expected, what was found and what to do (exit code 2)."""

    exit_code = 2


class LostProcessError(CxreditError):
    """Of several processes that work together another one ended, so this one cannot go on."""


class UnreadableImageError(InputError):
    """A file is not a radiograph that can be read; in a batch it is named at the end and skipped."""


class UneditableFilmError(InputError):
    """A film can be read, but an edit cannot be written into its stored values."""


class MismatchError(InputError):
    """Two files do not belong together, such as the codes of one generator and another generator."""


def known_word(word: str, kinds: Any, option: str) -> Any:
    """`word`, which an option takes, as one of the Literal `kinds`; raises InputError for any other."""
    words = get_args(kinds)
    if word in words:
        return word
    raise InputError(f"{option} must be {', '.join(words[:-1])} or {words[-1]}, but it is '{word}'.")
