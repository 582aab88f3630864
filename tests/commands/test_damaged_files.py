"""Every command on damaged files: it succeeds, or ends with one sentence of the package and its exit code."""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from cxredit_cli.app import app
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.networks.encoder import Encoder, EncoderConfig
from cxredit_cli.storage.codes import CodesHeader
from cxredit_cli.storage.directions import Direction, write_direction
from cxredit_cli.storage.models import load_model, save_encoder
from cxredit_cli.storage.write_codes import CodesWriter

SIDE = 32
SCANS = 20
CODES = 12  # the first of them
SHORT = "--batch 4 --channel-max 16 --kimg 0.004"
SAMPLE = 24  # damages of each kind that are tried where not all are

# What reads each kind of file, as it is typed in a folder with model/, dataset.h5, codes.h5 and direction.h5.
READERS = {
    "codes.h5": [
        "apply codes.h5 --strength 1 --batch 64",
        "apply codes.h5 --strength 1 --batch 64 --json",
        "lda codes.h5 --labels labels.csv --permutations 5 -o new.h5",
        "direction --codes codes.h5 --labels labels.csv --control psnr --control ssim -o new.h5",
        "direction --codes codes.h5 --pairs pairs.csv -o new.h5",
        "direction --codes codes.h5 --pairs pairs.csv -o new.h5 --json",
        "direction calibrate --codes codes.h5 --sweep -1:1:3 -n 2",
        "measure codes.h5",
        "invert scans/15.png --method encoder --space w+ --fit-noise",
        "invert --merge codes.h5 -o merged.h5",
        "evaluate --separability --codes codes.h5 --labels labels.csv --permutations 5",
        "evaluate --dose --codes codes.h5 --label any --view any --split all --randoms 1 --sweep -1:1:3 -n 4",
    ],
    "direction.h5": [
        "apply scans/0.png --strength 1 --method encoder -d direction.h5",
        "apply codes.h5 --strength 1 --batch 64",
        "apply codes.h5 --target-ctr 0.5 --batch 64 --max-strength 1",
        "demo scans/0.png --method encoder --sweep -1:1:3",
        "direction compare direction.h5 direction.h5",
        "direction --codes codes.h5 --pairs pairs.csv --orthogonal-to direction.h5 -o new.h5",
        "direction calibrate direction.h5 --sweep -1:1:3 -n 2",
        "models model",
        "evaluate --dose --codes codes.h5 --label any --view any --split all --randoms 1 --sweep -1:1:3 -n 4",
        "evaluate --native --films scans/0.png --method encoder --sweep -1:1:3",
    ],
    "dataset.h5": [
        "invert dataset.h5 --method encoder --limit 2 -o new.h5",
        "invert dataset.h5 --method encoder --split val --view PA --label Cardiomegaly --limit 2 -o new.h5",
        "measure dataset.h5 -o measures.csv",
        "lda codes.h5 --labels dataset.h5 --permutations 5 -o new.h5",
        "direction --codes codes.h5 --labels dataset.h5 --control view -o new.h5",
        "evaluate --realism --split all -n 16",
        "evaluate --reconstruction --view any --split all --by encoder -n 2",
        "evaluate --dose --codes codes.h5 --label any --view any --split all --randoms 1 --sweep -1:1:3 -n 4",
        f"train-gan dataset.h5 -o new --dim 16 --channel-base 128 {SHORT} --grow-from 32",
        "train-encoder --depth 18 --width 8 --batch 4 --kimg 0.004",
        "prepare scans --labels labels.csv --resolution 32 --val-fraction 0.5 --workers 1",
    ],
    "model": [
        "generate -n 1 -o new",
        "models model",
        "doctor",
        "apply codes.h5 --strength 1 --batch 64",
        "apply scans/0.png --method encoder --strength 1",
        "demo scans/0.png --method encoder --sweep -1:1:3",
        "invert scans/0.png --steps 1 -o new.h5",
        "invert scans/0.png --steps 1 --perceptual-weight 1 -o new.h5",
        "direction scans/0.png scans/9.png --method optimize --steps 2 -o new.h5",
        "direction calibrate direction.h5 --sweep -1:1:3 -n 2",
        "measure codes.h5",
        "evaluate --code-error --by encoder -n 2",
        f"train-gan dataset.h5 -o new --dim 32 --channel-base 256 {SHORT} --init-from model",
        "train-encoder --depth 18 --width 8 --space w+ --batch 4 --kimg 0.004 --init-from model",
    ],
}
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def whole(data: Path, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one whole file of each kind, of small real radiographs and a random model."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(tiny_model_dir, folder / "model")
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(SIDE, 32, num_outputs=8, depth=18, width=8))
    save_encoder(folder / "model", encoder, {})
    (folder / "scans").mkdir()
    lines, number = ["Image Index,Finding Labels,Patient ID,View Position"], 0
    for path in sorted((data / "nih").glob("*.png")):
        with Image.open(path) as image:
            for left in (0, 4, 8):
                if number < SCANS:
                    image.convert("L").crop((left, left, left + 96, left + 96)).save(folder / f"scans/{number}.png")
                    found = "Cardiomegaly" if number % 2 else "No Finding"
                    lines.append(f"{number}.png,{found},{number},{'PA' if number % 3 else 'AP'}")
                number += 1
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "pairs.csv").write_text("original,edited\n0.png,1.png\n2.png,3.png\n4.png,5.png\n")
    model = load_model(folder / "model")
    generator = model.generator
    shapes = tuple(generator.synthesis.noise_shapes())
    header = CodesHeader(
        model.fingerprint, "encoder", "w+", 8, 32, SIDE, 0, 0, '{"fit": "crop"}', model.name, shapes, "{}"
    )
    rng = np.random.default_rng(0)
    w = random_codes(generator, 0, range(CODES)).expand(-1, 8, -1).numpy()
    w = w + np.float32(0.01) * rng.standard_normal(w.shape, dtype=np.float32)
    noise = [rng.standard_normal((CODES, *shape), dtype=np.float32) for shape in shapes]
    original = rng.integers(0, 256, (CODES, SIDE, SIDE), dtype=np.uint8)
    psnr, ssim = rng.uniform(20, 30, CODES).astype("f4"), rng.uniform(0, 1, CODES).astype("f4")
    with CodesWriter(folder / "codes.h5", header) as writer:
        writer.append([f"{number}.png" for number in range(CODES)], w, psnr, ssim, original, noise)
    vector = rng.standard_normal((1, 32), dtype=np.float32)
    calibration = {
        "generated": {"slope": 0.01, "what": "2 generated images", "used": 2},
        "real": {"slope": 0.012, "what": "2 codes", "used": 2},
        "carried": {"kind": "border", "share_at_heart_border": 0.5, "images": 2},
    }
    direction = Direction(
        vector / np.linalg.norm(vector),
        *("Cardiomegaly", "lda", model.fingerprint, ["0.png"], {"auc": 0.9, "ctr_per_unit": 0.01}),
        model.name,
        calibration,
    )
    write_direction(folder / "direction.h5", direction)
    options = ["--labels", str(folder / "labels.csv"), "--resolution", "32", "--val-fraction", "0.5", "--workers", "1"]
    result = CliRunner().invoke(app, ["prepare", str(folder / "scans"), *options, "-o", str(folder / "dataset.h5")])
    assert result.exit_code == 0, result.output
    return folder


