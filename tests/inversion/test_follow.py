"""Codes of edited pictures: near the originals' codes, and further along with the edit."""

import torch

from cxredit_cli.inversion.follow import follow
from cxredit_cli.inversion.invert import invert
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.storage.models import Model, load_model


def pair(model: Model, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes [3, 1, D], pictures of them with a texture that no code shows, and the same moved along one direction."""
    generator = model.generator
    w = random_codes(generator, seed, range(3))
    step = 2 * torch.nn.functional.normalize(random_codes(generator, seed + 1, range(1)), dim=2)
    texture = 0.1 * torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return w, *((generator.synthesis(code) / 4 + texture).clamp(-1, 1) for code in (w, w + step))


def test_an_unedited_picture_stays_where_it_was(tiny_model_dir) -> None:
    model = load_model(tiny_model_dir)
    _, originals, _ = pair(model, 0)
    found = invert(model, originals, "optimize", "w", 5)
    followed = follow(model, originals, originals, found, "w")
    assert torch.allclose(followed.w, found.w, atol=1e-4)
    assert torch.allclose(followed.psnr, found.psnr, atol=0.01)


def test_an_edit_is_followed_from_the_originals_code(tiny_model_dir) -> None:
    model = load_model(tiny_model_dir)
    _, originals, edited = pair(model, 0)
    found = invert(model, originals, "optimize", "w", 20)
    followed = follow(model, originals, edited, found, "w")
    alone = invert(model, edited, "optimize", "w", 20)

    edit = edited - originals
    missed = (followed.reconstructions - found.reconstructions - edit).square().flatten(1).mean(1)
    assert (missed < 0.5 * edit.square().flatten(1).mean(1)).all()
    near, far = ((each.w - found.w).flatten(1).norm(dim=1) for each in (followed, alone))
    assert (near < far).all()
