"""HTML pages from the templates of this folder, each one file that needs no network."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cxredit_cli.atomic import write_text


def write_page(path: Path, template: str, context: dict[str, Any]) -> None:
    """Write `template`, such as demo_page/page.html, filled with `context`, whole or not at all."""
    environment = Environment(
        loader=PackageLoader("cxredit_cli", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    write_text(path, environment.get_template(template).render(**context))
