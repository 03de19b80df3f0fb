"""Networks of spatial GANs: nothing in them knows where the border is, so that any canvas is possible.

Jetchev et al. 2016 (SGAN, doi:10.48550/arXiv.1611.08207), Bergmann et al. 2017 (PSGAN,
doi:10.48550/arXiv.1705.06566).

Shapes: B batch, C channels, E embedding, G global numbers, K periodic channels, P places, S one or more spatial axes
(``Y, X`` or ``Z, Y, X``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from microgen.nets.gan import SLOPE, Upsampling

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_TINY = 1e-6


class SpatialGenerator(nn.Module):
    """From a field of latent cells to a field of points, each stage of twice as many points as the one before.

    No layer pads: what comes out at a place is made of the cells around it and of nothing else, wherever the place is.
    So it takes :attr:`margin` cells more on every side than it fills.

    Parameters
    ----------
    dims
        2 for pictures, 3 for volumes.
    in_channels, out_channels
        Channels of a cell and of the field.
    widths
        Channels after each stage, from fine to coarse.
    kernel
        Side of the convolutions of the stages, odd.
    last_kernel
        Side of a last convolution at full size, odd; 0: the last stage makes the field itself, as in the papers, and
        the grid is doubled once more often than there are `widths`.
    upsampling
        ``"resize"``: nearest neighbours, then a convolution; ``"transposed"``: stride 2, as in the papers.
    normalise
        Divide by the root mean square of the channels at each place (Karras et al. 2018,
        doi:10.48550/arXiv.1710.10196) where the papers have batch normalisation, which would tie places together.

    Attributes
    ----------
    factor
        Points per cell along each axis.
    margin
        Cells around those that are filled.
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        out_channels: int,
        *,
        widths: Sequence[int],
        kernel: int = 3,
        last_kernel: int = 3,
        upsampling: Upsampling = "resize",
        normalise: bool = True,
    ) -> None:
        super().__init__()
        wide = (in_channels, *widths[::-1], *(() if last_kernel else (out_channels,)))
        self.ups = nn.ModuleList(_up(dims, a, b, kernel, upsampling) for a, b in itertools.pairwise(wide))
        self.tops = nn.ModuleList(_Top(w, normalise=normalise) for w in widths[::-1])
        self.last = _CONV[dims](widths[0], out_channels, last_kernel) if last_kernel else nn.Identity()
        self.factor: int = 2 ** len(self.ups)
        self._lost = kernel - 1 if upsampling == "resize" else kernel - 2
        self._lost_last = max(last_kernel - 1, 0)
        self.margin = next(m for m in itertools.count() if self.side(1 + 2 * m) >= self.factor)

    def side(self, cells: int) -> int:
        """Return how many points come of `cells` along an axis, before those in excess are cut off.

        ``(cells - c) factor + c``, with c the points that a stage loses, less what the last convolution loses.

        >>> paper = SpatialGenerator(2, 1, 1, widths=(1,) * 4, kernel=5, last_kernel=0, upsampling="transposed")
        >>> paper.side(8), (8 - 3) * 32 + 3, paper.margin
        (163, 163, 2)
        """
        return (cells - self._lost) * self.factor + self._lost - self._lost_last

    def forward(self, cells_BCS: Tensor) -> Tensor:
        """Return the field, of :attr:`factor` points for each cell that is not margin."""
        h = cells_BCS
        for up, top in itertools.zip_longest(self.ups, self.tops):
            h = up(h) if top is None else top(up(h))
        h = self.last(h)
        sides = [(n - 2 * self.margin) * self.factor for n in cells_BCS.shape[2:]]
        starts = [(h.shape[2 + axis] - side) // 2 for axis, side in enumerate(sides)]
        return cut(h, [slice(start, start + side) for start, side in zip(starts, sides, strict=True)])


class SpatialDiscriminator(nn.Module):
    """Strided convolutions to a field of logits, one for each place of a coarse grid.

    With an embedding it is a projection discriminator (Miyato and Koyama 2018, doi:10.48550/arXiv.1802.05637) at each
    place.

    Parameters
    ----------
    dims, in_channels
        As of :class:`SpatialGenerator`.
    widths
        Channels from fine to coarse; one more layer makes the logits, so the grid is halved once more often.
    embedding
        Length of the vectors that carry the conditions of each place, 0 for none.
    kernel
        Side of the convolutions.
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
        widths: Sequence[int],
        embedding: int = 0,
        kernel: int = 4,
        dropout: float = 0.0,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        conv, pad = _CONV[dims], (kernel - 1) // 2
        layers = [conv(a, b, kernel, 2, pad) for a, b in itertools.pairwise((in_channels, *widths, 1 + embedding))]
        self.layers = nn.ModuleList(spectral_norm(layer) if spectral else layer for layer in layers)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BCS: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``(B, *P)``, and vectors ``(B, E, *P)`` to be multiplied with the embedding of each place."""
        h = x_BCS
        *downs, last = self.layers
        for down in downs:
            h = functional.leaky_relu(down(h), SLOPE)
        made = last(self.dropout(h))
        return made[:, 0], made[:, 1:]


class SlowEmbedding(nn.Module):
    """Conditions as a vector that changes slowly with them.

    Fast features of a number, the Fourier features of :class:`microgen.nets.Embedding` among them, make a generator
    that is told maps read the layout of its picture from their small changes; where nothing changes it then fails.

    Parameters
    ----------
    count
        How many numbers.
    width
        Length of the vector.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * count, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, numbers_BN: Tensor, present_BN: Tensor) -> Tensor:
        """Embed numbers of about -1 .. 1; those whose `present_BN` is 0 leave no trace."""
        made: Tensor = self.layers(torch.cat([numbers_BN * present_BN, present_BN], dim=1))
        return made


class WaveVectors(nn.Module):
    """From the global numbers of a sample to the wave vectors of its periodic channels (PSGAN, section 3).

    Parameters
    ----------
    dims
        Axes.
    count
        Periodic channels K.
    numbers
        Global numbers G.
    hidden
        Units of the hidden layer.
    """

    def __init__(self, dims: int, count: int, numbers: int, *, hidden: int = 60) -> None:
        super().__init__()
        self.dims = dims
        self.layers = nn.Sequential(nn.Linear(numbers, hidden), nn.ReLU(), nn.Linear(hidden, count * dims))

    def spread(self) -> None:
        """Start from wave vectors all over the frequencies that cells can show, not from constants."""
        bias = self.layers[2].bias
        nn.init.uniform_(torch.as_tensor(bias), -math.pi, math.pi)

    def forward(self, global_BG: Tensor) -> Tensor:
        """Return wave vectors ``(B, K, dims)`` in radians per cell."""
        made: Tensor = self.layers(global_BG)
        return made.reshape(len(made), -1, self.dims)


def waves(vectors_BKD: Tensor, phase_BK: Tensor, positions: Sequence[Tensor]) -> Tensor:
    """Return plane waves ``sin(k . x + phase)`` at the cells of a grid, ``(B, K, *S)`` (PSGAN, equation 3).

    Parameters
    ----------
    vectors_BKD
        Wave vectors in radians per cell.
    phase_BK
        In radians.
    positions
        Numbers of the cells along each axis.

    Examples
    --------
    >>> x = torch.arange(4.0)
    >>> waves(torch.tensor([[[0.0, torch.pi / 2]]]), torch.zeros(1, 1), [x[:1], x]).round().flatten().abs()
    tensor([0., 1., 0., 1.])
    """
    dims = len(positions)
    angle = phase_BK.reshape(*phase_BK.shape, *(1,) * dims)
    for axis, where in enumerate(positions):
        along = where.reshape([-1 if k == axis else 1 for k in range(dims)])
        angle = angle + vectors_BKD[..., axis].reshape(*phase_BK.shape, *(1,) * dims) * along
    return angle.sin()


def cut(field: Tensor, box: Sequence[slice]) -> Tensor:
    """Return a box of the last axes of a field."""
    index: Any = (..., *box)
    inside: Tensor = field[index]
    return inside


class _Top(nn.Module):
    """What follows the layer of a stage, place by place: normalisation, gain and offset, rectifier."""

    def __init__(self, wide: int, *, normalise: bool) -> None:
        super().__init__()
        self.normalise = normalise
        self.gain, self.offset = nn.Parameter(torch.ones(wide)), nn.Parameter(torch.zeros(wide))

    def forward(self, x_BCS: Tensor) -> Tensor:
        h = x_BCS
        if self.normalise:
            h = h * torch.rsqrt(h.square().mean(dim=1, keepdim=True) + _TINY)
        gain, offset = (p.reshape(-1, *(1,) * (h.ndim - 2)) for p in (self.gain, self.offset))
        return functional.leaky_relu(torch.addcmul(offset, h, gain), SLOPE)


def _up(dims: int, wide: int, narrow: int, kernel: int, kind: Upsampling) -> nn.Module:
    if kind == "transposed":  # all points that cells beyond the grid would add to are left out
        return _TRANSPOSED[dims](wide, narrow, kernel, stride=2, padding=kernel - 2)
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), _CONV[dims](wide, narrow, kernel))
