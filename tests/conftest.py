"""Fixtures that tests share: small real files and a tiny random model."""

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of small real files."""
    return Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model with random weights: 32x32, 32-dimensional w, no encoder."""
    from cxredit_cli.networks.discriminator import Discriminator, DiscriminatorConfig
    from cxredit_cli.networks.generator import Generator, GeneratorConfig
    from cxredit_cli.storage.models import save_discriminator, save_generator

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny") / "model"
    config = GeneratorConfig(resolution=32, z_dim=32, w_dim=32, channel_base=256, channel_max=16)
    save_generator(folder, Generator(config), info={"name": "tiny random test model"})
    save_discriminator(folder, Discriminator(DiscriminatorConfig(resolution=32, channel_base=256, channel_max=16)))
    return folder
