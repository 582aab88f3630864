"""What LDA says of pure noise: the in-sample separation of random labels on random codes, and the held-out figures.

    python examples/separability_of_noise.py [--plot noise.png] > noise.md

Prints the tables of docs/explanation/separability.md, of 350 codes in 512 dimensions, as in Saboo et al. 2020, that
hold no disease. `python docs/tools/result_tables.py noise noise-solvers < noise.md` renews those of the documents.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from cxredit_cli.report.plots import plot_separability
from cxredit_cli.separability.lda import lda, separation

CODES, DIMENSIONS = 350, 512


def random_cohort(positives: int, seed: int, codes: int = CODES) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Codes of a normal distribution, labels drawn at random, and one patient for each code."""
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((codes, DIMENSIONS)),
        rng.permutation(codes) < positives,
        [str(index) for index in range(codes)],
    )


def in_sample_by_solver(codes: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    """The paper's figure as three solvers of scikit-learn give it: the axis is not unique with so few codes."""
    solvers = {
        "svd (the default)": LinearDiscriminantAnalysis(solver="svd"),
        "lsqr, shrinkage": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        "lsqr": LinearDiscriminantAnalysis(solver="lsqr"),
    }
    found = {}
    for name, solver in solvers.items():
        fitted = solver.fit(codes, positive)
        axis = fitted.scalings_[:, 0] if name.startswith("svd") else fitted.coef_[0]
        found[name] = abs(float(separation(codes @ axis, positive)))
    return found


def main() -> None:
    """Print both tables; draw the cohort that comes nearest to the paper's 4.8."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--permutations", type=int, default=200)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()

    print("| positive of 350 | in sample | held out | AUC held out | p |")
    print("|---|---|---|---|---|")
    for positives in (175, 100, 50, 35, 25):
        rows = [lda(*random_cohort(positives, seed), permutations=19, seed=seed) for seed in range(options.repeats)]
        columns = [[r.in_sample for r in rows], [r.held_out for r in rows], [r.auc for r in rows]]
        cells = [f"{np.mean(c):.2f} ({min(c):.2f} to {max(c):.2f})" for c in columns]
        p_values = [row.p_value for row in rows]
        print(f"| {positives} | {' | '.join(cells)} | mean {np.mean(p_values):.2f} |", flush=True)

    print("\n| positive of 350 | " + " | ".join(in_sample_by_solver(*random_cohort(175, 0)[:2])) + " |")
    print("|---|---|---|---|")
    for positives in (175, 50, 25):
        found = [in_sample_by_solver(*random_cohort(positives, seed)[:2]) for seed in range(min(options.repeats, 5))]
        means = [np.mean([row[name] for row in found]) for name in found[0]]
        print(f"| {positives} | {' | '.join(f'{mean:.3g}' for mean in means)} |", flush=True)

    codes, positive, patients = random_cohort(35, 0)
    one = lda(codes, positive, patients, permutations=options.permutations)
    low, high = np.quantile(one.in_sample_null, [0.025, 0.975])
    print(f"\n35 of 350: in sample {one.in_sample:.2f} (permuted labels {low:.2f} to {high:.2f}), ", end="")
    low, high = one.auc_interval
    print(f"held out {one.held_out:+.2f}, AUC {one.auc:.3f} ({low:.3f} to {high:.3f}), p = {one.p_value:.2f}")
    if options.plot is not None:
        title = "350 random codes in 512 dimensions, random labels"
        plot_separability(options.plot, one, positive, ("label 0", "label 1"), title)


if __name__ == "__main__":
    main()
