"""Strengths of an edit as users write them, and as they stand in file names."""

from cxredit_cli.errors import InputError

MAX_STRENGTHS = 99


def parse_strengths(text: str) -> list[float]:
    """Read `3` or `-1.5,0,3`."""
    values = [_number(part, f"--strength {text}") for part in text.split(",") if part.strip()]
    return _distinct(values, f"--strength {text}")


def parse_sweep(text: str) -> list[float]:
    """Read `FROM:TO:COUNT`: COUNT strengths at equal distances, both ends included."""
    parts = text.split(":")
    if len(parts) != 3 or not parts[2].strip().isdecimal() or int(parts[2]) < 2:
        raise InputError(f"--sweep must be FROM:TO:COUNT with a COUNT from 2 on, such as -3:3:7, but it is '{text}'.")
    first, last, count = _number(parts[0], f"--sweep {text}"), _number(parts[1], f"--sweep {text}"), int(parts[2])
    # Rounded, so that a step of 0.1 gives 0.3 and not 0.30000000000000004.
    return _distinct([round(first + (last - first) * i / (count - 1), 6) for i in range(count)], f"--sweep {text}")


def strength_label(strength: float) -> str:
    """`+3`, `-1.5`, `+0`: the sign is always there, as in file names."""
    return f"{strength or 0.0:+g}"  # `or` turns -0.0 into 0.0


def _number(text: str, option: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"'{text.strip()}' in {option} is not a number; give numbers such as 3 or -1.5.") from None
    if not abs(value) < 1e6:
        raise InputError(f"'{text.strip()}' in {option} is no strength; give numbers such as 3 or -1.5.")
    return value


def _distinct(values: list[float], option: str) -> list[float]:
    distinct = list({strength_label(value): value for value in values}.values())
    if not 0 < len(distinct) <= MAX_STRENGTHS:
        raise InputError(f"{option} gives {len(distinct)} strengths; give from 1 to {MAX_STRENGTHS}.")
    return distinct
