"""Growing: train small pictures first, then double the resolution (Karras et al. 2018, section 2).

A growth changes no picture: the new block's ToRGB starts at zero, and the discriminator's new top block fades in
against its old from-image layer on the down-sampled picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from cxredit_cli.errors import InputError
from cxredit_cli.networks.discriminator import Discriminator
from cxredit_cli.networks.generator import Generator, SynthesisBlock


@dataclass(frozen=True, slots=True)
class Stage:
    """Training at one resolution from `start_kimg` on."""

    resolution: int
    start_kimg: float


def plan_stages(resolution: int, grow_from: int | None, grow_kimg: Sequence[float]) -> list[Stage]:
    """The stages from `grow_from` (None: no growing) to `resolution`; `grow_kimg` is spent at each but the last.

    When fewer numbers than growths are given, the last one counts for the rest.
    """
    if grow_from is None or grow_from == resolution:
        return [Stage(resolution, 0.0)]
    if grow_from > resolution or grow_from < 8 or grow_from & (grow_from - 1):
        raise InputError(f"--grow-from must be a power of two from 8 to {resolution}, but it is {grow_from}.")
    growths = (resolution // grow_from).bit_length() - 1
    if not grow_kimg or len(grow_kimg) > growths or min(grow_kimg) <= 0:
        raise InputError(
            f"--grow-kimg takes one to {growths} positive numbers for growing from {grow_from} to {resolution}, "
            f"but it is {','.join(f'{k:g}' for k in grow_kimg) or 'empty'}."
        )
    spent = [*grow_kimg, *[grow_kimg[-1]] * (growths - len(grow_kimg))]
    return [Stage(grow_from * 2**i, sum(spent[:i])) for i in range(growths + 1)]


def grow_generator(smaller: Generator, resolution: int) -> Generator:
    """A generator of `resolution` with the weights of `smaller`; it makes the same pictures, up-sampled.

    A larger difference than one doubling is allowed: every new block's ToRGB is zero.
    """
    larger = Generator(replace(smaller.config, resolution=resolution))
    larger.load_state_dict(smaller.state_dict(), strict=False)
    with torch.no_grad():
        for name, block in larger.synthesis.blocks.items():
            assert isinstance(block, SynthesisBlock)
            if int(name[1:]) > smaller.resolution:
                block.torgb.weight.zero_()
                block.torgb.bias.zero_()
    larger.synthesis.precision = smaller.synthesis.precision
    return larger


def grow_discriminator(smaller: Discriminator, resolution: int) -> Discriminator:
    """A discriminator of `resolution` with the weights of `smaller`, whose from-image layer becomes `fade_from_rgb`.

    After more than one doubling at once there is nothing to fade against, and the new blocks start as they are.
    """
    larger = Discriminator(replace(smaller.config, resolution=resolution))
    kept = {k: v for k, v in smaller.state_dict().items() if not k.startswith(("from_rgb.", "fade_from_rgb."))}
    larger.load_state_dict(kept, strict=False)
    if resolution == smaller.config.resolution * 2:
        larger.fade_from_rgb = smaller.from_rgb
    larger.precision = smaller.precision
    return larger
