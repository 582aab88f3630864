"""What the example scripts import is there, under the name that they import."""

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
TOOLS = EXAMPLES.parent / "docs" / "tools"
OPTIONAL = (
    "torchmetrics",
    "torchxrayvision",
    "torch_utils",
    "training.",
    "dnnlib",
)  # of others, for one comparison each


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_what_an_example_imports_is_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (EXAMPLES / name).read_text()
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr("sys.path", [path for path in sys.path if path != str(TOOLS)])
    if '"docs" / "tools"' in text:
        monkeypatch.syspath_prepend(TOOLS)
    for node in ast.walk(ast.parse(text)):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            modules = [str(node.module)]
        for module in modules:
            if not module.startswith(OPTIONAL):
                assert importlib.util.find_spec(module) is not None, f"{name} imports {module}"
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("cxredit_cli"):
            found = importlib.import_module(str(node.module))
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                assert hasattr(found, alias.name) or importlib.util.find_spec(inner), f"{name} imports {inner}"
