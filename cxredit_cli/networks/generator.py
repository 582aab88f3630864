"""The StyleGAN2 generator (Karras et al. 2020): mapping z -> w, and skip synthesis w -> one-channel image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from cxredit_cli.networks.layers import EqualizedLinear, block_resolutions, maps, normalize_2nd_moment, runs_in
from cxredit_cli.ops.choice import rearranges
from cxredit_cli.ops.modulated_conv2d import PreparedWeight, modulated_conv2d, prepare_weight
from cxredit_cli.ops.upfirdn2d import setup_filter, upsample2d

NoiseMode = Literal["const", "random", "none"]
Noise = NoiseMode | Sequence[Tensor]


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Architecture of a generator; plain values that go into model.json."""

    resolution: int
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 2
    channel_base: int = 16384
    channel_max: int = 512
    img_channels: int = 1
    conv_clamp: float | None = None  # needed by fp16 training only
    channels: tuple[int, ...] | None = None  # feature maps from 4x4 up, where they do not follow base and max


def random_z(n: int, z_dim: int, seed: int) -> Tensor:
    """Rows [n, z_dim] of N(0, I), from a stream of numpy's.

    Not of torch's: a network whose weights were drawn from torch's stream of the same seed has these very numbers in
    its first layer, and answers to its own rows with codes twice as far from the mean as others.
    """
    rows = np.random.default_rng([seed, z_dim]).standard_normal((n, z_dim), dtype=np.float32)
    return torch.from_numpy(rows)


