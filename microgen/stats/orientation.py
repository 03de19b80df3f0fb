"""Direction and anisotropy by the structure tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microgen.core import InputError
from microgen.stats.correlation import checked_spacing

_TRUNCATE = 4.0
_SLAB = 1 << 22  # grid points whose gradients are held at once


@dataclass(frozen=True, eq=False)
class StructureTensor:
    """Mean outer product of the gradient with itself, and what it says about direction.

    Attributes
    ----------
    tensor
        Symmetric, ``(ndim, ndim)`` in the order of the axes ``(Y, X)`` or ``(Z, Y, X)``; unit: squared values
        per square micrometre.
    """

    tensor: NDArray[np.float64]

    @property
    def direction_deg(self) -> float:
        """Direction along which the picture changes least, 0 to 180 degrees.

        0 is along x, and the angle turns with the arrays from x towards y: as displayed, with y downwards,
        clockwise. For pictures only.
        """
        if self.tensor.shape != (2, 2):
            raise InputError("one angle does not describe a direction in a volume; measure its sections")
        return float(_direction(self.tensor[0, 0], self.tensor[0, 1], self.tensor[1, 1]))

    @property
    def anisotropy(self) -> float:
        """Largest minus smallest eigenvalue over their sum: 0 isotropic, 1 all change along one direction."""
        low, high = self._extremes
        return (high - low) / (high + low) if high > 0 else 0.0

    @property
    def aspect_ratio(self) -> float:
        """Elongation of an isotropic structure that stretching would turn into this one, at least 1.

        Stretching by k divides the gradient along it by k, so it is the root of the ratio of the eigenvalues.
        """
        low, high = self._extremes
        return float(np.sqrt(high / low)) if low > 0 else (float("inf") if high > 0 else 1.0)

    @property
    def _extremes(self) -> tuple[float, float]:
        values = np.linalg.eigvalsh(self.tensor)
        return max(0.0, float(values[0])), float(values[-1])


def structure_tensor(
    values: NDArray[Any],
    *,
    spacing: Sequence[float],
    sigma_px: float = 1.0,
    periodic: bool = False,
    mask: NDArray[Any] | None = None,
) -> StructureTensor:
    """Return the structure tensor of a field, averaged over the picture.

    Parameters
    ----------
    values
        Field of real numbers or booleans, ``(Y, X)`` or ``(Z, Y, X)``.
    spacing
        Micrometres per grid point along each axis.
    sigma_px
        Standard deviation of the Gaussian whose derivatives give the gradient, in grid points along the axis with the
        largest spacing; it is as many micrometres along the others, so that flat pixels look like no anisotropy.
    periodic
        The field wraps around.
    mask
        True where the values are valid; only gradients that see nothing else count.

    References
    ----------
    Bigun, Granlund, Proc. ICCV (1987) 433.
    Rezakhaniha et al., Biomech. Model. Mechanobiol. 11 (2012) 461, doi:10.1007/s10237-011-0325-z.

    Examples
    --------
    >>> x = np.arange(64) * np.ones((64, 1))
    >>> found = structure_tensor(np.sin(x / 3), spacing=(1, 1))
    >>> round(found.direction_deg), round(found.anisotropy, 3)  # the stripes run along y
    (90, 1.0)
    """
    field = np.asarray(values)
    sigma = _widths(sigma_px, checked_spacing(spacing, field.ndim))
    kept = None if mask is None else _undisturbed(np.asarray(mask, dtype=bool), sigma, periodic=periodic)
    total, count = np.zeros((field.ndim, field.ndim)), 0
    for slab, near, core in _slabs(field.shape, int(_TRUNCATE * sigma[0] + 0.5), periodic=periodic):
        gradients = [g[core] for g in _gradients(field[near], spacing, sigma, periodic=periodic)]
        rows = np.stack([g.ravel() if kept is None else g[kept[slab]] for g in gradients])
        total += rows @ rows.T
        count += rows.shape[1]
    return StructureTensor(total / count)


def local_direction(
    values: NDArray[Any],
    *,
    spacing: Sequence[float],
    window_um: float,
    sigma_px: float = 1.0,
    periodic: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return maps of the direction in degrees and the anisotropy around each point of a picture.

    Parameters
    ----------
    values, spacing, sigma_px, periodic
        As in :func:`structure_tensor`; pictures only.
    window_um
        Full width at half maximum of the Gaussian window, in micrometres.

    Returns
    -------
    direction_deg, anisotropy : ndarray
        Both ``(Y, X)``, with the meaning of :class:`StructureTensor`.

    Examples
    --------
    >>> y = np.arange(32)[:, None] * np.ones(32)
    >>> direction, anisotropy = local_direction(np.sin(y), spacing=(1, 1), window_um=8)
    >>> direction.shape, bool(np.allclose(np.minimum(direction, 180 - direction), 0))
    ((32, 32), True)
    """
    if np.ndim(values) != 2:
        raise InputError(f"a map of directions needs a picture (Y, X), got {np.ndim(values)} axes")
    along_y, along_x = _gradients(values, spacing, _widths(sigma_px, spacing), periodic=periodic)
    sigma = [window_um / 2.3548 / s for s in checked_spacing(spacing, 2)]
    mode = "wrap" if periodic else "nearest"
    yy, yx, xx = (ndimage.gaussian_filter(p, sigma, mode=mode) for p in (along_y**2, along_y * along_x, along_x**2))
    trace = yy + xx
    strength = np.hypot(yy - xx, 2 * yx)
    return _direction(yy, yx, xx), np.divide(strength, trace, out=np.zeros_like(trace), where=trace > 0)


