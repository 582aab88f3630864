"""`cxredit doctor`: what works on this machine, and what is missing."""

from typing import TYPE_CHECKING

import typer

from cxredit_cli.commands.options import JsonOption, ModelOption

if TYPE_CHECKING:
    from cxredit_cli.diagnosis import Diagnosis


def command(
    model: ModelOption = None,
    json: JsonOption = False,
) -> None:
    """Say what works here and what is missing, with the command that installs it. Exit code 1: something is needed."""
    from dataclasses import asdict

    from cxredit_cli.commands.console import print_json
    from cxredit_cli.diagnosis import diagnose

    found = diagnose(model)
    if json:
        print_json({"works": found.works, **asdict(found)})
    else:
        _print(found)
    if not found.works:
        raise typer.Exit(1)


def _print(found: "Diagnosis") -> None:
    from cxredit_cli.commands.console import stdout

    def say(name: str, text: str) -> None:
        stdout.print(f"{name:10} {text}", markup=False)

    def yes(found: bool) -> str:
        return "yes" if found else "no"

    for name in ("cxredit", "python", "platform"):
        say(name, found.versions[name] or "")
    say("packages", ", ".join(f"{n} {v or 'MISSING'}" for n, v in list(found.versions.items())[3:]) or "not checked")
    say("CPU", f"{found.cpu.model}, {found.cpu.cores} cores, native bfloat16: {yes(found.cpu.bfloat16)}")
    for gpu in found.gpus:
        works = "" if gpu.works else ", DOES NOT COMPUTE"
        say("GPU", f"{gpu.name}, {gpu.memory_gib:g} GiB, compute capability {gpu.compute_capability}{works}")
    if not found.gpus:
        say("GPU", "Metal (with --device mps)" if found.metal else "none that torch can use")
    say("default", f"--device {found.device} --precision {found.precision}")
    cuda = found.cuda
    parts = {"torch built for": cuda.torch_build, "driver": cuda.driver, "NVRTC": cuda.nvrtc}
    parts["cuda-core"] = cuda.cuda_core
    say("CUDA", ", ".join(f"{name} {version or 'none'}" for name, version in parts.items()))
    if found.kernels is not None:
        kernels = found.kernels
        can = "NVRTC compiles them" if kernels.compiles else f"they cannot be compiled: {kernels.why_not}"
        say("kernels", f"CXREDIT_KERNELS={kernels.setting}; {can}")
        say("", f"{kernels.cached} compiled in {kernels.cache}")
        for on in kernels.devices:
            say("", f"{on.device} ({on.architecture}): {'checked, and used' if on.used else f'not used: {on.why_not}'}")
        if not kernels.devices:
            say("", "not needed: there is no NVIDIA GPU")
    read = sum(decoder.reads for decoder in found.decoders)
    say("DICOM", f"reads {read} of {len(found.decoders)} transfer syntaxes:")
    for decoder in found.decoders:
        how = ", ".join(decoder.plugins) if decoder.plugins else "not compressed" if decoder.reads else "no plug-in"
        say("", f"{'yes' if decoder.reads else 'NO':4}{decoder.syntax}: {how}")
    if found.model is not None:
        m = found.model
        directions = ", ".join(m.directions) or "none"
        say("model", f"{m.path}: {m.name} [{m.fingerprint}], {m.resolution}x{m.resolution}")
        say("", f"encoder: {yes(m.encoder)}; directions: {directions}")
    say("anatomy", "heart and lungs can be measured" if found.anatomy else "no network that measures heart and lungs")
    for missing in sorted(found.missing, key=lambda missing: not missing.needed):
        say("NEEDED" if missing.needed else "optional", f"{missing.what}: {missing.consequence}")
        say("", f"  -> {missing.remedy}")
    say("result", "everything needed works" if found.works else "something needed is missing, see NEEDED above")
