"""From a table of image pairs to the direction that they share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cxredit_cli.directions.from_pair import invert_edited
from cxredit_cli.directions.vectors import mean_pair_direction
from cxredit_cli.errors import InputError
from cxredit_cli.inversion.encode import Space
from cxredit_cli.inversion.invert import Method
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.radiographs.geometry import Fit, fit_square
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.storage.codes import Codes
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import Model
from cxredit_cli.storage.tables import read_csv

COLUMNS = ("original", "edited")


@dataclass(frozen=True, slots=True)
class PairsFound:
    """The direction of many pairs."""

    direction: Direction
    warning: str | None
    failed: list[tuple[str, str]]  # pairs that are left out, and why


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """The cells of the columns `original` and `edited` of a CSV. Raises InputError where there are none."""
    if not path.is_file():
        raise InputError(f"The table of pairs {path} does not exist; give a CSV with the columns original and edited.")
    lines = read_csv(path)
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    if not set(COLUMNS) <= set(header):
        raise InputError(f"{path} has the columns {', '.join(header) or '(none)'}; expected original and edited.")
    places = [header.index(name) for name in COLUMNS]
    pairs = []
    for number, line in enumerate(lines[1:], start=1):
        cells = [line[place].strip() if place < len(line) else "" for place in places]
        if not all(cells):
            raise InputError(f"Pair {number} of {path} lacks the original or the edited image; complete or remove it.")
        pairs.append((cells[0], cells[1]))
    if not pairs:
        raise InputError(f"{path} holds no pairs; expected a header and one pair a row.")
    return pairs


def find_pairs_direction(
    model: Model,
    table: Path,
    method: Method,
    space: Space,
    steps: int,
    fit: Fit,
    batch: int = 16,
    name: str | None = None,
    progress: Progress | None = None,
) -> PairsFound:
    """Invert both images of every pair, `batch` pictures at a time; paths are relative to the table's folder.

    A pair with an image that cannot be read, or of two equal pictures, is reported and left out.
    """
    progress = progress or SilentProgress()
    side, folder = model.generator.resolution, table.parent
    failed: list[tuple[str, str]] = []
    used: list[tuple[str, str]] = []
    codes: list[NDArray[np.float32]] = []
    psnr: list[float] = []
    pairs = read_pairs(table)
    at_once = max(batch // 2, 1)
    progress.start("Inverting", len(pairs), unit="pair")
    for start in range(0, len(pairs), at_once):
        pictures: list[NDArray[np.float32]] = []
        part: list[tuple[str, str]] = []
        for pair in pairs[start : start + at_once]:
            try:
                both = [fit_square(read_radiograph(Source(folder / given)).pixels, side, fit) for given in pair]
            except InputError as error:
                failed.append((" -> ".join(pair), str(error)))
                continue
            if np.array_equal(both[0], both[1]):
                failed.append((" -> ".join(pair), f"Both show the same picture at {side}x{side}."))
                continue
            pictures += both
            part.append(pair)
        if part:
            images = torch.from_numpy(np.stack(pictures))[:, None] * 2 - 1
            own, changed = invert_edited(model, images[0::2], images[1::2], method, space, steps, progress, done=start)
            codes.append(torch.stack([own.w, changed.w], dim=1).flatten(0, 1).numpy())
            psnr += torch.stack([own.psnr, changed.psnr], dim=1).flatten().tolist()
            used += part
        progress.advance(min(start + at_once, len(pairs)))
    progress.finish()
    if not used:
        raise InputError(f"No pair of {table} could be used: {failed[0][0]}: {failed[0][1]}")
    w = np.concatenate(codes)
    return _found(w[0::2], w[1::2], used, psnr, f"pairs, {method}", model.fingerprint, model.name, name, failed)


def find_pairs_direction_in_codes(codes: Codes, table: Path, name: str | None = None) -> PairsFound:
    """The same from codes that `cxredit invert` made: the table names their sources, by as much of a path as is there.

    Pairs that the file does not hold are reported and left out.
    """
    rows = {source: index for index, source in enumerate(codes.source)}
    by_file: dict[str, list[int]] = {}
    for source, index in rows.items():
        by_file.setdefault(Path(source).name, []).append(index)
    failed: list[tuple[str, str]] = []
    used: list[tuple[str, str]] = []
    before, after = [], []
    for pair in read_pairs(table):
        try:
            found = [_row_of(given, rows, by_file, codes.path) for given in pair]
        except InputError as error:
            failed.append((" -> ".join(pair), str(error)))
            continue
        before.append(found[0])
        after.append(found[1])
        used.append(pair)
    if not used:
        raise InputError(f"No pair of {table} could be used: {failed[0][0]}: {failed[0][1]}")
    psnr = [float(codes.psnr[row]) for both in zip(before, after, strict=True) for row in both]
    header = codes.header
    method = f"pairs, {header.method}"
    w = [codes.some(rows) for rows in (before, after)]
    return _found(w[0], w[1], used, psnr, method, header.fingerprint, header.model, name, failed)


def _row_of(given: str, rows: dict[str, int], by_file: dict[str, list[int]], path: Path) -> int:
    if given in rows:
        return rows[given]
    found = by_file.get(Path(given).name, [])
    if len(found) != 1:
        count = f"{len(found)} codes of such a name" if found else "no code of it"
        raise InputError(f"{path} holds {count}; name the images as `cxredit invert` did.")
    return found[0]


def _found(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    used: Sequence[tuple[str, str]],
    psnr: Sequence[float],
    method: str,
    fingerprint: str,
    model: str,
    name: str | None,
    failed: list[tuple[str, str]],
) -> PairsFound:
    vector, statistics = mean_pair_direction(before, after)
    direction = Direction(
        direction=vector,
        name=name or f"{len(used)} pairs",
        method=method,
        fingerprint=fingerprint,
        sources=[f"{original} -> {edited}" for original, edited in used],
        statistics=statistics.as_dict() | {"mean_psnr": float(np.mean(psnr))},
        model=model,
    )
    return PairsFound(direction, statistics.warning(), failed)
