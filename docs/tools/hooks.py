"""What mkdocs does beside its own: the page of all commands, and the measured tables where a page names them.

On a page `{{ table("dose") }}` is a table of docs/results/tables, `{{ table("dose", "strength", "CTR") }}` some of its
columns, `{{ cell("dose", "8", "CTR") }}` one cell, and `{{ bundled.training.kimg }}` what model.json of the bundled
model says; `{{ api("types") }}` is the types that a notebook gets. A name that does not exist ends the build.
"""

import json
import re
from typing import Any

from command_pages import commands_page
from jinja2 import Environment, StrictUndefined
from mkdocs.structure.files import File, Files
from result_tables import read_table

import cxredit_cli
from cxredit_cli.storage.models import BUNDLED

# "{#" begins an anchor in Markdown, so it must not begin a comment of the template.
TEMPLATES = Environment(undefined=StrictUndefined, comment_start_string="{##", comment_end_string="##}")
CODE = re.compile(r"<code\b.*?</code>", re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")
PICTURE = re.compile(r'<p>(<img [^>]*?src="([^"]+)"[^>]*>)</p>')


def on_files(files: Files, config: Any) -> Files:
    """Add the page of all commands."""
    files.append(File.generated(config, "reference/commands.md", content=commands_page()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what the page takes from the measured tables and the bundled model."""
    return filled(markdown)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Keep the names of options whole where a line ends, and show each picture in its own size on a click."""
    return opened_by_click(kept_whole(html))


def kept_whole(html: str) -> str:
    """A page whose options, in what is set as code, do not break after their hyphens."""
    return CODE.sub(lambda code: OPTION.sub(r'<span class="option">\g<0></span>', code[0]), html)


def opened_by_click(html: str) -> str:
    """A page whose pictures, narrower here than they are, lead to their files."""
    return PICTURE.sub(r'<p><a href="\2">\1</a></p>', html)


def filled(markdown: str) -> str:
    """A page with its tables, cells and facts of the model. Raises InputError for a name that does not exist."""
    if "{{" not in markdown:
        return markdown
    bundled = json.loads((BUNDLED / "model.json").read_text(encoding="utf-8"))
    return TEMPLATES.from_string(markdown).render(table=shown, cell=one, number=number, api=names, bundled=bundled)


def shown(name: str, *columns: str) -> str:
    """A table, all of it or the named columns."""
    return read_table(name).markdown(list(columns) or None)


def one(name: str, row: str, column: str) -> str:
    """One cell of a table."""
    return read_table(name).cell(row, column)


def names(kind: str) -> str:
    """What `import cxredit_cli as cx` gives, `functions` or `types`, one after the other, for mkdocstrings."""
    public = [name for name in cxredit_cli.__all__ if not name.isupper() and not name.startswith("_")]
    chosen = [name for name in public if name[0].islower() == (kind == "functions")]
    return "\n\n".join(f"::: cxredit_cli.api.{name}" for name in chosen)


def number(name: str, row: str, column: str) -> str:
    """The first number in a cell, without its spread, unit or interval."""
    found = re.search(r"[-+]?[\d.,]*\d", one(name, row, column))
    return found[0] if found else ""