def replace(file: h5py.File, name: str, values: Any) -> None:
    attributes = dict(file[name].attrs)
    del file[name]
    text = isinstance(values, np.ndarray) and values.dtype.kind == "O"
    file.create_dataset(name, data=values, dtype=h5py.string_dtype() if text else None)
    file[name].attrs.update(attributes)


def other_values(value: Any) -> Iterator[tuple[str, Any]]:
    """Values that do not belong where `value` stands: of JSON, of an attribute, of an array."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
        yield "retyped", np.array(["x"] * value.size, dtype=h5py.string_dtype()).reshape(value.shape)
        if value.dtype.kind == "f":
            yield "nan", np.full_like(value, np.nan)
            yield "infinite", np.full_like(value, np.inf)
            first = value.copy()
            first[:1] = np.nan
            yield "nan first", first
        else:
            yield "of floats", value.astype("f4") * np.nan
            yield "negative", -value.astype("i8") - 1
    elif isinstance(value, np.ndarray):
        yield "retyped", np.arange(value.size, dtype="f8").reshape(value.shape)
    elif isinstance(value, str):
        yield from (("retyped", 7), ("empty", ""), ("strange", "\u2603"), ("nan", np.nan))
    else:
        yield from (("retyped", "x"), ("nan", np.nan), ("negative", -1), ("zero", 0), ("huge", 10**12))
    if isinstance(value, np.ndarray):
        yield from (("shortened", value[:-1]), ("emptied", value[:0]), ("flat", value.ravel()))
        yield from (("deeper", value[..., None]), ("one value", value.ravel()[0]))


def damages_of_hdf5(path: Path) -> Iterator[tuple[str, Damage]]:
    def delete(name: str, path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[name]

    def put(name: str, values: Any, path: Path) -> None:
        with h5py.File(path, "r+") as file:
            replace(file, name, values)

    def delete_attribute(owner: str, name: str, path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[owner].attrs[name]

    def put_attribute(owner: str, name: str, value: Any, path: Path) -> None:
        with h5py.File(path, "r+") as file:
            file[owner].attrs[name] = value

    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visit(names.append)
        for owner in ("/", *names):
            for name, value in file[owner].attrs.items():
                yield f"{owner}@{name} deleted", partial(delete_attribute, owner, name)
                for how, other in other_values(value if isinstance(value, np.ndarray | str) else value.item()):
                    yield f"{owner}@{name} {how}", partial(put_attribute, owner, name, other)
        for name in names:
            yield f"{name} deleted", partial(delete, name)
            if isinstance(file[name], h5py.Group):
                yield f"{name} retyped", partial(put, name, 1.0)
                continue
            text = h5py.check_string_dtype(file[name].dtype) is not None
            value = file[name].asstr()[()] if text else file[name][()]
            if np.ndim(value):
                for how, other in other_values(np.asarray(value)):
                    yield f"{name} {how}", partial(put, name, other)
                continue
            yield f"{name} an array", partial(put, name, [1.0, 2.0])
            for how, other in other_values(value if text else value.item()):
                yield f"{name} {how}", partial(put, name, other)
            if text and value[:1] in "{[":
                for how, document in damages_of_json(json.loads(value)):
                    yield f"{name}, {how}", partial(put, name, json.dumps(document))


def damages_of_json(document: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Documents in which one value is missing or another one."""
    others = ([], {}, None, "x", 7, True)
    yield from ((f"{where} = {other!r}", other) for other in others if type(other) is not type(document))
    if isinstance(document, int | float) and not isinstance(document, bool):
        yield from ((f"{where} = {other!r}", other) for other in (float("nan"), -1, 0, 10**9, 0.5))
    if isinstance(document, dict):
        for key, value in document.items():
            yield f"{where}/{key} deleted", {name: kept for name, kept in document.items() if name != key}
            for how, other in damages_of_json(value, f"{where}/{key}"):
                yield how, document | {key: other}