class Mapping(nn.Module):
    """f: z [N, z_dim] ~ N(0, I) -> w [N, w_dim]; keeps the running mean of w for truncation."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EqualizedLinear(z_dim if i == 0 else w_dim, w_dim, act="lrelu", lr_mul=0.01) for i in range(layers)
        )
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, truncation_psi: float = 1.0) -> Tensor:
        """[N, z_dim] -> [N, w_dim]; truncation_psi 0 gives the mean code, 1 the code itself."""
        x = normalize_2nd_moment(z.float())
        for layer in self.layers:
            x = layer(x)
        return x if truncation_psi == 1 else torch.lerp(self.w_avg, x, truncation_psi)


class Preparation:
    """What was last prepared of a layer's weight, kept while the weight does not change and needs no gradient."""

    def __init__(self) -> None:
        self._weight: Tensor | None = None  # itself, for the address of one that is gone may be another's
        self._key: tuple[int, int, torch.dtype] | None = None
        self._kept: PreparedWeight | None = None

    def of(self, weight: Tensor, dtype: torch.dtype, up: int) -> PreparedWeight:
        """`prepare_weight`, from what is kept where that still holds."""
        if torch.is_grad_enabled() and weight.requires_grad:
            self._weight = self._kept = None
            return prepare_weight(weight, dtype, True, up)
        key = (weight.data_ptr(), weight._version, dtype)
        if self._kept is None or weight is not self._weight or key != self._key:
            self._weight, self._key = weight, key
            self._kept = prepare_weight(weight.detach(), dtype, True, up)
        return self._kept


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias and leaky ReLU; doubles the resolution if `up` is 2."""

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, resolution: int, up: int, clamp: float | None
    ) -> None:
        super().__init__()
        self.up = up
        self.clamp = clamp
        self.affine = EqualizedLinear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.prepared = Preparation()
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", setup_filter(), persistent=False)

    def forward(
        self,
        x: Tensor,
        styles: Tensor,
        noise: NoiseMode | Tensor,
        scaled: bool = False,
        next_styles: Tensor | None = None,
    ) -> Tensor:
        """[N, in, h, w] -> [N, out, H, W]; `noise` a mode, or values [N or 1, 1, H, W] before the strength.

        `styles` is `self.affine(w)`; `scaled` and `next_styles` are those of `modulated_conv2d`.
        """
        side = self.noise_const.shape[0]
        values: Tensor | None
        if isinstance(noise, Tensor):
            values = noise
        elif noise == "const":
            values = self.noise_const[None, None]
        elif noise == "random":
            values = torch.randn(x.shape[0], 1, side, side, device=x.device)
        else:
            values = None
        return modulated_conv2d(
            x,
            self.weight,
            styles,
            self.up,
            kernel=self.resample_filter if self.up > 1 else None,
            noise=values,
            noise_strength=self.noise_strength,
            bias=self.bias,
            act="lrelu",
            clamp=self.clamp,
            prepared=self.prepared.of(self.weight, x.dtype, self.up) if rearranges(x) else None,
            scaled=scaled,
            next_styles=next_styles,
        )


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to the image, without demodulation (grey here, but the field calls it ToRGB)."""

    def __init__(self, in_channels: int, img_channels: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = EqualizedLinear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(img_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(img_channels))
        self.weight_gain = 1 / in_channels**0.5

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[N, in, H, W] -> [N, img_channels, H, W]."""
        styles = self.affine(w) * self.weight_gain
        return modulated_conv2d(x, self.weight, styles, demodulate=False, bias=self.bias, clamp=self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution: (constant or up-sampling conv0), conv1, and the addition to the running image."""

    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, resolution: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.resolution = resolution
        w_dim, clamp = config.w_dim, config.conv_clamp
        self.const = nn.Parameter(torch.randn(out_channels, 4, 4)) if in_channels == 0 else None
        self.conv0 = SynthesisLayer(in_channels, out_channels, w_dim, resolution, 2, clamp) if in_channels else None
        self.conv1 = SynthesisLayer(out_channels, out_channels, w_dim, resolution, 1, clamp)
        self.torgb = ToRGB(out_channels, config.img_channels, w_dim, clamp)
        self.register_buffer("resample_filter", setup_filter(), persistent=False)

    def forward(
        self,
        x: Tensor | None,
        image: Tensor | None,
        ws: list[Tensor],
        noise: list[NoiseMode | Tensor],
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        """Features and running image of this resolution; `ws` and `noise` hold one entry for each layer used."""
        styles = self.conv1.affine(ws[-2])
        if self.const is not None:
            x = self.const.to(dtype)[None].expand(ws[0].shape[0], -1, -1, -1)
            x = x.contiguous(memory_format=torch.channels_last)
            x = self.conv1(x, styles, noise[-1])
        else:
            assert x is not None
            assert self.conv0 is not None
            # conv0 multiplies its output by the styles of conv1 as it writes it.
            rides = rearranges(x)
            x = self.conv0(x.to(dtype), self.conv0.affine(ws[0]), noise[0], next_styles=styles if rides else None)
            x = self.conv1(x, styles, noise[-1], scaled=rides)
        y = self.torgb(x, ws[-1]).float()
        return x, y if image is None else y + upsample2d(image, self.resample_filter)


class Synthesis(nn.Module):
    """g: w -> image. Layer i of the network takes w[:, i]; a ToRGB takes the w of the convolution that follows it."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.precision = torch.float32
        resolutions = block_resolutions(config.resolution)
        self.blocks = nn.ModuleDict()
        in_channels = 0
        for resolution in resolutions:
            out_channels = maps(config, resolution)
            self.blocks[f"b{resolution}"] = SynthesisBlock(in_channels, out_channels, resolution, config)
            in_channels = out_channels
        self.num_ws = 2 * len(resolutions)

    def forward(self, w: Tensor, noise: Noise = "const") -> Tensor:
        """[N, num_ws or 1, w_dim] -> image [N, 1, R, R], float32, about [-1, 1].

        `noise` is a mode, or one tensor [N or 1, 1, H, W] for each of `noise_shapes()`.
        """
        return self.features(w, noise)[-1]

    def coarse(self, w: Tensor, resolution: int) -> Tensor:
        """The running image [N, 1, r, r] after the block of `resolution`: the image without what finer blocks add."""
        return self.features(w, up_to=resolution)[-1]

    def features(self, w: Tensor, noise: Noise = "const", up_to: int | None = None) -> list[Tensor]:
        """The feature maps G_i(w) of every block from 4x4 up, and the image as the last entry; `up_to` a resolution."""
        ws = list(w.float().expand(-1, self.num_ws, -1).unbind(dim=1))
        shapes = self.noise_shapes()
        per_layer: list[NoiseMode | Tensor] = [noise] * len(shapes) if isinstance(noise, str) else list(noise)
        if len(per_layer) != len(shapes):
            raise ValueError(f"Expected {len(shapes)} noise tensors, one a layer, received {len(per_layer)}.")
        x, image = None, None
        outputs: list[Tensor] = []
        for index, (name, block) in enumerate(self.blocks.items()):
            dtype = runs_in(self.precision, int(name[1:]), self.config.resolution)
            first = max(2 * index - 1, 0)
            layer_noise = per_layer[first : 2 * index + 1]
            x, image = block(x, image, ws[first : 2 * index + 2], layer_noise, dtype)
            outputs.append(x)
            if block.resolution == up_to:
                break
        assert image is not None
        return [*outputs, image]

    def noise_layers(self) -> list[SynthesisLayer]:
        """The layers that take noise, from coarse to fine."""
        return [module for module in self.modules() if isinstance(module, SynthesisLayer)]

    def noise_shapes(self) -> list[tuple[int, int]]:
        """(H, W) of the noise of each layer, from coarse to fine."""
        return [(layer.noise_const.shape[0], layer.noise_const.shape[1]) for layer in self.noise_layers()]

    def noise_consts(self) -> list[Tensor]:
        """The constant noise [1, 1, H, W] of each layer, from coarse to fine."""
        return [layer.noise_const[None, None] for layer in self.noise_layers()]


class Generator(nn.Module):
    """Mapping and synthesis of one trained model."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config.z_dim, config.w_dim, config.mapping_layers)
        self.synthesis = Synthesis(config)
        self.resolution = config.resolution
        self.z_dim, self.w_dim = config.z_dim, config.w_dim
        self.num_ws = self.synthesis.num_ws

    def forward(self, z: Tensor, truncation_psi: float = 1.0, noise: Noise = "const") -> Tensor:
        """[N, z_dim] -> image [N, 1, R, R] in about [-1, 1]."""
        image: Tensor = self.synthesis(self.mapping(z, truncation_psi)[:, None], noise)
        return image

    @torch.no_grad()
    def w_statistics(self, n: int = 4096) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [w_dim] of the codes of `n` random z, the same ones always."""
        w = self.mapping(random_z(n, self.z_dim, seed=0).to(self.mapping.w_avg.device))
        return w.mean(dim=0), w.std(dim=0)
