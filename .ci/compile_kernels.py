"""Compile every CUDA source of the package with NVRTC for every supported architecture. Needs no GPU and no driver."""

from pathlib import Path

KERNELS = Path(__file__).parent.parent / "cxredit_cli" / "ops" / "kernels"
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")


def main() -> None:
    sources = sorted(KERNELS.glob("*.cu"))
    for source in sources:
        from cuda.core import Program, ProgramOptions
        from cuda.pathfinder import find_nvidia_header_directory

        headers = find_nvidia_header_directory("cudart")  # of cuda_fp16.h and the like; torch brings them
        for architecture in ARCHITECTURES:
            options = ProgramOptions(arch=architecture, std="c++17", name=source.name, include_path=headers)
            cubin = Program(source.read_text(), code_type="c++", options=options).compile("cubin")
            print(f"{source.name} {architecture}: {len(bytes(cubin.code)):,} bytes")
    print(f"compiled {len(sources)} CUDA sources for {len(ARCHITECTURES)} architectures")


if __name__ == "__main__":
    main()
