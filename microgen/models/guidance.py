"""Functions from denoiser to denoiser: guidance, periodicity and canvases of any size; they compose.

Where a denoiser takes condition maps, they ride along as further channels of `x` (:func:`with_maps`), so that
padding and windows move both alike.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from microgen.core import InputError
from microgen.models.samplers import Denoise

DIRECT_POINTS = 2**20
"""Grid points up to which a canvas is denoised in one go: 1024 x 1024 or about 100 cubed."""


def guided(
    conditional: Denoise, unconditional: Denoise, weight: float, *, interval: tuple[float, float] = (0.0, math.inf)
) -> Denoise:
    """Push samples toward the condition (classifier-free guidance, Ho & Salimans 2022, doi:10.48550/arXiv.2207.12598).

    Parameters
    ----------
    weight
        0 ignores the condition, 1 is the conditional model as trained, more than 1 exaggerates it.
    interval
        Noise levels ``low < sigma <= high`` where the weight holds; elsewhere the conditional model is used
        alone, which costs one evaluation and keeps variety (Kynkäänniemi et al. 2024, doi:10.48550/arXiv.2404.07724).
    """
    low, high = interval
    check_interval(low, high)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        if weight == 1 or not low < float(sigma.max()) <= high:
            return conditional(x, sigma)
        base = unconditional(x, sigma)
        return base if weight == 0 else torch.lerp(base, conditional(x, sigma), weight)

    return denoise


def check_interval(low: float, high: float) -> None:
    """Refuse an interval of noise levels that is empty or reaches below 0."""
    if not 0 <= low < high:
        raise InputError(f"the guidance interval must be 0 <= low < high, got {low:g} and {high:g}")


def with_maps(denoise: Denoise, maps: Tensor) -> Denoise:
    """Append condition maps ``(B or 1, M, *S)`` to the channels of `x` before `denoise` sees it."""
    return lambda x, sigma: denoise(torch.cat([x, maps.to(x).expand(len(x), *maps.shape[1:])], 1), sigma)


def wrapped(denoise: Denoise, margin: int | Sequence[int]) -> Denoise:
    """Make samples that tile without a seam: wrap `x` around by `margin` on every side, denoise, cut off again.

    The margin should cover what the network looks at around a point. A network with circular padding does not
    need this.
    """

    def periodic(x: Tensor, sigma: Tensor) -> Tensor:
        grid = x.shape[2:]
        margins = [margin] * len(grid) if isinstance(margin, int) else list(margin)
        padded = x
        for axis, (n, m) in enumerate(zip(grid, margins, strict=True), start=2):
            padded = padded.index_select(axis, torch.arange(-m, n + m, device=x.device) % n)
        inner: Any = (..., *(slice(m, m + n) for n, m in zip(grid, margins, strict=True)))
        return denoise(padded, sigma)[inner]

    return periodic


def tiled(
    denoise: Denoise, window: Sequence[int], overlap: Sequence[int], *, periodic: bool | Sequence[bool] = False
) -> Denoise:
    """Denoise a canvas of any size through overlapping windows, whose results are blended at every noise level.

    Because the windows agree before the next step, the canvas has no seams (MultiDiffusion, Bar-Tal et al. 2023,
    doi:10.48550/arXiv.2302.08113, here with smooth weights). Memory is that of the canvas and one window.

    Parameters
    ----------
    window
        Grid points of a window along each axis; an axis of the canvas that is shorter is taken whole.
    overlap
        Grid points that neighbouring windows share at least.
    periodic
        Let windows wrap around the borders (all axes, or one answer per axis).
    """
    if any(not 0 <= o < w for w, o in zip(window, overlap, strict=True)):
        raise InputError(f"windows of {tuple(window)} cannot overlap by {tuple(overlap)}; the overlap must be smaller")

    def blended(x: Tensor, sigma: Tensor) -> Tensor:
        grid = x.shape[2:]
        wraps = [periodic] * len(grid) if isinstance(periodic, bool) else list(periodic)
        axes = [_spans(n, w, o, wraps=r) for n, w, o, r in zip(grid, window, overlap, wraps, strict=True)]
        total, weights = x.new_zeros(0), x.new_zeros(grid)
        for index, weight in _windows(axes, x):
            where: Any = (slice(None), slice(None), *index)
            part = denoise(x[where].contiguous(), sigma)
            if not total.numel():
                total = x.new_zeros((*part.shape[:2], *grid))
            total[where] += weight * part
            weights[index] += weight
        return total / weights

    return blended


def canvas(
    denoise: Denoise,
    shape: Sequence[int],
    patch: Sequence[int],
    *,
    periodic: bool = False,
    circular: bool = False,
    window: int | None = None,
) -> Denoise:
    """Choose how a canvas of `shape` is denoised: in one go while that fits into memory, else through windows.

    Parameters
    ----------
    patch
        Training crop: how far the borders of windows and of periodic canvases overlap.
    periodic
        The canvas shall tile without a seam.
    circular
        Whether the network wraps around by itself at this shape. In windows it then sees their own far side instead
        of what lies beyond them; blending, which gives the borders of windows no weight, hides that as it hides
        the zeros that other networks see there.
    window
        Side of the windows; default is the whole canvas up to :data:`DIRECT_POINTS`, beyond it 512 (64 in 3-D).
    """
    if window is None and math.prod(shape) <= DIRECT_POINTS:
        return wrapped(denoise, patch) if periodic and not circular else denoise
    side = max(window or {2: 512, 3: 64}[len(shape)], 16)
    whole = [n <= side for n in shape]
    if periodic and not circular:
        denoise = wrapped(denoise, [p if w else 0 for p, w in zip(patch, whole, strict=True)])
    return tiled(denoise, [side] * len(shape), [min(p, side // 2) for p in patch], periodic=periodic)


def _spans(size: int, window: int, overlap: int, *, wraps: bool) -> list[tuple[Tensor, Tensor]]:
    """Index and weight of each window along one axis; no weight is zero, so every point is covered."""
    if size <= window:
        return [(torch.arange(size), torch.ones(size))]
    count = math.ceil((size if wraps else size - overlap) / (window - overlap))
    ends = size if wraps else size - window
    starts = [round(i * ends / (count if wraps else count - 1)) for i in range(count)]
    ramp = (torch.arange(window) + 0.5) / max(overlap, 1)
    taper = torch.sin(math.pi / 2 * torch.minimum(ramp, ramp.flip(0)).clamp(max=1)) ** 2
    return [((torch.arange(window) + start) % size, taper) for start in starts]


def _windows(axes: list[list[tuple[Tensor, Tensor]]], x: Tensor) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
    """Yield (index, weight) of each window; the index selects the outer product of its axes."""
    for spans in itertools.product(*axes):
        weight = torch.ones((), dtype=torch.float64)
        for _, taper in spans:
            weight = weight[..., None] * taper.double()
        lengths = [len(index) for index, _ in spans]
        index = tuple(
            i.reshape([-1 if k == a else 1 for k in range(len(lengths))]).to(x.device) for a, (i, _) in enumerate(spans)
        )
        yield index, weight.to(x)
