"""What the loop works on: a job, and the counters that its future depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn


class Family(Protocol):
    """The part of a model family that the loop needs; a family module is one.

    What a family may have besides is in :mod:`microgen.models.families`.
    """

    def train_step(self, state: Any, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        """Learn from one batch through the helpers of `state` and return losses, among them ``"loss"``."""


class Source(Protocol):
    """Anything that makes batches: ``{"field", "scalars", "maps"}`` as numpy arrays, first axis N."""

    def batch(self, rng: np.random.Generator, n: int) -> Mapping[str, Any]:
        """Draw `n` crops; the same generator gives the same crops."""


@dataclass(frozen=True)
class Job:
    """What is trained, independent of where it came from.

    Attributes
    ----------
    family
        Owner of ``train_step``.
    net
        Freshly made network.
    encode
        From fields ``(N, C, *S)`` in their own units to the float32 tensor that the network sees.
    patches
        Where batches come from.
    held_out
        Where batches come from that are only looked at, if there are any.
    write_model
        Writes the averaged network as a model file; given the path, the network and facts for its provenance.
    preview
        Draws a sample grid with the averaged network into a picture file and returns its pixels ``(Y, X)``.
    """

    family: Family
    net: nn.Module
    encode: Callable[[NDArray[np.float32]], Tensor]
    patches: Source
    held_out: Source | None = None
    write_model: Callable[[Path, nn.Module, Mapping[str, Any]], None] | None = None
    preview: Callable[[nn.Module, Path], NDArray[np.uint8]] | None = None


@dataclass
class Counters:
    """The numbers of a run; every checkpoint holds them.

    Attributes
    ----------
    images, total
        Images seen, and at the end (None until the speed is measured).
    seconds
        Time spent, over all sessions.
    micro
        Images per piece of a batch; less than the batch where memory is short.
    learning_rate_scale, rollbacks
        Halved by, and number of, returns to an earlier checkpoint.
    best, best_images, stale
        Lowest held-out loss, when it was, and validations since.
    latest
        Latest logged and held-out losses.
    pending
        Losses since the last line of the log.
    stopped_early
        Whether the held-out loss ended the run.
    """

    images: int = 0
    total: int | None = None
    seconds: float = 0.0
    micro: int = 1
    learning_rate_scale: float = 1.0
    rollbacks: int = 0
    best: float | None = None
    best_images: int = 0
    stale: int = 0
    stopped_early: bool = False
    latest: dict[str, float] = field(default_factory=dict)
    pending: list[dict[str, float]] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether the budget is used up."""
        return self.total is not None and self.images >= self.total
