"""Networks of other tools, in files as those tools write them, of networks that are known."""

import io
import json
import os
import pickle
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from cxredit_cli.app import app
from cxredit_cli.errors import InputError
from cxredit_cli.networks.discriminator import Discriminator, DiscriminatorConfig
from cxredit_cli.networks.generator import Generator, GeneratorConfig
from cxredit_cli.ops.upfirdn2d import setup_filter
from cxredit_cli.storage.import_networks import import_networks
from cxredit_cli.storage.models import load_model, save_generator

SIDE = 32
CHANNELS = {"channel_base": 512, "channel_max": 32}


LISTED = {"channels": (24, 20, 16, 12)}  # at 4x4 to 32x32, which is no base / resolution below a maximum


@pytest.fixture(scope="module")
def generator() -> Generator:
    return random_generator(**CHANNELS)


def random_generator(**widths: Any) -> Generator:
    torch.manual_seed(0)
    made = Generator(GeneratorConfig(SIDE, 24, 24, mapping_layers=8, conv_clamp=256.0, **widths)).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith(("bias", "noise_strength")):
                parameter.add_(torch.randn(parameter.shape) * 0.2)
        made.mapping.w_avg.copy_(torch.randn(24) * 0.3)
    return made.requires_grad_(False)


@pytest.fixture(scope="module")
def discriminator() -> Discriminator:
    torch.manual_seed(1)
    return Discriminator(DiscriminatorConfig(SIDE, mbstd_group_size=2, **CHANNELS)).eval().requires_grad_(False)


# --- as NVlabs' tools write them -------------------------------------------------------------------------------------


@pytest.fixture
def persistence(monkeypatch: pytest.MonkeyPatch) -> None:
    """What NVlabs' pickles call, so that such pickles can be written; it may never be called."""

    def _reconstruct_persistent_obj(meta: Any) -> Any:
        raise AssertionError("code of the file was run")

    module = types.ModuleType("torch_utils.persistence")
    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    module._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_utils", types.ModuleType("torch_utils"))
    monkeypatch.setitem(sys.modules, "torch_utils.persistence", module)


class Persistent:
    """A module as those tools pickle it: a call with its state and the source of its class."""

    def __init__(self, class_name: str, **attributes: Any) -> None:
        self.class_name = class_name
        self.state = {"_parameters": {}, "_buffers": {}, "_modules": {}, **attributes}

    def put(self, path: str, tensor: torch.Tensor) -> None:
        """Store a tensor at a dotted path, with the modules on the way."""
        head, _, rest = path.partition(".")
        if not rest:
            self.state["_parameters"][head] = torch.nn.Parameter(tensor.clone())
            return
        self.state["_modules"].setdefault(head, Persistent(head)).put(rest, tensor)

    def __reduce__(self) -> Any:
        source = "raise SystemExit('the source of the file was run')"
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": self.class_name, "state": self.state}
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)


def nvlabs_generator(generator: Generator, channels: int = 1, **attributes: Any) -> Persistent:
    made = Persistent("Generator", **{"c_dim": 0, **attributes})
    for name, tensor in generator.state_dict().items():
        name = re.sub(r"^mapping\.layers\.(\d+)", r"mapping.fc\1", name.replace("synthesis.blocks.", "synthesis."))
        if channels == 3 and re.search(r"torgb\.(weight|bias)$", name):
            spread = torch.randn(tensor.shape)
            tensor = torch.cat([tensor + spread, tensor - spread, tensor])
        made.put(name, tensor)
    made.put("synthesis.b8.resample_filter", setup_filter())
    made.state["_modules"]["synthesis"].state["_modules"]["b4"].state["_modules"]["conv1"].state["conv_clamp"] = 256
    return made


def nvlabs_discriminator(discriminator: Discriminator, channels: int = 1) -> Persistent:
    made = Persistent("Discriminator")
    for name, tensor in discriminator.state_dict().items():
        if name.startswith("from_rgb"):
            if channels == 3 and name.endswith("weight"):
                spread = torch.randn(tensor.shape)
                tensor = torch.cat([tensor + spread, tensor - spread, tensor], dim=1) / 3**0.5
            name = name.replace("from_rgb", f"b{SIDE}.fromrgb")
        made.put(
            name.removeprefix("blocks.") if name.startswith("blocks.") or "fromrgb" in name else f"b4.{name}", tensor
        )
    made.state["_modules"]["b4"].state["_modules"]["mbstd"] = Persistent("MinibatchStdLayer", group_size=2)
    return made


