"""Checkpoints restore everything and never hold half a file."""

from pathlib import Path

import pytest
import torch

from cxredit_cli.errors import InputError
from cxredit_cli.training.checkpoint import (
    load_checkpoint,
    load_module,
    load_optimizer,
    module_tensors,
    optimizer_tensors,
    save_checkpoint,
)


def test_networks_and_optimisers_come_back_bit_for_bit(tmp_path: Path) -> None:
    def make() -> tuple[torch.nn.Linear, torch.optim.Optimizer]:
        net = torch.nn.Linear(3, 2)
        return net, torch.optim.Adam(net.parameters(), lr=0.1, betas=(0.0, 0.99))

    def train(net: torch.nn.Linear, optimizer: torch.optim.Optimizer, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            net(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()

    net, optimizer = make()
    train(net, optimizer, 3)
    tensors = module_tensors("net", net) | optimizer_tensors("adam", optimizer)
    save_checkpoint(tmp_path / "c.safetensors", tensors, {"step": 3, "name": "é"})
    train(net, optimizer, 4)

    other, other_optimizer = make()
    loaded, state = load_checkpoint(tmp_path / "c.safetensors")
    load_module("net", other, loaded)
    load_optimizer("adam", other_optimizer, loaded)
    train(other, other_optimizer, 4)
    assert state == {"step": 3, "name": "é"}
    assert torch.equal(net.weight, other.weight)


def test_a_truncated_checkpoint_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"x": torch.arange(1000)}, {})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="no checkpoint"):
        load_checkpoint(path)
