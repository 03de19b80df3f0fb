"""What generator and discriminator of a GAN play for, and how alike two sets of samples are.

Shapes: B batch, F features, N numbers of a condition, S spatial axes. Logits ``(B,)`` are high for real samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

NEAR = 0.1
"""Conditions that differ by this, of a range of -1 .. 1, count as alike."""


@dataclass(frozen=True)
class Game:
    """The losses of both sides, each a sum of means over real and over generated samples.

    Attributes
    ----------
    real, fake
        The discriminator's loss of logits of real and of generated samples ``(B,)``.
    generator
        The generator's loss of logits of its samples.
    border
        Logit between real and generated; None where only differences of logits mean something.
    """

    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    border: float | None = 0.0


GAMES: dict[str, Game] = {
    "non-saturating": Game(
        lambda logits: functional.softplus(-logits).mean(),
        lambda logits: functional.softplus(logits).mean(),
        lambda logits: functional.softplus(-logits).mean(),
    ),
    "hinge": Game(
        lambda logits: functional.relu(1 - logits).mean(),
        lambda logits: functional.relu(1 + logits).mean(),
        lambda logits: -logits.mean(),
    ),
    "least-squares": Game(
        lambda logits: (logits - 1).square().mean() / 2,
        lambda logits: logits.square().mean() / 2,
        lambda logits: (logits - 1).square().mean() / 2,
        0.5,
    ),
    "wasserstein": Game(
        lambda logits: -logits.mean(), lambda logits: logits.mean(), lambda logits: -logits.mean(), None
    ),
}
"""Losses by name: non-saturating (Goodfellow et al. 2014, doi:10.48550/arXiv.1406.2661), hinge (Lim and Ye 2017,
doi:10.48550/arXiv.1705.02894), least-squares (Mao et al. 2017, doi:10.48550/arXiv.1611.04076; real 1, generated 0),
wasserstein (Arjovsky et al. 2017, doi:10.48550/arXiv.1701.07875)."""


def accuracies(game: Game, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shares of real and of generated samples on their own side of the border.

    Where the game has none, it is the mean of all logits.
    """
    border = (real.mean() + fake.mean()) / 2 if game.border is None else game.border
    return (real > border).float().mean(), (fake < border).float().mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, part: Tensor) -> Tensor:
    """Return the mean of ``(|gradient| - 1)^2`` between real and generated samples (Gulrajani et al. 2017, WGAN-GP).

    Parameters
    ----------
    critic
        From samples ``(B, C, *S)`` to logits ``(B,)``.
    real, fake
        As many of each.
    part
        Where between each pair the gradient is taken, ``(B,)`` in 0 .. 1.

    Examples
    --------
    >>> w = torch.tensor([3.0, 4.0])
    >>> x = torch.zeros(2, 2)
    >>> gradient_penalty(lambda x: x @ w, x, x + 1, torch.rand(2)).item()
    16.0
    """
    part = part.reshape(-1, *(1,) * (real.ndim - 1))
    between = (part * real + (1 - part) * fake).detach()
    return (_gradient_norms(critic, between) - 1).square().mean()


def r1_penalty(critic: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Return half the mean square of the gradient at real samples (Mescheder et al. 2018, equation 9)."""
    return _gradient_norms(critic, real.detach()).square().mean() / 2


def _gradient_norms(critic: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    x = at.requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    norms: Tensor = gradient.flatten(1).norm(dim=1)
    return norms


def energy_distance(real_BF: Tensor, fake_BF: Tensor) -> Tensor:
    """Return how far two sets are apart, as a share of the mean distance within the real one; 0 if they are the same.

    The squared maximum mean discrepancy whose kernel is minus the distance, ``2 E|r-f| - E|r-r'| - E|f-f'|``
    (Sejdinovic et al. 2013, doi:10.1214/13-AOS1140), over all pairs. Two independent sets of n of one distribution are
    about 2/n apart.
    """
    spread = torch.cdist(real_BF, real_BF).mean()
    between, within = torch.cdist(real_BF, fake_BF).mean(), torch.cdist(fake_BF, fake_BF).mean()
    return (2 * between - spread - within) / spread


def conditional_distance(real_BF: Tensor, fake_BF: Tensor, numbers_BN: Tensor) -> Tensor:
    """Return the energy distance of features joined with the conditions they were made for, encoded.

    Features are counted in standard deviations of the real ones; the conditions weigh as much as all features together,
    so that ignoring them costs.
    """
    scale = real_BF.std(dim=0).clamp_min(1e-6)
    weight = (real_BF.shape[1] / max(1, numbers_BN.shape[1])) ** 0.5
    real, fake = (torch.cat([view / scale, weight * numbers_BN], dim=1) for view in (real_BF, fake_BF))
    return energy_distance(real, fake)


def diversity(real_BF: Tensor, fake_BF: Tensor, numbers_BN: Tensor) -> Tensor:
    """Return how different the generated samples are among themselves, relative to the real ones: 1 if as much.

    The mean distance of pairs, where pairs of much the same condition count most: so a generator that makes one
    picture for each condition is found out.

    Parameters
    ----------
    real_BF, fake_BF
        Features of both sets, real and generated sample `i` of one condition.
    numbers_BN
        The conditions, encoded; N may be 0.
    """
    weight = torch.exp(-(torch.cdist(numbers_BN, numbers_BN) / NEAR).square() / 2).fill_diagonal_(0)
    real, fake = ((weight * torch.cdist(f, f)).sum() for f in (real_BF, fake_BF))
    ratio: Tensor = fake / real.clamp_min(torch.finfo(real.dtype).tiny)
    return ratio
