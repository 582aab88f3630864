"""How strongly a generator's image answers to each direction of its codes: coordinates that condition a search well.

H = mean over codes of J^T J, with J the Jacobian of the image: the Gauss-Newton curvature of the squared error, which
is the Hessian of the loss at an image that the generator can make. Its eigenvalues differ by a factor of a million,
which is why plain gradient descent in W takes a thousand steps. In W+ the layers differ as much again (the second
holds five sixths of the curvature of the bundled generator), so each layer has a matrix of its own there; what couples
one layer to another is left out. H is the generator's own, so it is measured once and kept beside it as
curvature.safetensors.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cxredit_cli.atomic import written_aside
from cxredit_cli.inversion.encode import Space
from cxredit_cli.inversion.result import full_precision
from cxredit_cli.networks.generator import Generator, random_z
from cxredit_cli.progress import Progress
from cxredit_cli.storage.models import Model

FILE = "curvature.safetensors"
SEED = 5
# In W, by finite differences along every axis.
CODES = 3
SIDE = 32  # of the image
DIFFERENCE = 0.1  # of the spread of W
BATCH = 32
DAMPING = 0.1  # of the mean eigenvalue: what hardly shows moves no further than that
AXES_DAMPING = 0.003  # likewise, of the axes of an encoder
# In W+, by gradients of random projections of the image.
PROJECTIONS = 512  # each of a code of its own
LAYERS_SIDE = 64
LAYERS_BATCH = 16
RANK = 64  # eigenvectors kept of a layer
LAYERS_DAMPING = 0.03
UNSEEN = 1 / 3  # the curvature of a layer that shows only in a finer image, of that of the layer before


@dataclass(frozen=True, slots=True)
class Basis:
    """Coordinates in which all directions show about equally: distance = B delta, with one symmetric B for each layer.

    B = rest (I - V V^T) + V diag(lengths) V^T, whose inverse has the reciprocals in their place.
    """

    vectors: Tensor  # V [num_ws, D, r] by layer in W+, [1, D, r] for all layers together; orthonormal columns
    lengths: Tensor  # [.., r]
    rest: Tensor  # [..]

    def distance(self, delta: Tensor) -> Tensor:
        """Distances to the mean code [N, L, D], in units of the spread of W, of coordinates of the same shape."""
        return self._scaled(delta, self.lengths, self.rest)

    def delta(self, distance: Tensor) -> Tensor:
        """Coordinates of distances: the inverse of `distance`."""
        return self._scaled(distance, 1 / self.lengths, 1 / self.rest)

    def _scaled(self, x: Tensor, lengths: Tensor, rest: Tensor) -> Tensor:
        by_layer = x.transpose(0, 1)  # [L, N, D]
        along = by_layer @ self.vectors * (lengths - rest[:, None])[:, None]
        scaled: Tensor = (rest[:, None, None] * by_layer + along @ self.vectors.mT).transpose(0, 1)
        return scaled


def search_basis(model: Model, space: Space, progress: Progress | None = None) -> Basis:
    """The basis for a search in `space`: from the model's folder, else measured now and kept there if it can be."""
    found = _measured(model, space, progress)
    if space == "w":
        return basis(found["curvature"])
    lengths, rest = ((found[name] + LAYERS_DAMPING).rsqrt() for name in ("values", "rest"))
    # In half precision they are no longer quite orthonormal.
    return Basis(torch.linalg.qr(found["vectors"]).Q, lengths, rest)


def principal_directions(model: Model, progress: Progress | None = None) -> tuple[Tensor, Tensor]:
    """Orthonormal directions [D, D] of W in units of its spread, and the picture's curvature [D] along each.

    Measured once, as for `search_basis`.
    """
    values, vectors = torch.linalg.eigh(_measured(model, "w", progress)["curvature"].double())
    return vectors, values.clamp(min=0)


def principal_axes(model: Model, progress: Progress | None = None) -> Tensor:
    """Axes [D, D] of W in units of its spread: orthogonal rows, longer where the picture answers less.

    Half-way, on a scale of logarithms, between equal steps of W, whose errors in the picture are nearly all brightness,
    and steps that show equally, which the many directions that hardly show would fill.
    """
    vectors, values = principal_directions(model, progress)
    lengths = (values / values.mean().clamp(min=1e-30) + AXES_DAMPING) ** -0.25
    axes: Tensor = (vectors * lengths).mT.float()
    return axes


