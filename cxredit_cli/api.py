"""What a notebook needs: `import cxredit_cli as cx`, then `cx.load_model()`, `cx.invert(...)`, `cx.edit(...)`.

Thin functions over the rooms of the library, which the commands call too. Pictures are float32 arrays in 0..1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cxredit_cli.anatomy.measures import Anatomy, measure_images
from cxredit_cli.devices import resolve_device
from cxredit_cli.directions.label_fit import LabelMethod, labelled_direction
from cxredit_cli.editing.demonstration import BUNDLED_RADIOGRAPH
from cxredit_cli.editing.edit_film import CarriedEdit
from cxredit_cli.editing.edit_film import edit_film as carry_over
from cxredit_cli.editing.explain import Explanation, Request
from cxredit_cli.editing.explain import explain as explain_film
from cxredit_cli.errors import InputError
from cxredit_cli.intake.look import look as judge
from cxredit_cli.inversion import STEPS
from cxredit_cli.inversion.encode import Space
from cxredit_cli.inversion.invert import Method, choose_method, choose_space
from cxredit_cli.inversion.invert import invert as invert_images
from cxredit_cli.inversion.invert_many import InvertOptions
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.inversion.request import InversionRequest
from cxredit_cli.inversion.result import InversionResult
from cxredit_cli.latent.code_batch import CodeBatch, take_codes
from cxredit_cli.latent.edit_codes import edit as move
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.latent.responses import default_strengths
from cxredit_cli.latent.synthesize import synthesize
from cxredit_cli.latent.visible import Metric, space_of, visible_coordinates
from cxredit_cli.networks.any_classifier import ClassifierScore
from cxredit_cli.radiographs.film import Film, read_film
from cxredit_cli.radiographs.geometry import Fit, fit_square
from cxredit_cli.radiographs.radiograph import Radiograph
from cxredit_cli.radiographs.read import read_radiograph
from cxredit_cli.separability.lda import Separability, lda
from cxredit_cli.storage.anatomy_network import load_anatomy
from cxredit_cli.storage.any_classifier import load_score
from cxredit_cli.storage.codes import Codes, read_codes
from cxredit_cli.storage.directions import Direction, find_direction, read_direction, write_direction
from cxredit_cli.storage.intake_network import load_intake
from cxredit_cli.storage.models import Model
from cxredit_cli.storage.models import load_model as load_from_folder
from cxredit_cli.storage.write_codes import CodesWriter

__all__ = [
    "BUNDLED_RADIOGRAPH",
    "Anatomy",
    "ClassifierScore",
    "Codes",
    "Direction",
    "EditedFilm",
    "Explanation",
    "Inverted",
    "Model",
    "Radiograph",
    "Separability",
    "direction_from_labels",
    "edit",
    "edit_film",
    "explain",
    "generate",
    "invert",
    "lda",
    "load_classifier",
    "load_direction",
    "load_model",
    "look",
    "measure",
    "read_codes",
    "read_film",
    "read_radiograph",
    "visible_coordinates",
    "write_codes",
    "write_direction",
]


@dataclass(frozen=True, slots=True)
class Inverted:
    """Codes of N radiographs in one generator's latent space."""

    names: list[str]
    originals: NDArray[np.float32]  # [N, R, R] in 0..1, as the generator saw them
    result: InversionResult
    options: InvertOptions

    @property
    def w(self) -> NDArray[np.float32]:
        """The codes [N, 1 or num_ws, w_dim]."""
        return np.asarray(self.result.w.numpy(), dtype=np.float32)

    @property
    def psnr(self) -> NDArray[np.float32]:
        """How near each reconstruction comes, in dB [N]."""
        return np.asarray(self.result.psnr.numpy(), dtype=np.float32)

    @property
    def reconstructions(self) -> NDArray[np.float32]:
        """What the generator makes of the codes: [N, R, R] in 0..1."""
        return np.asarray(self.result.reconstructions[:, 0].numpy() / 2 + 0.5, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class EditedFilm:
    """Edits of one film at its own resolution."""

    film: Film
    fit: Fit
    edits: list[CarriedEdit]  # one a strength

    def pixels(self, index: int) -> NDArray[np.float32]:
        """The edited film [H, W] in 0..1. Raises InputError where the edit was refused, with the reason."""
        edit = self.edits[index]
        if edit.refused:
            raise InputError(f"The edit of {self.film.source.name} was refused: {edit.refused}.")
        return np.asarray(self.film.pixels + self.film.from_square(edit.change, self.fit), dtype=np.float32)


def load_model(path: str | Path | None = None, device: str = "auto") -> Model:
    """The model in a folder; None: ./model where there is one, else the bundled model.

    Raises InputError where the folder holds none.

    Examples:
        >>> import cxredit_cli as cx
        >>> model = cx.load_model()
        >>> model.generator.resolution
        128
    """
    return load_from_folder(None if path is None else Path(path), resolve_device(device))


def look(radiographs: Sequence[Radiograph | Path | str], fit: Fit = "crop") -> list[str]:
    """What looks wrong with radiographs, or files of them, in words: turned, negative, lateral, no chest at all.

    "" stands for one that looks like an upright frontal chest radiograph. Raises UnreadableImageError.

    Examples:
        >>> import cxredit_cli as cx
        >>> film = cx.read_radiograph(cx.BUNDLED_RADIOGRAPH)
        >>> upside_down = cx.Radiograph(film.pixels[::-1, ::-1], "turned.png", "")
        >>> cx.look([film, upside_down])
        ['', 'it looks upside down']
    """
    trained = load_intake()
    side = trained.network.config.resolution
    read = [item if isinstance(item, Radiograph) else read_radiograph(Path(item)) for item in radiographs]
    squares = [fit_square(radiograph.pixels, side, fit) for radiograph in read]
    return [verdict.words for verdict in judge(trained, torch.from_numpy(np.stack(squares))[:, None])] if read else []


def invert(
    model: Model,
    radiographs: Sequence[Radiograph | str | Path],
    *,
    method: Method | None = None,
    space: Space | None = None,
    steps: int = STEPS,
    fit: Fit = "crop",
    batch: int = 16,
) -> Inverted:
    """Find the codes of radiographs, or of files of them: by `encoder`, `optimize` or `hybrid`, in `w` or `w+`.

    None is what `cxredit invert` does: hybrid in W+. Raises UnreadableImageError for a file that is no radiograph.

    Examples:
        >>> import cxredit_cli as cx
        >>> codes = cx.invert(cx.load_model(), [cx.BUNDLED_RADIOGRAPH], method="encoder")
        >>> codes.w.shape, codes.reconstructions.shape
        ((1, 1, 512), (1, 128, 128))
    """
    read = [item if isinstance(item, Radiograph) else read_radiograph(Path(item)) for item in radiographs]
    if not read:
        raise InputError("There is no radiograph to invert; give at least one.")
    known = choose_method(model, method)
    where = choose_space(model, known, space)
    side = model.generator.resolution
    originals = np.stack([fit_square(radiograph.pixels, side, fit) for radiograph in read])
    with fast_gradients(model.generator):
        found = invert_images(model, torch.from_numpy(originals)[:, None] * 2 - 1, known, where, steps, batch)
    return Inverted([r.name for r in read], originals, found, InvertOptions(known, where, fit, steps, batch))


def write_codes(path: str | Path, model: Model, codes: Inverted) -> None:
    """Write codes to a file that `cxredit apply` and `cxredit lda` read, or append them to one.

    Raises MismatchError where the file holds codes of another generator.
    """
    with CodesWriter(Path(path), codes.options.header(model), expected=len(codes.names)) as writer:
        stored = np.rint(codes.originals * 255).astype(np.uint8)
        writer.append(codes.names, codes.w, codes.psnr, np.asarray(codes.result.ssim.numpy()), stored)


def load_direction(path: str | Path | None = None, model: Model | None = None) -> Direction:
    """The direction in a file, or one of `model` by its name, such as "effusion".

    None: ./direction.h5 where there is one, else the model's cardiomegaly.

    Examples:
        >>> import cxredit_cli as cx
        >>> model = cx.load_model()
        >>> direction = cx.load_direction(model=model)
        >>> direction.name, direction.carried
        ('cardiomegaly', 'border')
    """
    if path is None and model is None:
        raise InputError("Give the file of a direction, or the model whose own is wanted.")
    found = find_direction(path, model.path if model is not None else Path())
    direction = read_direction(found)
    if model is not None:
        direction.check_generator(model.fingerprint, found)
    return direction


def direction_from_labels(
    model: Model,
    codes: Codes | Inverted | NDArray[np.float32],
    positive: Sequence[bool] | NDArray[np.bool_],
    patients: Sequence[str] | None = None,
    name: str = "direction",
    how: LabelMethod = "lda",
    metric: Metric = "codes",
) -> Direction:
    """The direction from the negative to the positive class of codes; `statistics` has its AUC on held-out patients.

    `patients` [N] keeps images of one patient together; None: each image is of another. `metric` "picture" or "anatomy"
    looks at what shows of the codes. Raises InputError when a class has fewer patients than there are folds (5).
    """
    w = codes if isinstance(codes, np.ndarray) else codes.w
    owners = [str(index) for index in range(len(w))] if patients is None else list(patients)
    coordinates = visible_coordinates(model, space_of(w.shape[1]), metric)
    found = labelled_direction(w, np.asarray(positive, dtype=np.bool_), owners, how, coordinates=coordinates)
    vector = found.axis.reshape(w.shape[1:]).astype(np.float32)
    what = how if coordinates is None else f"{how}, {metric}"
    return Direction(vector, name, what, model.fingerprint, statistics=found.statistics, model=model.name)


def edit(
    model: Model, codes: Codes | Inverted, direction: Direction, strengths: Sequence[float], batch: int = 16
) -> NDArray[np.float32]:
    """The generator's pictures [N, S, R, R] in 0..1 of codes moved by each strength: G(w + strength * v).

    Examples:
        >>> import cxredit_cli as cx
        >>> model = cx.load_model()
        >>> codes = cx.invert(model, [cx.BUNDLED_RADIOGRAPH], method="encoder")
        >>> cx.edit(model, codes, cx.load_direction(model=model), [0, 6]).shape
        (1, 2, 128, 128)
    """
    some = _tensors(codes)
    moved = move(some.w, torch.from_numpy(direction.direction), list(strengths), model.generator.num_ws)
    owner = torch.arange(len(moved)).repeat_interleave(len(strengths))
    noise = None if some.noise is None else [layer[owner] for layer in some.noise]
    tuning = None if some.tuning is None else some.tuning[owner]
    made = torch.cat(list(synthesize(model.generator, moved.flatten(0, 1), noise, batch, tuning)))[:, 0]
    pictures = made.reshape(len(moved), len(strengths), *made.shape[1:]) / 2 + 0.5
    return np.asarray(pictures.numpy(), dtype=np.float32)


def edit_film(
    model: Model,
    path: str | Path,
    direction: Direction,
    strengths: Sequence[float],
    *,
    steps: int = STEPS,
    fit: Fit = "crop",
) -> EditedFilm:
    """Invert a film and carry edits over to it, at its own resolution, as `cxredit apply` does.

    Raises InputError for a direction that was never calibrated: how its edits are carried is not known.
    """
    if direction.carried is None:
        raise InputError("The direction was not calibrated; run `cxredit direction calibrate` on it first.")
    film = read_film(Path(path))
    codes = invert(model, [Radiograph(film.pixels, film.source.name, "")], steps=steps, fit=fit)
    usual = default_strengths(model.generator, len(direction.direction))[1:-1]
    wanted = [float(strength) for strength in strengths]
    rising = sorted({0.0, *usual, *wanted})
    pictures = edit(model, codes, direction, rising)[0]
    found = carry_over(load_anatomy(), film.square(fit), pictures, rising, wanted, direction.carried)
    return EditedFilm(film, fit, found.edits)


def generate(
    model: Model, n: int, seed: int = 0, truncation_psi: float = 1.0, batch: int = 16
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Codes [n, 1, w_dim] drawn at random, the same for a seed, and their pictures [n, R, R] in 0..1, of nobody.

    Examples:
        >>> import cxredit_cli as cx
        >>> w, pictures = cx.generate(cx.load_model(), 2)
        >>> w.shape, pictures.shape
        ((2, 1, 512), (2, 128, 128))
    """
    w = random_codes(model.generator, seed, range(n), truncation_psi).cpu()
    made = torch.cat(list(synthesize(model.generator, w, batch=batch)))[:, 0]
    return np.asarray(w.numpy(), dtype=np.float32), np.asarray((made / 2 + 0.5).numpy(), dtype=np.float32)


def measure(pictures: NDArray[np.float32] | Sequence[NDArray[np.float32]]) -> Anatomy:
    """Outline heart and lungs on pictures [N, R, R] of any range: cardiothoracic ratio, widths, heights, areas.

    Examples:
        >>> import cxredit_cli as cx
        >>> anatomy = cx.measure([cx.read_radiograph(cx.BUNDLED_RADIOGRAPH).pixels])
        >>> round(float(anatomy.ctr[0]), 1), anatomy.problem
        (0.5, [''])
    """
    stacked = torch.from_numpy(np.stack([np.asarray(picture, dtype=np.float32) for picture in pictures]))
    return measure_images(load_anatomy(), stacked[:, None])


def load_classifier(file: str | Path, wanted: str | None = None, device: str = "auto") -> ClassifierScore:
    """Read the log-odds of one class of anybody's classifier: .pt2, .pt or .onnx with a JSON, or torchxrayvision:NAME.

    `wanted` may be left out where the classifier knows one class. Raises InputError.
    """
    return load_score(str(file), wanted, resolve_device(device))


def explain(
    model: Model,
    classifier: ClassifierScore,
    film: Film,
    target: float = 0.5,
    direction: Direction | None = None,
    method: Method | None = None,
    steps: int = STEPS,
    fit: Fit = "crop",
) -> Explanation:
    """Find the smallest change of a film that takes a classifier's probability across `target`, and what moves in it.

    Along `direction`, or along the classifier's own gradient. Raises InputError.
    """
    space: Space | None = None if method == "encoder" else "w+"
    request = Request(log(target / (1 - target)), direction, InversionRequest(method, space, steps, fit=fit))
    device = model.generator.mapping.w_avg.device
    return explain_film(model, load_anatomy(device=device), classifier, film.source.name, film.square(fit), request)


def _tensors(codes: Codes | Inverted) -> CodeBatch:
    if isinstance(codes, Codes):
        return take_codes(codes, slice(None))
    how = f"{codes.options.method}, {codes.options.space}"
    return CodeBatch(codes.result.w, codes.result.noise, codes.result.tuning, how)
