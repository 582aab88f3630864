"""Inversion beside the procedure of StyleGAN2-ADA's projector, on the same images in the same process.

    python examples/compare_projector.py dataset.h5 --n 64 -o projector.json

The procedure, written from its description (Karras et al. 2020, appendix D, and its published settings): in W from
the mean code, 1000 steps of Adam with a ramp of the learning rate, noise on the code, noise maps fitted under a
regulariser, one image at a time. Two changes are in its favour: the squared error of pixels in place of VGG
features, which costs less and aims at the PSNR that is compared, and the precision that cxredit searches in. What it
keeps is the code alone, so its picture is measured with the generator's own noise.

Stop it at any moment and run it again: images that are done are not done again.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cxredit_cli.inversion.fitted_noise import autocorrelation
from cxredit_cli.inversion.invert import invert
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.inversion.result import full_precision
from cxredit_cli.metrics.psnr_ssim import psnr
from cxredit_cli.networks.generator import Generator
from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.models import load_model

NOISE_WEIGHT, PIXEL_WEIGHT = 1e5, 100.0
BATCH = 32


def project(generator: Generator, image: Tensor, steps: int = 1000) -> Tensor:
    """The code [1, 1, w_dim] of one image [1, 1, R, R] in [-1, 1]."""
    z = torch.from_numpy(np.random.RandomState(123).randn(10000, generator.z_dim).astype(np.float32))
    with torch.no_grad():
        codes = generator.mapping(z)
    mean = codes.mean(0)
    spread = float((codes - mean).square().sum(1).mean().sqrt())
    random = torch.Generator().manual_seed(0)
    w = mean[None, None].clone().requires_grad_()
    shapes = generator.synthesis.noise_shapes()
    noise = [torch.randn(1, 1, *shape, generator=random).requires_grad_() for shape in shapes]
    adam = torch.optim.Adam([w, *noise], betas=(0.9, 0.999))
    for step in range(steps):
        t = step / steps
        ramp = 0.5 - 0.5 * math.cos(min(1.0, (1 - t) / 0.25) * math.pi)
        adam.param_groups[0]["lr"] = 0.1 * ramp * min(1.0, t / 0.05)
        shaken = w + torch.randn(w.shape, generator=random) * spread * 0.05 * max(0.0, 1 - t / 0.75) ** 2
        loss = PIXEL_WEIGHT * (generator.synthesis(shaken, noise) - image).square().mean()
        loss = loss + NOISE_WEIGHT * autocorrelation(noise).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            for layer in noise:
                layer -= layer.mean()
                layer *= layer.square().mean().rsqrt()
    return w.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--n", type=int, default=64, help="images of patients in the split val")
    parser.add_argument("--model", type=Path, help="default: ./model, else the bundled one")
    parser.add_argument("--reference-steps", type=int, default=1000)
    parser.add_argument("--steps", default="8,15,25,50,75,100", help="of the hybrid, in W")
    parser.add_argument("--long", type=int, default=500, help="steps of the optimisation from the mean code")
    parser.add_argument("-o", "--output", type=Path, default=Path("projector.json"))
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    model, dataset = load_model(arguments.model), Dataset(arguments.dataset)
    generator = model.generator
    for parameter in generator.parameters():
        parameter.requires_grad_(False)
    chosen = np.sort(np.random.default_rng(0).permutation(dataset.indices("val"))[: arguments.n])
    images = torch.from_numpy(dataset.images(chosen).astype(np.float32) / dataset.white)[:, None] * 2 - 1
    ways = {f"hybrid, W, {steps} steps": int(steps) for steps in arguments.steps.split(",")}
    found = json.loads(arguments.output.read_text()) if arguments.output.exists() else {"reference": [], "batches": []}

    def shown(codes: Tensor, part: Tensor) -> list[float]:
        with torch.no_grad(), full_precision(generator):
            made = torch.cat([generator.synthesis(some) for some in torch.split(codes, BATCH)])
        return [float(value) for value in psnr(part, made.clamp(-1, 1))]

    with fast_gradients(generator):
        # Batch by batch first the one and then the other, so that a machine that slows down slows both.
        for number, part in enumerate(torch.split(images, BATCH)):
            for index in range(len(found["reference"]), number * BATCH + len(part)):
                began = time.process_time()
                code = project(generator, images[index : index + 1], arguments.reference_steps)
                seconds = time.process_time() - began
                found["reference"].append({"psnr": shown(code, images[index : index + 1])[0], "seconds": seconds})
                arguments.output.write_text(json.dumps(found))
            if number < len(found["batches"]):
                continue
            rows = {}
            for way, steps in [*ways.items(), (f"optimize, W, at most {arguments.long} steps", arguments.long)]:
                began = time.process_time()
                codes = invert(model, part, "optimize" if steps == arguments.long else "hybrid", "w", steps, BATCH).w
                rows[way] = {"seconds": time.process_time() - began, "psnr": shown(codes, part)}
            found["batches"].append(rows)
            arguments.output.write_text(json.dumps(found))

    print(f"{len(images)} images of {arguments.dataset.name}, {model.name}; seconds of processor time, one thread\n")
    print("| way | mean PSNR | s/image | images an hour, times the reference's |\n|---|---|---|---|")
    decibels, slow = (np.mean([row[key] for row in found["reference"]]) for key in ("psnr", "seconds"))
    print(f"| reference projector, {arguments.reference_steps} steps | {decibels:.2f} dB | {slow:.3g} | 1 |")
    for way in found["batches"][0]:
        decibels = np.mean([value for rows in found["batches"] for value in rows[way]["psnr"]])
        seconds = sum(rows[way]["seconds"] for rows in found["batches"]) / len(images)
        print(f"| {way} | {decibels:.2f} dB | {seconds:.2f} | {slow / seconds:.0f} |")


if __name__ == "__main__":
    main()
