"""The documents: short pages, tables that pages name, messages that the program says, pictures that a script makes."""

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TABLES = DOCS / "results" / "tables"
WORDS = 1500
NAMES = [str(page.relative_to(DOCS)) for page in PAGES]


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    pytest.importorskip("mkdocs")
    monkeypatch.syspath_prepend(str(DOCS / "tools"))
    names = ("result_tables", "command_pages", "hooks", "make_pictures", "traffic_tables", "derived_tables")
    loaded = {name: importlib.import_module(name) for name in names}
    for name in names:
        monkeypatch.delitem(sys.modules, name)
    return loaded


def prose(text: str) -> str:
    """A page without code, comments and measured tables."""
    text = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.DOTALL)
    return re.sub(r"\{\{.*?\}\}|\{.*?\}|\]\([^)]*\)|[|`*#>]|-{3,}", " ", text)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("reference/")])
def test_a_page_is_read_in_five_minutes(name: str) -> None:
    count = len(prose((DOCS / name).read_text()).split())
    assert 60 < count <= WORDS, f"{name} has {count} words"


def test_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 120


@pytest.mark.parametrize("name", NAMES)
def test_no_page_reads_like_a_notebook_of_the_laboratory(name: str) -> None:
    text = (DOCS / name).read_text()
    assert not re.search(r"^\|\s*asked\s*\||\|\s*found\s*\|$", text, re.MULTILINE)
    assert not re.search(r"\b[Aa]sked (was|were) ", text)


@pytest.mark.parametrize("name", NAMES)
def test_every_table_and_cell_that_a_page_names_exists(name: str, tools: dict[str, ModuleType]) -> None:
    filled = tools["hooks"].filled((DOCS / name).read_text())
    if name != "contributing/results.md":
        assert "{{" not in filled


def test_a_name_that_does_not_exist_ends_the_build(tools: dict[str, ModuleType]) -> None:
    from cxredit_cli.errors import InputError

    for wrong in (
        'table("nothing")',
        'table("dose", "nothing")',
        'cell("dose", "8", "nothing")',
        'cell("dose", "9", "CTR")',
    ):
        with pytest.raises(InputError, match="There is no"):
            tools["hooks"].filled(f"{{{{ {wrong} }}}}")


def test_an_option_is_not_broken_after_its_hyphens(tools: dict[str, ModuleType]) -> None:
    html = '<p>a--b <code>apply --target-ctr 0.5</code> <a id="x--y">c</a></p>'
    whole = '<code>apply <span class="option">--target-ctr</span> 0.5</code>'
    assert tools["hooks"].kept_whole(html) == html.replace("<code>apply --target-ctr 0.5</code>", whole)


def test_a_short_option_is_not_broken_either_and_a_range_is_no_option(tools: dict[str, ModuleType]) -> None:
    html = "<code>python -m pytest --sweep -6:6:5</code>"
    assert tools["hooks"].kept_whole(html).count('<span class="option">') == 2


def test_a_picture_leads_to_its_file(tools: dict[str, ModuleType]) -> None:
    html = '<p><img alt="A sheet" src="../images/sheet.png" /></p>'
    linked = '<p><a href="../images/sheet.png"><img alt="A sheet" src="../images/sheet.png" /></a></p>'
    assert tools["hooks"].opened_by_click(html) == linked


def test_every_measured_table_is_shown_and_says_what_it_is(tools: dict[str, ModuleType]) -> None:
    pages = "".join(page.read_text() for page in PAGES)
    for path in TABLES.glob("*.json"):
        table = tools["result_tables"].read_table(path.stem)
        assert f'table("{path.stem}"' in pages, f"no page shows {path.stem}"
        assert all((table.what, table.data, table.version, table.command)), path.stem
        assert all(len(row) == len(table.columns) for row in table.rows), path.stem


def test_the_command_of_every_table_exists(tools: dict[str, ModuleType]) -> None:
    from cxredit_cli.app import COMMANDS

    known = {command for commands in COMMANDS.values() for command in commands}
    for path in TABLES.glob("*.json"):
        command = tools["result_tables"].read_table(path.stem).command
        scripts = re.findall(r"(?:examples|docs/tools)/\w+\.(?:py|sh)", command)
        assert all((ROOT / script).exists() for script in scripts), f"{path.stem}: {command}"
        first = re.match(r"cxredit ([\w-]+)", command)
        assert scripts or (first and first[1] in known), f"{path.stem}: {command}"


