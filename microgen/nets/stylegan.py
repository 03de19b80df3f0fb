"""Generator, discriminator and reader of style-based GANs: one definition for pictures and volumes.

Karras et al. 2019 (StyleGAN, doi:10.48550/arXiv.1812.04948) and Karras et al. 2020 (StyleGAN2,
doi:10.48550/arXiv.1912.04958).

Shapes: B batch, C channels, E embedding, L styled layers, N numbers of the conditions, W length of a style,
S one or more spatial axes (``Y, X`` or ``Z, Y, X``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from microgen.nets.equalised import CONV, EqualConv, EqualLinear, blurred, over, rectified, unit, upsampled

Modulation = Literal["modulated", "adain"]

GROUP = 4
"""Samples among which the minibatch standard deviation is taken."""
NOISE = 0.1
"""Strength of the noise inputs before training; 0 in the papers, where a new network ignores them."""
_TRANSPOSED: dict[int, Any] = {2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


def adain(x_BCS: Tensor, scale_BC: Tensor, shift_BC: Tensor) -> Tensor:
    """Give each channel of each sample another mean and spread: ``scale (x - mean) / std + shift``.

    Adaptive instance normalisation (Huang and Belongie 2017, doi:10.48550/arXiv.1703.06868, equation 8); mean and
    standard deviation are those of the channel of one sample.
    """
    axes = tuple(range(2, x_BCS.ndim))
    centred = x_BCS - x_BCS.mean(dim=axes, keepdim=True)
    spread = (centred.square().mean(dim=axes, keepdim=True) + 1e-8).sqrt()
    return over(scale_BC, x_BCS) * centred / spread + over(shift_BC, x_BCS)


def modulated_convolution(
    x_BCS: Tensor, weight: Tensor, style_BC: Tensor, *, demodulate: bool = True, up: bool = False
) -> Tensor:
    """Convolve each sample with weights of its own (StyleGAN2, equations 1 and 3).

    The weights of each input channel are scaled by the style of the sample, and then those of each output channel to
    unit length. Scaling the input and the output instead gives the same, and one convolution serves the whole batch.

    Parameters
    ----------
    x_BCS
        Features.
    weight
        ``(out, in, *kernel)``, odd kernel.
    style_BC
        One factor per input channel.
    demodulate
        Scale the weights of each output channel to unit length.
    up
        Double the grid: a transposed convolution of stride 2, then a blur, so that no checkerboard is left.
    """
    h = x_BCS * over(style_BC, x_BCS)
    h = _doubled(h, weight) if up else CONV[x_BCS.ndim - 2](h, weight, padding=weight.shape[-1] // 2)
    if not demodulate:
        return h
    squares = style_BC.square() @ weight.square().flatten(2).sum(dim=2).T
    return h * over((squares + 1e-8).rsqrt(), h)


class Mapping(nn.Module):
    """From white noise, scaled to unit length, and embedded conditions to a style: a multilayer perceptron.

    Parameters
    ----------
    latent
        Length of the noise.
    embedding
        Length of the vector that carries the conditions, 0 for none.
    width, depth
        Length of a style, and number of layers.
    rate
        Learning rate over that of the other layers (StyleGAN, appendix C: 0.01).
    """

    def __init__(self, latent: int, embedding: int, *, width: int, depth: int, rate: float) -> None:
        super().__init__()
        wide = (latent + embedding, *(width,) * depth)
        self.layers = nn.ModuleList(EqualLinear(a, b, rate=rate) for a, b in itertools.pairwise(wide))

    def forward(self, latent_BL: Tensor, embedding_BE: Tensor | None = None) -> Tensor:
        """Return styles ``(B, W)``."""
        h = unit(latent_BL)
        if embedding_BE is not None:
            h = torch.cat([h, embedding_BE], dim=1)
        for layer in self.layers:
            h = rectified(layer(h))
        return h


class Asked(nn.Module):
    """Conditions as a vector of unit length, which turns smoothly with them: one layer (StyleGAN2-ADA, appendix).

    Parameters
    ----------
    count
        How many numbers.
    width
        Length of the vector.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.layer = EqualLinear(2 * count, width)
        nn.init.normal_(self.layer.bias)  # so that the length of no number is lost

    def forward(self, numbers_BN: Tensor, present_BN: Tensor) -> Tensor:
        """Embed numbers of about -1 .. 1; one whose `present_BN` is 0 leaves no trace."""
        return unit(self.layer(torch.cat([numbers_BN * present_BN, present_BN], dim=1)))


