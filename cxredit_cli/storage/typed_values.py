"""Values from files, checked against the types that a dataclass declares: damaged files say what is wrong with them."""

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

MOST = 2**31  # of whole numbers
T = TypeVar("T")


def typed(kind: type[T], values: Mapping[str, Any], least: int = 0, most: int = MOST) -> T:
    """The dataclass `kind` of plain values: texts, finite numbers, whole numbers from `least` to `most`, tuples.

    Raises ValueError, with the field, for a value that is missing, of another type or out of range.
    """
    hints = get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"there is no '{unknown[0]}'")
    checked = {name: _checked(name, value, hints[name], least, most) for name, value in values.items()}
    try:
        return kind(**checked)
    except TypeError as error:  # a field without a default is missing
        raise ValueError(str(error).removeprefix(f"{kind.__name__}.__init__() ")) from None


def _checked(name: str, value: Any, hint: Any, least: int, most: int) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    for option in options:
        if option is str and isinstance(value, str):
            return value
        if option is bool and isinstance(value, bool):
            return value
        if option is int and isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        if option is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return value
        if get_origin(option) is tuple and isinstance(value, list | tuple):
            inner = get_args(option)
            parts = inner[:1] * len(value) if inner[1:] == (...,) else inner
            if len(parts) == len(value):
                return tuple(_checked(name, v, part, least, most) for v, part in zip(value, parts, strict=True))
        if get_origin(option) not in (tuple, None) and value in get_args(option):  # Literal
            return value
    raise ValueError(f"{name} cannot be {value!r:.40}")
