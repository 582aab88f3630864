"""Writes docs/python.md, the reference of `import cxredit_cli as cx`, from the docstrings."""

import inspect
from dataclasses import fields, is_dataclass
from pathlib import Path

from cxredit_cli import api

PAGE = Path(__file__).with_name("python.md")
HEAD = """# In a notebook: `import cxredit_cli as cx`

What a study needs, loaded when it is first asked for. Pictures are float32 arrays in 0..1. A whole study:
[examples/notebook.ipynb](../examples/notebook.ipynb). This page is made by `docs/make_python.py` from the docstrings,
whose examples are run by the tests.
"""


def reference() -> str:
    """The page."""
    functions = [name for name in api.__all__ if inspect.isfunction(getattr(api, name))]
    types = [name for name in api.__all__ if inspect.isclass(getattr(api, name))]
    parts = [HEAD, "## Functions\n", *(of_function(name) for name in functions)]
    parts += ["## Types\n", *(of_type(name) for name in types)]
    return "\n".join(parts)


def of_function(name: str) -> str:
    """A function: how it is called, and what its docstring says."""
    function = getattr(api, name)
    parameters = ", ".join(
        f"{p.name}={p.default!r}" if p.default is not p.empty else p.name
        for p in inspect.signature(function).parameters.values()
    )
    return f"### `cx.{name}({parameters})`\n\n{text_of(function)}\n"


def of_type(name: str) -> str:
    """A type: what it is, its fields and its properties."""
    kind = getattr(api, name)
    members = [field.name for field in fields(kind)] if is_dataclass(kind) else []
    members += [key for key, value in vars(kind).items() if isinstance(value, property) and not key.startswith("_")]
    methods = [key for key, value in vars(kind).items() if inspect.isfunction(value) and not key.startswith("_")]
    lines = [f"### `cx.{name}`\n", text_of(kind), ""]
    if members:
        lines += ["Has " + ", ".join(f"`{member}`" for member in dict.fromkeys(members)) + ".", ""]
    if methods:
        lines += ["Can " + ", ".join(f"`{method}()`" for method in methods) + ".", ""]
    return "\n".join(lines)


def text_of(thing: object) -> str:
    """A docstring as Markdown: its examples become a block of code."""
    lines, code = [], False
    for line in inspect.getdoc(thing).splitlines():  # type: ignore[union-attr]
        if line.startswith(">>>") and not code:
            lines.append("```python")
            code = True
        lines.append(line)
    return "\n".join([*lines, *(["```"] if code else [])])


if __name__ == "__main__":
    PAGE.write_text(reference())
