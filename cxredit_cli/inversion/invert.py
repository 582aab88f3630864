"""Real images to codes, by the method of choice: what `invert`, `apply` and `direction` call."""

from typing import Literal, get_args

import torch
from torch import Tensor

from cxredit_cli.devices import resolve_precision
from cxredit_cli.errors import InputError, known_word
from cxredit_cli.inversion import STEPS
from cxredit_cli.inversion.curvature import search_basis
from cxredit_cli.inversion.encode import Space, encode
from cxredit_cli.inversion.optimize import DEFAULT, Settings, optimize
from cxredit_cli.inversion.perceptual import choose_features
from cxredit_cli.inversion.pivotal_tuning import TuneSettings, measure_tuned, tune
from cxredit_cli.inversion.random_starts import RandomCodes
from cxredit_cli.inversion.result import InversionResult
from cxredit_cli.progress import Progress
from cxredit_cli.storage.models import Model

Method = Literal["encoder", "optimize", "hybrid"]
Start = Literal["encoder", "mean", "nearest"]


def choose_method(model: Model, method: str | None) -> Method:
    """The method to use: `method`, or hybrid where the model has an encoder and optimize where it has none.

    Raises InputError for an unknown method, and for one that needs the encoder which the model lacks.
    """
    if method is None:
        return "optimize" if model.encoder is None else "hybrid"
    for known in get_args(Method):
        if method == known:
            if known != "optimize" and model.encoder is None:
                raise InputError(
                    f"--method {known} needs an encoder and the model in {model.path} has none; "
                    "run `cxredit train-encoder`, or use --method optimize."
                )
            return known  # type: ignore[no-any-return]
    raise InputError(f"--method must be encoder, optimize or hybrid, but it is '{method}'.")


def choose_space(model: Model, method: Method, space: str | None) -> Space:
    """The space to use: `space`, or the encoder's own for `encoder`, and W+ for what is searched for.

    A code of W+ is nearer to the radiograph, and its edits do what was asked (docs/results/inversion.md).
    """
    if space is None:
        narrow = method == "encoder" and model.encoder is not None and model.encoder.config.num_outputs == 1
        return "w" if narrow else "w+"
    known: Space = known_word(space, Space, "--space")
    return known


def gradient_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of work that needs gradients through the generator: `resolve_precision` with bf16 in fp16's place.

    Gradients of a mean over all pixels fall below the range of fp16, so that is refused where it is asked for.
    """
    dtype = resolve_precision(name, device)
    if dtype != torch.float16:
        return dtype
    if name == "fp16":
        raise InputError("--precision fp16 loses the small gradients that lead to codes; use bf16 or fp32.")
    return torch.bfloat16


def choose_start(model: Model, method: Method, start: str | None) -> Start:
    """Where the search begins: `start`, else the encoder for hybrid and the mean code for optimize.

    Raises InputError for an unknown one, and for one that contradicts the method.
    """
    usual: Start = "mean" if method == "optimize" else "encoder"
    if start is None or start == usual:
        return usual
    if start not in get_args(Start):
        raise InputError(f"--start must be encoder, mean or nearest, but it is '{start}'.")
    if method == "optimize" and start == "nearest":
        return "nearest"
    raise InputError(
        f"--method {method} begins with --start {usual}; for --start {start} use --method "
        f"{'hybrid' if start == 'encoder' else 'optimize'}."
    )


def invert(
    model: Model,
    images: Tensor,
    method: str | None = None,
    space: str | None = None,
    steps: int = STEPS,
    batch: int = 16,
    fit_noise: bool = False,
    progress: Progress | None = None,
    done: float = 0,
    *,
    start: str | None = None,
    settings: Settings = DEFAULT,
    candidates: RandomCodes | None = None,
    tuning: TuneSettings | None = None,
) -> InversionResult:
    """Invert images [N, 1, R, R] in [-1, 1]; None as in `choose_method` and `choose_space`.

    `encoder` is all passes of E, `optimize` starts from the mean code or the nearest random code, `hybrid` from E's
    answer. `candidates` are the random codes, made here if they are needed and not given; `tuning` bends the generator
    for each image. `progress` counts images from `done` on; the caller starts and finishes it.
    """
    chosen = choose_method(model, method)
    where = choose_space(model, chosen, space)
    begin = choose_start(model, chosen, start)
    if chosen == "encoder" and fit_noise:
        raise InputError("--fit-noise needs --method optimize or hybrid; an encoder gives a code and no noise.")
    generator = model.generator
    first = None
    if begin == "encoder":
        assert model.encoder is not None  # choose_method made sure
        encoded = encode(generator, model.encoder, images, batch, where)
        first = encoded.w
    elif begin == "nearest":
        first = (candidates or RandomCodes(generator)).nearest(images)
    if chosen == "encoder":
        found = encoded
        if progress is not None:
            progress.advance(done + (0 if tuning else len(images)), psnr=found.psnr.mean().item())
    else:
        basis = search_basis(model, where, progress)
        features = choose_features(model, settings.perceptual) if settings.perceptual_weight else None
        # Where tuning follows, the images are done when that is.
        searching = None if tuning else progress
        found = optimize(
            generator, images, first, where, steps, batch, fit_noise, searching, done, settings, features, basis
        )
    if tuning is None:
        return found
    deltas = tune(generator, images, found.w, found.noise, tuning, progress, done)
    return measure_tuned(generator, images, found, deltas)
