"""The code of an edited picture, sought from the code of the original, so that the two differ by the edit."""

from torch import Tensor

from cxredit_cli.inversion.curvature import search_basis
from cxredit_cli.inversion.encode import Space
from cxredit_cli.inversion.optimize import optimize
from cxredit_cli.inversion.result import InversionResult, measure
from cxredit_cli.storage.models import Model

STEPS = 10  # more follow what the generator cannot show, and pairs agree less


def follow(
    model: Model, originals: Tensor, edited: Tensor, found: InversionResult, space: Space, batch: int = 16
) -> InversionResult:
    """Codes of `edited` [N, 1, R, R] near the codes `found` of their `originals`; PSNR and SSIM are against `edited`.

    Two searches of their own end far apart even for one picture, since much of W hardly shows. So a few steps are
    taken from the original's code towards its own reconstruction with the edit added, G(w) + I* - I: what no code can
    show is in neither.
    """
    generator = model.generator
    targets = (found.reconstructions + edited - originals).clamp(-1, 1)
    sought = optimize(generator, targets, found.w, space, STEPS, batch, basis=search_basis(model, space))
    device = generator.mapping.w_avg.device
    return measure(generator, edited.to(device), sought.w.to(device))
