"""One evaluation of a model from beginning to end: which real images, what is generated, which networks judge."""

from collections.abc import Mapping

import numpy as np

from cxredit_cli.errors import InputError
from cxredit_cli.evaluation.realism import Images, Indices, RealImages, Realism, measure_realism
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.metrics.feature_distances import NEIGHBOUR
from cxredit_cli.metrics.feature_extractors import (
    Extractor,
    anatomy_extractor,
    inception_extractor,
    inception_weights,
    load_inception,
)
from cxredit_cli.processes import ALONE, Processes
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.storage.anatomy_network import load_anatomy
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.models import Model, fingerprint

LEAST = 4 * (NEIGHBOUR + 1)  # real images


def evaluate_realism(
    model: Model,
    real: RealImages,
    truncation_psi: float = 1.0,
    seed: int = 0,
    batch: int = 32,
    progress: Progress | None = None,
    processes: Processes = ALONE,
) -> Realism:
    """Generate as many images as there are real ones and compare them, on the model's device.

    Features come from the bundled anatomy network, and from torchvision's Inception where its weights lie on this
    machine; they are never downloaded. Several `processes` share the images, and the first has the figures. Raises
    InputError.
    """
    device = model.generator.mapping.w_avg.device
    anatomy = load_anatomy(device=device)
    extractors: dict[str, Extractor] = {"anatomy": anatomy_extractor(anatomy)}
    networks = {"anatomy": f"the bundled anatomy network [{fingerprint(anatomy.state_dict())}]"}
    weights = inception_weights()
    if weights.is_file():
        extractors["inception"] = inception_extractor(load_inception(weights, device))
        networks["inception"] = f"torchvision's ImageNet Inception v3, {weights}"
    generated = generate_images(model, len(real.images), seed, truncation_psi, batch, progress, processes)
    found = measure_realism(real, generated, extractors, seed, device, batch, progress, processes)
    found.networks = networks
    found.notes = [*_split_notes(model, real.split, real.divided), *found.notes]
    if "inception" not in networks:
        found.notes.append(f"No Inception features: torchvision's weights are not on this machine ({weights}).")
    return found


def choose_real(dataset: Dataset, split: str, n: int, seed: int = 0) -> RealImages:
    """At most `n` images of the split (train, val, or all), and as many of the other split if it has enough.

    Images of 16 bits become 8, as generated pictures are written. Raises InputError where there are fewer than 16.
    """
    if split not in ("train", "val", "all"):
        raise InputError(f"--split must be train, val or all, but it is '{split}'.")
    rows = dataset.indices(None if split == "all" else split)
    half = min(len(rows), n) // 2
    if 2 * half < LEAST:
        raise InputError(
            f"{dataset.path} has {len(rows)} images with split {split} and --n is {n}; {LEAST} at least are needed."
        )
    random = np.random.default_rng(seed)
    rows = np.sort(random.permutation(rows)[: 2 * half])
    outside = np.setdiff1d(np.arange(len(dataset)), dataset.indices(split)) if split != "all" else rows[:0]
    others = None
    if len(outside) >= 2 * half:
        others = _images(dataset, np.sort(random.permutation(outside)[: 2 * half]))
    patients = dataset.patient_ids
    return RealImages(_images(dataset, rows), [patients[row] for row in rows], others, split, _divided(dataset))


def generate_images(
    model: Model,
    n: int,
    seed: int,
    truncation_psi: float,
    batch: int = 16,
    progress: Progress | None = None,
    processes: Processes = ALONE,
) -> Images:
    """The images [n, R, R] that `generate` would write with this seed, in all of several `processes`."""
    if not 0 <= truncation_psi <= 2:
        raise InputError(f"--truncation-psi must be between 0 and 2, but it is {truncation_psi:g}.")
    progress = progress or SilentProgress()
    generator = model.generator
    images, done = np.empty((n, generator.resolution, generator.resolution), np.uint8), 0
    progress.start("Generating", n)
    for part in processes.rounds(n, batch):
        mine = images[:0]
        if part:
            (made,) = synthesize(generator, random_codes(generator, seed, part, truncation_psi), batch=batch)
            mine = np.rint((made[:, 0].numpy() / 2 + 0.5) * 255).astype(np.uint8)
        for some in processes.exchange(mine):
            images[done : done + len(some)] = some
            done += len(some)
        progress.advance(done)
    progress.finish()
    return images


def _images(dataset: Dataset, rows: Indices) -> Images:
    images = dataset.images(rows)
    return images if dataset.white == 255 else np.rint(images / np.float32(257)).astype(np.uint8)


def split_notes(model: Model, split: str, dataset: Dataset) -> list[str]:
    """What stands against taking a dataset's images of a split for images that training never saw."""
    return _split_notes(model, split, _divided(dataset))


def _divided(dataset: Dataset) -> tuple[float, int]:
    """The share of patients in val, and the seed of the split."""
    return float(dataset.attributes["val_fraction"]), int(dataset.attributes["seed"])


def _split_notes(model: Model, split: str, divided: tuple[float, int]) -> list[str]:
    data = model.info.get("data")
    if split != "val":
        return ["The model may have been trained on these real images; a fair judgement takes --split val."]
    if not isinstance(data, Mapping) or "split_seed" not in data:
        return ["model.json does not say which patients training saw; some of these may be among them."]
    if (data.get("val_fraction"), data["split_seed"]) != divided:
        return [
            "This dataset was split otherwise than the one that the model was trained on "
            f"(val_fraction {divided[0]:g}, seed {divided[1]}, not {data.get('val_fraction')} and "
            f"{data['split_seed']}): training may have seen some of these patients."
        ]
    return []
