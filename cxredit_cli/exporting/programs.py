"""The networks of a model as programs that other tools run: what goes in and what comes out, each under its name.

Every program takes any number of rows. While a program is recorded, operations take the path `traced` (`ops.choice`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from cxredit_cli.inversion.encode import all_passes
from cxredit_cli.networks.encoder import Encoder
from cxredit_cli.networks.generator import Generator, Mapping, Synthesis, random_z
from cxredit_cli.ops.choice import only
from cxredit_cli.storage.models import Model

SEED = 0  # of the codes that programs are recorded and checked with
ROWS = 3
BATCH = Dim("batch", min=1)


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a program: float32, of a shape in which some sizes are free."""

    name: str
    shape: tuple[int | Dim, ...]
    meaning: str  # for people: what it holds, and its range of values


@dataclass(frozen=True, slots=True)
class Program:
    """A network with named inputs and one named output."""

    name: str
    network: nn.Module
    inputs: tuple[Port, ...]
    output: Port
    samples: tuple[tuple[Tensor, ...], ...]  # inputs to check it with; the first, of several rows, record it

    @property
    def free(self) -> tuple[dict[int, Dim], ...]:
        """For each input, the axes whose sizes are free."""
        return tuple(
            {axis: size for axis, size in enumerate(port.shape) if isinstance(size, Dim)} for port in self.inputs
        )

    @torch.no_grad()
    def run(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """The output by this package's own fast path: what an exported file has to agree with."""
        output: Tensor = self.network(*inputs)
        return output

    @torch.no_grad()
    def record(self) -> ExportedProgram:
        """The network as a graph of torch's operators, for all sizes that its inputs leave free."""
        with only("traced"):
            return torch.export.export(self.network, self.samples[0], dynamic_shapes=self.free)


class TruncatedMapping(nn.Module):
    """z [N, z_dim] and the truncation [] -> codes [N, 1, w_dim]."""

    def __init__(self, mapping: Mapping) -> None:
        super().__init__()
        self.mapping = mapping

    def forward(self, z: Tensor, truncation_psi: Tensor) -> Tensor:
        """As `Mapping`, but with a truncation that a program takes as an input."""
        mean = self.mapping.w_avg
        w: Tensor = self.mapping(z)
        return (mean + truncation_psi * (w - mean))[:, None]


class CodesToImages(nn.Module):
    """Codes [N, L, w_dim] of W (L = 1) or W+ (L = num_ws) -> images [N, 1, R, R], with the constant noise."""

    def __init__(self, synthesis: Synthesis) -> None:
        super().__init__()
        self.synthesis = synthesis

    def forward(self, w: Tensor) -> Tensor:
        """As `Synthesis`; the one code of W is repeated by its index, which a graph can do for either L."""
        layers = torch.arange(self.synthesis.num_ws, device=w.device).clamp(max=w.shape[1] - 1)
        images: Tensor = self.synthesis(w.index_select(1, layers))
        return images


class ImagesToCodes(nn.Module):
    """Images [N, 1, R, R] in [-1, 1] -> codes [N, 1 or num_ws, w_dim], by an encoder of several passes.

    From the second pass on the encoder looks at what its last codes look like, so the generator goes with it.
    """

    def __init__(self, encoder: Encoder, generator: Generator) -> None:
        super().__init__()
        self.encoder = encoder
        self.generator = generator

    def forward(self, images: Tensor) -> Tensor:
        """As `all_passes`."""
        return all_passes(self.encoder, self.generator, images)


def programs_of(model: Model) -> list[Program]:
    """The synthesis, the mapping and, where the model has one, the encoder. The model must be on the processor."""
    generator = model.generator
    dims, layers = generator.w_dim, generator.num_ws
    with torch.no_grad():
        z = random_z(ROWS * layers, generator.z_dim, SEED)
        mixed = generator.mapping(z).unflatten(0, (ROWS, layers))
        images = generator.synthesis(mixed).clamp(-1, 1)
    z, w = z[:ROWS], mixed[:, :1]
    picture = (BATCH, 1, generator.resolution, generator.resolution)
    code = f"w (one code, which all layers take: layers = 1) or w+ (one a layer: layers = {layers})"
    programs = [
        Program(
            "synthesis",
            CodesToImages(generator.synthesis),
            (Port("w", (BATCH, Dim("layers", min=1, max=layers), dims), code),),
            Port("image", picture, "about -1 (black) to 1 (white); what lies beyond is to be clipped"),
            ((mixed,), (mixed[:1],), (w,), (w[:1],)),
        ),
        Program(
            "mapping",
            TruncatedMapping(generator.mapping),
            (
                Port("z", (BATCH, generator.z_dim), "random numbers of mean 0 and deviation 1"),
                Port("truncation_psi", (), "1: all variety; towards 0: nearer to the mean code"),
            ),
            Port("w", (BATCH, 1, dims), "the code of each row of z"),
            ((z, torch.tensor(0.7)), (z[:1], torch.tensor(1.0))),
        ),
    ]
    encoder = model.encoder
    if encoder is not None:
        programs.append(
            Program(
                "encoder",
                ImagesToCodes(encoder, generator) if encoder.config.passes > 1 else encoder,
                (Port("image", picture, "an upright frontal chest radiograph, -1 (black) to 1 (white)"),),
                Port("w", (BATCH, encoder.config.num_outputs, dims), "its code, for the synthesis"),
                ((images,), (images[:1],)),
            )
        )
    return programs
