"""A plain convolutional classifier of radiographs: one branch of the encoder's ResNet and a linear layer."""

from dataclasses import dataclass

from torch import Tensor, nn

from cxredit_cli.errors import InputError
from cxredit_cli.networks.encoder import Branch, EncoderConfig
from cxredit_cli.networks.preparation import normalise, resize


@dataclass(frozen=True, slots=True)
class ClassifierConfig:
    """Its architecture, in plain values that its file stores."""

    resolution: int = 128  # of the images that it sees
    depth: int = 18  # of the ResNet: 18, 34, 50 or 101
    width: int = 16  # channels of the stem; 64 is the published ResNet


class Classifier(nn.Module):
    """Normalised radiographs to the log-odds of one label against another."""

    def __init__(self, config: ClassifierConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ClassifierConfig()
        self.branch = Branch(EncoderConfig(config.resolution, w_dim=1, depth=config.depth, width=config.width))
        self.head = nn.Linear(self.branch.channels[-1], 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """[N, 1, R, R] normalised to 0..1 (see `preparation.normalise`) -> log-odds [N], natural logarithm."""
        side = self.config.resolution
        if images.ndim != 4 or images.shape[1:] != (1, side, side):
            raise InputError(f"The classifier reads images of shape [N, 1, {side}, {side}], not {list(images.shape)}.")
        x = self.branch.stem(images * 2 - 1)
        for stage in self.branch.stages:
            x = stage(x)
        log_odds: Tensor = self.head(x.mean((2, 3)))[:, 0]
        return log_odds


class PreparedClassifier(nn.Module):
    """A classifier behind the preparation of what it sees: radiographs of any range and resolution to log-odds."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """[N, 1, R, R] -> [N, 1], natural logarithm."""
        log_odds: Tensor = self.network(normalise(resize(images, self.network.config.resolution)))
        return log_odds[:, None]