def _direction(yy: Any, yx: Any, xx: Any) -> Any:
    """Angle of the eigenvector of the smallest eigenvalue: a quarter turn from the mean gradient."""
    return np.rad2deg(0.5 * np.arctan2(2 * yx, xx - yy) + np.pi / 2) % 180


def _widths(sigma_px: float, spacing: Sequence[float]) -> tuple[float, ...]:
    """Standard deviations in grid points along each axis that are equal in micrometres."""
    return tuple(sigma_px * max(spacing) / s for s in spacing)


def _slabs(shape: tuple[int, ...], reach: int, *, periodic: bool) -> Iterator[tuple[slice, Any, slice]]:
    """Yield parts along the first axis, the layers that their gradients need, and where the part lies in these."""
    n = shape[0]
    thickness = max(2, _SLAB // int(np.prod(shape[1:])))
    if thickness >= n:
        yield slice(0, n), slice(0, n), slice(0, n)
        return
    for start in range(0, n, thickness):
        stop = min(start + thickness, n)
        if periodic:
            yield slice(start, stop), np.arange(start - reach, stop + reach) % n, slice(reach, reach + stop - start)
        else:
            low = max(0, start - reach)
            yield slice(start, stop), slice(low, stop + reach), slice(start - low, stop - low)


def _gradients(
    values: NDArray[Any], spacing: Sequence[float], sigma: Sequence[float], *, periodic: bool
) -> list[NDArray[np.float64]]:
    field = np.asarray(values, dtype=np.float64)
    step = checked_spacing(spacing, field.ndim)
    if min(field.shape) < 2:
        raise InputError(f"a gradient needs at least 2 grid points along each axis, got shape {field.shape}")
    mode = "wrap" if periodic else "nearest"
    orders = np.eye(field.ndim, dtype=int)
    return [
        ndimage.gaussian_filter(field, sigma, order=order.tolist(), mode=mode, truncate=_TRUNCATE) / s
        for order, s in zip(orders, step, strict=True)
    ]


def _undisturbed(valid: NDArray[np.bool_], sigma: Sequence[float], *, periodic: bool) -> NDArray[np.bool_]:
    """Points whose whole neighbourhood under the Gaussian is valid."""
    size = [2 * int(_TRUNCATE * s + 0.5) + 1 for s in sigma]
    kept = ndimage.minimum_filter(valid, size, mode="wrap" if periodic else "nearest")
    if not kept.any():
        raise InputError("the mask leaves no point with a valid neighbourhood")
    return np.asarray(kept, dtype=bool)
