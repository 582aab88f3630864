"""Growing keeps what was learnt."""

import pytest
import torch

from cxredit_cli.errors import InputError
from cxredit_cli.networks.discriminator import Discriminator, DiscriminatorConfig
from cxredit_cli.networks.generator import Generator, GeneratorConfig
from cxredit_cli.ops.upfirdn2d import downsample2d, setup_filter, upsample2d
from cxredit_cli.training.grow import Stage, grow_discriminator, grow_generator, plan_stages
from cxredit_cli.training.presets import gan_config


def test_growth_changes_no_picture() -> None:
    g = Generator(GeneratorConfig(16, 8, 8, channel_base=256, channel_max=16))
    z = torch.randn(3, 8)
    grown = grow_generator(g, 32)
    torch.testing.assert_close(grown(z), upsample2d(g(z), setup_filter()), atol=1e-5, rtol=1e-5)
    assert grown.num_ws == g.num_ws + 2


def test_a_grown_discriminator_starts_with_the_old_opinion() -> None:
    d = Discriminator(DiscriminatorConfig(16, channel_base=256, channel_max=16))
    x = torch.randn(4, 1, 32, 32)
    grown = grow_discriminator(d, 32)
    torch.testing.assert_close(grown(x, fade=0.0), d(downsample2d(x, setup_filter())), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("resolution", "smallest", "stages"),
    [
        (32, 32, [Stage(32, 0)]),
        (64, 32, [Stage(32, 0), Stage(64, 30)]),
        (128, 32, [Stage(32, 0), Stage(64, 30), Stage(128, 90)]),
        (256, 32, [Stage(32, 0), Stage(64, 30), Stage(128, 90), Stage(256, 150)]),
        (128, 128, [Stage(128, 0)]),
        (128, 64, [Stage(64, 0), Stage(128, 30)]),
    ],
)
def test_growing_on_a_cpu_needs_no_options(resolution: int, smallest: int, stages: list[Stage]) -> None:
    config = gan_config(
        resolution,
        torch.device("cpu"),
        torch.float32,
        preset=None,
        grow_from=None,
        grow_kimg=None,
        pl_weight=2.0,
        overrides={},
        seed=0,
        smallest=smallest,
    )
    assert plan_stages(resolution, config.grow_from, config.grow_kimg) == stages


def test_stages() -> None:
    assert plan_stages(128, 32, (30, 60)) == [Stage(32, 0), Stage(64, 30), Stage(128, 90)]
    assert plan_stages(128, 32, (5,)) == [Stage(32, 0), Stage(64, 5), Stage(128, 10)]
    assert plan_stages(64, None, ()) == [Stage(64, 0)]
    assert plan_stages(64, 64, (1,)) == [Stage(64, 0)]


@pytest.mark.parametrize(
    ("grow_from", "kimg"), [(48, (1,)), (256, (1,)), (4, (1,)), (32, ()), (32, (1, 2, 3)), (32, (-1,))]
)
def test_impossible_stages_are_refused(grow_from: int, kimg: tuple[float, ...]) -> None:
    with pytest.raises(InputError):
        plan_stages(128, grow_from, kimg)
