"""Encoder and decoder of the KL autoencoder: one definition for pictures and volumes.

Layer for layer the autoencoder of latent diffusion (Rombach et al. 2022, doi:10.48550/arXiv.2112.10752) as MONAI's
``AutoencoderKL`` has it, without attention, so that any size may be given; a test copies the weights and compares.
Beyond it: wrapping around at the borders, folding pixels into channels, and blocks that an embedding modulates.

Shapes: B batch, C channels, E embedding, S one or more spatial axes (``Y, X`` or ``Z, Y, X``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from microgen.nets.unet import fold, unfold

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}


@dataclass(frozen=True)
class Shape:
    """What encoder and decoder have in common.

    Attributes
    ----------
    dims
        2 for pictures, 3 for volumes.
    channels
        Width at each level, the finest first; every level halves the grid.
    blocks
        Residual blocks per level.
    patch
        Side of the squares that are folded into channels at the fine end.
    dropout
        Share of activations dropped inside the blocks in training.
    circular
        Wrap around at the borders.
    """

    dims: int
    channels: Sequence[int] = (64, 96, 128)
    blocks: int = 2
    patch: int = 1
    dropout: float = 0.0
    circular: bool = False

    @property
    def factor(self) -> int:
        """Grid points of the field per grid point of the latent, along each axis."""
        return int(self.patch * 2 ** (len(self.channels) - 1))

    def conv(self, wide_in: int, wide_out: int) -> nn.Module:
        """Convolution of side 3 that keeps the grid."""
        mode: Literal["circular", "zeros"] = "circular" if self.circular else "zeros"
        return _CONV[self.dims](wide_in, wide_out, 3, padding=1, padding_mode=mode)


class Encoder(nn.Module):
    """From a field to its latent grid, :attr:`Shape.factor` times coarser along each axis."""

    def __init__(self, shape: Shape, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.shape = shape
        width = shape.channels[0]
        self.layers = nn.ModuleList([shape.conv(in_channels * shape.patch**shape.dims, width)])
        for level, wide in enumerate(shape.channels):
            for _ in range(shape.blocks):
                self.layers.append(_Block(shape, width, wide))
                width = wide
            if level < len(shape.channels) - 1:
                self.layers.append(_Down(shape, width))
        self.layers += [_norm(width), shape.conv(width, out_channels)]

    def forward(self, x_BCS: Tensor) -> Tensor:
        """Return the latent grid; the sides of `x_BCS` are multiples of :attr:`Shape.factor`."""
        h = fold(x_BCS, self.shape.patch)
        for layer in self.layers:
            h = layer(h)
        return h


class Decoder(nn.Module):
    """From a latent grid of any size to a field; `embedding` is the length of the modulating vector, 0 for none."""

    def __init__(self, shape: Shape, in_channels: int, out_channels: int, *, embedding: int = 0) -> None:
        super().__init__()
        self.shape = shape
        width = shape.channels[-1]
        self.layers = nn.ModuleList([shape.conv(in_channels, width)])
        for level, wide in reversed(list(enumerate(shape.channels))):
            for _ in range(shape.blocks):
                self.layers.append(_Block(shape, width, wide, embedding))
                width = wide
            if level:
                self.layers.append(_Up(shape, width))
        self.layers += [_norm(width), shape.conv(width, out_channels * shape.patch**shape.dims)]

    def forward(self, z_BCS: Tensor, embedding_BE: Tensor | None = None) -> Tensor:
        """Return the field, :attr:`Shape.factor` times finer along each axis."""
        h = z_BCS
        for layer in self.layers:
            h = layer(h, embedding_BE) if isinstance(layer, _Block) else layer(h)
        return unfold(h, self.shape.patch)

    @property
    def reach(self) -> int:
        """Latent grid points, rounded up, that a point of the field looks at on each side."""
        fine = [2.0**-level for level in range(len(self.shape.channels))]
        return math.ceil(1 + sum(2 * self.shape.blocks * f for f in fine) + sum(fine[1:]) + fine[-1])


class _Block(nn.Module):
    """Residual block; an embedding, where there is one, scales and shifts after the second normalisation."""

    def __init__(self, shape: Shape, wide_in: int, wide_out: int, embedding: int = 0) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(wide_in), shape.conv(wide_in, wide_out)
        self.norm2, self.conv2 = _norm(wide_out), shape.conv(wide_out, wide_out)
        for parameter in self.conv2.parameters():
            nn.init.zeros_(parameter)
        self.dropout = nn.Dropout(shape.dropout)
        self.skip = nn.Identity() if wide_in == wide_out else _CONV[shape.dims](wide_in, wide_out, 1)
        self.modulation = nn.Linear(embedding, 2 * wide_out) if embedding else None

    def forward(self, x_BCS: Tensor, embedding_BE: Tensor | None = None) -> Tensor:
        h = self.norm2(self.conv1(functional.silu(self.norm1(x_BCS))))
        if self.modulation is not None and embedding_BE is not None:
            scale, shift = self.modulation(embedding_BE).reshape(len(h), -1, *(1,) * (h.ndim - 2)).chunk(2, dim=1)
            h = h * (1 + scale) + shift
        result: Tensor = self.skip(x_BCS) + self.conv2(self.dropout(functional.silu(h)))
        return result


class _Down(nn.Module):
    def __init__(self, shape: Shape, wide: int) -> None:
        super().__init__()
        self.mode = "circular" if shape.circular else "constant"
        self.conv = _CONV[shape.dims](wide, wide, 3, stride=2)

    def forward(self, x_BCS: Tensor) -> Tensor:
        result: Tensor = self.conv(functional.pad(x_BCS, (0, 1) * (x_BCS.ndim - 2), mode=self.mode))
        return result


class _Up(nn.Module):
    def __init__(self, shape: Shape, wide: int) -> None:
        super().__init__()
        self.conv = shape.conv(wide, wide)

    def forward(self, x_BCS: Tensor) -> Tensor:
        result: Tensor = self.conv(functional.interpolate(x_BCS, scale_factor=2.0, mode="nearest"))
        return result


def _norm(wide: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(32, wide) if wide >= 32 else 1, wide, eps=1e-6)
