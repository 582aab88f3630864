"""How well LDA tells a disease on other patients, by what it looks at: the codes, the picture, the anatomy.

    python examples/compare_metrics.py cohort-w.h5 cohort-w+.h5 --labels dataset.h5 > metrics.md

Prints a table with a column for each file of codes, all of one model. `python docs/tools/result_tables.py
separability-metrics < metrics.md` renews that of docs/results/separability.md. Each cell is the AUC held out by patient
with its interval and p-value for the first draw of the folds, then the mean over all draws. The second row shows what
choosing the shrinkage does alone, without knowing what shows.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np

from cxredit_cli.commands.console import ConsoleProgress
from cxredit_cli.inversion.encode import Space
from cxredit_cli.latent.visible import Floats, Metric, space_of, visible_coordinates
from cxredit_cli.separability.code_rows import CodeRows
from cxredit_cli.separability.cohort import choose_cohort
from cxredit_cli.separability.discriminant import PrincipalBasis
from cxredit_cli.separability.lda import lda
from cxredit_cli.storage.codes import read_codes
from cxredit_cli.storage.dataset_labels import read_label_table
from cxredit_cli.storage.models import Model, load_model

WAYS = ("codes, shrinkage by Ledoit and Wolf", "codes, shrinkage chosen", "picture", "anatomy")


Find = Callable[[Space, Metric], Floats | None]


def ways(find: Find, space: Space, codes: CodeRows) -> Iterator[Floats | None]:
    """The coordinates of each of WAYS."""
    yield None
    yield PrincipalBasis.of(codes).vectors  # a rotation, and what no code has a part in is left out
    yield find(space, "picture")
    yield find(space, "anatomy")


def column(path: Path, model: Model, find: Find, options: argparse.Namespace) -> tuple[str, list[str]]:
    """Header and cells of one file of codes."""
    held = read_codes(path)
    held.check_generator(model.fingerprint)
    cohort = choose_cohort(held.source, read_label_table(options.labels), options.positive, options.negative)
    codes = CodeRows.in_file(held, cohort.rows)
    cells = []
    for coordinates in ways(find, space_of(held.header.num_ws), codes):
        asked = (codes, cohort.positive, cohort.patients, 5)
        found = lda(*asked, options.permutations, coordinates=coordinates)
        areas = [lda(*asked, 1, seed, coordinates=coordinates).auc for seed in range(1, options.draws)]
        low, high = found.auc_interval
        mean = np.mean([found.auc, *areas])
        cells.append(f"{found.auc:.3f} ({low:.3f} to {high:.3f}), p {found.p_value:.3f}; {mean:.3f}")
    patients = f"{found.positives} of {found.positive_patients} against {found.negatives} of {found.negative_patients}"
    steps = f", {held.header.steps} steps" if held.header.method != "encoder" else ""
    return f"{path.stem}: {held.header.space.upper()}, {held.header.method}{steps}, {patients}", cells


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codes", type=Path, nargs="+", help="files of codes of labelled images")
    parser.add_argument("--labels", type=Path, default=Path("dataset.h5"))
    parser.add_argument("--positive", default="Cardiomegaly")
    parser.add_argument("--negative", default="No Finding")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--permutations", type=int, default=200)
    parser.add_argument("--draws", type=int, default=5, help="of the folds")
    options = parser.parse_args()
    model = load_model(options.model, parts=("generator",))
    # Once for all files of a space: those of the anatomy take a minute.
    find = cache(lambda space, metric: visible_coordinates(model, space, metric, progress=ConsoleProgress()))
    columns = [column(path, model, find, options) for path in options.codes]
    print(f"| what LDA looks at | {' | '.join(header for header, _ in columns)} |")
    print("|---" * (1 + len(columns)) + "|")
    for row, way in enumerate(WAYS):
        print(f"| {way} | {' | '.join(cells[row] for _, cells in columns)} |")


if __name__ == "__main__":
    main()
