"""What this machine and this installation can do, and what is missing. Nothing heavy is imported before it is tried,
so that a broken installation can still be diagnosed."""

import ctypes
import os
import platform
import sys
import warnings
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from cxredit_cli import __version__
from cxredit_cli.errors import CxreditError
from cxredit_cli.processor import cpu_has_bfloat16, cpu_model

if TYPE_CHECKING:
    from cxredit_cli.ops.kernels.check import Kernels

# What each required package is imported as, where its name differs; the plug-ins are found by pydicom, not imported.
IMPORTED_AS = {"pillow": "PIL", "scikit-learn": "sklearn", "scikit-image": "skimage"}
COMPILER = "cuda-core"  # for the kernels on a GPU alone
# Importing these takes as long as everything else together, and they are plain Python that does not half-install.
NOT_TRIED = ("tensorboard", "matplotlib", "scikit-learn")
PYTORCH_SITE = "https://pytorch.org/get-started/locally"


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that is not there: what it costs, what brings it, and whether cxredit cannot do without."""

    what: str
    consequence: str
    remedy: str
    needed: bool


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor: cores that this process may use, and whether it multiplies bfloat16 natively."""

    model: str
    cores: int
    bfloat16: bool


@dataclass(frozen=True, slots=True)
class Gpu:
    """A CUDA device as torch sees it; `works` when a computation on it came back right."""

    name: str
    memory_gib: float
    compute_capability: str
    works: bool


@dataclass(frozen=True, slots=True)
class Cuda:
    """Versions of CUDA's parts, None where absent."""

    torch_build: str | None
    driver: str | None
    nvrtc: str | None
    cuda_core: str | None


@dataclass(frozen=True, slots=True)
class Decoder:
    """A DICOM transfer syntax, pydicom's plug-ins that could decode it, and whether cxredit reads it here."""

    syntax: str
    uid: str
    plugins: tuple[str, ...]
    reads: bool


@dataclass(frozen=True, slots=True)
class FoundModel:
    """The model that commands use when none is named."""

    path: str
    name: str
    fingerprint: str
    resolution: int
    encoder: bool
    directions: tuple[str, ...]


@dataclass(slots=True)
class Diagnosis:
    """All findings as plain data (dataclasses.asdict gives the JSON document)."""

    versions: dict[str, str | None]
    cpu: Cpu
    gpus: list[Gpu] = field(default_factory=list)
    metal: bool = False
    device: str = "cpu"
    precision: str = "fp32"
    cuda: Cuda = field(default_factory=lambda: Cuda(None, None, None, None))
    kernels: "Kernels | None" = None
    decoders: list[Decoder] = field(default_factory=list)
    model: FoundModel | None = None
    anatomy: bool = False  # whether the network that measures heart and lungs loads
    missing: list[Missing] = field(default_factory=list)

    @property
    def works(self) -> bool:
        """Whether nothing that is needed is missing."""
        return not any(missing.needed for missing in self.missing)


