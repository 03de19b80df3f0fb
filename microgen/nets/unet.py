"""The U-Net: one definition for pictures and volumes.

Shapes: B batch, C channels, E embedding, S one or more spatial axes (``Y, X`` or ``Z, Y, X``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Padding = Literal["zeros", "circular"]

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}


class UNet(nn.Module):
    """Convolutional U-Net whose residual blocks are modulated by an embedding (Dhariwal & Nichol 2021, AdaGN).

    It has no attention, so it may be asked for any size: what it learned from patches holds on large pictures.

    Parameters
    ----------
    dims
        2 for pictures, 3 for volumes.
    in_channels, out_channels
        Channels of input and output.
    channels
        Width at each level; every level halves the grid.
    blocks
        Residual blocks per level, on the way down and again on the way up.
    embedding
        Length of the embedding vector that modulates the blocks.
    patch
        Side of the squares that are folded into channels before the first convolution and unfolded after the last
        one: 2 makes everything four times cheaper (eight times in 3-D).
    dropout
        Share of activations dropped inside the blocks in training.
    circular
        Wrap around at the borders: the network then commutes with shifts and makes periodic structures.
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        out_channels: int,
        *,
        channels: Sequence[int] = (64, 96, 128),
        blocks: int = 2,
        embedding: int = 256,
        patch: int = 1,
        dropout: float = 0.0,
        circular: bool = False,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.padding: Padding = _padding(circular=circular)
        self.multiple = patch * 2 ** (len(channels) - 1)
        fold = patch**dims
        self.stem = _conv(dims, in_channels * fold, channels[0], self.padding)
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        skips = [channels[0]]
        width = channels[0]
        for level, wide in enumerate(channels):
            if level:
                self.down.append(_Down(dims, width, self.padding))
                skips.append(width)
            for _ in range(blocks):
                self.down.append(_Block(dims, width, wide, embedding, dropout, self.padding))
                width = wide
                skips.append(width)
        self.middle = _Block(dims, width, width, embedding, dropout, self.padding)
        for level, wide in reversed(list(enumerate(channels))):
            for _ in range(blocks + 1):
                self.up.append(_Block(dims, width + skips.pop(), wide, embedding, dropout, self.padding))
                width = wide
            if level:
                self.up.append(_Up(dims, width, self.padding))
        self.norm = _norm(width)
        self.head = _zeroed(_conv(dims, width, out_channels * fold, self.padding))

    def forward(self, x_BCS: Tensor, embedding_BE: Tensor) -> Tensor:
        """Return the output field, of the grid of `x_BCS` whatever its size."""
        size = x_BCS.shape[2:]
        h = fold(_padded(x_BCS, self.multiple, "circular" if self.padding == "circular" else "reflect"), self.patch)
        h = self.stem(h)
        skips = [h]
        for layer in self.down:
            h = layer(h, embedding_BE)
            skips.append(h)
        h = self.middle(h, embedding_BE)
        for layer in self.up:
            if isinstance(layer, _Block):
                h = torch.cat([h, skips.pop()], dim=1)
            h = layer(h, embedding_BE)
        h = unfold(self.head(functional.silu(self.norm(h))), self.patch)
        return h[(slice(None), slice(None), *(slice(n) for n in size))]


