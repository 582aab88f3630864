"""The two losses of the encoder's training, term by term (Saboo et al. 2020, arXiv 2109.01071)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from cxredit_cli.inversion.curvature import Basis
from cxredit_cli.inversion.encode import all_passes, enlarged, seen_again
from cxredit_cli.inversion.optimize import Search
from cxredit_cli.metrics.psnr_ssim import ssim
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.encoder import Encoder
from cxredit_cli.networks.generator import Generator, random_z
from cxredit_cli.networks.preparation import normalise, resize

ADDED_CODES, ADDED_BATCH = 64, 16  # random codes whose pictures say what finer blocks add


@dataclass(frozen=True, slots=True)
class LossWeights:
    """What each term counts; the paper has 1 throughout, and no term of the anatomy."""

    code: float = 1.0
    pixel: float = 1.0
    ssim: float = 1.0
    features: float = 1.0
    anatomy: float = 0.0


PAPER = LossWeights()


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a picture of a code and an image are compared: at `side` pixels, which for a smaller side is faster.

    There the picture is the generator's running one and what finer blocks add on average; the image is averaged down.
    """

    generator: Generator
    side: int
    added: Tensor | float = 0.0  # [1, 1, side, side]

    @classmethod
    @torch.no_grad()
    def at(cls, generator: Generator, side: int) -> Self:
        """Compare at `side` pixels; what finer blocks add is the mean of a few random codes."""
        if side >= generator.resolution:
            return cls(generator, generator.resolution)
        z = random_z(ADDED_CODES, generator.z_dim, seed=0).to(generator.mapping.w_avg.device)
        added = [
            resize(generator.synthesis(w), side) - generator.synthesis.coarse(w, side)
            for w in torch.split(generator.mapping(z)[:, None], ADDED_BATCH)
        ]
        return cls(generator, side, torch.cat(added).mean(dim=0, keepdim=True))

    def picture(self, w: Tensor) -> Tensor:
        """The pictures [N, 1, side, side] of codes."""
        synthesis = self.generator.synthesis
        whole = self.side >= self.generator.resolution
        made: Tensor = synthesis(w) if whole else synthesis.coarse(w, self.side) + self.added
        return made


def synthetic_terms(
    encoder: Encoder,
    generator: Generator,
    w: Tensor,
    anatomy: AnatomyNetwork | None = None,
    weights: LossWeights = PAPER,
) -> dict[str, Tensor]:
    """The terms for synthetic images, whose codes w [N, 1, w_dim] are known; w^ = E(x), x = G(w), x^ = G(w^).

    code: L1(w, w^). pixel: L2(x, x^). ssim: 1 - SSIM(x, x^). features: sum_i 1/N_i ||G_i(w) - G_i(w^)||_1. With a
    network of the `anatomy`, also anatomy: 1 - the soft Dice of heart and lungs on x and x^. Each is the mean over the
    passes of E. The terms of no weight are left out. An E of principal coordinates learns from the code alone, by its
    squared error in these: that is about the picture's, and needs no gradient of the generator.
    """
    if encoder.config.principal:
        with torch.no_grad():
            images = generator.synthesis(w)
        return mean_terms([code_term(encoder, w_hat, w) for w_hat in answers(encoder, generator, images)])
    with torch.no_grad():
        *features, images = generator.synthesis.features(w)
        outlines = None if anatomy is None else soft_outlines(anatomy, generator, images)
    terms = []
    for w_hat in answers(encoder, generator, images):
        *features_hat, reconstructions = generator.synthesis.features(w_hat)
        terms.append(
            {
                **code_term(encoder, w_hat, w),
                **picture_terms(reconstructions, images),
                **({"features": feature_distance(features_hat, features)} if weights.features else {}),
                **anatomy_term(anatomy, generator, outlines, reconstructions),
            }
        )
    return mean_terms(terms)


def real_terms(
    encoder: Encoder,
    generator: Generator,
    images: Tensor,
    known: Tensor | None = None,
    anatomy: AnatomyNetwork | None = None,
    weights: LossWeights = PAPER,
    comparison: Comparison | None = None,
    pixels: Tensor | None = None,
) -> dict[str, Tensor]:
    """The terms for real images I [N, 1, R, R] in [-1, 1]; I^ = G(E(I)).

    pixel: L2(I, I^), with the weights `pixels` of the pixels. ssim: 1 - SSIM(I, I^). features: sum_i 1/N_i ||E_i(I) -
    E_i(I^)||_1. In that last term E only looks: its weights are held, for an E that learnt from it would make its
    features blind to the difference. With `known`, codes that an optimiser found, also code: L1(known, E(I)). With a
    network of the `anatomy`, also anatomy: 1 - the soft Dice of heart and lungs on I and I^. Each is the mean over the
    passes of E. The terms of no weight are left out. `comparison` None: at the images' own side, which the terms of
    features and anatomy need.
    """
    comparison = comparison or Comparison(generator, generator.resolution)
    target = resize(images, comparison.side)
    outlines = None if anatomy is None else soft_outlines(anatomy, generator, images)
    held = {name: tensor.detach() for name, tensor in encoder.named_parameters()}
    made, start, terms = None, None, []
    for _ in range(encoder.config.passes):
        seen = {"return_features": True, "made": made, "start": start}
        with half_precision(generator, images.device):
            w_hat, features = encoder(images, return_features=True, made=made, start=start)
        reconstructions = comparison.picture(w_hat)
        term = {
            **picture_terms(reconstructions, target, pixels),
            **({} if known is None else code_term(encoder, w_hat, known)),
            **anatomy_term(anatomy, generator, outlines, reconstructions),
        }
        if weights.features:
            with half_precision(generator, images.device):
                _, features_hat = functional_call(encoder, held, (reconstructions,), seen)
            term["features"] = feature_distance(features_hat, [layer.detach() for layer in features])
        terms.append(term)
        if len(terms) < encoder.config.passes:
            start = w_hat.detach()
            made = seen_already(encoder, comparison, start, reconstructions.detach())
    return mean_terms(terms)


