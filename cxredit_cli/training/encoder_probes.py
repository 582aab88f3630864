"""How well an encoder in training does, on radiographs of other patients and on synthetic images with known codes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from cxredit_cli.figures.grids import pairs_grid
from cxredit_cli.inversion.encode import all_passes
from cxredit_cli.metrics.psnr_ssim import psnr, ssim
from cxredit_cli.networks.encoder import Encoder
from cxredit_cli.networks.generator import Generator
from cxredit_cli.radiographs.write import write_png
from cxredit_cli.training.draws import hashed_seed

BATCH = 16
GRID_IMAGES = 16


@dataclass(frozen=True, slots=True)
class Probes:
    """The held-out images and codes by which training is judged; fixed for a run."""

    images: Tensor  # real, of patients that are not trained on: [N, 1, R, R]
    codes: Tensor  # [M, 1, w_dim] of random z that training never draws
    synthetic: Tensor  # their images
    code_variance: Tensor  # mean squared distance of the codes to the mean code

    @classmethod
    @torch.no_grad()
    def make(cls, generator: Generator, images: Tensor, count: int) -> Self:
        """Take the held-out images and draw `count` codes, of a seed that no iteration has."""
        random = torch.Generator().manual_seed(hashed_seed(0, -1))
        z = torch.randn(count, generator.z_dim, generator=random).to(images.device)
        codes = generator.mapping(z)[:, None]
        synthetic = torch.cat([generator.synthesis(part) for part in torch.split(codes, BATCH)])
        mean, _ = generator.w_statistics()
        return cls(images, codes, synthetic, (codes - mean).square().mean())

    @torch.no_grad()
    def figures(self, encoder: Encoder, generator: Generator) -> dict[str, float]:
        """PSNR (dB) and SSIM on both, and the code error: 0 for exact codes, 1 for answering with the mean code."""
        real, _ = reconstruct(encoder, generator, self.images)
        made, codes = reconstruct(encoder, generator, self.synthetic)
        synthetic = self.synthetic.clamp(-1, 1)
        values = {
            "val_psnr": psnr(self.images, real).mean(),
            "val_ssim": ssim(self.images, real).mean(),
            "synthetic_psnr": psnr(synthetic, made).mean(),
            "synthetic_ssim": ssim(synthetic, made).mean(),
            "code_error": (codes - self.codes).square().mean() / self.code_variance,
        }
        return dict(zip(values, torch.stack(list(values.values())).tolist(), strict=True))

    def save_grid(self, path: Path, encoder: Encoder, generator: Generator, model: str) -> None:
        """Write rows of held-out images, below each row its reconstructions."""
        images = self.images[:GRID_IMAGES]
        reconstructions, _ = reconstruct(encoder, generator, images)
        text = {"Description": "Held-out radiographs; below each its synthetic reconstruction", "Model": model}
        write_png(path, pairs_grid(images, reconstructions), text)


@torch.no_grad()
def reconstruct(encoder: Encoder, generator: Generator, images: Tensor) -> tuple[Tensor, Tensor]:
    """G(E(I)) [N, 1, R, R], clamped to [-1, 1], and the codes."""
    codes = torch.cat([all_passes(encoder, generator, part) for part in torch.split(images, BATCH)])
    return torch.cat([generator.synthesis(part).clamp(-1, 1) for part in torch.split(codes, BATCH)]), codes
