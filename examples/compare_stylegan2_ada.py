"""Time cxredit beside the public stylegan2-ada-pytorch on the same GPU: synthesis, and a training iteration.

    git clone https://github.com/NVlabs/stylegan2-ada-pytorch && pip install requests ninja
    python examples/compare_stylegan2_ada.py stylegan2-ada-pytorch

Both take turns, at the default configuration of stylegan2-ada-pytorch for 128x128 on one GPU: 32 images, channel base
16384, fp16 in the four highest resolutions, path length regularisation every fourth and R1 every 16th iteration. The
image has one channel, and neither augments. The weights are random and the learning rate is 0, which changes no time.
Its kernels need nvcc and a C++ compiler; the result says whether they were in use. On a CPU, where it has no kernels
and no fp16, both compute in float32 (for trying this out: give --resolution and --channel-base).
"""

import argparse
import copy
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cxredit_cli.benchmarks.timing import medians, stopwatch
from cxredit_cli.benchmarks.whole import iterations, lazy_cycle
from cxredit_cli.devices import device_name, resolve_device, resolve_precision
from cxredit_cli.networks.generator import Generator
from cxredit_cli.training.gan_run import PL_INTERVAL, R1_INTERVAL, GanConfig
from cxredit_cli.training.presets import gan_config

Work = Callable[[], object]


def our_work(config: GanConfig, device: torch.device, dtype: torch.dtype) -> tuple[Work, list[Work]]:
    """Synthesis of one batch, and an iteration of each kind in `lazy_cycle`."""
    generator = Generator(config.generator).to(device).eval().requires_grad_(False)
    generator.synthesis.precision = dtype
    w = torch.randn(config.batch, generator.num_ws, generator.w_dim, device=device)

    @torch.no_grad()
    def synthesis() -> object:
        return generator.synthesis(w)

    return synthesis, list(iterations(config, device, dtype))


def their_work(checkout: Path, config: GanConfig, device: torch.device) -> tuple[Work, list[Work]]:
    """The same of stylegan2-ada-pytorch, whose loop (training/training_loop.py) runs these phases."""
    sys.path.insert(0, str(checkout))
    from torch_utils.ops import conv2d_gradfix
    from training.loss import StyleGAN2Loss
    from training.networks import Discriminator, Generator

    conv2d_gradfix.enabled = True
    fp16 = {"num_fp16_res": 4 if device.type == "cuda" else 0, "conv_clamp": 256}
    size = {"channel_base": config.generator.channel_base, "channel_max": config.generator.channel_max}
    images = {"c_dim": 0, "img_resolution": config.generator.resolution, "img_channels": 1}
    mapping = {"num_layers": config.generator.mapping_layers}
    g = Generator(
        z_dim=config.generator.z_dim,
        w_dim=config.generator.w_dim,
        mapping_kwargs=mapping,
        synthesis_kwargs=size | fp16,
        **images,
    )
    epilogue = {"mbstd_group_size": config.discriminator.mbstd_group_size}
    d = Discriminator(epilogue_kwargs=epilogue, **images, **size, **fp16)
    g, d = (network.to(device).train().requires_grad_(False) for network in (g, d))
    ema = copy.deepcopy(g).eval()
    loss = StyleGAN2Loss(
        device, g.mapping, g.synthesis, d, None, config.style_mixing, r1_gamma=config.gamma, pl_weight=config.pl_weight
    )
    phases: list[tuple[str, Any, torch.optim.Optimizer, int]] = []
    for name, network, interval in (("G", g, PL_INTERVAL), ("D", d, R1_INTERVAL)):
        optimizer = torch.optim.Adam(network.parameters(), lr=0.0, betas=(0.0, 0.99), eps=1e-8)
        phases += [(f"{name}main", network, optimizer, 1), (f"{name}reg", network, optimizer, interval)]
    reals = torch.rand(config.batch, 1, g.img_resolution, g.img_resolution, device=device) * 2 - 1
    label = torch.zeros(config.batch, 0, device=device)

    def iteration(number: int) -> None:
        for name, network, optimizer, interval in phases:
            if number % interval:
                continue
            optimizer.zero_grad(set_to_none=True)
            network.requires_grad_(True)
            z = torch.randn(config.batch, g.z_dim, device=device)
            loss.accumulate_gradients(
                phase=name, real_img=reals, real_c=label, gen_z=z, gen_c=label, sync=True, gain=interval
            )
            network.requires_grad_(False)
            for parameter in network.parameters():
                if parameter.grad is not None:
                    torch.nan_to_num(parameter.grad, nan=0, posinf=1e5, neginf=-1e5, out=parameter.grad)
            optimizer.step()
        with torch.no_grad():
            for mine, theirs in zip(ema.parameters(), g.parameters(), strict=True):
                mine.copy_(theirs.lerp(mine, 0.999))
            for mine, theirs in zip(ema.buffers(), g.buffers(), strict=True):
                mine.copy_(theirs)

    w = torch.randn(config.batch, g.num_ws, g.w_dim, device=device)

    @torch.no_grad()
    def synthesis() -> object:
        return ema.synthesis(w, noise_mode="const")

    return synthesis, [lambda n=number: iteration(n) for number in lazy_cycle(config.pl_weight)]


