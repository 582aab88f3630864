"""Compile every CUDA kernel for every architecture, as users' machines do. Needs neither a GPU nor a driver."""

from itertools import groupby
from time import perf_counter

from cxredit_cli.ops.kernels.catalogue import source_of, units
from cxredit_cli.ops.kernels.compiler import ARCHITECTURES, compile_source


def main() -> None:
    start = perf_counter()
    ordered = sorted(units(), key=lambda unit: unit.source)
    for source, group in groupby(ordered, key=lambda unit: unit.source):
        together = list(group)
        kernels = [kernel for unit in together for kernel in unit.kernels]
        for architecture in ARCHITECTURES:
            cubin = compile_source(source_of(*together), architecture, source)
            absent = [kernel for kernel in kernels if kernel.encode() not in cubin]
            assert not absent, absent
            print(f"{source}.cu {architecture}: {len(kernels)} kernels, {len(cubin):,} bytes")
    print(f"compiled {len(units())} units for {len(ARCHITECTURES)} architectures in {perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
