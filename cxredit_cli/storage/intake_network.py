"""The intake network on disk, with the thresholds above which it speaks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cxredit_cli.networks.intake import IntakeConfig, IntakeNetwork
from cxredit_cli.storage.described_weights import load_described, save_described

BUNDLED_INTAKE = Path(__file__).parent.parent / "bundled" / "intake.safetensors"
SCHEMA = "cxredit-intake"


@dataclass(frozen=True, slots=True)
class TrainedIntake:
    """The network, and for each sign the log-odds above which it counts."""

    network: IntakeNetwork
    thresholds: dict[str, float]  # "turned", "mirrored" and the SIGNS
    info: dict[str, Any]


def save_intake(path: Path, network: IntakeNetwork, thresholds: Mapping[str, float], info: Mapping[str, Any]) -> None:
    """Write the weights at half precision, and in the header the architecture, the thresholds and `info`."""
    document = {"thresholds": dict(thresholds), **info}
    save_described(path, SCHEMA, network, network.config, document, torch.float16)


def load_intake(path: Path = BUNDLED_INTAKE, device: torch.device | str = "cpu") -> TrainedIntake:
    """The network in `path`, in eval mode and without gradients. Raises InputError."""

    def build(widths: list[int], **architecture: int) -> IntakeNetwork:
        return IntakeNetwork(IntakeConfig(widths=tuple(widths), **architecture))

    network, document = load_described(path, SCHEMA, "intake network", "examples/train_intake.py", build, device)
    return TrainedIntake(network, document["thresholds"], document)
