"""What reads the codes of a sample from what the discriminator saw (InfoGAN).

Shapes: B batch, F features, K classes, N continuous codes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from microgen.nets.gan import SLOPE

SPREAD = 1.0
"""Standard deviations told of codes lie between exp(-1) and exp(1): nothing is gained by writing them more exactly."""


class Recogniser(nn.Module):
    """The head Q of Chen et al. 2016 (doi:10.48550/arXiv.1606.03657): from features to distributions of codes.

    The hidden layer is normalised over the batch, as in the paper: what samples share would hide what they differ in.

    Parameters
    ----------
    features
        Length of what it reads.
    categories
        Classes of each categorical code.
    continuous
        Continuous codes.
    width
        Hidden units.
    """

    def __init__(self, features: int, *, categories: Sequence[int], continuous: int, width: int = 128) -> None:
        super().__init__()
        self.sizes = [*categories, continuous, continuous]
        self.hidden = nn.Linear(features, width)
        self.last = nn.Linear(width, sum(self.sizes))

    def forward(self, features_BF: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return logits ``(B, K)`` of each categorical code, and mean and log variance ``(B, N)`` of the continuous."""
        h = functional.leaky_relu(_standard(self.hidden(features_BF)), SLOPE)
        *logits, mean, raw = self.last(h).float().split(self.sizes, dim=1)
        return logits, mean, 2 * SPREAD * (raw / (2 * SPREAD)).tanh()


def _standard(h_BF: Tensor) -> Tensor:
    """Return each feature with mean 0 and standard deviation 1 over the batch; one sample alone becomes 0."""
    spread, mean = torch.std_mean(h_BF, dim=0, correction=0)
    return (h_BF - mean) / spread.clamp_min(1e-6)
