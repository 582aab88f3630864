"""The work that the operations are for: synthesis, its gradient, one training iteration, one step of an inversion."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from cxredit_cli.benchmarks.cases import Case, Outputs, Settings, Work
from cxredit_cli.inversion.optimize import Search
from cxredit_cli.networks.generator import Generator, GeneratorConfig
from cxredit_cli.training.gan import team_for, train_iteration
from cxredit_cli.training.gan_run import PL_INTERVAL, R1_INTERVAL, GanConfig, begin, set_precision
from cxredit_cli.training.grow import plan_stages
from cxredit_cli.training.logs import Means
from cxredit_cli.training.parts import Part
from cxredit_cli.training.presets import gan_config


def whole_cases(settings: Settings) -> list[Case]:
    """The four cases, in the order of their size."""
    # Gradients of an inversion fall below the range of fp16, so `invert` takes bf16 there.
    to_codes = torch.bfloat16 if settings.dtype == torch.float16 else settings.dtype
    shape = (settings.batch, 1, settings.resolution, settings.resolution)
    cycle = lazy_cycle(settings.pl_weight)
    return [
        Case("generator_forward", shape, settings.dtype, lambda dtype, _: [synthesis(settings, dtype)]),
        Case("generator_forward_backward", shape, settings.dtype, lambda dtype, _: [gradient(settings, dtype)]),
        Case("inversion_step", shape, to_codes, lambda dtype, _: [inversion_step(settings, dtype)]),
        Case(
            "training_iteration",
            shape,
            settings.dtype,
            lambda dtype, _: training(settings, dtype),
            shares=tuple(share for _, share in cycle.values()),
            parts=tuple(part for part, _ in cycle.values()),
        ),
    ]


def lazy_cycle(pl_weight: float) -> dict[int, tuple[str, float]]:
    """Iterations that differ in which lazy regularisations are due: number -> (what it holds, its share of all)."""
    r1, pl = 1 / R1_INTERVAL, 1 / PL_INTERVAL
    assert R1_INTERVAL % PL_INTERVAL == 0  # R1 falls on an iteration with path length
    if not pl_weight:
        return {1: ("plain", 1 - r1), 0: ("with R1", r1)}
    return {1: ("plain", 1 - pl), PL_INTERVAL: ("with path length", pl - r1), 0: ("with path length and R1", r1)}


def frozen_generator(settings: Settings, dtype: torch.dtype) -> Generator:
    """A random generator whose synthesis runs in `dtype`; the clamp is the one that fp16 needs."""
    torch.manual_seed(0)
    clamp = 256.0 if settings.dtype == torch.float16 else None
    config = GeneratorConfig(
        settings.resolution,
        channel_base=settings.channel_base,
        channel_max=settings.channel_max,
        conv_clamp=clamp,
    )
    generator = Generator(config).to(settings.device).eval().requires_grad_(False)
    generator.synthesis.precision = dtype
    return generator


def synthesis(settings: Settings, dtype: torch.dtype) -> Work:
    """w -> image, as `generate` and `apply` run it."""
    generator = frozen_generator(settings, dtype)
    w = torch.randn(settings.batch, generator.num_ws, generator.w_dim, device=settings.device)

    @torch.no_grad()
    def work() -> Outputs:
        return Outputs([generator.synthesis(w)])

    return work


def gradient(settings: Settings, dtype: torch.dtype) -> Work:
    """w -> image, and the gradient of w, the weights frozen."""
    generator = frozen_generator(settings, dtype)
    w = torch.randn(settings.batch, generator.num_ws, generator.w_dim, device=settings.device, requires_grad=True)
    of_image = torch.randn(settings.batch, 1, settings.resolution, settings.resolution, device=settings.device)

    def work() -> Outputs:
        image = generator.synthesis(w)
        return Outputs([image.detach()], [torch.autograd.grad(image, w, of_image)])

    return work


def inversion_step(settings: Settings, dtype: torch.dtype) -> Work:
    """One step of L-BFGS on codes in W, with the losses of `invert`; a step of length 0 keeps them where they are."""
    generator = frozen_generator(settings, dtype)
    shape = (settings.batch, 1, settings.resolution, settings.resolution)
    images = torch.rand(shape, device=settings.device) * 2 - 1
    start = torch.randn(settings.batch, 1, generator.w_dim, device=settings.device)
    mean, spread = (vector.to(settings.device) for vector in generator.w_statistics(n=256))
    search = Search(generator, images, start, mean, spread)

    def work() -> Outputs:
        loss = search.look()
        search.move(loss, 0.0)
        assert search.delta.grad is not None
        return Outputs([loss.detach()], [[search.delta.grad]])

    return work


def training(settings: Settings, dtype: torch.dtype) -> list[Work]:
    """One work for each kind of iteration in `lazy_cycle`, of the `small` preset at this size."""
    config = gan_config(
        settings.resolution,
        settings.device,
        settings.dtype,
        preset="small",
        grow_from=0,
        grow_kimg=None,
        pl_weight=settings.pl_weight,
        overrides={
            "batch": settings.batch,
            "channel_base": settings.channel_base,
            "channel_max": settings.channel_max,
        },
        seed=0,
    )
    return iterations(config, settings.device, dtype)


def iterations(config: GanConfig, device: torch.device, dtype: torch.dtype) -> list[Work]:
    """One work for each kind of iteration in `lazy_cycle`, on random images.

    The learning rate 0 keeps the weights where they are, so that every repetition does the same.
    """
    config = replace(config, lr=0.0)
    side = config.generator.resolution
    stages = plan_stages(side, None, ())
    run = begin(config, stages, device, None)
    set_precision(run, dtype)
    team = team_for(run, config)
    images = SameImages(torch.rand(config.batch, 1, side, side, device=device) * 2 - 1)

    def iteration(number: int) -> Work:
        def work() -> Outputs:
            run.iteration, run.nimg = number, 0
            figures = Figures()
            train_iteration(run, config, stages, images, dtype, figures, team)
            losses = [value for name, value in figures.latest.items() if name.startswith("loss")]
            lengths = [[value] for name, value in figures.latest.items() if name in ("path_length", "r1")]
            return Outputs(losses, [gradients(run.generator), gradients(run.discriminator), *lengths])

        return work

    return [iteration(number) for number in lazy_cycle(config.pl_weight)]


class Figures(Means):
    """Keeps what a training reports, without waiting for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.latest: dict[str, Tensor] = {}

    def add(self, share: float, **values: object) -> None:
        """Keep the values, 0-d tensors."""
        self.latest |= {name: value.detach() for name, value in values.items() if isinstance(value, Tensor)}


class SameImages:
    """Gives a training the same images at every position."""

    def __init__(self, images: Tensor) -> None:
        self._images = images

    def batch(self, first: int, count: int, part: Part | None = None) -> Tensor:
        """The first `count` of the images [N, 1, R, R]; there is one part."""
        return self._images[:count]


def gradients(network: nn.Module) -> list[Tensor]:
    """The gradients that the last step of an optimiser left; zero where it had none, as R1 of biases."""
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in network.parameters()]