class Layer(nn.Module):
    """One styled layer: convolution, noise, bias, rectifier, with the style before (modulated) or after (adain).

    Parameters
    ----------
    dims, inputs, outputs
        Axes and channels; with 0 inputs there is no convolution.
    style
        Length of a style.
    modulation
        See :class:`Synthesis`.
    up
        Double the grid.
    """

    def __init__(
        self, dims: int, inputs: int, outputs: int, *, style: int, modulation: Modulation, up: bool = False
    ) -> None:
        super().__init__()
        self.modulation, self.up = modulation, up
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3, *(3,) * (dims - 2))) if inputs else None
        self.gain = 1 / math.sqrt(max(1, inputs) * 3**dims)
        self.bias = nn.Parameter(torch.zeros(outputs))
        modulated = modulation == "modulated"
        self.strength = nn.Parameter(torch.full((1 if modulated else outputs,), NOISE))
        self.affine = EqualLinear(style, inputs if modulated else 2 * outputs)
        nn.init.ones_(self.affine.bias[: inputs if modulated else outputs])

    def forward(self, x_BCS: Tensor, style_BW: Tensor, noise_B1S: Tensor) -> Tensor:
        """Return the features of the next layer."""
        style = self.affine(style_BW)
        noise = over(self.strength[None], x_BCS) * noise_B1S
        h = rectified(self._convolved(x_BCS, style) + noise + over(self.bias[None], x_BCS))
        return h if self.modulation == "modulated" else adain(h, *style.chunk(2, dim=1))

    def _convolved(self, x_BCS: Tensor, style_BC: Tensor) -> Tensor:
        if self.weight is None:
            return x_BCS
        if self.modulation == "modulated":
            return modulated_convolution(x_BCS, self.weight * self.gain, style_BC, up=self.up)
        weight = self.weight * self.gain
        result: Tensor = _doubled(x_BCS, weight) if self.up else CONV[x_BCS.ndim - 2](x_BCS, weight, padding=1)
        return result


class Output(nn.Module):
    """From features to the field: a convolution of one point, modulated but not demodulated, or plain with adain."""

    def __init__(self, dims: int, inputs: int, outputs: int, *, style: int, modulation: Modulation) -> None:
        super().__init__()
        self.convolution = EqualConv(dims, inputs, outputs, 1)
        self.affine = EqualLinear(style, inputs, bias=1.0) if modulation == "modulated" else None

    def forward(self, x_BCS: Tensor, style_BW: Tensor) -> Tensor:
        """Return what this stage adds to the field."""
        if self.affine is not None:
            x_BCS = x_BCS * over(self.affine(style_BW), x_BCS)
        result: Tensor = self.convolution(x_BCS)
        return result


class Synthesis(nn.Module):
    """From styles and noise to a field: a learned constant, then stages of two layers that double the grid.

    The field is the sum of what each stage adds to it, doubled from stage to stage (StyleGAN2, section 4.1).

    Parameters
    ----------
    dims
        2 for pictures, 3 for volumes.
    out_channels
        Channels of the field.
    side
        Grid points of a sample along each axis; divisible by two to the number of `widths` less one.
    widths
        Channels on each grid from fine to coarse.
    style
        Length of a style.
    modulation
        ``"modulated"``: styles scale the weights, which are then brought back to unit length (StyleGAN2); ``"adain"``:
        styles set mean and spread of every channel (StyleGAN).
    """

    def __init__(
        self, dims: int, out_channels: int, *, side: int, widths: Sequence[int], style: int, modulation: Modulation
    ) -> None:
        super().__init__()
        coarse, stages, kind = widths[-1], len(widths) - 1, {"style": style, "modulation": modulation}
        self.constant = nn.Parameter(torch.randn(1, coarse, *(side >> stages,) * dims))
        first = [Layer(dims, 0, coarse, **kind)] if modulation == "adain" else []  # type: ignore[arg-type]
        stack: list[list[nn.Module]] = [[*first, Layer(dims, coarse, coarse, **kind)]]  # type: ignore[arg-type]
        for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True):
            pair = (Layer(dims, wide, narrow, up=True, **kind), Layer(dims, narrow, narrow, **kind))  # type: ignore[arg-type]
            stack.append(list(pair))
        self.stages = nn.ModuleList(nn.ModuleList(layers) for layers in stack)
        self.outputs = nn.ModuleList(Output(dims, w, out_channels, **kind) for w in widths[::-1])  # type: ignore[arg-type]
        grids = [(side >> (stages - i),) * dims for i, layers in enumerate(stack) for _ in layers]
        self.noise_shapes = tuple((1, *grid) for grid in grids)
        self.styles = len(grids) + (modulation == "modulated")

    def forward(self, style_BLW: Tensor, noises: Sequence[Tensor]) -> Tensor:
        """Return fields ``(B, C, *S)`` before any last function.

        Parameters
        ----------
        style_BLW
            One style per layer, and with modulation one more for the last output; :attr:`styles` in all.
        noises
            ``(B, *shape)`` for each of :attr:`noise_shapes`.
        """
        h = self.constant.expand(len(style_BLW), *self.constant.shape[1:])
        field, number = None, 0
        for layers, output in zip(self.stages, self.outputs, strict=True):
            for layer in layers:  # type: ignore[attr-defined]
                h = layer(h, style_BLW[:, number], noises[number])
                number += 1
            added = output(h, style_BLW[:, min(number, self.styles - 1)])
            field = added if field is None else upsampled(field) + added
        return torch.as_tensor(field)


