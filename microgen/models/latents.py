"""What a sample is made of before a network has seen it: named parts of white noise, drawn from its seed.

Every part of the latent of every family is white noise of unit variance, whatever the network makes of it, so that one
way to interpolate, invert and explore serves all families.

Shapes: B batch; each part of a latent is ``(B, ...)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from microgen.models.noise import SeedNoise

Latents = Mapping[str, Tensor]
"""Parts of the latents of B samples by name, each ``(B, ...)``."""


def white(
    seeds: Sequence[int], shapes: Mapping[str, Sequence[int]], device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """Draw the latents of samples, each from its own seed.

    Parameters
    ----------
    seeds
        One per sample.
    shapes
        Shape of each part for one sample, in the order of a family's ``latent_shapes``.

    Examples
    --------
    >>> both, one = white([3, 4], {"z": (2,)}), white([4], {"z": (2,)})
    >>> bool((both["z"][1] == one["z"][0]).all())
    True
    """
    return {
        name: SeedNoise(seeds, tuple(shape), device).stream(number)
        for number, (name, shape) in enumerate(shapes.items())
    }


def chosen(latents: Latents, which: Sequence[int]) -> dict[str, Tensor]:
    """Return the latents of some of the samples."""
    return {name: part[list(which)] for name, part in latents.items()}


def spherical(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Go the part `t` of the way from `a` to `b` along a great circle (Shoemake 1985, doi:10.1145/325165.325242).

    Between white noise of many numbers, a straight line passes through noise that is too weak; this does not. Lengths
    are interpolated too. `a` and `b` are ``(B, ...)`` and each sample goes its own way.

    >>> spherical(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 0.5)
    tensor([[0.7071, 0.7071]])
    """
    from_a, to_b = (x.flatten(1).double() for x in (a, b))
    lengths = [x.norm(dim=1, keepdim=True).clamp_min(1e-12) for x in (from_a, to_b)]
    ways = [x / length for x, length in zip((from_a, to_b), lengths, strict=True)]
    angle = (ways[0] * ways[1]).sum(dim=1, keepdim=True).clamp(-1, 1).acos()
    near = angle < 1e-4  # there a straight line is the same, and the formula divides by zero
    sine = torch.where(near, torch.ones_like(angle), angle.sin())
    weights = [torch.where(near, torch.full_like(angle, s), (s * angle).sin() / sine) for s in (1 - t, t)]
    mixed = sum(w * way for w, way in zip(weights, ways, strict=True)) * torch.lerp(lengths[0], lengths[1], t)
    return torch.as_tensor(mixed).to(a.dtype).reshape(a.shape)


def straight(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Go the part `t` of the way from `a` to `b` in a straight line."""
    return torch.lerp(a, b, t)
