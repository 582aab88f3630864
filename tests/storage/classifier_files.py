"""Small classifiers in files, as somebody would bring them."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class Bright(nn.Module):
    """Two classes: how bright the left half is, and how bright the right half; log-odds that rise with it."""

    def __init__(self, channels: int = 1, gain: float = 8.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2, 1)
        nn.init.constant_(self.conv.weight, gain / channels)
        nn.init.constant_(self.conv.bias, -gain / 2)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.conv(images)
        half = images.shape[-1] // 2
        return torch.stack([scores[:, 0, :, :half].mean((1, 2)), scores[:, 1, :, half:].mean((1, 2))], dim=1)


DESCRIBED: dict[str, Any] = {
    "classes": ["Left", "Right"],
    "size": 32,
    "channels": 1,
    "range": [0, 1],
    "output": "logits",
}


def describe(path: Path, **changes: Any) -> Path:
    """Write the JSON beside a classifier; a change to None leaves a key out."""
    document = {key: value for key, value in {**DESCRIBED, **changes}.items() if value is not None}
    path.with_suffix(".json").write_text(json.dumps(document))
    return path


def write_pt2(path: Path, module: nn.Module | None = None, batch: int | None = None, **changes: Any) -> Path:
    """A program of torch.export for any number of pictures, or for `batch` of them alone."""
    described = {**DESCRIBED, **changes}
    example = torch.rand(batch or 2, described["channels"], described["size"], described["size"])
    free = None if batch else ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export((module or Bright(described["channels"])).eval(), (example,), dynamic_shapes=free)
    torch.export.save(program, path)
    return describe(path, **changes)


def write_torchscript(path: Path, module: nn.Module | None = None, **changes: Any) -> Path:
    """A TorchScript file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script((module or Bright()).eval())  # type: ignore[no-untyped-call]
        torch.jit.save(scripted, path)  # type: ignore[no-untyped-call]
    return describe(path, **changes)
