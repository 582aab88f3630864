"""Write the tables of the documents that follow from shapes: arithmetic, traffic, and what many GPUs should bring.

python docs/tools/derived_tables.py docs/results/tables
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from result_tables import VERSION, ResultTable, read_table, write_table
from traffic_tables import kernels_table, operations_table

from cxredit_cli.networks.discriminator import Discriminator, DiscriminatorConfig
from cxredit_cli.networks.generator import Generator, GeneratorConfig
from cxredit_cli.networks.layers import block_resolutions, maps
from cxredit_cli.training.presets import preset_for

COMMAND = "python docs/tools/derived_tables.py docs/results/tables"
SIDE = 128  # of the synthesis whose layers are listed
BF16 = 2  # bytes of a value
RATE, WITHIN, BETWEEN = 100e12, 200e9, 100e9  # FLOP/s of a GPU in training; bytes/s in a machine, and between machines
GPUS_OF_A_MACHINE = 8
# Sent in an iteration on average: with path length every 4th, with R1 every 16th.
GRADIENTS_G, GRADIENTS_D = 1.25, 1.0625
PASSES_G, PASSES_D = 4.75, 8.4  # of a forward pass of either network that an image costs in an iteration
RUNS = (  # side, GPUs, batch
    (256, 8, 256),
    (256, 64, 2048),
    (256, 8, 64),
    (1024, 8, 64),
    (1024, 64, 512),
    (1024, 8, 32),
)


def convolutions(config: GeneratorConfig | DiscriminatorConfig) -> Iterator[tuple[int, str, int, int, int]]:
    """Synthesis' convolutions: resolution, name, channels in and out, pixels at which the kernel is applied."""
    previous = maps(config, 4)
    for resolution in block_resolutions(config.resolution):
        channels = maps(config, resolution)
        if resolution > 4:
            yield resolution, "conv0", previous, channels, (resolution // 2) ** 2
        yield resolution, "conv1", channels, channels, resolution**2
        previous = channels


def operations_of_generator(config: GeneratorConfig) -> float:
    """Multiplications and additions of one picture."""
    return float(sum(18 * i * o * pixels for _, _, i, o, pixels in convolutions(config)))


def operations_of_discriminator(config: DiscriminatorConfig) -> float:
    """The same of one judgement: two 3x3 convolutions and a 1x1 skip a block, and the last layers."""
    total = 0.0
    for resolution in block_resolutions(config.resolution)[1:]:
        i, o = maps(config, resolution), maps(config, resolution // 2)
        total += 18 * i * i * resolution**2 + 18 * i * o * (resolution // 2) ** 2 + 2 * i * o * (resolution // 2) ** 2
    last = maps(config, 4)
    return total + 18 * (last + 1) * last * 16 + 2 * 16 * last * last


def arithmetic_table() -> ResultTable:
    """Each layer of synthesis."""
    config, rows = GeneratorConfig(SIDE), []
    sums = {64: [0.0, 0.0], SIDE: [0.0, 0.0]}
    layers: dict[int, list[tuple[str, int, int, float, float]]] = {}
    for resolution, name, i, o, pixels in convolutions(config):
        operations, values = 18 * i * o * pixels, i * pixels + o * resolution**2
        layers.setdefault(resolution, []).append((name, i, o, operations, values))
        for side, total in sums.items():
            if resolution <= side:
                total[0] += operations
                total[1] += values
    for resolution, found in layers.items():
        channels = f"{found[0][1]}" if found[0][1] == found[0][2] else f"{found[0][1]} -> {found[0][2]}, {found[1][2]}"
        ratios = [f"{float(f'{each[3] / (each[4] * BF16):.2g}'):.0f}" for each in found]
        name = f"{resolution}x{resolution} {', '.join(each[0] for each in found)}"
        giga, mega = (
            ", ".join(f"{value:.2f}" for value in column)
            for column in ([each[3] / 1e9 for each in found], [each[4] / 1e6 for each in found])
        )
        rows.append([name, channels, giga, mega, ", ".join(ratios) + (", without weights" if resolution == 4 else "")])
    for side, (all_operations, all_values) in sums.items():
        rows.append([f"all, {side}x{side}", "", f"{all_operations / 1e9:.1f}", f"{all_values / 1e6:.1f}", ""])
    columns = ["layer", "channels", "GFLOP", "values in and out, millions", "operations a byte (bf16)"]
    what = "Arithmetic of one picture; derived from the architecture."
    return ResultTable(what, "Channel base 16384.", "", VERSION, COMMAND, columns, rows)


class Trained:
    """What one iteration of the preset `auto` sends and computes at a resolution."""

    def __init__(self, side: int) -> None:
        preset = preset_for("auto", side)
        g = GeneratorConfig(side, 512, 512, preset.mapping_layers, preset.channel_base, preset.channel_max)
        d = DiscriminatorConfig(side, preset.channel_base, preset.channel_max)
        with torch.device("meta"):
            networks = (Generator(g), Discriminator(d))
        self.weights = [sum(weight.numel() for weight in network.parameters()) for network in networks]
        self.sent = 4 * (GRADIENTS_G * self.weights[0] + GRADIENTS_D * self.weights[1])
        self.operations = PASSES_G * operations_of_generator(g) + PASSES_D * operations_of_discriminator(d)


def weights_table() -> ResultTable:
    """What is sent, and what an image costs."""
    rows = []
    for side in (256, 512, 1024):
        run = Trained(side)
        weights = ", ".join(f"{count / 1e6:.1f} M" for count in run.weights)
        rows.append(
            [f"{side}x{side}, `auto`", weights, f"{run.sent / 1e6:.0f} MB", f"{run.operations / 1e12:.1f} TFLOP"]
        )
    columns = ["images", "weights of G and D", "bytes sent, S", "arithmetic an image"]
    what = "What is sent and computed; derived, not measured."
    return ResultTable(what, "Preset auto.", "", VERSION, COMMAND, columns, rows)


def speed_table() -> ResultTable:
    """What several GPUs should bring, with the host's time as it was measured."""
    host, rows = float(read_table("gpu-training").cell("64,", "plain")) / 1000, []
    for side, gpus, batch in RUNS:
        run = Trained(side)
        arithmetic = run.operations * batch / gpus / RATE
        compute = max(arithmetic, host)
        sending = 2 * (gpus - 1) / gpus * run.sent / (WITHIN if gpus <= GPUS_OF_A_MACHINE else BETWEEN)
        alone = max(run.operations * batch / RATE, host)
        speed = alone / (compute + sending)
        rows.append(
            [
                *(f"{side}x{side}", f"{gpus}", f"{batch}, {batch // gpus}"),
                f"{compute * 1000:.0f}" + ("" if arithmetic >= host else " (host)"),
                *(f"{sending * 1000:.1f}", f"{compute / (compute + sending):.0%}".replace("%", " %")),
                f"{speed:.1f}" if speed < 10 else f"{speed:.0f}",
            ]
        )
    columns = ["images", "GPUs", "batch, a GPU's share", "compute, ms", "sending, ms", "efficiency, same share"]
    columns.append("speed against one GPU with the same whole batch")
    data = (
        f"Assumed: {RATE / 1e12:.0f} TFLOP/s a GPU, {WITHIN / 1e9:.0f} GB/s between the GPUs of a machine, "
        f"{BETWEEN / 1e9:.0f} GB/s between machines."
    )
    return ResultTable("What it should bring; derived, not measured.", data, "", VERSION, COMMAND, columns, rows)


def main(tables: Path) -> None:
    """Write the tables, and print them."""
    made = {
        "synthesis-arithmetic": arithmetic_table(),
        "scaling-weights": weights_table(),
        "scaling-speed": speed_table(),
        "operations-traffic": operations_table(COMMAND),
        "kernels-traffic": kernels_table(COMMAND),
    }
    for name, table in made.items():
        write_table(name, table, tables)
        print(f"{name}\n\n{table.markdown()}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
