"""Differentiable augmentation: what real and generated samples both go through before the discriminator sees them.

Zhao et al. 2020 (doi:10.48550/arXiv.2006.10738), with the adaptive probability of Karras et al. 2020
(doi:10.48550/arXiv.2006.06676). Shapes: B batch, C channels, S spatial axes.
"""

from __future__ import annotations

import torch
from torch import Tensor

SHIFT = 1 / 8
"""Largest translation, as a part of the side."""
CUT = 1 / 2
"""Side of the square (cube) that is blanked out, as a part of the side."""
TARGET = 0.6
"""Mean sign of the logits of real samples that the adaptive probability aims at."""


def augment(x_BCS: Tensor, probability: Tensor | float, kinds: tuple[str, ...], generator: torch.Generator) -> Tensor:
    """Return samples of which each went through each of `kinds` with a `probability`.

    Parameters
    ----------
    x_BCS
        Samples of about zero mean and unit standard deviation; blank is 0.
    probability
        0 .. 1; with 0 the samples come out as they went in.
    kinds
        Names in :data:`KINDS`, applied in their order.
    generator
        Source of all chance, on the device of the samples.
    """
    for kind in kinds:
        chosen = torch.rand(len(x_BCS), generator=generator, device=x_BCS.device) < probability
        changed = KINDS[kind](x_BCS, generator)
        x_BCS = torch.where(_spread(chosen, x_BCS), changed, x_BCS)
    return x_BCS


def translated(x_BCS: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each sample by whole points, at most :data:`SHIFT` of its side; what comes in is blank."""
    for axis in range(2, x_BCS.ndim):
        n = x_BCS.shape[axis]
        most = int(n * SHIFT)
        shift = torch.randint(-most, most + 1, (len(x_BCS), 1), generator=generator, device=x_BCS.device)
        source = torch.arange(n, device=x_BCS.device) - shift
        inside = _along((source >= 0) & (source < n), x_BCS, axis)
        index = _along(source.clamp(0, n - 1), x_BCS, axis).expand_as(x_BCS)
        x_BCS = x_BCS.gather(axis, index) * inside
    return x_BCS


def cut_out(x_BCS: Tensor, generator: torch.Generator) -> Tensor:
    """Blank a square (cube) of half the side, which may lie partly outside."""
    hidden = torch.ones((), dtype=torch.bool, device=x_BCS.device)
    for axis in range(2, x_BCS.ndim):
        n = x_BCS.shape[axis]
        centre = torch.randint(0, n, (len(x_BCS), 1), generator=generator, device=x_BCS.device)
        near = (torch.arange(n, device=x_BCS.device) - centre).abs() <= n * CUT / 2
        hidden = hidden & _along(near, x_BCS, axis)
    return x_BCS * ~hidden


def relit(x_BCS: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness by up to half a standard deviation, and contrast to between half and one and a half."""
    shift, factor = torch.rand(2, len(x_BCS), generator=generator, device=x_BCS.device) - 0.5
    mean = x_BCS.flatten(1).mean(dim=1)
    return (x_BCS - _spread(mean, x_BCS)) * _spread(1 + factor, x_BCS) + _spread(mean + shift, x_BCS)


KINDS = {"translation": translated, "cutout": cut_out, "brightness": relit}
"""Augmentations by name."""


def adapted(probability: Tensor, excess: Tensor, *, part: float) -> Tensor:
    """Return the probability after a step: up where the discriminator is too sure of the real samples, else down.

    The heuristic r_t of Karras et al. 2020 (section 3.1): the mean sign of the logits of real samples.

    Parameters
    ----------
    excess
        Mean sign of the logits of real samples minus :data:`TARGET`.
    part
        Images seen in this step, as a part of those in which the probability can go from 0 to 1.
    """
    return (probability + excess.sign() * part).clamp(0, 1)


def _spread(values_B: Tensor, like: Tensor) -> Tensor:
    return values_B.reshape(-1, *(1,) * (like.ndim - 1))


def _along(values_BN: Tensor, like: Tensor, axis: int) -> Tensor:
    """Give ``(B, N)`` the axes of `like`, with N on `axis`."""
    shape = [len(values_BN)] + [1] * (like.ndim - 1)
    shape[axis] = values_BN.shape[1]
    return values_BN.reshape(shape)
