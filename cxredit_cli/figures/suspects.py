"""A sheet of images that do not look like upright frontal chest radiographs, by what is wrong with them."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from cxredit_cli.figures.sheets import FAINT, GAP, INK, LINE, MARGIN, PAPER, fitted, font, radiograph
from cxredit_cli.intake.door import Suspect
from cxredit_cli.intake.look import KINDS

SIDE = 160
COLUMNS = 8


def suspect_sheet(suspects: Sequence[Suspect]) -> Image.Image:
    """The suspects whose pictures were kept, gravest kinds first: picture, name, what is wrong and what was done."""
    shown = sorted((one for one in suspects if one.picture is not None), key=lambda one: KINDS.index(one.verdict.kind))
    columns = max(min(COLUMNS, len(shown)), 3)
    rows = -(-len(shown) // columns)
    height = SIDE + 2 * LINE + GAP
    sheet = Image.new("RGB", (2 * MARGIN + columns * (SIDE + GAP), 2 * MARGIN + 2 * LINE + rows * height), PAPER)
    draw = ImageDraw.Draw(sheet)
    more = f", the first {len(shown)}" if len(shown) < len(suspects) else ""
    title = f"{len(suspects)} images that do not look like upright frontal chest radiographs{more}"
    draw.text((MARGIN, MARGIN - 4), fitted(title, sheet.width - 2 * MARGIN, 19), INK, font(19))
    for index, one in enumerate(shown):
        x, y = MARGIN + index % columns * (SIDE + GAP), MARGIN + 2 * LINE + index // columns * height
        assert one.picture is not None
        sheet.paste(radiograph(one.picture / 255, SIDE), (x, y))
        draw.text((x, y + SIDE + 3), fitted(one.name, SIDE, 13), INK, font(13))
        draw.text((x, y + SIDE + 19), fitted(f"{one.verdict.short}: {one.done}", SIDE, 13), FAINT, font(13))
    return sheet
