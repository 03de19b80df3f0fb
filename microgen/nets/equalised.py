"""Layers of equal learning rates, blurred resizing and rectifiers of style-based GANs, for pictures and volumes.

Shapes: B batch, C channels, W numbers of a vector, S one or more spatial axes (``Y, X`` or ``Z, Y, X``).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2
"""Of the leaky rectifiers."""
CONV: dict[int, Any] = {2: functional.conv2d, 3: functional.conv3d}
"""Convolutions by number of axes."""


def rectified(x: Tensor) -> Tensor:
    """Leaky rectifier of unit gain: white noise keeps about its mean square."""
    return functional.leaky_relu(x, SLOPE) * math.sqrt(2)


def unit(x: Tensor) -> Tensor:
    """Scale each row ``(B, W)`` to a mean square of one (pixel normalisation of Karras et al. 2018, section 4.2).

    >>> unit(torch.tensor([[3.0, 4.0]])).square().mean().item()
    1.0
    """
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def blurred(x_BCS: Tensor, *, gain: float = 1.0, stride: int = 1, padding: int = 1) -> Tensor:
    """Convolve each channel with the binomial filter 1 3 3 1 along each axis; its sum is `gain`."""
    dims, channels = x_BCS.ndim - 2, x_BCS.shape[1]
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x_BCS.dtype, device=x_BCS.device) / 8
    kernel = line
    for _ in range(dims - 1):
        kernel = kernel[..., None] * line
    kernel = (gain * kernel).expand(channels, 1, *kernel.shape)
    result: Tensor = CONV[dims](x_BCS, kernel, stride=stride, padding=padding, groups=channels)
    return result


def upsampled(x_BCS: Tensor) -> Tensor:
    """Double the grid, linearly: the blur 1 3 3 1 of StyleGAN, with the edges repeated."""
    mode = {2: "bilinear", 3: "trilinear"}[x_BCS.ndim - 2]
    return functional.interpolate(x_BCS, scale_factor=2, mode=mode, align_corners=False)


class EqualLinear(nn.Module):
    """Linear layer whose weights are scaled when used, so that Adam moves all layers equally fast.

    Equalised learning rate (Karras et al. 2018, doi:10.48550/arXiv.1710.10196, section 4.1): weights are kept with unit
    variance and divided by the square root of the number of inputs at run time.

    Parameters
    ----------
    inputs, outputs
        Lengths.
    bias
        First value of the biases.
    rate
        Learning rate of this layer over that of the others.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.gain, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs)`` to ``(B, outputs)``."""
        return functional.linear(x, self.weight * self.gain, self.bias * self.rate)


class EqualConv(nn.Module):
    """Convolution with equalised learning rate (:class:`EqualLinear`).

    Parameters
    ----------
    dims
        2 or 3.
    inputs, outputs
        Channels.
    kernel
        Odd side.
    down
        Halve the grid: means over 2 x 2 points.
    bias
        Add one number per channel.
    """

    def __init__(
        self, dims: int, inputs: int, outputs: int, kernel: int, *, down: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *(kernel,) * dims))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.gain, self.down = 1 / math.sqrt(self.weight[0].numel()), down

    def forward(self, x_BCS: Tensor) -> Tensor:
        """``(B, inputs, *S)`` to ``(B, outputs, *S)``."""
        side, convolve = self.weight.shape[-1], CONV[x_BCS.ndim - 2]
        weight = self.weight * self.gain
        result: Tensor
        if self.down:
            result = convolve(x_BCS, pooled(weight), self.bias, stride=2, padding=side // 2)
        else:
            result = convolve(x_BCS, weight, self.bias, padding=side // 2)
        return result


def pooled(weight: Tensor) -> Tensor:
    """Return the weights that give, with a stride of 2, the means over 2 x 2 points of a convolution with `weight`.

    >>> pooled(torch.ones(1, 1, 1, 1))[0, 0]
    tensor([[0.2500, 0.2500],
            [0.2500, 0.2500]])
    """
    dims = weight.ndim - 2
    padded = functional.pad(weight, (1, 1) * dims)
    return functional.avg_pool2d(padded, 2, stride=1) if dims == 2 else functional.avg_pool3d(padded, 2, stride=1)


def over(values_BC: Tensor, x_BCS: Tensor) -> Tensor:
    """Give one value per channel the axes of a field."""
    return values_BC.reshape(*values_BC.shape, *(1,) * (x_BCS.ndim - 2))
