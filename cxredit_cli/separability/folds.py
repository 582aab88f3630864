"""Folds that keep a patient in one piece."""

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from cxredit_cli.errors import InputError
from cxredit_cli.separability.discriminant import Bools


def assign_folds(positive: Bools, patients: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """The fold [N] of each image: patients stay together, and the classes spread evenly over the folds."""
    if folds < 2:
        raise InputError(f"--folds must be at least 2, but it is {folds}.")
    for name, members in (("positive", positive), ("negative", ~positive)):
        count = len(np.unique(patients[members]))
        if count < folds:
            raise InputError(
                f"The {name} class has {count} patients, but {folds} folds need at least as many of each class; "
                "give more codes or fewer --folds."
            )
    result = np.empty(len(positive), dtype=np.int64)
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    for index, (_, held) in enumerate(splitter.split(positive, positive, patients)):
        result[held] = index
    for index in range(folds):
        if len(np.unique(positive[result != index])) < 2:
            raise InputError(f"Without fold {index + 1} one class is empty; give more patients or fewer --folds.")
    return result
