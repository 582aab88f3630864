"""Networks whose operators run through the CUDA kernels, on the host: all the way from a layer to a launch and back."""

import pytest
import torch

from cxredit_cli.networks.discriminator import Discriminator, DiscriminatorConfig
from cxredit_cli.networks.generator import Generator, GeneratorConfig
from cxredit_cli.ops.choice import Path, only
from cxredit_cli.ops.kernels import state
from cxredit_cli.ops.operators import SCALE_IN, SCALE_IN_BACKWARD, SCALE_OUT, SCALE_OUT_BACKWARD, UPFIRDN2D


@pytest.fixture
def kernels_on_the_cpu(emulator, monkeypatch):
    """CPU tensors go through what CUDA tensors go through, and launches through the emulator."""
    monkeypatch.setattr(state, "usable", lambda device: True)
    for operator in (UPFIRDN2D, SCALE_IN, SCALE_IN_BACKWARD, SCALE_OUT, SCALE_OUT_BACKWARD):
        monkeypatch.setattr(operator, "plain", operator.kernels)
    return emulator


def gradients(path: Path) -> list[torch.Tensor]:
    """An image, and first and second gradients as path length regularisation and R1 take them."""
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(resolution=16, z_dim=8, w_dim=8, channel_base=128, channel_max=8))
    discriminator = Discriminator(DiscriminatorConfig(resolution=16, channel_base=128, channel_max=8))
    for layer in generator.synthesis.noise_layers():
        layer.noise_strength.data.fill_(0.3)
    w = torch.randn(2, generator.num_ws, 8, requires_grad=True)
    images = torch.rand(2, 1, 16, 16, requires_grad=True)
    noise = [torch.randn(2, 1, *shape, requires_grad=True) for shape in generator.synthesis.noise_shapes()]
    with only(path):
        made = generator.synthesis(w, noise)
        of_w, *of_noise = torch.autograd.grad((made * torch.randn_like(made)).sum(), [w, *noise], create_graph=True)
        of_w.square().sum().backward()
        (of_images,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
        of_images.square().sum().backward()
    parameters = [*generator.synthesis.parameters(), *discriminator.parameters()]
    grads = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
    return [each.detach() for each in (made, of_w, *of_noise, of_images, *grads)]


def test_first_and_second_gradients_of_networks(kernels_on_the_cpu) -> None:
    found = gradients("kernels")
    assert len({kernel.split("_wide")[0].split("_narrow")[0] for kernel in kernels_on_the_cpu.launched}) > 8
    for got, expected in zip(found, gradients("reference"), strict=True):
        # R1 gives biases what rounding leaves of differences of numbers near 1, once or twice 1.2e-7.
        scale = expected.abs().max().clamp(min=2e-3)
        torch.testing.assert_close(got / scale, expected / scale, atol=1e-4, rtol=1e-4)
