"""PSNR and SSIM against hand-computed values and scikit-image."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from cxredit_cli.errors import InputError
from cxredit_cli.metrics.psnr_ssim import psnr, ssim


def pair(seed: int, count: int = 3, height: int = 40, width: int = 33) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth images in [-1, 1] and noisy copies."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 5, 5, generator=generator) * 2 - 1
    images = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    noise = torch.randn(images.shape, generator=generator) * torch.tensor([0.02, 0.1, 0.5])[:count, None, None, None]
    return images, (images + noise).clamp(-1, 1)


def test_psnr_of_a_constant_error_is_the_formula() -> None:
    image = torch.zeros(1, 1, 16, 16)
    assert psnr(image, image + 0.2).item() == pytest.approx(20 * math.log10(2 / 0.2), abs=1e-4)
    assert psnr(image, image).item() == math.inf


def test_psnr_is_that_of_scikit_image() -> None:
    images, noisy = pair(0)
    expected = [
        peak_signal_noise_ratio(a[0].numpy(), b[0].numpy(), data_range=2) for a, b in zip(images, noisy, strict=True)
    ]
    np.testing.assert_allclose(psnr(images, noisy).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_ssim_is_that_of_scikit_image(seed: int) -> None:
    images, noisy = pair(seed)
    expected = [
        structural_similarity(
            a[0].numpy().astype(np.float64),
            b[0].numpy().astype(np.float64),
            data_range=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(images, noisy, strict=True)
    ]
    np.testing.assert_allclose(ssim(images, noisy).numpy(), expected, atol=1e-4)


def test_ssim_is_one_for_equal_images_symmetric_and_falls_with_noise() -> None:
    images, noisy = pair(5)
    torch.testing.assert_close(ssim(images, images), torch.ones(3))
    torch.testing.assert_close(ssim(images, noisy), ssim(noisy, images))
    values = ssim(images, noisy)
    assert values[0] > values[1] > values[2]


def test_images_do_not_influence_each_other() -> None:
    images, noisy = pair(6)
    torch.testing.assert_close(ssim(images, noisy)[1:2], ssim(images[1:2], noisy[1:2]))
    torch.testing.assert_close(psnr(images, noisy)[1:2], psnr(images[1:2], noisy[1:2]))


def test_ssim_gradient() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(1, 1, 13, 12, generator=generator)
    y = torch.rand(1, 1, 13, 12, generator=generator).requires_grad_()
    ssim(x, y).sum().backward()
    step = torch.zeros_like(y)
    step[0, 0, 6, 6] = 1e-2
    with torch.no_grad():
        slope = (ssim(x, y + step) - ssim(x, y - step)).item() / 2e-2
    assert y.grad is not None
    assert y.grad[0, 0, 6, 6].item() == pytest.approx(slope, rel=2e-2)


def test_shapes_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(InputError, match=r"\[1, 1, 16, 16\] with \[2, 1, 16, 16\]"):
        psnr(torch.zeros(1, 1, 16, 16), torch.zeros(2, 1, 16, 16))
    with pytest.raises(InputError, match="11 pixels"):
        ssim(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
