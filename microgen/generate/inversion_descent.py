"""Going downhill in a latent space with Adam, every sample on its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from microgen.generate.inversion_space import Points, Space

Loss = Callable[[Tensor], Tensor]
"""From encoded samples ``(B, C, *S)`` to one number each ``(B,)``."""

PRIOR = 0.1
"""Weight of :meth:`Space.unlikely`."""
_BETAS = (0.9, 0.99)
_SLOWER = 0.3  # places move more slowly than latents: they change the whole sample
_COOLING = 0.5


@dataclass(frozen=True, eq=False)
class Descent:
    """Where a descent ended: the best point that each sample came by.

    Attributes
    ----------
    points
        Without gradients.
    losses
        ``(B,)``, with the weighted prior.
    """

    points: Points
    losses: Tensor


def descend(
    space: Space,
    start: Points,
    loss: Loss,
    *,
    steps: int,
    rate: float,
    after: Callable[[int, Points], bool] | None = None,
) -> Descent:
    """Minimise a loss of the samples over latents and free conditions, with a prior that keeps latents typical.

    Adam (Kingma and Ba 2015, arXiv:1412.6980); the rate falls to zero over the second half of the steps, as in the
    projection of images by Karras et al. 2020 (doi:10.1109/CVPR42600.2020.00813), appendix D.

    Parameters
    ----------
    start
        Not changed.
    rate
        Of the latents, which are of unit variance.
    after
        Called with the number of steps taken and where they led; True ends the descent.
    """
    points = start.detached()
    moved = [*points.latents.values(), *([points.places] if points.places.numel() else [])]
    for part in moved:
        part.requires_grad_()
    places = [{"params": [points.places], "lr": rate * _SLOWER}] if points.places.numel() else []
    adam = torch.optim.Adam([{"params": list(points.latents.values()), "lr": rate}, *places], betas=_BETAS)
    peaks = [group["lr"] for group in adam.param_groups]
    best = Descent(points.detached(), torch.full((len(points),), math.inf, device=points.places.device))
    for step in range(steps + 1):
        losses = loss(space.encoded(points)) + PRIOR * space.unlikely(points)
        best = _better(best, points, losses.detach())
        if step == steps or (after is not None and after(step, points.detached())):
            break
        gradients = torch.autograd.grad(losses.sum(), moved, allow_unused=True)
        for part, gradient in zip(moved, gradients, strict=True):
            part.grad = gradient
        for group, peak in zip(adam.param_groups, peaks, strict=True):
            group["lr"] = peak * min(1.0, (1 - step / steps) / _COOLING)
        adam.step()
        with torch.no_grad():
            points.places.clamp_(-1, 1)
    return best


def _better(best: Descent, points: Points, losses: Tensor) -> Descent:
    """Take over the samples that improved."""
    now = points.detached()
    improved = losses < best.losses

    def chosen(old: Tensor, new: Tensor) -> Tensor:
        return torch.where(improved.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    latents = {name: chosen(best.points.latents[name], part) for name, part in now.latents.items()}
    return Descent(Points(latents, chosen(best.points.places, now.places)), torch.where(improved, losses, best.losses))
