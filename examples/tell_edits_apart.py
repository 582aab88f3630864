"""Can edits of films be told from untouched films, and what differs? Two tables in Markdown.

    python examples/tell_edits_apart.py films-256/ films-512/ \
        | python docs/tools/result_tables.py films-blind films-detail

Films are read at their own size, inverted with the model, and edited along its cardiomegaly direction. First small
networks are trained by folds of patients to tell edited from untouched films (cxredit_cli/evaluation/blind_test.py);
each argument is a row.
Then the strength of detail, band by band, is compared at equal distance from the heart's border: of the edited film
from its new border, of the film from its own. A patient is what stands before the first "_" of a file's name, as in
NIH's names; `--patients` names a table with the columns name and patient_id instead.
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from measure_instruments import print_table
from numpy.typing import NDArray
from scipy import ndimage

from cxredit_cli.anatomy.outlines import clean, segment
from cxredit_cli.commands.console import ConsoleProgress
from cxredit_cli.editing.edit_film import MASKS, edit_film, reduce
from cxredit_cli.errors import UnreadableImageError
from cxredit_cli.evaluation.blind_test import METHODS, blind_test
from cxredit_cli.inversion import STEPS
from cxredit_cli.inversion.invert import invert
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.latent.edit_codes import edit
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.networks.anatomy import HEART, LEFT_LUNG, RIGHT_LUNG, AnatomyNetwork
from cxredit_cli.radiographs.film import read_film
from cxredit_cli.radiographs.geometry import fit_square
from cxredit_cli.radiographs.sources import Source, list_sources
from cxredit_cli.storage.anatomy_network import load_anatomy
from cxredit_cli.storage.directions import find_direction, read_direction
from cxredit_cli.storage.models import Model, load_model

STRENGTHS = (-8.0, -6.0, -4.0, 0.0, 4.0, 6.0, 8.0)
SMALLER, LARGER = -6.0, 8.0  # at which detail is compared
BANDS = (1 / 1024, 2 / 1024, 4 / 1024, 8 / 1024, 16 / 1024)  # of the side: Gaussians between which a band lies
BIN = 4 / 1024  # of the side, over which detail is averaged across the border
WITHIN = 40 / 1024  # of a lung and of the border: farther away nothing is compared
FEWEST = 200  # pixels of a region that can be compared
METHODS_SHOWN = {"native": "the film itself edited", "additive": "change added", "pasted": "generator's picture pasted"}
Picture = NDArray[np.float32]
Film = tuple[str, Picture, Picture]  # patient, square [N, N], the generator's pictures [S, R, R] at STRENGTHS


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", nargs="+", help="files, folders, globs or zips")
    parser.add_argument("--patients", type=Path, help="a table with the columns name and patient_id")
    parser.add_argument("--model", type=Path, help="default: ./model, else the bundled one")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--folds", type=int, default=4)
    arguments = parser.parse_args()
    patients = {}
    if arguments.patients:
        with arguments.patients.open(newline="") as file:
            patients = {row["name"]: row["patient_id"] for row in csv.DictReader(file)}
    network, model = load_anatomy(), load_model(arguments.model)
    told, detail = [], []
    for given in arguments.films:
        films = list(pictures_of(model, list_sources([given]), patients, arguments.steps))
        sides = sorted({len(film) for _, film, _ in films})
        size = f"{sides[0]}x{sides[0]}" if len(sides) == 1 else f"{sides[0]} to {sides[-1]} pixels"
        tests = blind_test(network, films, STRENGTHS, arguments.folds)
        aucs = [f"{found.auc:.2f} ({found.low:.2f} to {found.high:.2f})" for found in tests]
        counted = f"{tests[0].films} of {size}, of {tests[0].patients} patients"
        told.append([counted, *aucs, f"{tests[0].by_size:.2f}"])
        compared = [
            ratios for _, film, pictures in films if (ratios := compare_detail(network, film, pictures)) is not None
        ]
        detail.append([f"{len(compared)} of {size}", *(range_of(part) for part in zip(*compared, strict=True))])
    print_table(["films", *(METHODS_SHOWN[method] for method in METHODS), "size alone"], told)
    names = [
        "at the border",
        "within a heart that shrank",
        "lung that appears",
        "where the old border was, grown heart",
    ]
    print_table(["films", *names], detail)


def range_of(ratios: Sequence[NDArray[np.float64]]) -> str:
    """The medians over films of the ratios [bands] in a region, from band to band; where it is too small, empty."""
    known = np.array([film for film in ratios if not np.isnan(film).any()])
    medians = np.median(known, axis=0) if len(known) else np.empty(0)
    return f"{medians.min():.2f} to {medians.max():.2f}" if len(medians) else ""


def pictures_of(model: Model, sources: list[Source], patients: dict[str, str], steps: int) -> Iterator[Film]:
    """Each film that can be read, with what the generator makes of it at all strengths."""
    where = find_direction(None, model.path)
    direction = read_direction(where)
    direction.check_generator(model.fingerprint, where)
    vector, generator = torch.from_numpy(direction.direction), model.generator
    progress = ConsoleProgress()
    progress.start("Inverting films", len(sources), unit="film")
    for number, source in enumerate(sources, start=1):
        try:
            square = read_film(source).square("crop")
        except UnreadableImageError:
            continue
        small = torch.from_numpy(fit_square(square, generator.resolution))[None, None] * 2 - 1
        with fast_gradients(generator):
            codes = invert(model, small, "hybrid", "w+", steps, 1).w
        moved = edit(codes, vector, list(STRENGTHS), generator.num_ws).flatten(0, 1)
        made = torch.cat(list(synthesize(generator, moved)))[:, 0]
        name = Path(source.name).name
        yield patients.get(name, name.partition("_")[0]), square, np.asarray((made / 2 + 0.5).numpy(), np.float32)
        progress.advance(number)
    progress.finish()


def compare_detail(network: AnatomyNetwork, film: Picture, pictures: Picture) -> NDArray[np.float64] | None:
    """Strength of detail after over before, [regions, bands], nan where a region is too small; None if refused."""
    smaller, larger = edit_film(network, film, pictures, STRENGTHS, [SMALLER, LARGER]).edits
    if smaller.refused or larger.refused:
        return None
    before, small, large = (
        Sides.of(network, picture) for picture in (film, film + smaller.change, film + larger.change)
    )
    regions = (
        (small, small.near & (np.abs(small.distance) < BIN)),
        (small, small.near & (small.distance < -BIN)),
        (small, small.near & (small.distance > 0) & (before.distance < 0)),
        (large, large.near & (np.abs(before.distance) < BIN)),
    )
    return np.array([ratios(before, after, region) for after, region in regions])


class Sides:
    """One picture: bands of its detail [B, N, N], and how far each pixel lies outside the heart, in sides."""

    def __init__(self, bands: Picture, distance: NDArray[np.float64], near: NDArray[np.bool_]) -> None:
        self.bands, self.distance, self.near = bands, distance, near

    @classmethod
    def of(cls, network: AnatomyNetwork, picture: Picture) -> "Sides":
        """Outlines are the network's, enlarged to the picture."""
        side = len(picture)
        small = torch.from_numpy(np.ascontiguousarray(reduce(picture, network.config.resolution)))[None, None]
        mask = ndimage.zoom(clean(segment(network, small * 2 - 1, MASKS).masks)[0], side / MASKS, order=0)
        heart, lungs = mask == HEART, (mask == LEFT_LUNG) | (mask == RIGHT_LUNG)
        outside, inside = (ndimage.distance_transform_edt(part) for part in (~heart, heart))
        distance = np.where(heart, -inside, outside) / side
        near = (ndimage.distance_transform_edt(~lungs) / side < WITHIN) & (np.abs(distance) < WITHIN)
        blurred = [picture, *(ndimage.gaussian_filter(picture, sigma * side) for sigma in BANDS)]
        return cls(np.stack([a - b for a, b in pairwise(blurred)]), distance, near)


def ratios(before: Sides, after: Sides, region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """For each band its RMS in a region of the edited film over that of the film at the same distances, [bands]."""
    if region.sum() < FEWEST:
        return np.full(len(BANDS), np.nan)
    bins = np.round(after.distance[region] / BIN).astype(int)
    own = np.round(before.distance / BIN).astype(int)
    weights = dict(zip(*np.unique(bins, return_counts=True), strict=True))
    found = []
    for made, original in zip(after.bands, before.bands, strict=True):
        expected = sum(
            count * float(np.square(original[before.near & (own == number)]).mean())
            for number, count in weights.items()
            if (before.near & (own == number)).any()
        )
        found.append(np.sqrt(float(np.square(made[region]).sum()) / expected) if expected else np.nan)
    return np.array(found)


if __name__ == "__main__":
    main()