def diagnose(model: Path | None = None) -> Diagnosis:
    """Look at packages, devices, CUDA, DICOM decoders and the model that would be used (`model`, or the default)."""
    versions: dict[str, str | None] = {
        "cxredit": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    found = Diagnosis(versions, _cpu())
    unusable = _packages(found)
    if "torch" not in unusable:
        _devices(found)
    _cuda(found)
    if not unusable:
        _kernels(found)
    if "pydicom" not in unusable:
        _decoders(found)
    if not unusable:
        _model(found, model)
        _anatomy(found)
    return found


def _cpu() -> Cpu:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return Cpu(cpu_model(), cores, cpu_has_bfloat16())


def _packages(found: Diagnosis) -> set[str]:
    """Check every package that cxredit asks for, by version and by importing it; return those that do not work."""
    from cxredit_cli.radiographs.dicom_decoders import PACKAGES

    unusable = set()
    for requirement in _requirements(found):
        name = requirement.name
        version = found.versions[name] = _version(name)
        if name in PACKAGES or name == COMPILER:
            continue  # what pydicom makes of the plug-ins is said by transfer syntax; a compiler is for GPUs
        problem = None
        if version is None:
            problem = f"{requirement}"
        elif not requirement.specifier.contains(version, prereleases=True):
            problem = f"{requirement}, not {version}"
        elif name not in NOT_TRIED and not _imports(IMPORTED_AS.get(name, name)):
            problem = f"a {name} that can be imported"
        if problem is not None:
            unusable.add(name)
            remedy = f"pip install --force-reinstall '{requirement}'"
            found.missing.append(Missing(problem, "commands stop for want of it", remedy, needed=True))
    return unusable


def _requirements(found: Diagnosis) -> list[Requirement]:
    try:
        requirements = [Requirement(text) for text in metadata.requires("cxredit") or []]
    except metadata.PackageNotFoundError:
        consequence = "it runs from its folder, and the versions of packages cannot be checked"
        found.missing.append(Missing("an installed cxredit", consequence, "pip install .", needed=False))
        return []
    return [each for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _imports(module: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_module(module)
    except Exception:  # half-installed packages raise anything: RuntimeError, OSError, AttributeError
        return False
    return True


def _devices(found: Diagnosis) -> None:
    import torch

    from cxredit_cli.devices import resolve_device, resolve_precision

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of an old driver or card; both are reported below
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            works = _computes(f"cuda:{index}")
            capability = f"{properties.major}.{properties.minor}"
            found.gpus.append(Gpu(properties.name, round(properties.total_memory / 2**30, 1), capability, works))
            if not works:
                found.missing.append(
                    Missing(
                        f"a torch that computes on {properties.name} (compute capability {capability})",
                        "use --device cpu until then",
                        f"choose one at {PYTORCH_SITE}",
                        needed=False,
                    )
                )
        found.metal = torch.backends.mps.is_available()
        device = resolve_device("auto")
        found.device = str(device)
        names = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}
        found.precision = names[resolve_precision("auto", device)]


def _computes(device: str) -> bool:
    import torch

    try:
        return bool(torch.ones(8, device=device).sum().item() == 8)
    except RuntimeError:
        return False


def _cuda(found: Diagnosis) -> None:
    torch = sys.modules.get("torch")
    build = None if torch is None else torch.version.cuda
    driver = _driver_version()
    found.cuda = Cuda(build, driver, _nvrtc_version(), _version(COMPILER))
    if driver is None or found.gpus:
        return
    if build is None:
        remedy = "pip install --force-reinstall torch torchvision" if sys.platform == "linux" else f"see {PYTORCH_SITE}"
        found.missing.append(Missing("a torch with CUDA", "the NVIDIA GPU is not used", remedy, needed=False))
    elif int(driver.split(".")[0]) < int(build.split(".")[0]):
        found.missing.append(
            Missing(
                f"a newer NVIDIA driver (it supports CUDA {driver}, torch needs {build})",
                "the NVIDIA GPU is not used",
                "https://www.nvidia.com/drivers",
                needed=False,
            )
        )


def _kernels(found: Diagnosis) -> None:
    from cxredit_cli.ops.kernels.check import find

    try:
        kernels = found.kernels = find()
    except CxreditError as error:
        found.missing.append(Missing("a known CXREDIT_KERNELS", str(error), "unset CXREDIT_KERNELS", needed=True))
        return
    for on in kernels.devices:
        if not on.used and kernels.setting != "off":
            consequence = f"operations are slower; {on.why_not}"
            # What CUDA builds of torch bring on Linux, and must be asked for elsewhere.
            remedy = "pip install 'cxredit[cuda]'" if not kernels.compiles else "report it, with this output"
            found.missing.append(Missing(f"CUDA kernels on {on.device}", consequence, remedy, needed=False))


def _driver_version() -> str | None:
    """The newest CUDA that the NVIDIA driver supports; None without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def _nvrtc_version() -> str | None:
    """The version of the run-time compiler, loaded as the kernels would load it; None where it is not found."""
    from cxredit_cli.ops.kernels.compiler import KernelError, nvrtc_version

    try:
        return nvrtc_version()
    except KernelError:
        return None


def _decoders(found: Diagnosis) -> None:
    from pydicom.pixels import get_decoder
    from pydicom.uid import AllTransferSyntaxes

    from cxredit_cli.radiographs.dicom_decoders import decoding_of

    lacking: dict[str, list[str]] = {}
    for uid in AllTransferSyntaxes:
        try:
            decoder = get_decoder(uid)
        except NotImplementedError:  # video, waveforms and the like
            continue
        syntax = uid.name.replace(" Image Compression", "")
        plugins = decoder.available_plugins if uid.is_encapsulated else ()
        decoding = decoding_of(uid)
        reads = not uid.is_encapsulated or (decoding is not None and decoding.plugin in plugins)
        found.decoders.append(Decoder(syntax, str(uid), plugins, reads))
        if not reads and decoding is not None:
            lacking.setdefault(decoding.packages, []).append(syntax)
    for packages, syntaxes in lacking.items():
        refused = f"DICOM in {', '.join(syntaxes)} is refused"
        found.missing.append(Missing(packages, refused, f"pip install {packages}", needed=False))


def _model(found: Diagnosis, path: Path | None) -> None:
    from cxredit_cli.storage.models import GENERATOR, load_model

    def miss(what: str, consequence: str, remedy: str, needed: bool = False) -> None:
        found.missing.append(Missing(what, consequence, remedy, needed))

    try:
        model = load_model(path, parts=(GENERATOR,))
    except CxreditError as error:
        miss("a model that loads", str(error).rstrip("."), "cxredit train-gan", needed=True)
        return
    stated = model.info.get("fingerprint")
    if stated != model.fingerprint:
        sentence = f"{model.path / 'model.json'} says {stated}, but the weights are {model.fingerprint}"
        miss("the model's own weights", sentence, "restore generator.safetensors or model.json", needed=True)
    folder = model.path
    found.model = FoundModel(
        str(folder),
        str(model.info.get("name", folder.name)),
        model.fingerprint,
        model.generator.resolution,
        model.info.get("encoder_for") == model.fingerprint,
        tuple(sorted(direction.stem for direction in (folder / "directions").glob("*.h5"))),
    )
    if not found.model.encoder:
        miss(
            "an encoder in the model",
            "images are inverted by optimisation alone, which is slower",
            "cxredit train-encoder",
        )
    if not found.model.directions:
        miss("a direction in the model", "apply needs one", "cxredit direction ORIGINAL EDITED")


def _anatomy(found: Diagnosis) -> None:
    from cxredit_cli.storage.anatomy_network import load_anatomy

    try:
        load_anatomy()
        found.anatomy = True
    except CxreditError as error:
        consequence = f"measure and direction --from-measure stop ({str(error).rstrip('.')})"
        remedy = "restore it, or train one: examples/train_anatomy.py"
        found.missing.append(Missing("the anatomy network", consequence, remedy, needed=False))
