"""All randomness of a sample comes from its own seed, drawn on the CPU, whatever batch, process or device it is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from microgen.core.seeds import rng


@dataclass(frozen=True)
class SeedNoise:
    """White noise for a batch of seeds, one stream per seed and step.

    Attributes
    ----------
    seeds
        One per sample of the batch.
    shape
        ``(C, *S)`` of one sample.
    device
        Where the noise is wanted; it is drawn on the CPU, so that a GPU sees the same.

    Examples
    --------
    >>> both, one = SeedNoise([3, 4], (1, 2, 2)), SeedNoise([4], (1, 2, 2))
    >>> bool((both(7)[1] == one(7)[0]).all())
    True
    """

    seeds: Sequence[int]
    shape: tuple[int, ...]
    device: torch.device | str = "cpu"

    def start(self) -> Tensor:
        """Noise ``(B, C, *S)`` of unit standard deviation to start from."""
        return self.stream(0)

    def __call__(self, step: int) -> Tensor:
        """Noise ``(B, C, *S)`` of unit standard deviation to add in `step`."""
        return self.stream(step + 1)

    def stream(self, number: int) -> Tensor:
        """Noise ``(B, C, *S)`` of unit standard deviation, independent of that of every other `number`."""
        drawn = [rng(seed, number).standard_normal(self.shape, dtype=np.float32) for seed in self.seeds]
        return torch.from_numpy(np.stack(drawn)).to(self.device)