def _measured(model: Model, space: Space, progress: Progress | None) -> dict[str, Tensor]:
    path = model.path / FILE
    kept = _read(path, model.fingerprint)
    key = "vectors" if space == "w+" else "curvature"
    if key not in kept:
        if progress is not None:
            progress.message("Measuring how the generator answers to its codes, once for this model...")
        if space == "w+":
            kept |= leading(curvature_by_layer(model.generator).cpu())
        else:
            kept |= {"curvature": curvature(model.generator).cpu().half()}
        try:
            with written_aside(path) as aside:
                save_file(kept, aside, {"fingerprint": model.fingerprint})
        except OSError:
            pass  # a model that others own is measured each time
    device = model.generator.mapping.w_avg.device
    return {name: tensor.float().to(device) for name, tensor in kept.items()}


def _read(path: Path, fingerprint: str) -> dict[str, Tensor]:
    """What `path` holds of this generator; nothing where it is not there, cut short, or of another."""
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("fingerprint") == fingerprint:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        pass
    return {}


@torch.no_grad()
def curvature(generator: Generator, codes: int = CODES) -> Tensor:
    """H [w_dim, w_dim] of W in units of its spread, scaled to a mean eigenvalue of 1; by finite differences.

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


def curvature_by_layer(generator: Generator, projections: int = PROJECTIONS) -> Tensor:
    """H [num_ws, w_dim, w_dim] of each layer of W+ in units of the spread of W, scaled to a mean eigenvalue of 1.

    With v ~ N(0, I) the size of the image, J^T v is the gradient of v . G(w), and its mean outer product is J^T J: one
    backward pass serves all layers. Of the image at LAYERS_SIDE; for finer layers, see UNSEEN.
    """
    side = min(LAYERS_SIDE, generator.resolution)
    mean, spread = generator.w_statistics()
    z = random_z(projections, generator.z_dim, SEED).to(mean.device)
    towards = random_z(projections, side * side, SEED).to(mean.device).view(-1, 1, side, side)
    total = torch.zeros(generator.num_ws, len(mean), len(mean), device=mean.device)
    with full_precision(generator):
        for some_z, v in zip(torch.split(z, LAYERS_BATCH), torch.split(towards, LAYERS_BATCH), strict=True):
            with torch.no_grad():
                w = generator.mapping(some_z)[:, None]
            step = torch.zeros(len(w), generator.num_ws, len(mean), device=mean.device, requires_grad=True)
            made = generator.synthesis.coarse(w + spread * step, side)
            (gradient,) = torch.autograd.grad((made * v).sum(), step)
            by_layer = gradient.transpose(0, 1)
            total += by_layer.mT @ by_layer
    for layer in range(1, generator.num_ws):
        if not total[layer].any():
            total[layer] = UNSEEN * total[layer - 1]
    return total * (len(mean) * generator.num_ws / total.diagonal(dim1=1, dim2=2).sum().clamp(min=1e-30))


def leading(curvature: Tensor) -> dict[str, Tensor]:
    """The first eigenvectors [L, D, r] of curvatures [L, D, D], their `values` [L, r], and the `rest` [L], its mean."""
    values, vectors = torch.linalg.eigh(curvature.double())
    rank = min(RANK, values.shape[1] - 1)
    values = values.clamp(min=0)
    return {
        "vectors": vectors[..., -rank:].half().contiguous(),
        "values": values[:, -rank:].float().contiguous(),
        "rest": values[:, :-rank].mean(dim=1).float(),
    }


def basis(curvature: Tensor) -> Basis:
    """B with B H B about proportional to 1: directions that show little are taken in longer steps, up to a limit."""
    values, vectors = torch.linalg.eigh(curvature.double())
    mean = values.mean().clamp(min=1e-30)
    lengths = ((values.clamp(min=0) + DAMPING * mean) / mean).rsqrt()
    return Basis(vectors.float()[None], lengths.float()[None], lengths.float().mean()[None])
