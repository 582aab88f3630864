"""What augmentation_study.py trains: small networks, the ways to make their batches, and what they answer."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from cxredit_cli.networks.encoder import group_norm
from cxredit_cli.networks.preparation import normalise, resize
from cxredit_cli.training.augmentation import augment
from cxredit_cli.training.draws import Draws
from cxredit_cli.training.parts import whole_batch
from cxredit_cli.training.supervised import draw, train

SIDE, CHANNELS = 64, (8, 16, 32, 48)  # of what the networks see; each stage halves it
MOVED = 0.9  # share of the pictures that are shifted, turned, scaled, or shown in another contrast
DROPPED = 0.3  # of the last features, in training


@dataclass(frozen=True)
class Training:
    """How a network is trained; nothing of it was chosen on patients that are asked about."""

    steps: int = 200
    batch: int = 32
    lr: float = 2e-3  # peak, of AdamW
    warmup: int = 20
    weight_decay: float = 0.05
    ema: float = 0.97
    seed: int = 0


@dataclass(frozen=True)
class Arm:
    """One way to make batches."""

    name: str
    conferred: str = ""  # which edits are half of the positives
    both: bool = False  # half of the negatives are edits too
    balanced: bool = True


ARMS = (
    Arm("nothing added", balanced=False),
    Arm("real positives repeated"),
    Arm("hearts widened by a warp", "warped"),
    Arm("edits of films", "native"),
    Arm("edits of films, both classes", "native", both=True),
    Arm("generator's pictures", "generated"),
    Arm("generator's pictures, both classes", "generated", both=True),
)
REPEATED = ARMS[1].name  # what the others are compared with


@dataclass(frozen=True)
class Pool:
    """Edits of one kind, and what they are of, [*, 1, SIDE, SIDE] in 0..1."""

    positive: Tensor
    negative: Tensor
    control: Tensor  # edits towards a smaller heart, of patients set aside
    originals: Tensor  # their films


class Small(nn.Module):
    """Grey [N, 1, SIDE, SIDE], contrast made alike, to log-odds [N]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for channels in CHANNELS:
            kernel = 5 if before == 1 else 3
            layers += [nn.Conv2d(before, channels, kernel, 2, kernel // 2), group_norm(channels), nn.ReLU()]
            if before > 1:
                layers += [nn.Conv2d(channels, channels, 3, 1, 1), group_norm(channels), nn.ReLU()]
            before = channels
        self.body = nn.Sequential(*layers)
        # Where something is counts as well as what it is.
        self.head = nn.Linear(before * (SIDE // 2 ** len(CHANNELS)) ** 2, 1)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, SIDE, SIDE] in 0..1 -> [N], natural logarithm."""
        log_odds: Tensor = self.head(F.dropout(self.body(x * 2 - 1).flatten(1), DROPPED, self.training))
        return log_odds[:, 0]


def small(pictures: Tensor) -> Tensor:
    """Pictures [N, 1, R, R] of any range as the networks see them."""
    return normalise(resize(pictures, SIDE)) if len(pictures) else pictures.new_zeros(0, 1, SIDE, SIDE)


def learn(arm: Arm, options: Training, positive: Tensor, negative: Tensor, pools: dict[str, Pool]) -> Small:
    """The average of a network's weights after all steps."""
    torch.manual_seed(options.seed)
    half = options.batch // 2
    pool = pools.get(arm.conferred)
    if not arm.balanced:
        parts = [(torch.cat([positive, negative]), options.batch)]
        classes = torch.cat([torch.ones(len(positive)), torch.zeros(len(negative))])
    else:
        added = 0 if pool is None else half if not len(positive) else half // 2
        parts = [(positive, half - added)] if half > added else []
        parts += [(pool.positive, added)] if pool is not None else []
        parts += [(negative, half - half // 2), (pool.negative, half // 2)] if pool and arm.both else [(negative, half)]
        classes = torch.cat([torch.ones(half), torch.zeros(half)])

    def loss_of(network: Small, step: int) -> Tensor:
        chosen = [draw(len(some), step, count, options.seed) for some, count in parts]
        x = torch.cat([some[rows] for (some, _), rows in zip(parts, chosen, strict=True)])
        wanted = classes if arm.balanced else classes[chosen[0]]
        draws = Draws(options.seed, step, "augment", whole_batch(len(x)), x.device)
        moved = augment(x * 2 - 1, torch.tensor(MOVED), draws) / 2 + 0.5
        return F.binary_cross_entropy_with_logits(network(moved), wanted)

    return train(Small(), options, loss_of, arm.name)


@torch.no_grad()
def answer(network: Small, pictures: Tensor) -> NDArray[np.float64]:
    """The log-odds of pictures."""
    parts = [network(part) for part in torch.split(pictures, 256)]
    return np.asarray(torch.cat([torch.empty(0), *parts]).numpy(), dtype=np.float64)
