"""The kernels that exist, by name, and the line of CUDA that instantiates each."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).parent
# Torch's dtypes by the suffix of their kernels: the element's type in CUDA, and how many of them fill 16 bytes.
ELEMENTS = {"f32": ("float", 4), "f16": ("half", 8), "bf16": ("bfloat16", 8)}
# What scale_in reads and writes: one type, or float32 into half precision.
CASTS = [("f32", "f32"), ("f16", "f16"), ("bf16", "bf16"), ("f32", "f16"), ("f32", "bf16")]
# Special cases of upfirdn2d for 4 x 4 taps: up, down.
MARCHES = {"plain": (1, 1), "up2": (2, 1), "down2": (1, 2)}


@dataclass(frozen=True, slots=True)
class Unit:
    """What is compiled at once: the source's name, the line to append to it, and the kernels that this makes.

    Small units, so that the first use of an operation waits for its own kernels alone.
    """

    source: str
    line: str
    kernels: tuple[str, ...]


@cache
def units() -> tuple[Unit, ...]:
    """Every unit. `wide` kernels move up to 16 bytes at once; `narrow` ones take any size and alignment."""
    found = [Unit("sums", "SUMS", ("finish_sums",))]
    for suffix, (element, vector) in ELEMENTS.items():
        for width, each in (("wide", vector), ("narrow", 1)):
            name = f"{width}_{suffix}"
            found.append(Unit("upfirdn2d", f"GENERAL({element}, {each}, {name})", (f"upfirdn2d_general_{name}",)))
            for case, (up, down) in MARCHES.items():
                # Two adjacent columns a thread where there is but one channel in a vector.
                columns = 1 if width == "wide" else 2
                line = f"MARCH({element}, {each}, {up}, {down}, {columns}, {case}_{name})"
                found.append(Unit("upfirdn2d", line, (f"upfirdn2d_{case}_{name}",)))
            both = tuple(f"scale_out_{layout}_{name}" for layout in ("channels_last", "planes"))
            found.append(Unit("scale_out", f"FORWARD({element}, {each}, {name})", both))
            both = tuple(f"scale_out_backward_{layout}_{name}" for layout in ("channels_last", "planes"))
            found.append(Unit("scale_out", f"BACKWARD({element}, {min(each, 4)}, {name})", both))
    for source, target in CASTS:
        types = f"{ELEMENTS[source][0]}, {ELEMENTS[target][0]}"
        for width, each in (("wide", ELEMENTS[source][1]), ("narrow", 1)):
            name = f"{width}_{source}_{target}"
            kernels = tuple(
                f"scale_in_{direction}{layout}_{name}"
                for direction in ("", "backward_")
                for layout in ("channels_last", "planes")
            )
            found.append(Unit("scale_in", f"SIZED({types}, {each}, {name})", kernels))
        name = f"{source}_{target}"
        found.append(Unit("scale_in", f"TRANSPOSED({types}, {name})", (f"scale_in_transposed_{name}",)))
    return tuple(found)


@cache
def unit_of(kernel: str) -> Unit:
    """The unit that makes the kernel of this name."""
    return next(unit for unit in units() if kernel in unit.kernels)


def source_of(*of_one_source: Unit) -> str:
    """The CUDA source of units that share a file."""
    (source,) = {unit.source for unit in of_one_source}
    return "\n".join([(SOURCES / f"{source}.cu").read_text(), *(unit.line for unit in of_one_source), ""])