def test_a_markdown_table_becomes_the_rows_of_a_measured_one(tools: dict[str, ModuleType], tmp_path: Path) -> None:
    tables = tools["result_tables"]
    text = "before\n\n| way | PSNR |\n|---|---|\n| encoder | 22.0 dB |\n\nafter | all\n| a \\| b |\n|---|\n| c |"
    (columns, rows), second = tables.parse_markdown(text)
    assert second == (["a \\| b"], [["c"]])
    table = tables.ResultTable("What.", "Ten films.", "m [1]", "1.0", "a command", columns, rows)
    tables.write_table("new", table, tmp_path)
    read = tables.read_table("new", tmp_path)
    assert read == table
    assert read.cell("encoder", "PSNR") == read.cell("enc", "PSNR") == "22.0 dB"
    below = "What. Ten films. Model m [1]. cxredit 1.0. Command: `a command`."
    assert f"| encoder | 22.0\N{NO-BREAK SPACE}dB |\n\n{below}" in read.markdown()


def test_derived_tables_are_those_of_the_networks_as_they_are(tools: dict[str, ModuleType], tmp_path: Path) -> None:
    tools["derived_tables"].main(tmp_path)
    for path in tmp_path.iterdir():
        made, kept = (tools["result_tables"].read_table(path.stem, folder) for folder in (tmp_path, TABLES))
        assert made.rows == kept.rows, path.stem
    assert len(list(tmp_path.iterdir())) == 5


def test_traffic_is_counted_where_values_move(tools: dict[str, ModuleType]) -> None:
    import torch

    def twice(x: torch.Tensor) -> torch.Tensor:
        return (x.view(2, 8) + 1)[:, ::2] * 2  # the sum reads 16 values and writes 16, the product 8 and 8

    x = torch.empty(16, device="meta")
    forward, backward = (tools["traffic_tables"].__dict__[name] for name in ("forward", "backward"))
    assert forward(twice, x) == (16 / 16 + 8 / 16, (32 + 16) / 16)
    # The gradient of a product reads the other's values and its own, for each of two factors.
    assert backward(torch.mul, x, torch.empty(16, device="meta")) == (2 + 1 + 1, 6)


def test_the_reference_has_every_command_and_option(tools: dict[str, ModuleType]) -> None:
    from typer.main import get_command

    from cxredit_cli.app import app

    page = tools["command_pages"].commands_page()
    root = get_command(app)
    found = dict(
        pair for name, command in root.commands.items() for pair in tools["command_pages"].leaves(command, name)
    )
    assert {"apply", "direction calibrate", "import"} <= set(found)
    assert "whole number, 0 to 4294967295" in page
    assert "``" not in page.replace("```", "")  # a default that is nothing
    for name, command in found.items():
        section = page.partition(f"### {name} {{")[2].partition("\n### ")[0]
        for parameter in command.params:
            if parameter.param_type_name == "option" and "--help" not in parameter.opts:
                assert f"`{parameter.opts[0]}`" in section, f"{name} {parameter.opts[0]}"


def test_the_reference_of_python_has_every_name(tools: dict[str, ModuleType]) -> None:
    import cxredit_cli

    filled = tools["hooks"].filled((DOCS / "reference" / "python.md").read_text())
    named = set(re.findall(r"::: cxredit_cli\.api\.(\w+)", filled))
    assert named == set(cxredit_cli.__all__) - {"__version__", "BUNDLED_RADIOGRAPH"}


def test_troubleshooting_quotes_what_the_program_says() -> None:
    source = "".join(path.read_text() for path in (ROOT / "cxredit_cli").rglob("*.py"))
    said = re.sub(r'"\s*\n\s*f?"', "", source)
    rows = re.findall(r"^\| (.*?) \| ", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    quoted = [quote for row in rows for quote in re.findall(r'"([^"]+)"', row)]
    assert len(quoted) > 20
    assert [quote for quote in quoted if quote not in said] == []


def test_pictures_are_those_that_the_script_makes(tools: dict[str, ModuleType]) -> None:
    assert {path.name for path in (DOCS / "images").iterdir()} == set(tools["make_pictures"].PICTURES)
    pages = "".join(page.read_text() for page in PAGES)
    assert all(f"images/{name}" in pages for name in tools["make_pictures"].PICTURES)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_of_the_folder_s_own_pages_lead_somewhere(name: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)", (ROOT / name).read_text()):
        assert link.startswith("https://") or (ROOT / link).exists(), f"{name}: {link}"


@pytest.mark.parametrize("folder", ["cxredit_cli", "examples", "docs/tools"])
def test_pages_that_the_code_names_exist(folder: str) -> None:
    for path in (ROOT / folder).rglob("*"):
        if path.suffix in (".py", ".sh", ".html", ".json"):
            for named in re.findall(r"\bdocs/[\w/-]+\.(?:md|png)", path.read_text()):
                assert (ROOT / named).exists(), f"{path} names {named}"
