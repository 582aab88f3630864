"""The rules of the layout that docs/architecture.md gives, and the start of the command line without heavy imports."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "cxredit_cli"
MODULES = sorted(PACKAGE.rglob("*.py"))
# A package may import those of its own level and below. What is in no level (errors, progress, devices, processor) is
# for all.
LEVELS = {
    "app": 5,
    "commands": 4,
    "benchmarks": 3,
    "training": 2,
    "inversion": 2,
    "latent": 2,
    "evaluation": 2,
    "report": 2,
    "networks": 1,
    "storage": 1,
    "radiographs": 1,
    "ops": 0,
}


def imported(tree: ast.AST) -> set[str]:
    """The parts of cxredit_cli that a module names in its imports, wherever they stand."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("cxredit_cli.")}


def test_every_package_has_its_level() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == LEVELS.keys() - {"app"}


def test_imports_run_one_way() -> None:
    for path in MODULES:
        here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        level = LEVELS.get(here, 2) if here != "__main__" else 6
        upwards = {name for name in imported(ast.parse(path.read_text())) if LEVELS.get(name, -1) > level}
        assert not upwards, path


def prints(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"


def test_only_commands_speak() -> None:
    for path in MODULES:
        if path.parent.name == "commands" or path.name in ("app.py", "__main__.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            assert not prints(node), path
            assert not (isinstance(node, ast.Attribute) and node.attr == "argv"), path


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from cxredit_cli.app import app; app(['--help'], standalone_mode=False); "
        "print([m for m in ('torch', 'numpy', 'h5py', 'sklearn', 'PIL', 'pydicom') if m in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.splitlines()[-1] == "[]"
    assert "apply" in finished.stdout
