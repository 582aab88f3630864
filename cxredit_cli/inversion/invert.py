"""Real images to codes, by the method of choice: what `invert`, `apply` and `direction` call."""

from typing import Literal, get_args

import torch
from torch import Tensor

from cxredit_cli.devices import resolve_precision
from cxredit_cli.errors import InputError
from cxredit_cli.inversion.encode import Space, encode
from cxredit_cli.inversion.optimize import optimize
from cxredit_cli.inversion.result import InversionResult
from cxredit_cli.progress import Progress
from cxredit_cli.storage.models import Model

Method = Literal["encoder", "optimize", "hybrid"]
STEPS = 500


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
    """The space to use: `space`, or the encoder's own for `encoder` and `hybrid`, and W for `optimize`."""
    if space is None:
        wide = method != "optimize" and model.encoder is not None and model.encoder.config.num_outputs > 1
        return "w+" if wide else "w"
    for known in get_args(Space):
        if space == known:
            return known  # type: ignore[no-any-return]
    raise InputError(f"--space must be w or w+, but it is '{space}'.")


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
) -> InversionResult:
    """Invert images [N, 1, R, R] in [-1, 1]; None takes the model's best method and its space.

    `encoder` is one pass of E, `optimize` starts from the mean code, `hybrid` from E's answer. `progress` counts images
    from `done` on; the caller starts and finishes it.
    """
    chosen = choose_method(model, method)
    where = choose_space(model, chosen, space)
    if chosen == "encoder" and fit_noise:
        raise InputError("--fit-noise needs --method optimize or hybrid; an encoder gives a code and no noise.")
    start = None
    if chosen != "optimize":
        assert model.encoder is not None  # choose_method made sure
        encoded = encode(model.generator, model.encoder, images, batch, where)
        if chosen == "encoder":
            if progress is not None:
                progress.advance(done + len(images), psnr=encoded.psnr.mean().item())
            return encoded
        start = encoded.w
    return optimize(
        model.generator, images, start, where, steps, batch, fit_noise=fit_noise, progress=progress, done=done
    )