@torch.no_grad()
def seen_already(encoder: Encoder, comparison: Comparison, w: Tensor, pictures: Tensor) -> Tensor:
    """What E sees of its answer w on the next pass, from the `pictures` that were compared where these will do."""
    resolution = comparison.generator.resolution
    if (encoder.config.seen_side or resolution) != comparison.side:
        return seen_again(encoder.config, comparison.generator, w)
    return enlarged(pictures - comparison.added, resolution)


def code_term(encoder: Encoder, w_hat: Tensor, w: Tensor) -> dict[str, Tensor]:
    """L1(w, w^); in principal coordinates the mean squared error."""
    difference = w_hat - w
    if not encoder.config.principal:
        return {"code": difference.abs().mean()}
    return {"code": encoder.coordinates(difference).square().mean()}


def picture_terms(made: Tensor, images: Tensor, pixels: Tensor | None = None) -> dict[str, Tensor]:
    """The squared error of pixels, weighted by `pixels` of mean 1, and 1 - SSIM."""
    error = (made - images).square()
    return {
        "pixel": (error if pixels is None else pixels * error).mean(),
        "ssim": 1 - ssim(made, images).mean(),
    }


def answers(encoder: Encoder, generator: Generator, images: Tensor) -> Iterator[Tensor]:
    """The codes that E answers with on each of its passes; a pass learns nothing of the one before."""
    made, start = None, None
    for number in range(encoder.config.passes):
        with half_precision(generator, images.device):
            w_hat = encoder(images, made=made, start=start)
        yield w_hat
        if number + 1 < encoder.config.passes:
            start = w_hat.detach()
            with torch.no_grad():
                made = seen_again(encoder.config, generator, start)


@torch.no_grad()
def optimised_codes(
    encoder: Encoder, generator: Generator, images: Tensor, steps: int, basis: Basis | None = None
) -> Tensor:
    """Codes that `steps` of optimisation from E's answer lead to: they teach E (Guan et al. 2020, arXiv 2007.01758)."""
    w = all_passes(encoder, generator, images)
    with torch.enable_grad():
        search = Search(generator, images, w, encoder.w_avg, encoder.w_std, basis=basis)
        for _ in range(steps):
            search.move(search.look())
        search.look()
    search.check()
    return search.best_w()


def soft_outlines(anatomy: AnatomyNetwork, generator: Generator, images: Tensor) -> Tensor:
    """The probabilities [N, 3, R, R] of right lung, left lung and heart on images [N, 1, R, R] in [-1, 1]."""
    normalised = normalise(resize(images, anatomy.config.resolution))
    with half_precision(generator, images.device):
        scores: Tensor = anatomy(normalised.contiguous(memory_format=torch.channels_last))
    return scores.float().softmax(1)[:, 1:]


def anatomy_term(
    anatomy: AnatomyNetwork | None, generator: Generator, outlines: Tensor | None, reconstructions: Tensor
) -> dict[str, Tensor]:
    """1 - soft Dice of the organs between `outlines` and those of the reconstructions; nothing without a network.

    Dice of probabilities p and q: 2 sum pq / (sum p^2 + sum q^2) (Milletari et al. 2016, arXiv 1606.04797, section 3),
    mean over organs and images.
    """
    if anatomy is None or outlines is None:
        return {}
    found = soft_outlines(anatomy, generator, reconstructions)
    both = (found * outlines).sum((2, 3))
    each = found.square().sum((2, 3)) + outlines.square().sum((2, 3))
    return {"anatomy": 1 - (2 * both / each.clamp(min=1e-6)).mean()}


def mean_terms(terms: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each term over the passes."""
    return {name: torch.stack([one[name] for one in terms]).mean() for name in terms[0]}


def weighted_sum(terms: dict[str, Tensor], weights: LossWeights) -> Tensor:
    """One loss of the terms."""
    return torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()


def feature_distance(features: list[Tensor], others: list[Tensor]) -> Tensor:
    """sum_i 1/N_i ||a_i - b_i||_1, with N_i the number of values of map i, mean over the batch."""
    distances = [F.l1_loss(a.float(), b.float()) for a, b in zip(features, others, strict=True)]
    return torch.stack(distances).sum()


def half_precision(generator: Generator, device: torch.device) -> AbstractContextManager[None]:
    """Let E compute in bfloat16 where the generator does; weights, normalisation and losses stay float32."""
    precision = generator.synthesis.precision
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision != torch.float32)
