"""What one unit of strength does to the anatomy: measured on generated images and on codes of real ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from cxredit_cli.errors import InputError
from cxredit_cli.inversion.invert import choose_method, choose_space, invert
from cxredit_cli.inversion.precision import fast_gradients
from cxredit_cli.inversion.request import InversionRequest
from cxredit_cli.latent.code_batch import take_codes
from cxredit_cli.latent.random_codes import random_codes
from cxredit_cli.latent.responses import Responses, join, respond, summarise
from cxredit_cli.networks.anatomy import AnatomyNetwork
from cxredit_cli.progress import Progress, SilentProgress
from cxredit_cli.radiographs.read_many import read_all
from cxredit_cli.radiographs.sources import Source
from cxredit_cli.storage.codes import Codes
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import Model


def calibrate_generated(
    model: Model,
    network: AnatomyNetwork,
    direction: Direction,
    strengths: Sequence[float],
    n: int,
    seed: int = 0,
    batch: int = 32,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """`summarise` of `n` generated images moved along `direction`; raises InputError where none stays plausible."""
    step = _Counter(progress, "Calibrating on generated images", n, strengths)
    parts = []
    for start in range(0, n, batch):
        codes = random_codes(model.generator, seed, range(start, min(start + batch, n)))
        vector = torch.from_numpy(direction.direction)
        parts.append(respond(model.generator, network, codes, vector, strengths, batch=batch, advance=step))
    step.finish()
    return _result(parts) | {"what": f"{n} generated images", "seed": seed}


def calibrate_codes(
    model: Model,
    network: AnatomyNetwork,
    direction: Direction,
    strengths: Sequence[float],
    codes: Codes,
    n: int,
    seed: int = 0,
    batch: int = 32,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The same on `n` codes of a file, drawn by `seed` where it holds more, with their fitted noise and tuning."""
    rows = _draw(len(codes), n, seed)
    step = _Counter(progress, "Calibrating on codes", len(rows), strengths)
    vector = torch.from_numpy(direction.direction)
    parts = []
    for start in range(0, len(rows), batch):
        some = take_codes(codes, rows[start : start + batch])
        moved = respond(model.generator, network, some.w, vector, strengths, some.noise, some.tuning, batch, step)
        parts.append(moved)
    step.finish()
    header = codes.header
    return _result(parts) | {"what": f"{len(rows)} codes ({header.method}, {header.space})", "seed": seed}


def calibrate_images(
    model: Model,
    network: AnatomyNetwork,
    direction: Direction,
    strengths: Sequence[float],
    sources: Sequence[Source],
    inversion: InversionRequest,
    n: int,
    seed: int = 0,
    batch: int = 16,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The same on `n` image files, drawn by `seed`, inverted first; and the files that could not be read, with why."""
    shown = progress or SilentProgress()
    method = choose_method(model, inversion.method)
    space = choose_space(model, method, inversion.space)
    side = model.generator.resolution
    chosen = [sources[index] for index in _draw(len(sources), n, seed)]
    failed: list[tuple[str, str]] = []
    parts: list[Responses] = []
    shown.start("Inverting and calibrating", len(chosen))
    for start in range(0, len(chosen), batch):
        pictures = []
        numbered = list(enumerate(chosen))[start : start + batch]
        for index, content, reading in read_all(numbered, side, inversion.fit, bits=16):
            if content is None:
                failed.append((chosen[index].name, reading))
            else:
                pictures.append(np.frombuffer(content, dtype=np.uint16).reshape(side, side))
        if pictures:
            images = torch.from_numpy(np.stack(pictures).astype(np.float32))[:, None] / 65535 * 2 - 1
            with fast_gradients(model.generator):
                found = invert(
                    model, images, method, space, inversion.steps, batch, inversion.fit_noise, shown, done=start
                )
            vector = torch.from_numpy(direction.direction)
            parts.append(respond(model.generator, network, found.w, vector, strengths, noise=found.noise, batch=batch))
        shown.advance(start + len(numbered))
    shown.finish()
    if not parts:
        raise InputError(f"None of the {len(chosen)} images could be read; the first: {failed[0][0]}: {failed[0][1]}")
    count = len(chosen) - len(failed)
    return _result(parts) | {"what": f"{count} images ({method}, {space})", "seed": seed}, failed


def known_slope(direction: Direction) -> tuple[float, str] | None:
    """CTR a unit of strength, and what it was measured on: real images first; None where nothing was measured."""
    for kind in ("real", "generated"):
        found = direction.calibration.get(kind, {})
        if found.get("slope") is not None:
            return float(found["slope"]), str(found.get("what", kind))
    return None


def _result(parts: list[Responses]) -> dict[str, Any]:
    found = summarise(join(parts))
    if not found["used"]:
        raise InputError(
            f"None of the {found['images']} images keeps a plausible anatomy at every strength; give smaller strengths "
            "with --sweep, or check the direction."
        )
    return found


def _draw(count: int, n: int, seed: int) -> list[int]:
    if count <= n:
        return list(range(count))
    return sorted(int(i) for i in np.random.default_rng(seed).choice(count, n, replace=False))


class _Counter:
    """Counts pictures and shows images."""

    def __init__(self, progress: Progress | None, what: str, images: int, strengths: Sequence[float]) -> None:
        self._progress = progress or SilentProgress()
        self._each = len({*map(float, strengths), 0.0})
        self._made = 0
        self._progress.start(what, images)

    def __call__(self, pictures: int) -> None:
        self._made += pictures
        self._progress.advance(self._made / self._each)

    def finish(self) -> None:
        self._progress.finish()
