"""Closed forms of images seen: learning rate, weight average, and when something is due."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn


def learning_rate_factor(images: float, *, warmup: float, total: float | None, decay: str) -> float:
    """Return the learning rate as a part of its highest value.

    Parameters
    ----------
    images
        Images seen, counted to the middle of the step.
    warmup
        Images over which the factor rises linearly from 0 to 1.
    total
        Images of the whole run, or None while that is not known yet (then nothing falls).
    decay
        ``"cosine"`` falls to 0 at `total` (Loshchilov and Hutter 2017, doi:10.48550/arXiv.1608.03983),
        ``"inverse-sqrt"`` as ``sqrt(warmup / images)`` (Karras et al. 2024, doi:10.48550/arXiv.2312.02696), so it
        needs a warm-up,
        ``"none"`` stays.

    >>> [learning_rate_factor(n, warmup=10, total=100, decay="cosine") for n in (5, 10, 55, 100)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if images < warmup:
        return images / warmup
    if decay == "inverse-sqrt":
        return math.sqrt(warmup / images)
    if decay == "cosine" and total is not None:
        part = min(1.0, (images - warmup) / max(total - warmup, 1))
        return 0.5 * (1 + math.cos(math.pi * part))
    return 1.0


def averaging_factor(images: float, *, batch: int, halflife: float, ramp: float) -> float:
    """Return the part of the old average kept in one step.

    The half-life in images is the smaller of `halflife` and `ramp` times the images seen: the ramp-up of
    Karras et al. 2022 (doi:10.48550/arXiv.2206.00364).

    >>> averaging_factor(0, batch=8, halflife=100, ramp=0.05)
    0.0
    >>> averaging_factor(1e9, batch=100, halflife=100, ramp=0.05)
    0.5
    """
    half = min(halflife, ramp * images)
    return 0.5 ** (batch / half) if half > 0 else 0.0


@torch.no_grad()
def average_into(average: nn.Module, net: nn.Module, factor: float) -> None:
    """Set the weights of `average` to ``factor average + (1 - factor) net``; buffers are copied."""
    pairs = [(a.detach(), b.detach()) for a, b in zip(average.parameters(), net.parameters(), strict=True)]
    if pairs:
        torch._foreach_lerp_([a for a, _ in pairs], [b for _, b in pairs], 1.0 - factor)
    _copy(average.buffers(), net.buffers())


def is_due(before: int, after: int, *, total: int | None, times: int) -> bool:
    """Tell whether one of `times` evenly spread moments of a run lies in the step from `before` to `after` images.

    >>> [n for n in range(12) if is_due(n, n + 1, total=12, times=3)]
    [3, 7, 11]
    """
    return total is not None and after * times // total > before * times // total


def round_up(images: float, batch: int) -> int:
    """Return the smallest whole number of batches that holds `images`."""
    return max(1, math.ceil(images / batch)) * batch


def _copy(targets: Iterable[Tensor], sources: Iterable[Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)