class Embedding(nn.Module):
    """Sum of embedded numbers, passed through two layers: the vector that modulates the U-Net.

    Each number is seen through cosines and sines of fixed frequencies, evenly spaced on a logarithmic scale
    (Fourier features, Tancik et al. 2020, doi:10.48550/arXiv.2006.10739).

    Parameters
    ----------
    count
        How many numbers.
    width
        Length of the vector.
    """

    def __init__(self, count: int, width: int, *, features: int = 64) -> None:
        super().__init__()
        self.frequencies: Tensor
        # from 1/8 to 8 half turns over a unit step: smooth in the number, yet able to tell close values apart
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.linspace(-3, 3, features // 2))
        self.inputs = nn.ModuleList(nn.Linear(features, width) for _ in range(count))
        self.output = nn.Sequential(nn.SiLU(), nn.Linear(width, width))

    def forward(self, numbers_BN: Tensor, present_BN: Tensor | None = None) -> Tensor:
        """Embed numbers of about -1 .. 1; a number whose `present_BN` is 0 leaves no trace (it is not asked for)."""
        phase = numbers_BN[..., None] * self.frequencies
        waves = torch.cat([phase.cos(), phase.sin()], dim=-1)
        parts = torch.stack([layer(waves[:, i]) for i, layer in enumerate(self.inputs)], dim=1)
        if present_BN is not None:
            parts = parts * present_BN[..., None]
        result: Tensor = self.output(parts.sum(dim=1))
        return result


def fold(x_BCS: Tensor, patch: int) -> Tensor:
    """Move squares (cubes) of side `patch` into channels."""
    if patch == 1:
        return x_BCS
    batch, channels, *grid = x_BCS.shape
    dims = len(grid)
    split = x_BCS.reshape(batch, channels, *(n for g in grid for n in (g // patch, patch)))
    inner = [3 + 2 * i for i in range(dims)]
    outer = [2 + 2 * i for i in range(dims)]
    return split.permute(0, 1, *inner, *outer).reshape(batch, channels * patch**dims, *(g // patch for g in grid))


def unfold(x_BCS: Tensor, patch: int) -> Tensor:
    """Undo :func:`fold`."""
    if patch == 1:
        return x_BCS
    batch, channels, *grid = x_BCS.shape
    dims = len(grid)
    split = x_BCS.reshape(batch, channels // patch**dims, *([patch] * dims), *grid)
    order = [axis for i in range(dims) for axis in (2 + dims + i, 2 + i)]
    return split.permute(0, 1, *order).reshape(batch, -1, *(g * patch for g in grid))


class _Block(nn.Module):
    """Residual block with the embedding as scale and shift of its second normalisation."""

    def __init__(
        self, dims: int, wide_in: int, wide_out: int, embedding: int, dropout: float, padding: Padding
    ) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(wide_in), _conv(dims, wide_in, wide_out, padding)
        self.modulation = nn.Linear(embedding, 2 * wide_out)
        self.norm2, self.conv2 = _norm(wide_out), _zeroed(_conv(dims, wide_out, wide_out, padding))
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Identity() if wide_in == wide_out else _CONV[dims](wide_in, wide_out, 1)

    def forward(self, x_BCS: Tensor, embedding_BE: Tensor) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x_BCS)))
        grid = (1,) * (h.ndim - 2)
        scale, shift = self.modulation(embedding_BE).reshape(h.shape[0], -1, *grid).chunk(2, dim=1)
        h = functional.silu(torch.addcmul(shift, self.norm2(h), 1 + scale))
        result: Tensor = self.skip(x_BCS) + self.conv2(self.dropout(h))
        return result


class _Down(nn.Module):
    def __init__(self, dims: int, wide: int, padding: Padding) -> None:
        super().__init__()
        self.conv = _conv(dims, wide, wide, padding, stride=2)

    def forward(self, x_BCS: Tensor, embedding_BE: Tensor) -> Tensor:
        result: Tensor = self.conv(x_BCS)
        return result


class _Up(nn.Module):
    def __init__(self, dims: int, wide: int, padding: Padding) -> None:
        super().__init__()
        self.conv = _conv(dims, wide, wide, padding)

    def forward(self, x_BCS: Tensor, embedding_BE: Tensor) -> Tensor:
        result: Tensor = self.conv(functional.interpolate(x_BCS, scale_factor=2.0, mode="nearest"))
        return result


def _conv(dims: int, wide_in: int, wide_out: int, padding: Padding, *, stride: int = 1) -> nn.Module:
    return _CONV[dims](wide_in, wide_out, 3, stride=stride, padding=1, padding_mode=padding)


def _padding(*, circular: bool) -> Padding:
    return "circular" if circular else "zeros"


def _norm(wide: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(32, wide) if wide >= 32 else 1, wide, eps=1e-5)


def _zeroed(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def _padded(x_BCS: Tensor, multiple: int, mode: str) -> Tensor:
    """Pad the far end of each spatial axis to a multiple; the caller crops it off again."""
    pads = [-n % multiple for n in x_BCS.shape[2:]]
    if not any(pads):
        return x_BCS
    if mode == "reflect" and any(p >= n for p, n in zip(pads, x_BCS.shape[2:], strict=True)):
        mode = "replicate"
    return functional.pad(x_BCS, [v for p in reversed(pads) for v in (0, p)], mode=mode)