def damages_of_model(folder: Path) -> Iterator[tuple[str, Damage]]:
    def put(document: Any, folder: Path) -> None:
        (folder / "model.json").write_text(json.dumps(document))

    def delete(name: str, folder: Path) -> None:
        (folder / name).unlink()

    def cut(name: str, folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:-10])

    def change(name: str, key: str, how: str, folder: Path) -> None:
        weights = load_file(folder / name)
        tensor = weights.pop(key)
        if how == "retyped":
            weights[key] = tensor.to(torch.int32)
        elif how == "nan":
            weights[key] = torch.full_like(tensor, torch.nan)
        elif how == "shortened":
            weights[key] = tensor.flatten()[:-1].clone()
        save_file(weights, folder / name)

    for how, document in damages_of_json(json.loads((folder / "model.json").read_text())):
        yield f"model.json{how}", partial(put, document)
    for name in sorted(path.name for path in folder.iterdir() if path.is_file()):
        yield f"{name} deleted", partial(delete, name)
        yield f"{name} cut off", partial(cut, name)
    for name in ("generator", "encoder", "discriminator"):
        keys = sorted(load_file(folder / f"{name}.safetensors"))
        for key in (keys[0], keys[len(keys) // 2], keys[-1]):
            for how in ("deleted", "retyped", "nan", "shortened"):
                yield f"{name}: {key} {how}", partial(change, f"{name}.safetensors", key, how)


def damages_of(path: Path) -> list[tuple[str, Damage]]:
    return list(damages_of_model(path) if path.is_dir() else damages_of_hdf5(path))


def complaint(arguments: str) -> str | None:
    """What is wrong with how a command ended, if anything is."""
    result = CliRunner().invoke(app, arguments.split())
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"{type(result.exception).__name__}: {result.exception}"
    if "Traceback" in result.output:
        return result.output
    if result.exit_code not in (0, 1, 2):
        return f"exit code {result.exit_code}"
    if result.exit_code and not result.output.strip():  # `doctor` says it in its table
        return "no sentence"
    return None


@pytest.fixture
def damage(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Damage], None]:
    """Go to a fresh copy of the whole folder, in which one file is damaged."""

    def into(kind: str, how: Damage) -> None:
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        monkeypatch.chdir(folder)
        damage_in(folder, kind, how)

    return into


def damage_in(folder: Path, kind: str, how: Damage) -> None:
    how(folder / kind)
    if kind == "direction.h5":
        (folder / "model/directions").mkdir()
        shutil.copy(folder / kind, folder / "model/directions/cardiomegaly.h5")


def troubles(kind: str, whole: Path, damage: Callable[[str, Damage], None], every: bool) -> list[str]:
    """Which damages of a kind of file end a command in a way of its own: each with each, or a sample of both."""
    found = []
    for number, (name, how) in enumerate(chosen(damages_of(whole / kind), every)):
        commands = READERS[kind] if every else [READERS[kind][number % len(READERS[kind])]]
        for command in commands:
            damage(kind, how)
            trouble = complaint(command)
            if trouble is not None:
                found.append(f"{name}: {command}: {trouble}")
    return found


def chosen(damages: list[tuple[str, Damage]], every: bool) -> list[tuple[str, Damage]]:
    """All, or a sample that is the same in each run."""
    if every or len(damages) <= SAMPLE:
        return damages
    return [damages[index] for index in np.random.default_rng(0).choice(len(damages), SAMPLE, replace=False)]


@pytest.mark.parametrize("kind", READERS)
def test_commands_end_in_a_sentence_on_damaged_files(kind, whole, damage):
    assert troubles(kind, whole, damage, every=False) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
def test_every_command_ends_in_a_sentence_on_every_damage(kind, whole, damage):
    assert troubles(kind, whole, damage, every=True) == []


@pytest.mark.parametrize("name", ["psnr", "ssim"])
@pytest.mark.parametrize("command", READERS["codes.h5"])
def test_every_figure_may_be_missing_by_itself(name, command, whole, damage):
    def forget(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            file[name][...] = np.nan

    damage("codes.h5", forget)
    assert complaint(command) is None
