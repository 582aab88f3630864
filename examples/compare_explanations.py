"""Three ways to move a classifier's score, on the same films, with the same generator and the same classifier.

    python examples/compare_explanations.py unseen --classifier shortcut.pt2 --limit 12

- smallest: `cxredit explain`, the smallest change of the code in the coordinates of the generator's curvature;
- line: one step along the gradient of the score at the film's code, as long as it must be (the latent shift of Cohen et
  al. 2021, arXiv 2102.09475, whose autoencoder's code is here the generator's);
- styles: the style channels that each move the score most, one after the other until it crosses (StylEx: Lang et al.
  2021, arXiv 2104.13369, section 3.2, independent selection), by two of their deviations over random codes.

For each way: how many films crossed the target, the mean absolute change of grey, the share of it outside heart and
lungs, in how many films the changed picture is still nearest to its own film among all of them, and seconds.
Prints one table and writes comparison.json.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cxredit_cli.anatomy.outlines import MASK_SIDE, clean, segment
from cxredit_cli.editing.counterfactual import Coordinates, Score, score_gradient, smallest_change
from cxredit_cli.editing.explain import Request, begin
from cxredit_cli.editing.score_shares import organ_regions
from cxredit_cli.inversion.request import InversionRequest
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.metrics.patient_identity import own_is_nearest
from cxredit_cli.networks.generator import Generator, SynthesisLayer
from cxredit_cli.radiographs.film import read_film
from cxredit_cli.radiographs.sources import list_sources
from cxredit_cli.storage.anatomy_network import BUNDLED_JUDGE, load_anatomy
from cxredit_cli.storage.any_classifier import load_score
from cxredit_cli.storage.models import load_model

DEVIATIONS = 2.0  # of a style, that its channel is moved by
MOST_CHANNELS = 64
LINE_STEPS = 64
BATCH = 16  # as `synthesize` makes pictures


def smallest(generator: Generator, score: Score, at: Coordinates, goal: float, rising: bool) -> Tensor:
    """The picture [1, 1, R, R] after the smallest change."""
    found = smallest_change(generator, score, at, goal, rising, at.limit(generator))
    return at.pictures(generator, found.u[None])


def line(generator: Generator, score: Score, at: Coordinates, goal: float, rising: bool) -> Tensor:
    """The first picture that crosses along the gradient of the score by the code itself."""
    plain = Coordinates(at.start, torch.ones_like(at.spread), torch.eye(len(at.spread)), at.noise)
    _, gradient = score_gradient(generator, score, plain, torch.zeros_like(at.start))
    # Twice as far as a random code lies from the mean: whatever has not crossed by then will not.
    reach = 2 * float(
        (random_codes(generator, 0, range(256)) - generator.w_statistics()[0]).square().sum(2).mean().sqrt()
    )
    unit = gradient / gradient.norm() * (1 if rising else -1) * math.sqrt(len(at.start))
    steps = torch.linspace(0, reach, LINE_STEPS + 1)[1:]
    return first_across(plain.pictures(generator, steps[:, None, None] * unit), score, goal, rising)


def styles(generator: Generator, score: Score, at: Coordinates, goal: float, rising: bool) -> Tensor:
    """The picture after moving style channels, the most effective first, until it crosses."""
    layers = [module for module in generator.synthesis.modules() if isinstance(module, SynthesisLayer)]
    codes = random_codes(generator, 0, range(256))[:, 0]
    spreads = [layer.affine(codes).std(dim=0) for layer in layers]
    channels = [
        (index, channel, sign)
        for index, spread in enumerate(spreads)
        for channel in range(len(spread))
        for sign in (1, -1)
    ]
    here = float(score(at.pictures(generator, torch.zeros_like(at.start)[None]))[0])
    effects = []
    for first in range(0, len(channels), BATCH):
        part = channels[first : first + BATCH]
        offsets = [torch.zeros(len(part), len(spread)) for spread in spreads]
        for place, (index, channel, sign) in enumerate(part):
            offsets[index][place, channel] = sign * DEVIATIONS * spreads[index][channel]
        with moved_styles(layers, offsets):
            pictures = at.pictures(generator, torch.zeros(len(part), *at.start.shape))
        effects += (score(pictures) - here).tolist()
    order = np.argsort(effects)
    best = (order[::-1] if rising else order)[:MOST_CHANNELS]
    pictures = []
    total = [torch.zeros(1, len(spread)) for spread in spreads]
    for place in best:
        index, channel, sign = channels[int(place)]
        total[index][0, channel] = sign * DEVIATIONS * spreads[index][channel]
        with moved_styles(layers, total):
            pictures.append(at.pictures(generator, torch.zeros_like(at.start)[None]))
        if (float(score(pictures[-1])[0]) - goal) * (1 if rising else -1) >= 0:
            break
    return pictures[-1]


@contextmanager
def moved_styles(layers: list[SynthesisLayer], offsets: list[Tensor]) -> Iterator[None]:
    """Within the `with`, offsets [N, C] are added to the styles of each layer."""
    hooks = [
        layer.affine.register_forward_hook(lambda module, given, made, offset=offset: made + offset)
        for layer, offset in zip(layers, offsets, strict=True)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def first_across(pictures: Tensor, score: Score, goal: float, rising: bool) -> Tensor:
    """The first of some pictures whose score crosses, else the one that comes nearest."""
    found = torch.cat([score(part) for part in torch.split(pictures, BATCH)]) * (1 if rising else -1)
    there = (found >= (goal if rising else -goal)).nonzero()[:, 0]
    place = int(there[0]) if len(there) else int(found.argmax())
    return pictures[place : place + 1]


WAYS: dict[str, Callable[[Generator, Score, Coordinates, float, bool], Tensor]] = {
    "smallest": smallest,
    "line": line,
    "styles": styles,
}


def main() -> None:
    """Compare, print and write."""
    arguments = parse()
    model, judge = load_model(arguments.model), load_anatomy(BUNDLED_JUDGE)
    generator = model.generator
    classifier = load_score(arguments.classifier, arguments.label)
    goal = math.log(arguments.target / (1 - arguments.target))
    films, starts = [], []
    for source in list_sources(arguments.inputs)[: arguments.limit]:
        film = read_film(source).square("crop")
        at, original, _, _ = begin(model, film, Request(inversion=InversionRequest(None, "w+", arguments.steps)))
        films.append(original)
        starts.append(at)
    gallery = np.stack(films)
    whole = np.ones(gallery.shape[1:], dtype=bool)
    table = {}
    header = ["way", "crossed", "mean change of grey", "of it outside heart and lungs", "own film still the nearest"]
    print(f"| {' | '.join([*header, 'seconds'])} |\n|{'---|' * 6}")
    for name, way in WAYS.items():
        rows = []
        for index, at in enumerate(starts):
            before = at.pictures(generator, torch.zeros_like(at.start)[None])
            with torch.no_grad():
                here = float(classifier.log_odds(before)[0])
            rising = here < goal
            started = time.monotonic()
            after = way(generator, classifier.log_odds, at, goal, rising).detach()
            seconds = time.monotonic() - started
            with torch.no_grad():
                reached = float(classifier.log_odds(after)[0])
            masks = clean(segment(judge, torch.cat([before, after]), MASK_SIDE).masks)
            elsewhere = organ_regions(masks, generator.resolution)["elsewhere"]
            change = (after - before)[0, 0].abs() / 2
            rows.append(
                {
                    "crossed": (reached >= goal - 1e-3) == rising,
                    "change": float(change.mean()),
                    "elsewhere": float(change[elsewhere].sum() / change.sum().clamp(min=1e-12)),
                    "own": bool(own_is_nearest(after[0].numpy() / 2 + 0.5, gallery, index, whole)[0]),
                    "seconds": seconds,
                }
            )
        crossed = [row for row in rows if row["crossed"]]
        table[name] = {
            "films": len(rows),
            "crossed": len(crossed),
            "own": sum(row["own"] for row in rows),
            **{key: float(np.median([row[key] for row in crossed or rows])) for key in ("change", "elsewhere")},
            "seconds": float(np.median([row["seconds"] for row in rows])),
        }
        found = table[name]
        cells = [f"{found[key]} of {found['films']}" for key in ("crossed", "own")]
        shares = f"{found['change']:.1%} | {found['elsewhere']:.0%}".replace("%", " %")
        print(f"| {name} | {cells[0]} | {shares} | {cells[1]} | {found['seconds']:.2g} |", flush=True)
    arguments.output.write_text(
        json.dumps({"classifier": classifier.file, "class": classifier.wanted, **table}, indent=2) + "\n"
    )


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", help="films: files, folders, globs or zips")
    parser.add_argument("--classifier", required=True)
    parser.add_argument("--label", help="class of the classifier")
    parser.add_argument("--target", type=float, default=0.5)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--limit", type=int, default=12)
    parser.add_argument("--output", "-o", type=Path, default=Path("comparison.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
