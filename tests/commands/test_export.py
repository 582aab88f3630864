"""`cxredit export`: what the files answer, in other programs' hands, beside the networks that they were made of."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from cxredit_cli.app import app
from cxredit_cli.exporting import export_model
from cxredit_cli.exporting.programs import programs_of
from cxredit_cli.inversion.encode import all_passes
from cxredit_cli.networks.encoder import Encoder, EncoderConfig
from cxredit_cli.networks.generator import random_z
from cxredit_cli.storage.directions import Direction, write_direction
from cxredit_cli.storage.models import BUNDLED, Model, load_model, save_encoder, save_generator

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "export.md"
NAMES = ("synthesis", "mapping", "encoder")
Opened = Callable[..., torch.Tensor]


def export(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def onnx(path: Path) -> Opened:
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    return lambda **inputs: torch.from_numpy(session.run(None, {name: x.numpy() for name, x in inputs.items()})[0])


def program(path: Path) -> Opened:
    network = torch.export.load(path).module()
    return lambda **inputs: network(*inputs.values())


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The tiny model with noise that counts, data of NIH, and an encoder that moves its codes."""
    folder = tmp_path_factory.mktemp("export") / "model"
    shutil.copytree(tiny_model_dir, folder)
    generator = load_model(folder).generator
    for layer in generator.synthesis.noise_layers():
        layer.noise_strength.fill_(0.2)
    save_generator(folder, generator, {"data": {"source": "NIH ChestX-ray14, provided by the NIH Clinical Center"}})
    save_encoder(folder, encoder_of(passes=1), {})
    return load_model(folder)


def encoder_of(passes: int, num_outputs: int = 1) -> Encoder:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(32, 32, num_outputs, depth=18, width=8, passes=passes))
    torch.nn.init.normal_(encoder.to_delta.weight, std=0.05)
    return encoder.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def exported(model: Model) -> tuple[Path, Result]:
    folder = model.path.parent / "exported"
    return folder, export("--model", model.path, "-o", folder, "--json")


@pytest.mark.parametrize(("opened", "ending"), [(onnx, "onnx"), (program, "pt2")])
@torch.no_grad()
def test_files_answer_as_the_networks(model: Model, exported: tuple[Path, Result], opened: Any, ending: str) -> None:
    folder, result = exported
    assert result.exit_code == 0, result.output
    generator = model.generator
    assert model.encoder is not None
    mapping, synthesis, encoder = (opened(folder / f"{name}.{ending}") for name in ("mapping", "synthesis", "encoder"))
    for n in (1, 5):
        z = random_z(n, 32, seed=n)
        for psi in (0.0, 0.6, 1.0):
            near(mapping(z=z, truncation_psi=torch.tensor(psi)), generator.mapping(z, psi)[:, None])
        w = generator.mapping(z)[:, None]
        mixed = generator.mapping(random_z(n * generator.num_ws, 32, seed=9)).unflatten(0, (n, -1))
        for codes in (w, mixed):
            near(synthesis(w=codes), generator.synthesis(codes))
        images = generator.synthesis(mixed).clamp(-1, 1)
        near(encoder(image=images), model.encoder(images))


def near(got: torch.Tensor, expected: torch.Tensor) -> None:
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_the_export_says_what_it_is(model: Model, exported: tuple[Path, Result]) -> None:
    import onnxruntime

    folder, result = exported
    said = json.loads(result.stdout)
    document = json.loads((folder / "export.json").read_text())
    assert document["intended_use"] == "For research and education, not for diagnosis."
    assert document["fingerprint"] == model.fingerprint
    assert "NIH Clinical Center" in document["data"]
    assert {"torch", "onnx", "onnxscript", "onnxruntime"} <= document["packages"].keys()
    assert tuple(document["networks"]) == NAMES
    written = {name for network in document["networks"].values() for name in network["files"]}
    assert written == {f"{name}.{ending}" for name in NAMES for ending in ("onnx", "pt2")}
    assert written == {Path(file["file"]).name for file in said["files"]}
    assert written | {"export.json"} == {path.name for path in folder.iterdir()}
    assert all(file["largest_difference"] <= 1e-4 for file in said["files"])
    synthesis = document["networks"]["synthesis"]
    assert synthesis["inputs"][0]["shape"] == ["batch", "layers", 32]
    assert synthesis["output"]["shape"] == ["batch", 1, 32, 32]
    session = onnxruntime.InferenceSession(folder / "synthesis.onnx")
    assert [port.shape for port in session.get_inputs()] == [["batch", "layers", 32]]
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["fingerprint"] == model.fingerprint
    assert metadata["intended_use"] == document["intended_use"]


