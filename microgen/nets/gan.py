"""Generators and discriminators of GANs: one definition for pictures and volumes.

Shapes: B batch, C channels, L latent numbers, E embedding, S one or more spatial axes (``Y, X`` or ``Z, Y, X``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

Upsampling = Literal["resize", "transposed"]

SLOPE = 0.2
"""Of the leaky rectifiers (Radford et al. 2016, doi:10.48550/arXiv.1511.06434)."""
_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def stages_of(side: int, *, coarsest: int = 4) -> int:
    """Return how often a patch can be halved before its side is odd or would fall below `coarsest`.

    >>> [stages_of(side) for side in (28, 32, 64, 96, 128)]
    [2, 3, 4, 4, 5]
    """
    stages = 0
    while side % 2 == 0 and side // 2 >= coarsest:
        side, stages = side // 2, stages + 1
    return stages


def widths_of(width: int, stages: int, *, widest: int) -> tuple[int, ...]:
    """Return channels from fine to coarse: each stage has twice those of the one before, but never more than `widest`.

    >>> widths_of(32, 4, widest=128)
    (32, 64, 128, 128)
    """
    return tuple(min(width * 2**stage, widest) for stage in range(stages))


class Generator(nn.Module):
    """Convolutional generator: a linear layer to a coarse grid, then stages that double it (DCGAN).

    Nothing in it depends on the other samples of a batch: where the paper has batch normalisation there is group
    normalisation (Wu and He 2018, doi:10.48550/arXiv.1803.08494), which also leaves averaged weights as good as others.

    Parameters
    ----------
    dims
        2 for pictures, 3 for volumes.
    latent
        Length of the latent vector.
    out_channels
        Channels of the field.
    side
        Grid points of a sample along each axis; divisible by two to the number of `widths`.
    widths
        Channels after each stage from fine to coarse; the coarse grid has the last of them.
    embedding
        Length of the vector that scales and shifts each stage (feature-wise modulation, Perez et al. 2018,
        doi:10.48550/arXiv.1709.07871), 0 for none.
    upsampling
        ``"resize"``: nearest neighbours, then a convolution, which leaves no checkerboard (Odena et al. 2016,
        doi:10.23915/distill.00003); ``"transposed"``: 4 x 4 with stride 2, whose windows cover all points equally.
    normalise
        Normalise the groups of each stage.
    kernel
        Side of the last convolution.
    """

    def __init__(
        self,
        dims: int,
        latent: int,
        out_channels: int,
        *,
        side: int,
        widths: Sequence[int],
        embedding: int = 0,
        upsampling: Upsampling = "resize",
        normalise: bool = True,
        kernel: int = 3,
    ) -> None:
        super().__init__()
        self.coarse = (widths[-1], *(side // 2 ** len(widths),) * dims)
        self.first = nn.Linear(latent, math.prod(self.coarse))
        self.tops = nn.ModuleList([_Top(widths[-1], embedding, normalise=normalise)])
        self.ups = nn.ModuleList()
        for wide, narrow in zip(widths[::-1], (*widths[-2::-1], widths[0]), strict=True):
            self.ups.append(_up(dims, wide, narrow, upsampling))
            self.tops.append(_Top(narrow, embedding, normalise=normalise))
        self.last = _CONV[dims](widths[0], out_channels, kernel, padding=kernel // 2)

    def forward(self, latent_BL: Tensor, embedding_BE: Tensor | None = None) -> Tensor:
        """Return fields ``(B, C, *S)`` before any last function."""
        h = self.tops[0](self.first(latent_BL).reshape(-1, *self.coarse), embedding_BE)
        for up, top in zip(self.ups, self.tops[1:], strict=True):
            h = top(up(h), embedding_BE)
        result: Tensor = self.last(h)
        return result


class Discriminator(nn.Module):
    """Convolutional discriminator: stages that halve the grid, then one number (DCGAN).

    With an embedding it is a projection discriminator (Miyato and Koyama 2018, doi:10.48550/arXiv.1802.05637).

    Parameters
    ----------
    dims, in_channels, side, widths, embedding
        As of :class:`Generator`.
    kernel
        Side of the convolutions: 4, or 3 as in the Keras networks of many courses.
    dropout
        Share of the last features dropped in training.
    spectral
        Divide each weight by its largest singular value (Miyato et al. 2018, doi:10.48550/arXiv.1802.05957).
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        *,
        side: int,
        widths: Sequence[int],
        embedding: int = 0,
        kernel: int = 4,
        dropout: float = 0.0,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        wrap = spectral_norm if spectral else _unchanged
        wide = (in_channels, *widths)
        self.downs = nn.ModuleList(
            wrap(_CONV[dims](a, b, kernel, stride=2, padding=1)) for a, b in itertools.pairwise(wide)
        )
        self.dropout = nn.Dropout(dropout)
        self.widths = tuple(widths)
        self.length = widths[-1] * (side // 2 ** len(widths)) ** dims
        self.last = wrap(nn.Linear(self.length, 1))
        self.projection = wrap(nn.Linear(embedding, widths[-1], bias=False)) if embedding else None

    def forward(self, x_BCS: Tensor, embedding_BE: Tensor | None = None) -> Tensor:
        """Return one number per sample ``(B,)``, high for real ones."""
        return self.judged(self.stages(x_BCS)[-1], embedding_BE)

    def stages(self, x_BCS: Tensor) -> list[Tensor]:
        """Return what comes out of each stage, from fine to coarse, each ``(B, width, *grid)``."""
        h, seen = x_BCS, []
        for down in self.downs:
            h = functional.leaky_relu(down(h), SLOPE)
            seen.append(h)
        return seen

    def judged(self, h: Tensor, embedding_BE: Tensor | None = None) -> Tensor:
        """Return one number per sample ``(B,)`` of what comes out of the last stage."""
        logits: Tensor = self.last(self.dropout(h.flatten(1)))[:, 0]
        if self.projection is not None and embedding_BE is not None:
            logits = logits + (self.projection(embedding_BE) * h.flatten(2).mean(dim=2)).sum(dim=1)
        return logits


class DenseGenerator(nn.Module):
    """Fully connected generator (Goodfellow et al. 2014, doi:10.48550/arXiv.1406.2661).

    Parameters
    ----------
    latent
        Length of the latent vector.
    shape
        ``(C, *S)`` of a sample.
    widths
        Units of the hidden layers.
    normalise
        Normalise each hidden layer of each sample (layer normalisation).
    """

    def __init__(self, latent: int, shape: Sequence[int], *, widths: Sequence[int], normalise: bool = True) -> None:
        super().__init__()
        self.shape, wide = tuple(shape), (latent, *widths)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(wide, widths, strict=False))
        self.norms = nn.ModuleList(nn.LayerNorm(b) if normalise else nn.Identity() for b in widths)
        self.last = nn.Linear(wide[-1], math.prod(self.shape))

    def forward(self, latent_BL: Tensor, embedding_BE: Tensor | None = None) -> Tensor:
        """Return fields ``(B, C, *S)`` before any last function."""
        h = latent_BL
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            h = functional.leaky_relu(norm(layer(h)), SLOPE)
        result: Tensor = self.last(h).reshape(-1, *self.shape)
        return result


