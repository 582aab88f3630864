"""The rules of the layout of docs/contributing/architecture.md, and the command line's start without heavy imports."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "cxredit_cli"
MODULES = sorted(PACKAGE.rglob("*.py"))
FOR_ALL = (
    "errors",
    "progress",
    "torchrun",
    "processor",
    "devices",
    "processes",
    "atomic",
)  # each may import those before it
# Lower rooms first: a file imports from its own room and those below.
ROOMS = (
    *FOR_ALL,
    "ops",
    "radiographs",
    "networks",
    "storage",
    "anatomy",
    "intake",
    "metrics",
    "figures",
    "inversion",
    "exporting",
    "latent",
    "separability",
    "directions",
    "editing",
    "training",
    "evaluation",
    "report",
    "benchmarks",
    "diagnosis",
    "api",
    "commands",
    "app",
    "__main__",
)


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


def imported(path: Path, anywhere: bool = True) -> Iterator[str]:
    """The modules of this package that a file imports; `anywhere`: also within functions."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if anywhere else tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cxredit_cli"):
            base = str(node.module).removeprefix("cxredit_cli").removeprefix(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                yield inner if inner in NAMES else base
        elif isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("cxredit_cli.") for alias in node.names if "cxredit_cli" in alias.name)


def room_of(name: str) -> str:
    return name.split(".")[0]


def test_every_room_has_its_place() -> None:
    assert {room_of(name) for name in NAMES if name} == set(ROOMS)


def test_imports_run_one_way() -> None:
    for name, path in NAMES.items():
        if name:
            place = ROOMS.index(room_of(name))
            upwards = {other for other in imported(path) if other and ROOMS.index(room_of(other)) > place}
            assert not upwards, f"{name} imports {upwards}"


def test_no_files_import_each_other() -> None:
    """Not even within functions, and not by way of others."""
    known: dict[str, set[str]] = {name: set(imported(path)) - {name, ""} for name, path in NAMES.items()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for other in known.get(name, ()):
                visit(other, (*above, name))
            done.add(name)

    for name in known:
        visit(name, ())


def test_no_file_is_too_long_to_hold_one_concept() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in NAMES.items()}
    assert {name: length for name, length in lengths.items() if length > 420} == {}


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