def same(found: Generator, wanted: Generator) -> None:
    z = torch.randn(3, 24, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for psi in (1.0, 0.7):
            expected = wanted(z, psi)
            torch.testing.assert_close(found.eval()(z, psi), expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_pickle_of_nvlabs(persistence, generator, discriminator, tmp_path, channels):
    path = tmp_path / "network.pkl"
    networks = {
        "G": None,
        "G_ema": nvlabs_generator(generator, channels),
        "D": nvlabs_discriminator(discriminator, channels),
    }
    path.write_bytes(pickle.dumps(networks))
    found = import_networks(path)
    assert found.generator.config == generator.config
    same(found.generator, generator)
    assert found.discriminator is not None
    assert found.discriminator.config.mbstd_group_size == 2
    image = torch.randn(4, 1, SIDE, SIDE)
    with torch.no_grad():
        torch.testing.assert_close(found.discriminator.eval()(image), discriminator(image), atol=1e-4, rtol=1e-4)
    assert found.said["image_channels"] == channels
    assert ("made_grey" in found.said) == (channels == 3)


def test_the_command_makes_a_model(persistence, generator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("network.pkl").write_bytes(pickle.dumps({"G_ema": nvlabs_generator(generator, 3)}))
    result = CliRunner().invoke(app, ["import", "network.pkl", "-o", "mine"])
    assert result.exit_code == 0, result.output
    assert "32x32, made grey of 3 channels, without a discriminator" in result.stdout
    model = load_model(Path("mine"))
    same(model.generator, generator)
    assert model.info["imported_as"] == "NVlabs' StyleGAN2"
    again = CliRunner().invoke(app, ["import", "network.pkl", "-o", "mine"])
    assert again.exit_code == 2
    assert "holds a model already" in again.stderr


def test_code_in_a_pickle_is_refused_by_name_and_not_run(tmp_path):
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'touched'}",)

    path = tmp_path / "network.pkl"
    for content in (pickle.dumps({"G_ema": Evil()}), pickle.dumps(Evil(), protocol=0)):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a call of (posix|nt)\.system, which is not read"):
            import_networks(path)
    assert not (tmp_path / "touched").exists()


def test_code_in_a_tensor_of_a_pickle_is_not_run(tmp_path, persistence, generator):
    """Storages lie within as files of torch, which are pickles too."""

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'touched'}",)

    class Loads:
        def __reduce__(self) -> Any:
            inner = io.BytesIO()
            torch.save(Evil(), inner)
            return torch.storage._load_from_bytes, (inner.getvalue(),)

    path = tmp_path / "network.pkl"
    path.write_bytes(pickle.dumps({"G_ema": Loads()}))
    with pytest.raises(InputError, match="no whole pickle"):
        import_networks(path)
    assert not (tmp_path / "touched").exists()


def changed(generator: Generator, how: str) -> Any:
    made = nvlabs_generator(generator, c_dim=2 if how == "classes" else 0)
    within = made.state["_modules"]["synthesis"].state["_modules"]
    if how == "stylegan3":
        within["input"] = Persistent("SynthesisInput")
    if how == "other filter":
        within["b8"].put("resample_filter", torch.eye(4))
    if how == "other widths":
        within["b8"].state["_modules"]["conv1"].state["_parameters"]["weight"] = torch.randn(7, 32, 3, 3)
    if how == "a block is missing":
        del within["b8"]
    return made


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("classes", "with classes"),
        ("stylegan3", "StyleGAN3"),
        ("other filter", "another filter"),
        ("other widths", "holds other layers than StyleGAN2's"),
        ("a block is missing", "no StyleGAN2 generator"),
    ],
)
def test_other_networks_are_refused(persistence, generator, tmp_path, how, said):
    path = tmp_path / "network.pkl"
    path.write_bytes(pickle.dumps({"G_ema": changed(generator, how)}))
    with pytest.raises(InputError, match=said):
        import_networks(path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04junk", pickle.dumps([1]), pickle.dumps({"D": None})])
def test_what_is_no_snapshot_is_refused(tmp_path, content):
    path = tmp_path / "network.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"no whole pickle|no dictionary of networks|no generator"):
        import_networks(path)


def test_a_truncated_pickle_is_refused(persistence, generator, tmp_path):
    path = tmp_path / "network.pkl"
    path.write_bytes(pickle.dumps({"G_ema": nvlabs_generator(generator)})[:-5000])
    with pytest.raises(InputError, match="no whole pickle"):
        import_networks(path)


# --- as rosinality's tool writes them --------------------------------------------------------------------------------


def rosinality_names(generator: Generator) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {"convs.0.conv.blur.kernel": setup_filter() * 4}
    for name, tensor in generator.state_dict().items():
        if name == "mapping.w_avg":
            continue
        layer = re.match(r"mapping\.layers\.(\d+)\.(.*)", name)
        if layer:
            state[f"style.{int(layer[1]) + 1}.{layer[2]}"] = tensor
            continue
        block = re.match(r"synthesis\.blocks\.b(\d+)\.(\w+)\.?(.*)", name)
        assert block is not None
        level, part, rest = int(block[1]).bit_length() - 3, block[2], block[3]
        if part == "const":
            state["input.input"] = tensor[None]
            continue
        if part == "torgb":
            prefix = "to_rgb1" if level == 0 else f"to_rgbs.{level - 1}"
            tensor = tensor.view(1, -1, 1, 1) if rest == "bias" else tensor
        else:
            number = 2 * level - (part == "conv0")
            if rest == "noise_const":
                state[f"noises.noise_{number}"] = tensor[None, None]
                continue
            prefix = "conv1" if number == 0 else f"convs.{number - 1}"
            rest = {"bias": "activate.bias", "noise_strength": "noise.weight"}.get(rest, rest)
            tensor = tensor.view(1) if rest == "noise.weight" else tensor
        if rest == "weight":
            rest, tensor = "conv.weight", tensor[None]
        state[f"{prefix}.{rest.replace('affine', 'conv.modulation')}"] = tensor
    return state


def rosinality_discriminator(discriminator: Discriminator) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, tensor in discriminator.state_dict().items():
        kind = name.rsplit(".", 1)[1]
        place = {"weight": "0.weight", "bias": "1.bias"}[kind]
        block = re.match(r"blocks\.b(\d+)\.(\w+)\.", name)
        if block:
            number = SIDE.bit_length() - int(block[1]).bit_length() + 1
            part = {"conv0": f"conv1.{place}", "skip": "skip.1.weight"}.get(block[2])
            renamed[f"convs.{number}.{part or 'conv2.' + {'weight': '1.weight', 'bias': '2.bias'}[kind]}"] = tensor
        else:
            places = {"from_rgb": f"convs.0.{place}", "conv": f"final_conv.{place}"}
            places |= {"fc": f"final_linear.0.{kind}", "out": f"final_linear.1.{kind}"}
            renamed[places[name.split(".")[0]]] = tensor
    return renamed


def test_a_checkpoint_of_rosinality(generator, discriminator, tmp_path):
    path = tmp_path / "550000.pt"
    document = {"g_ema": rosinality_names(generator), "d": rosinality_discriminator(discriminator)}
    torch.save({**document, "latent_avg": generator.mapping.w_avg}, path)
    found = import_networks(path)
    same(found.generator, generator)
    image = torch.randn(4, 1, SIDE, SIDE)
    assert found.discriminator is not None
    wanted = Discriminator(DiscriminatorConfig(SIDE, mbstd_group_size=4, **CHANNELS)).eval()
    wanted.load_state_dict(discriminator.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(found.discriminator.eval()(image), wanted(image), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("content", [{"g_ema": {"x": torch.zeros(1)}}, {"state_dict": {}}, [1]])
def test_other_checkpoints_are_refused(tmp_path, content):
    path = tmp_path / "x.pt"
    torch.save(content, path)
    with pytest.raises(InputError, match="no generator"):
        import_networks(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="no checkpoint of plain tensors"):
        import_networks(path)


@pytest.fixture
def listed() -> tuple[Generator, Discriminator]:
    """Networks whose feature maps follow no law, the discriminator's others than the generator's."""
    torch.manual_seed(1)
    discriminator = Discriminator(DiscriminatorConfig(SIDE, mbstd_group_size=4, channels=(16, 20, 24, 12)))
    return random_generator(**LISTED), discriminator.eval().requires_grad_(False)


@pytest.mark.parametrize("tool", ["nvlabs", "rosinality"])
def test_any_feature_maps_are_taken(persistence, listed, tmp_path, tool):
    generator, discriminator = listed
    path = tmp_path / ("network.pkl" if tool == "nvlabs" else "network.pt")
    if tool == "nvlabs":
        networks = {"G_ema": nvlabs_generator(generator), "D": nvlabs_discriminator(discriminator)}
        path.write_bytes(pickle.dumps(networks))
    else:
        networks = {"g_ema": rosinality_names(generator), "d": rosinality_discriminator(discriminator)}
        torch.save({**networks, "latent_avg": generator.mapping.w_avg}, path)
    found = import_networks(path)
    assert found.generator.config.channels == (24, 20, 16, 12)
    same(found.generator, generator)
    assert found.discriminator is not None
    assert found.discriminator.config.channels == (16, 20, 24, 12)


def test_a_model_of_any_feature_maps_is_worked_with(persistence, listed, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    networks = {"G_ema": nvlabs_generator(listed[0]), "D": nvlabs_discriminator(listed[1])}
    Path("network.pkl").write_bytes(pickle.dumps(networks))
    film = str(data / "nih" / "00001336_000.png")
    for command in (
        "import network.pkl",
        f"prepare {data / 'nih'} --resolution 32 --val-fraction 0.4",
        "train-encoder --kimg 0.008 --batch 4 --depth 18 --width 8",
        "generate -n 2",
        f"invert {film} --steps 2",
        "export --format torch",
        "train-gan -o next --init-from model --kimg 0.004 --batch 4 --grow-from 0",
    ):
        result = CliRunner().invoke(app, command.split())
        assert result.exit_code == 0, result.output
    same(load_model(Path("model")).generator, listed[0])
    trained = load_model(Path("next"), parts=("discriminator",))
    assert trained.generator.config.channels == (24, 20, 16, 12)
    assert trained.discriminator is not None
    assert trained.discriminator.config.channels == (16, 20, 24, 12)
    wider = (
        "train-gan -o wide --init-from model --kimg 0.004 --batch 4 --grow-from 0 --channel-base 768 --channel-max 24"
    )
    result = CliRunner().invoke(app, wider.split())
    assert result.exit_code == 0, result.output
    assert load_model(Path("wide")).generator.config.channels is None


def test_a_list_of_feature_maps_that_is_too_short_is_refused(tmp_path):
    save_generator(tmp_path, random_generator(**LISTED), {})
    info = json.loads((tmp_path / "model.json").read_text())
    assert info["generator"]["channels"] == [24, 20, 16, 12]
    info["generator"]["channels"] = [24, 20, 16]
    (tmp_path / "model.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match=r"channels lists 3 numbers, which end below 32x32"):
        load_model(tmp_path)


def test_what_follows_a_law_is_written_as_before(generator, tmp_path):
    save_generator(tmp_path, generator, {})
    assert "channels" not in json.loads((tmp_path / "model.json").read_text())["generator"]


def test_an_imported_model_is_trained_on(persistence, generator, discriminator, data, tmp_path, monkeypatch):
    """With its own eight mapping layers and dimensions, without having to name them."""
    monkeypatch.chdir(tmp_path)
    networks = {"G_ema": nvlabs_generator(generator), "D": nvlabs_discriminator(discriminator)}
    Path("network.pkl").write_bytes(pickle.dumps(networks))
    runner = CliRunner()
    assert runner.invoke(app, ["import", "network.pkl", "-o", "mine"]).exit_code == 0
    assert runner.invoke(app, ["prepare", str(data / "nih"), "--resolution", "32"]).exit_code == 0
    short = ["--kimg", "0.004", "--batch", "4", "--channel-base", "512", "--channel-max", "32", "--grow-from", "0"]
    result = runner.invoke(app, ["train-gan", "dataset.h5", "-o", "next", "--init-from", "mine", *short])
    assert result.exit_code == 0, result.output
    assert load_model(Path("next")).generator.config.mapping_layers == 8