def test_the_examples_of_the_page_run(
    model: Model, exported: tuple[Path, Result], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(exported[0], "exported")
    shutil.copy(data / "nih" / "00001336_000.png", "scan.png")
    vector = np.full((1, 32), 32**-0.5, dtype=np.float32)
    write_direction(Path("direction.h5"), Direction(vector, "test", "by hand", model.fingerprint))
    with_onnx, with_torch = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    exec(with_onnx, found)
    assert np.asarray(Image.open("edited.png")).shape == (32, 96)
    codes = torch.from_numpy(found["w"]) + torch.tensor([-4.0, 0.0, 4.0])[:, None, None] * torch.from_numpy(vector)
    with torch.no_grad():
        near(torch.from_numpy(found["edited"]), model.generator.synthesis(codes))
    exec(with_torch, found)
    assert found["images"].shape == (2, 1, 32, 32)


def test_programs_can_be_differentiated(model: Model, exported: tuple[Path, Result]) -> None:
    codes = model.generator.mapping(random_z(2, 32, seed=1))[:, None]
    gradients = []
    for synthesis in (torch.export.load(exported[0] / "synthesis.pt2").module(), model.generator.synthesis):
        w = codes.clone().requires_grad_()
        synthesis(w).square().sum().backward()
        assert w.grad is not None
        gradients.append(w.grad)
    near(*gradients)


def test_an_export_is_not_written_over(exported: tuple[Path, Result], tiny_model_dir: Path) -> None:
    result = export("--model", tiny_model_dir, "-o", exported[0])
    assert result.exit_code == 2
    assert "holds an export already" in result.stderr


def test_without_the_packages_it_says_what_to_install(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_model, "find_spec", lambda name: None if name.startswith("onnx") else name)
    result = export("--model", tiny_model_dir, "-o", tmp_path / "exported")
    assert result.exit_code == 2
    assert "onnx and onnxscript: pip install 'cxredit[onnx]'" in result.stderr
    assert not (tmp_path / "exported").exists()
    result = export("--model", tiny_model_dir, "-o", tmp_path / "exported", "--format", "torch")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "exported").iterdir()) == [
        *("export.json", "mapping.pt2", "synthesis.pt2")  # this model has no encoder
    ]
    assert "synthesis.pt2: " in result.stdout
    assert "differs from the network by at most" in result.stdout


def test_a_program_that_answers_otherwise_is_not_kept(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_model, "programs_of", lambda model: programs_of(model)[1:])  # the mapping alone
    monkeypatch.setattr(export_model, "_runner", lambda *_: lambda inputs: torch.zeros(()))
    result = export("--model", tiny_model_dir, "-o", tmp_path / "exported", "--format", "torch")
    assert result.exit_code == 1
    assert "mapping.pt2 was not written: its answers differ" in result.stderr
    assert not list(tmp_path.rglob("*.pt2"))
    assert not (tmp_path / "exported" / "export.json").exists()


def test_another_format_is_refused(tmp_path: Path) -> None:
    result = export("-o", tmp_path / "exported", "--format", "onnx,tflite")
    assert result.exit_code == 2
    assert "--format must be onnx or torch, but it is 'tflite'" in result.stderr


@torch.no_grad()
def test_all_passes_of_an_encoder_are_in_its_program(model: Model) -> None:
    *_, exported = programs_of(replace(model, encoder=encoder_of(passes=2, num_outputs=model.generator.num_ws)))
    encoder = encoder_of(passes=2, num_outputs=model.generator.num_ws)
    images = torch.rand(2, 1, 32, 32) * 2 - 1
    codes = exported.record().module()(images)
    near(codes, all_passes(encoder, model.generator, images))
    assert (codes - encoder(images)).abs().max() > 1e-3  # which is the first pass


@pytest.mark.slow
def test_all_passes_of_an_encoder_are_in_onnx(model: Model) -> None:
    *_, exported = programs_of(replace(model, encoder=encoder_of(passes=3)))
    run = export_model._runner("onnx", export_model._onnx(exported.record(), exported, {}), exported)
    assert run is not None
    assert export_model.largest_difference(exported, run) <= 1e-4


@pytest.mark.slow
@torch.no_grad()
def test_the_bundled_model(tmp_path: Path) -> None:
    result = export("--model", BUNDLED, "-o", tmp_path / "exported", "--json")
    assert result.exit_code == 0, result.output
    model = load_model(BUNDLED)
    w = model.generator.mapping(random_z(4, 512, seed=5))[:, None]
    synthesis = onnx(tmp_path / "exported" / "synthesis.onnx")
    for n in (1, 4):
        near(synthesis(w=w[:n]), model.generator.synthesis(w[:n]))
    assert "NIH Clinical Center" in json.loads((tmp_path / "exported" / "export.json").read_text())["data"]