def uses_its_kernels() -> bool:
    """Whether its CUDA kernels were compiled and loaded."""
    from torch_utils.ops import bias_act, upfirdn2d

    return all(getattr(module, "_plugin", None) is not None for module in (bias_act, upfirdn2d))


def main() -> None:
    """Print the comparison as one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a clone of stylegan2-ada-pytorch")
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--channel-base", type=int, default=16384)
    parser.add_argument("--batch", type=int, help="default: that of its configuration `auto`")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each of synthesis and the kinds of iteration")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if not (options.checkout / "training" / "networks.py").is_file():
        parser.error(f"{options.checkout} is no clone of stylegan2-ada-pytorch: it has no training/networks.py")
    warnings.filterwarnings("ignore", message="conv2d_gradfix not supported")

    device = resolve_device(options.device)
    dtype = resolve_precision("fp16" if device.type == "cuda" else "fp32", device)
    torch.backends.cudnn.benchmark = True  # as its training does, for both
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    config = gan_config(
        options.resolution,
        device,
        dtype,
        preset="auto",
        grow_from=0,
        grow_kimg=None,
        pl_weight=2.0,
        overrides={"batch": options.batch, "channel_base": options.channel_base, "augment_target": 0.0},
        seed=0,
    )
    ours, theirs = our_work(config, device, dtype), their_work(options.checkout, config, device)

    def compare(mine: Work, other: Work) -> list[float]:
        return medians([stopwatch(mine, device), stopwatch(other, device)], options.seconds)

    seconds = {"generator_forward": compare(ours[0], theirs[0])}
    kinds = [compare(mine, other) for mine, other in zip(ours[1], theirs[1], strict=True)]
    shares = [share for _, share in lazy_cycle(config.pl_weight).values()]
    seconds["training_iteration"] = [
        sum(share * kind[k] for share, kind in zip(shares, kinds, strict=True)) for k in (0, 1)
    ]
    results = [
        {
            "name": name,
            "median_s": mine,
            "stylegan2_ada_s": other,
            "ratio": other / mine,
            "img_per_s": config.batch / mine,
        }
        for name, (mine, other) in seconds.items()
    ]
    settings = {"resolution": options.resolution, "batch": config.batch, "channel_base": options.channel_base}
    document = {
        "device": device_name(device),
        "torch": torch.__version__,
        "its_kernels": uses_its_kernels(),
        "settings": settings,
        "results": results,
    }
    print(json.dumps(document, indent=2))
    if not document["its_kernels"]:
        print(
            "Its CUDA kernels were not in use; install nvcc and a C++ compiler to compare with them.", file=sys.stderr
        )


if __name__ == "__main__":
    main()
