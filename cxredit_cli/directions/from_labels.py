"""From a file of codes and a label table to a direction: the classes, the controls, and the fit."""

from collections.abc import Callable, Sequence

import numpy as np

from cxredit_cli.anatomy.picture_measures import MEASURES, measure_pictures
from cxredit_cli.directions.controls import Controls
from cxredit_cli.directions.label_fit import LabelMethod, labelled_direction
from cxredit_cli.errors import InputError
from cxredit_cli.latent.code_batch import take_originals
from cxredit_cli.latent.visible import Floats, Metric
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.separability.code_rows import CodeRows
from cxredit_cli.separability.cohort import Cohort
from cxredit_cli.storage.codes import Codes
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.labels import LabelTable

BATCH = 32


def control_columns(
    names: Sequence[str],
    codes: Codes,
    cohort: Cohort,
    table: LabelTable,
    load_network: Callable[[], AnatomyNetwork],
    progress: Progress | None = None,
) -> dict[str, list[str]]:
    """The cells of each control for the codes of `cohort`, as texts.

    A name is a column of the label table, `view`, another label (present or not), psnr or ssim of the codes, or one of
    MEASURES, taken of the originals (`load_network` is called then). Raises InputError for any other name.
    """
    rows = [table.rows[row] for row in cohort.table_rows]
    headers = {header.lower(): index for index, header in reversed(list(enumerate(table.columns)))}
    columns: dict[str, list[str]] = {}
    measured: dict[str, list[str]] | None = None
    for name in names:
        if name.lower() in headers:
            index = headers[name.lower()]
            columns[name] = [row.values[index] for row in rows]
        elif name.lower() == "view":
            columns[name] = [row.view for row in rows]
        elif name in table.label_names:
            columns[name] = ["" if name in row.uncertain else str(int(name in row.labels)) for row in rows]
        elif name in ("psnr", "ssim"):
            columns[name] = [_cell(value) for value in getattr(codes, name)[cohort.rows]]
        elif name in MEASURES:
            measured = measured or _measure_originals(codes, cohort, load_network(), progress or SilentProgress())
            columns[name] = measured[name]
        else:
            known = [*table.columns, "view", *table.label_names, "psnr", "ssim", *MEASURES]
            raise InputError(f"--control {name} is not known; it may be {', '.join(dict.fromkeys(known))}.")
    return columns


def find_labelled_direction(
    codes: Codes,
    cohort: Cohort,
    columns: dict[str, list[str]],
    labels: tuple[str, str],
    method: LabelMethod,
    folds: int = 5,
    seed: int = 0,
    name: str | None = None,
    progress: Progress | None = None,
    metric: Metric = "codes",
    coordinates: Floats | None = None,
) -> Direction:
    """The direction from the second of `labels` to the first, `columns` controlled for, in the space of the codes.

    `coordinates` [D, K] are those of `metric` (`visible_coordinates`).
    """
    used = np.arange(len(cohort.rows))
    matrix = None
    extra: dict[str, object] = {}
    if columns:
        controls = Controls.of(columns)
        used, matrix = controls.kept, controls.matrix
        extra = {"controls": controls.described, "without_control_values": len(cohort.rows) - len(used)}
    w = CodeRows.in_file(codes, cohort.rows[used])
    patients = [cohort.patients[index] for index in used]
    found = labelled_direction(w, cohort.positive[used], patients, method, matrix, folds, seed, progress, coordinates)
    header = codes.header
    what = f"labels, {method}" + (f", {metric}" if coordinates is not None else "")
    what += f", controlling {', '.join(columns)}" if columns else ""
    return Direction(
        direction=found.axis.reshape(header.num_ws, header.w_dim).astype(np.float32),
        name=name or labels[0],
        method=what,
        fingerprint=header.fingerprint,
        sources=[codes.source[row] for row in cohort.rows[used]],
        statistics={"positive": labels[0], "negative": labels[1], "metric": metric, **extra, **found.statistics},
        model=header.model,
    )


def _measure_originals(
    codes: Codes, cohort: Cohort, network: AnatomyNetwork, progress: Progress
) -> dict[str, list[str]]:
    """MEASURES of what was inverted; empty where the outlines are implausible, so that the code is left out."""
    cells: dict[str, list[str]] = {name: [] for name in MEASURES}
    progress.start("Measuring originals", len(cohort.rows))
    done = 0
    for images in take_originals(codes, cohort.rows, BATCH):
        found, plausible = measure_pictures(network, images, BATCH)
        for name, values in found.items():
            cells[name] += [_cell(value) if good else "" for value, good in zip(values, plausible, strict=True)]
        done += len(images)
        progress.advance(done)
    progress.finish()
    return cells


def _cell(value: float) -> str:
    return "" if np.isnan(value) else repr(float(value))
