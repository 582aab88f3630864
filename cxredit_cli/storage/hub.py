"""Weights that other tools may have downloaded to this machine; this package downloads none."""

from pathlib import Path

import torch


def hub_path(address: str) -> Path:
    """Where torch's hub keeps what it once downloaded from `address`; there need not be anything."""
    return Path(torch.hub.get_dir()) / "checkpoints" / address.rsplit("/", 1)[-1]