class StyleDiscriminator(nn.Module):
    """Residual discriminator of StyleGAN2; with an embedding its last features are compared with the conditions.

    The logit is their scaled product, as in Karras et al. 2020 (doi:10.48550/arXiv.2006.06676), added to a logit that
    does not know the conditions, as in Miyato and Koyama 2018 (doi:10.48550/arXiv.1802.05637).

    Parameters
    ----------
    dims, in_channels, side
        As of :class:`Synthesis`.
    widths
        Channels on each grid from fine to coarse.
    halved
        The first layer halves the grid, and `widths` begin there: half the work, though fewer layers than in the paper.
    embedding
        Length of the vector that carries the conditions, 0 for none.
    deviation
        Show the last layers how much the samples of a group of 4 differ (Karras et al. 2018, section 3).
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        *,
        side: int,
        widths: Sequence[int],
        halved: bool = False,
        embedding: int = 0,
        deviation: bool = True,
    ) -> None:
        super().__init__()
        coarse, self.deviation = side >> (len(widths) - 1 + halved), deviation
        self.first = EqualConv(dims, in_channels, widths[0], 3 if halved else 1, down=halved)
        self.blocks = nn.ModuleList(_Residual(dims, a, b) for a, b in itertools.pairwise(widths))
        self.last = EqualConv(dims, widths[-1] + deviation, widths[-1], 3)
        self.dense = EqualLinear(widths[-1] * coarse**dims, widths[-1])
        self.logit = EqualLinear(widths[-1], 1)
        self.projection = EqualLinear(embedding, widths[-1]) if embedding else None

    def forward(self, x_BCS: Tensor, embedding_BE: Tensor | None = None) -> Tensor:
        """Return one number per sample ``(B,)``, high for real ones."""
        h = rectified(self.first(x_BCS))
        for block in self.blocks:
            h = block(h)
        h = rectified(self.last(with_deviation(h) if self.deviation else h))
        h = rectified(self.dense(h.flatten(1)))
        logits: Tensor = self.logit(h)[:, 0]
        if self.projection is not None and embedding_BE is not None:
            told = unit(self.projection(embedding_BE))
            logits = logits + (h * told).sum(dim=1) / math.sqrt(h.shape[1])
        return logits


class Reader(nn.Module):
    """Reads the conditions from a sample: strided convolutions, and the mean of what they see everywhere.

    Parameters
    ----------
    dims, in_channels
        As of :class:`Synthesis`.
    numbers
        How many are read.
    widths
        Channels after each halving of the grid.
    """

    def __init__(self, dims: int, in_channels: int, numbers: int, *, widths: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        wide = (in_channels, *widths)
        self.downs = nn.ModuleList(EqualConv(dims, a, b, 3, down=True) for a, b in zip(wide, widths, strict=False))
        self.last = EqualLinear(2 * widths[-1], numbers)

    def forward(self, x_BCS: Tensor) -> Tensor:
        """Return the numbers ``(B, N)`` as networks see them."""
        h = x_BCS
        for down in self.downs:
            h = rectified(down(h))
        flat = h.flatten(2)
        result: Tensor = self.last(torch.cat([flat.mean(dim=2), (flat.var(dim=2) + 1e-8).sqrt()], dim=1))
        return result


def with_deviation(x_BCS: Tensor) -> Tensor:
    """Add a channel with the mean standard deviation among neighbours in the batch, in groups of :data:`GROUP`."""
    group = math.gcd(GROUP, len(x_BCS))
    grouped = x_BCS.reshape(-1, group, *x_BCS.shape[1:])
    spread = (grouped.var(dim=1, correction=0) + 1e-8).sqrt().flatten(1).mean(dim=1)
    channel = spread.repeat_interleave(group).reshape(-1, *(1,) * (x_BCS.ndim - 1))
    return torch.cat([x_BCS, channel.expand(-1, 1, *x_BCS.shape[2:])], dim=1)


class _Residual(nn.Module):
    """Two convolutions that halve the grid, beside a shorter way of one."""

    def __init__(self, dims: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.one = EqualConv(dims, inputs, inputs, 3)
        self.two = EqualConv(dims, inputs, outputs, 3, down=True)
        self.short = EqualConv(dims, inputs, outputs, 1, down=True, bias=False)

    def forward(self, x_BCS: Tensor) -> Tensor:
        result: Tensor = (rectified(self.two(rectified(self.one(x_BCS)))) + self.short(x_BCS)) / math.sqrt(2)
        return result


def _doubled(x_BCS: Tensor, weight: Tensor) -> Tensor:
    """Convolve on a grid twice as fine, whose new points are zero, then blur."""
    dims = x_BCS.ndim - 2
    wide = _TRANSPOSED[dims](x_BCS, weight.transpose(0, 1), stride=2)
    return blurred(wide, gain=2.0**dims)
