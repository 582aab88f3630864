"""The generator against the published architecture."""

import copy

import pytest
import torch

from cxredit_cli.networks.generator import Generator, GeneratorConfig, random_z
from cxredit_cli.networks.layers import block_resolutions, channels_at
from cxredit_cli.ops.choice import only
from cxredit_cli.ops.upfirdn2d import upsample2d

TINY = GeneratorConfig(resolution=32, z_dim=16, w_dim=16, channel_base=256, channel_max=16)


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    g = Generator(TINY)
    with torch.no_grad():
        for layer in g.synthesis.noise_layers():
            layer.noise_strength.fill_(0.3)
    return g.eval()


@pytest.mark.parametrize(("resolution", "num_ws"), [(8, 4), (32, 8), (128, 12), (1024, 18)])
def test_num_ws_is_two_a_resolution(resolution: int, num_ws: int) -> None:
    assert 2 * len(block_resolutions(resolution)) == num_ws
    if resolution <= 32:
        assert Generator(GeneratorConfig(resolution, 8, 8, channel_base=64, channel_max=8)).num_ws == num_ws


def test_channels_of_the_published_128_configuration() -> None:
    assert [channels_at(r, 16384, 512) for r in (4, 32, 64, 128)] == [512, 512, 256, 128]


def test_each_w_changes_only_its_layer_and_what_follows(generator: Generator) -> None:
    w = generator.mapping(torch.randn(1, 16))[:, None].repeat(1, generator.num_ws, 1)
    before = generator.synthesis.features(w)
    for i in range(generator.num_ws):
        changed = w.clone()
        changed[:, i] += 1
        after = generator.synthesis.features(changed)
        same = [torch.equal(a, b) for a, b in zip(before[:-1], after[:-1], strict=True)]
        # w_i drives the i-th convolution; conv1 of 4x4 is the 0th, each later block has two. ToRGB shares its w with
        # the next block's first convolution, so the last w changes the image alone.
        first_changed = (i + 1) // 2
        assert same == [block < first_changed for block in range(len(same))]
        assert not torch.equal(before[-1], after[-1])


def test_one_w_broadcasts_to_all_layers(generator: Generator) -> None:
    w = generator.mapping(torch.randn(2, 16))[:, None]
    torch.testing.assert_close(
        generator.synthesis(w), generator.synthesis(w.repeat(1, generator.num_ws, 1)), atol=1e-6, rtol=1e-6
    )


def test_random_z_is_no_networks_own_rows() -> None:
    torch.manual_seed(0)
    g = Generator(GeneratorConfig(resolution=8, z_dim=64, w_dim=64, channel_base=64, channel_max=8))
    rows = torch.nn.functional.normalize(g.mapping.layers[0].weight.detach(), dim=1)
    z = torch.nn.functional.normalize(random_z(256, 64, seed=0), dim=1)
    assert (z @ rows.T).abs().max() < 0.7  # the largest of 256 x 64 cosines by chance; a row itself has 1
    lengths = (g.mapping(random_z(256, 64, seed=0)) - g.mapping(random_z(4096, 64, seed=1)).mean(dim=0)).norm(dim=1)
    assert lengths.max() < 2 * lengths.median()  # its own rows give 2.3


def test_noise_modes(generator: Generator) -> None:
    w = generator.mapping(torch.randn(1, 16))[:, None]
    const = generator.synthesis(w)
    assert torch.equal(const, generator.synthesis(w, generator.synthesis.noise_consts()))
    assert not torch.allclose(const, generator.synthesis(w, "none"))
    assert not torch.allclose(generator.synthesis(w, "random"), generator.synthesis(w, "random"))
    assert generator.synthesis.noise_shapes() == [(4, 4), (8, 8), (8, 8), (16, 16), (16, 16), (32, 32), (32, 32)]
    with pytest.raises(ValueError, match="Expected 7 noise tensors"):
        generator.synthesis(w, [torch.zeros(1, 1, 4, 4)])


def test_truncation_interpolates_to_the_mean_code(generator: Generator) -> None:
    generator.mapping.w_avg.fill_(0.25)
    z = torch.randn(3, 16)
    full = generator.mapping(z)
    torch.testing.assert_close(generator.mapping(z, 0.0), torch.full_like(full, 0.25))
    torch.testing.assert_close(generator.mapping(z, 0.5), (full + 0.25) / 2)


def test_bfloat16_stays_close_to_float32(generator: Generator) -> None:
    z = torch.randn(4, 16)
    exact = generator(z)
    generator.synthesis.precision = torch.bfloat16
    rounded = generator(z)
    assert rounded.dtype == torch.float32
    assert (exact - rounded).abs().mean() < 0.03 * exact.std()


