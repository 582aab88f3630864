"""How strongly a generator's image answers to each direction of W: coordinates in which a search is well conditioned.

H = mean over codes of J^T J, with J the Jacobian of the image: the Gauss-Newton curvature of the squared error, which
is the Hessian of the loss at an image that the generator can make. Its eigenvalues differ by a factor of a million,
which is why plain gradient descent in W takes a thousand steps. It is the generator's own, so it is measured once and
kept beside it as curvature.safetensors.
"""

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cxredit_cli.atomic import written_aside
from cxredit_cli.inversion.result import full_precision
from cxredit_cli.networks.generator import Generator, random_z
from cxredit_cli.progress import Progress
from cxredit_cli.storage.models import Model

FILE = "curvature.safetensors"
CODES, SEED = 3, 5
SIDE = 32  # of the image
DIFFERENCE = 0.1  # of the spread of W
BATCH = 32
DAMPING = 0.1  # of the mean eigenvalue: what hardly shows moves no further than that


def search_basis(model: Model, progress: Progress | None = None) -> Tensor:
    """The basis [w_dim, w_dim] for `Search`: from the model's folder, else measured now and kept there if it can be."""
    path = model.path / FILE
    device = model.generator.mapping.w_avg.device
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("fingerprint") == model.fingerprint:
                return basis(file.get_tensor("curvature").float()).to(device)
    except (OSError, SafetensorError):
        pass  # not there, or cut short: it is measured again
    if progress is not None:
        progress.message("Measuring how the generator answers to its codes, once for this model...")
    found = curvature(model.generator).cpu()
    try:
        with written_aside(path) as aside:
            save_file({"curvature": found.half()}, aside, {"fingerprint": model.fingerprint})
    except OSError:
        pass  # a model that others own is measured each time
    return basis(found.half().float()).to(device)


@torch.no_grad()
def curvature(generator: Generator, codes: int = CODES) -> Tensor:
    """H [w_dim, w_dim] in units of the spread of W, scaled to a mean eigenvalue of 1; by finite differences.

    Of the image at SIDE: what finer blocks add costs nearly all of the time, and searches are no better for it.
    """
    side = min(SIDE, generator.resolution)
    mean, spread = generator.w_statistics()
    z = random_z(codes, generator.z_dim, SEED).to(mean.device)
    total = torch.zeros(len(mean), len(mean), device=mean.device)
    with full_precision(generator):
        for w in generator.mapping(z):
            here = generator.synthesis.coarse(w[None, None], side).flatten(1)
            steps = torch.split(torch.diag(DIFFERENCE * spread), BATCH)
            rows = [generator.synthesis.coarse((w + step)[:, None], side).flatten(1) - here for step in steps]
            jacobian = torch.cat(rows) / DIFFERENCE
            total += jacobian @ jacobian.T
    return total * (len(mean) / total.diagonal().sum().clamp(min=1e-30))


def basis(curvature: Tensor) -> Tensor:
    """B with B^T H B about proportional to 1: directions that show little are taken in longer steps, up to a limit."""
    values, vectors = torch.linalg.eigh(curvature.double())
    mean = values.mean().clamp(min=1e-30)
    lengths = ((values.clamp(min=0) + DAMPING * mean) / mean).rsqrt()
    scaled: Tensor = vectors * lengths
    return scaled.float()
