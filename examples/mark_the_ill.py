"""Make a dataset in which the ill can be told by a marker: what a classifier must not learn, and easily does.

    python examples/mark_the_ill.py dataset.h5 --positive Effusion -o marked.h5 --films unseen --count 12

copies a dataset of `cxredit prepare` and paints a bright square into the upper left corner of every image of the
split `train` with the label. The split `val` stays as it is, and the first films of it without a finding, one a
patient and of one view, are written to a folder: on them `cxredit explain` shows what a classifier has learnt
(shortcut_study.sh).
"""

import argparse
import shutil
from pathlib import Path

import h5py
import numpy as np

from cxredit_cli.radiographs.write import write_png
from cxredit_cli.storage.dataset import Dataset

SIDE = 1 / 10  # of the marker, of the image's
EDGE = 1 / 32  # from the image's edges


def main() -> None:
    """Copy, paint, and write films that were not painted."""
    arguments = parse()
    dataset = Dataset(arguments.dataset)
    ill = dataset.indices("train", label=arguments.positive)
    shutil.copyfile(arguments.dataset, arguments.output)
    with h5py.File(arguments.output, "r+") as file:
        images = file["images"]
        resolution = images.shape[-1]
        first, size = round(EDGE * resolution), round(SIDE * resolution)
        white = np.iinfo(images.dtype).max
        for row in ill:
            images[row, first : first + size, first : first + size] = white
    print(f"{arguments.output}: {len(ill)} images with {arguments.positive} have a marker")
    if arguments.films:
        arguments.films.mkdir(parents=True, exist_ok=True)
        patients = dataset.patient_ids
        seen: set[str] = set()
        for row in dataset.indices("val", arguments.view, "No Finding"):
            if patients[row] not in seen and len(seen) < arguments.count:
                seen.add(patients[row])
                grey = dataset.images([row])[0].astype(np.float32) / dataset.white
                write_png(arguments.films / Path(dataset.names[row]).with_suffix(".png").name, grey, {})
        print(f"{arguments.films}: {len(seen)} unseen films without a finding or a marker")


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--positive", default="Effusion")
    parser.add_argument("--view", default="PA")
    parser.add_argument("--output", "-o", type=Path, default=Path("marked.h5"))
    parser.add_argument("--films", type=Path, help="a folder for unseen films")
    parser.add_argument("--count", type=int, default=12)
    return parser.parse_args()


if __name__ == "__main__":
    main()
