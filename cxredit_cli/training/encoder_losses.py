"""The two losses of the encoder's training, term by term (Saboo et al. 2020, arXiv 2109.01071)."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from cxredit_cli.inversion.curvature import Basis
from cxredit_cli.inversion.encode import all_passes
from cxredit_cli.inversion.optimize import Search
from cxredit_cli.metrics.psnr_ssim import ssim
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.networks.encoder import Encoder
from cxredit_cli.networks.generator import Generator
from cxredit_cli.networks.preparation import normalise, resize


@dataclass(frozen=True, slots=True)
class LossWeights:
    """What each term counts; the paper has 1 throughout, and no term of the anatomy."""

    code: float = 1.0
    pixel: float = 1.0
    ssim: float = 1.0
    features: float = 1.0
    anatomy: float = 0.0


def synthetic_terms(
    encoder: Encoder, generator: Generator, w: Tensor, anatomy: AnatomyNetwork | None = None
) -> dict[str, Tensor]:
    """The terms for synthetic images, whose codes w [N, 1, w_dim] are known; w^ = E(x), x = G(w), x^ = G(w^).

    code: L1(w, w^). pixel: L2(x, x^). ssim: 1 - SSIM(x, x^). features: sum_i 1/N_i ||G_i(w) - G_i(w^)||_1. With a
    network of the `anatomy`, also anatomy: 1 - the soft Dice of heart and lungs on x and x^. Each is the mean over the
    passes of E.
    """
    with torch.no_grad():
        *features, images = generator.synthesis.features(w)
        outlines = None if anatomy is None else soft_outlines(anatomy, generator, images)
    made, start, terms = None, None, []
    for _ in range(encoder.config.passes):
        with half_precision(generator, images.device):
            w_hat = encoder(images, made=made, start=start)
        *features_hat, reconstructions = generator.synthesis.features(w_hat)
        terms.append(
            {
                "code": F.l1_loss(w_hat, w.expand_as(w_hat)),
                "pixel": F.mse_loss(reconstructions, images),
                "ssim": 1 - ssim(reconstructions, images).mean(),
                "features": feature_distance(features_hat, features),
                **anatomy_term(anatomy, generator, outlines, reconstructions),
            }
        )
        made, start = reconstructions.detach().clamp(-1, 1), w_hat.detach()
    return mean_terms(terms)


def real_terms(
    encoder: Encoder,
    generator: Generator,
    images: Tensor,
    known: Tensor | None = None,
    anatomy: AnatomyNetwork | None = None,
) -> dict[str, Tensor]:
    """The terms for real images I [N, 1, R, R] in [-1, 1]; I^ = G(E(I)).

    pixel: L2(I, I^). ssim: 1 - SSIM(I, I^). features: sum_i 1/N_i ||E_i(I) - E_i(I^)||_1. In that last term E only
    looks: its weights are held, for an E that learnt from it would make its features blind to the difference. With
    `known`, codes that an optimiser found, also code: L1(known, E(I)). With a network of the `anatomy`, also anatomy:
    1 - the soft Dice of heart and lungs on I and I^. Each is the mean over the passes of E.
    """
    outlines = None if anatomy is None else soft_outlines(anatomy, generator, images)
    held = {name: tensor.detach() for name, tensor in encoder.named_parameters()}
    made, start, terms = None, None, []
    for _ in range(encoder.config.passes):
        seen = {"return_features": True, "made": made, "start": start}
        with half_precision(generator, images.device):
            w_hat, features = encoder(images, return_features=True, made=made, start=start)
        reconstructions = generator.synthesis(w_hat)
        with half_precision(generator, images.device):
            _, features_hat = functional_call(encoder, held, (reconstructions,), seen)
        terms.append(
            {
                "pixel": F.mse_loss(reconstructions, images),
                "ssim": 1 - ssim(reconstructions, images).mean(),
                "features": feature_distance(features_hat, [layer.detach() for layer in features]),
                **({} if known is None else {"code": F.l1_loss(w_hat, known.expand_as(w_hat))}),
                **anatomy_term(anatomy, generator, outlines, reconstructions),
            }
        )
        made, start = reconstructions.detach().clamp(-1, 1), w_hat.detach()
    return mean_terms(terms)


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