class DenseDiscriminator(nn.Module):
    """Fully connected discriminator; parameters as of :class:`DenseGenerator` and :class:`Discriminator`."""

    def __init__(
        self, shape: Sequence[int], *, widths: Sequence[int], dropout: float = 0.0, spectral: bool = False
    ) -> None:
        super().__init__()
        wrap = spectral_norm if spectral else _unchanged
        wide = (math.prod(shape), *widths)
        self.hidden = nn.ModuleList(wrap(nn.Linear(a, b)) for a, b in zip(wide, widths, strict=False))
        self.dropout = nn.Dropout(dropout)
        self.last = wrap(nn.Linear(wide[-1], 1))

    def forward(self, x_BCS: Tensor, embedding_BE: Tensor | None = None) -> Tensor:
        """Return one number per sample ``(B,)``, high for real ones."""
        h = x_BCS.flatten(1)
        for layer in self.hidden:
            h = functional.leaky_relu(layer(h), SLOPE)
        result: Tensor = self.last(self.dropout(h))[:, 0]
        return result


class _Top(nn.Module):
    """What follows the layer of a stage: normalisation, modulation, rectifier."""

    def __init__(self, wide: int, embedding: int, *, normalise: bool) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(math.gcd(16, wide), wide) if normalise else nn.Identity()
        self.modulation = nn.Linear(embedding, 2 * wide) if embedding else None

    def forward(self, x_BCS: Tensor, embedding_BE: Tensor | None) -> Tensor:
        h: Tensor = self.norm(x_BCS)
        if self.modulation is not None and embedding_BE is not None:
            told = self.modulation(embedding_BE).reshape(len(h), -1, *(1,) * (h.ndim - 2))
            scale, shift = told.chunk(2, dim=1)
            h = torch.addcmul(shift, h, 1 + scale)
        return functional.leaky_relu(h, SLOPE)


def _up(dims: int, wide: int, narrow: int, kind: Upsampling) -> nn.Module:
    if kind == "transposed":
        return _TRANSPOSED[dims](wide, narrow, 4, stride=2, padding=1)
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), _CONV[dims](wide, narrow, 3, padding=1))


def _unchanged(module: nn.Module) -> nn.Module:
    return module


def initialise(module: nn.Module, std: float) -> None:
    """Draw the weights of all linear and convolutional layers from N(0, std), with biases of zero (DCGAN: 0.02)."""
    layers: Any = [m for m in module.modules() if isinstance(m, (nn.Linear, *_CONV.values(), *_TRANSPOSED.values()))]
    for layer in layers:
        normed = hasattr(layer, "parametrizations")
        nn.init.normal_(layer.parametrizations.weight.original if normed else layer.weight, 0.0, std)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