def test_initial_activations_have_neither_vanish_nor_explode() -> None:
    g = Generator(GeneratorConfig(64, 64, 64, channel_base=4096, channel_max=64))
    features = g.synthesis.features(g.mapping(torch.randn(8, 64))[:, None], "none")
    for x in features[:-1]:
        assert 0.2 < x.square().mean().sqrt() < 2


@pytest.mark.parametrize("noise", ["const", "none"])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_fast_paths_make_the_textbooks_picture_and_gradients(generator: Generator, noise, batch) -> None:
    w = generator.mapping(torch.randn(batch, 16))[:, None].repeat(1, generator.num_ws, 1).detach().requires_grad_()
    fast = generator.synthesis(w, noise)
    with only("reference"):
        slow = generator.synthesis(w, noise)
    torch.testing.assert_close(fast, slow, atol=1e-4 * float(slow.detach().abs().max()), rtol=0)
    weights = [p for p in generator.synthesis.parameters() if p.requires_grad]
    ours, theirs = (
        torch.autograd.grad(image.square().mean(), [w, *weights], allow_unused=noise == "none")
        for image in (fast, slow)
    )
    for a, b in zip(ours, theirs, strict=True):
        if b is not None:
            torch.testing.assert_close(a, b, atol=1e-4 * float(b.abs().max()), rtol=0)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_traced_path_makes_the_textbooks_picture(generator: Generator, batch) -> None:
    with torch.no_grad():
        w = generator.mapping(torch.randn(batch, 16))[:, None]
        with only("traced"):
            traced = generator.synthesis(w)
        with only("reference"):
            slow = generator.synthesis(w)
    torch.testing.assert_close(traced, slow, atol=1e-5 * float(slow.abs().max()), rtol=0)


def test_bfloat16_stays_within_its_rounding(generator: Generator) -> None:
    w = generator.mapping(torch.randn(8, 16))[:, None]
    exact = generator.synthesis(w)
    generator.synthesis.precision = torch.bfloat16
    error = (generator.synthesis(w) - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert error < 0.02  # 8 bits of mantissa are 0.4 %, through some ten layers


def test_prepared_weights_follow_the_weights(generator: Generator) -> None:
    z = torch.randn(1, 16)
    w = generator.mapping(z)[:, None].detach()
    other = Generator(TINY)

    def from_scratch() -> torch.Tensor:
        with only("reference"):
            return generator.synthesis(w)

    def check() -> None:
        torch.testing.assert_close(generator.synthesis(w), from_scratch(), atol=1e-4, rtol=1e-4)

    with torch.no_grad():
        check()
        for parameter in generator.synthesis.parameters():
            parameter.mul_(0.7)  # as an optimiser does
        check()
        generator.load_state_dict(other.state_dict())
        check()
        for layer in generator.synthesis.noise_layers():
            layer.weight.data = torch.randn_like(layer.weight)
        check()
    names = [name for name, _ in generator.named_parameters() if name.endswith("conv1.weight")]
    with torch.no_grad():
        for factor in (0.5, 2.0, 3.0):  # as tensors that come and go, perhaps at the same address
            weights = {name: generator.get_parameter(name) * factor for name in names}
            fast = torch.func.functional_call(generator, weights, (z,))
            with only("reference"):
                slow = torch.func.functional_call(generator, weights, (z,))
            del weights
            torch.testing.assert_close(fast, slow, atol=1e-4, rtol=1e-4)
    copied = copy.deepcopy(generator)
    with torch.no_grad():
        for parameter in copied.synthesis.parameters():
            parameter.add_(0.1)
        check()
    generator.synthesis(w).mean().backward()  # weights that need a gradient are prepared within the graph
    assert all(layer.weight.grad is not None for layer in generator.synthesis.noise_layers())


@torch.no_grad()
def test_the_coarse_image_is_the_image_without_what_finer_blocks_add(generator: Generator) -> None:
    generator = copy.deepcopy(generator)
    w = generator.mapping(torch.randn(2, generator.z_dim))[:, None]
    synthesis = generator.synthesis
    assert torch.equal(synthesis.coarse(w, generator.resolution), synthesis(w))
    expected = synthesis.coarse(w, generator.resolution // 4)
    for resolution in (generator.resolution // 2, generator.resolution):
        block = synthesis.blocks[f"b{resolution}"]
        torch.nn.init.zeros_(block.torgb.weight)
        torch.nn.init.zeros_(block.torgb.bias)
        expected = upsample2d(expected, block.resample_filter)
    torch.testing.assert_close(synthesis(w), expected)
