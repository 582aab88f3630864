"""The claims of Figure 2 of Saboo et al. 2020 as four pictures of one's own model, with the figures under each cell.

    python examples/reproduce_figure.py dataset.h5 -o docs/results/reproduction

generated.png: random codes beside real films; reconstructions.png: synthetic and real films and what each way of
inverting makes of them; pair.png: a healthy film, its heart enlarged by `edit-heart`, and both as codes; conferred.png:
what the pair's direction, the mean of many pairs and the model's own direction make of patients whom nobody edited. All
that are shown are of the split val, the many pairs of the split train. The CTR is by the network that only judges.
"""

import argparse
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cxredit_cli.anatomy.measures import measure_images
from cxredit_cli.directions.from_pair import invert_edited
from cxredit_cli.editing.edit_heart import edit_heart
from cxredit_cli.figures.sheets import save_png
from cxredit_cli.inversion.invert import Method, invert
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.metrics.psnr_ssim import psnr
from cxredit_cli.storage.anatomy_network import BUNDLED_JUDGE, load_anatomy
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.directions import read_direction
from cxredit_cli.storage.models import load_model

CELL = 1.45  # inches
SCALE = 1.3  # of the heart, by hand


def picture(path: Path, rows: list[tuple[str, Tensor, list[str]]], heads: list[str] | None = None) -> None:
    """Rows of images [n, 1, R, R] in [-1, 1], each with its name and the caption of each cell."""
    columns = max(len(images) for _, images, _ in rows)
    figure, cells = plt.subplots(
        len(rows), columns, figsize=(CELL * columns, (CELL + 0.2) * len(rows)), squeeze=False, layout="constrained"
    )
    for number, (line, (name, images, captions)) in enumerate(zip(cells, rows, strict=True)):
        for column, cell in enumerate(line):
            cell.set_xticks([])
            cell.set_yticks([])
            if column >= len(images):
                cell.axis("off")
                continue
            cell.imshow(images[column, 0].numpy(), cmap="gray", vmin=-1, vmax=1, interpolation="bilinear")
            if column < len(captions):
                cell.set_xlabel(captions[column], fontsize=7, labelpad=2)
            if heads and number == 0:
                cell.set_title(heads[column], fontsize=8)
        line[0].set_ylabel(name, fontsize=8)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=110)
    plt.close(figure)
    text = {
        "Software": "cxredit",
        "Comment": "Synthetic and edited radiographs, for research and education, not for diagnosis",
    }
    save_png(path, Image.open(drawn).convert("L"), text)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model", type=Path, help="default: ./model, else the bundled one")
    parser.add_argument("--steps", type=int, default=75, help="of inversion; twice as many for the row W+ of B")
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--strengths", default="4,8", help="along the model's own direction")
    parser.add_argument("-o", "--output", type=Path, default=Path("reproduction"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)

    model, dataset = load_model(arguments.model), Dataset(arguments.dataset)
    generator, finder, judge = model.generator, load_anatomy(None), load_anatomy(BUNDLED_JUDGE)
    for parameter in generator.parameters():
        parameter.requires_grad_(False)

    def healthy(split: str, count: int) -> Tensor:
        """One film a patient."""
        rows, seen = [], set[str]()
        for row in np.random.default_rng(1).permutation(dataset.indices(split, "PA", "No Finding")):
            if dataset.patient_ids[row] not in seen:
                seen.add(dataset.patient_ids[row])
                rows.append(int(row))
        levels = dataset.images(np.sort(np.array(rows[:count]))).astype(np.float32) / np.float32(dataset.white)
        return torch.from_numpy(levels)[:, None] * 2 - 1

    def made(w: Tensor) -> Tensor:
        with torch.no_grad():
            return generator.synthesis(w).clamp(-1, 1)

    def ctr(images: Tensor) -> NDArray[np.float64]:
        return measure_images(judge, images).ctr

    def inverted(images: Tensor, method: str = "hybrid", space: str = "w", steps: int = arguments.steps) -> Tensor:
        with fast_gradients(generator):
            return invert(model, images, method, space, steps, 32).w  # type: ignore[arg-type]

    unseen = healthy("val", 12)

    # A: sufficiency begins with pictures that could be films.
    random = made(random_codes(generator, 1, range(14)))
    blank: list[str] = []
    picture(
        arguments.output / "generated.png",
        [("generated", random[:7], blank), ("generated", random[7:], blank), ("real, unseen", unseen[:7], blank)],
    )

    # B: synthetic films (whose codes exist) and real ones (whose codes need not).
    films = torch.cat([random[:3], unseen[:4]])
    rows = [("film", films, ["synthetic"] * 3 + ["real"] * 4)]
    for name, how in {
        "encoder": ("encoder", "w", 1),
        f"W, {arguments.steps} steps": ("hybrid", "w", arguments.steps),
    }.items():
        shown = made(inverted(films, *how))
        rows.append((name, shown, [f"{value:.1f} dB" for value in psnr(films, shown)]))
    shown = made(inverted(films, "optimize", "w+", 2 * arguments.steps))
    rows.append((f"W+, {2 * arguments.steps} steps", shown, [f"{value:.1f} dB" for value in psnr(films, shown)]))
    picture(arguments.output / "reconstructions.png", rows)

    # C: one film, its heart enlarged, and the step between their codes.
    def enlarged(images: Tensor) -> Tensor:
        pixels = [edit_heart(finder, image[0].numpy() / 2 + 0.5, SCALE, None).pixels for image in images]
        return torch.from_numpy(np.stack(pixels).astype(np.float32))[:, None] * 2 - 1

    one = unseen[4:5]
    pair = torch.cat([one, enlarged(one)])
    rows = [("film", pair, [f"CTR {value:.2f}" for value in ctr(pair)])]
    steps = {}
    methods: tuple[tuple[str, Method], ...] = (("encoder", "encoder"), (f"W, {arguments.steps} steps", "hybrid"))
    for name, method in methods:
        w = torch.cat([found.w for found in invert_edited(model, *pair.split(1), method, "w", arguments.steps)])
        steps[method] = w[1:] - w[:1]
        rows.append((name, made(w), [f"CTR {value:.2f}" for value in ctr(made(w))]))
    picture(arguments.output / "pair.png", rows, ["as it is", f"heart x {SCALE:g}"])

    # D: the step conferred on others, beside the mean of many pairs and the model's own direction.
    training = healthy("train", arguments.pairs)
    before, after = invert_edited(model, training, enlarged(training), "hybrid", "w", arguments.steps)
    moves = after.w - before.w
    many = F.normalize(F.normalize(moves, dim=2).mean(0, keepdim=True), dim=2)
    own = torch.from_numpy(read_direction(model.path / "directions" / "cardiomegaly.h5").direction)[None]
    length = float(moves.norm(dim=2).mean())
    edits = {
        "one pair, encoder": steps["encoder"],
        "one pair, W": steps["hybrid"],
        f"{arguments.pairs} pairs": length * many,
    }
    edits |= {f"own, {float(strength):+g}": float(strength) * own for strength in arguments.strengths.split(",")}
    others = unseen[5:9]
    w = inverted(others, space="w+")
    columns = {"film": others, "reconstruction": made(w)} | {name: made(w + step) for name, step in edits.items()}
    ratios = {name: ctr(images) for name, images in columns.items()}
    rows = [
        (
            f"patient {number + 1}",
            torch.stack([images[number] for images in columns.values()]),
            [f"CTR {values[number]:.2f}" for values in ratios.values()],
        )
        for number in range(len(others))
    ]
    picture(arguments.output / "conferred.png", rows, list(columns))


if __name__ == "__main__":
    main()
