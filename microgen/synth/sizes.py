"""Distributions of grain size: equivalent diameters by mean and scatter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from microgen.core import InputError

Float = NDArray[np.float64]

DISTRIBUTIONS = ("lognormal", "gamma", "normal")

_TAIL = 1e-4  # share cut off at either end, so that no grain is absurdly small or large
_NODES = 4096
_DRAWINGS = 16


@dataclass(frozen=True)
class SizeDistribution:
    """Equivalent diameters of grains: of the circle of the same area, or of the sphere of the same volume.

    One grain in ten thousand is cut off at either end, and what is left has exactly the mean asked for.

    Attributes
    ----------
    mean_um
        Mean over the grains in micrometres.
    std_um
        Standard deviation; 0 makes all grains alike.
    kind
        One of :data:`DISTRIBUTIONS`.

    Examples
    --------
    >>> SizeDistribution(10.0, 0.0).quantiles([0.1, 0.9])
    array([10., 10.])
    """

    mean_um: float
    std_um: float
    kind: str = "lognormal"

    def __post_init__(self) -> None:
        if self.kind not in DISTRIBUTIONS:
            raise InputError(f"no distribution {self.kind!r} of grain sizes; known are {', '.join(DISTRIBUTIONS)}")
        if not (np.isfinite(self.mean_um) and self.mean_um > 0 and 0 <= self.std_um < np.inf):
            raise InputError(f"grain sizes need a positive mean and std >= 0, got {self.mean_um} and {self.std_um} um")
        if self.std_um > 2 * self.mean_um or (self.kind == "normal" and self.std_um > self.mean_um / 3.2):
            most = "a third" if self.kind == "normal" else "twice"
            raise InputError(f"std {self.std_um:g} um is more than {most} of the mean size {self.mean_um:g} um")

    @classmethod
    def lognormal(cls, mean_um: float, sigma_log: float) -> SizeDistribution:
        """Return the lognormal distribution with a given standard deviation of the natural logarithm.

        >>> round(SizeDistribution.lognormal(10.0, 0.3).std_um, 3)
        3.069
        """
        return cls(mean_um, float(mean_um * np.sqrt(np.expm1(sigma_log**2))))

    def quantiles(self, probability: Float | Sequence[float]) -> Float:
        """Return the diameters in micrometres below which shares of the grains lie."""
        given = np.asarray(probability, dtype=np.float64)
        if self.std_um == 0:
            return np.full(given.shape, float(self.mean_um))
        middle = self._standard((np.arange(_NODES) + 0.5) / _NODES).mean()
        return np.asarray(self._standard(given) * (self.mean_um / middle))

    def cdf(self, diameter_um: Float) -> Float:
        """Return the share of grains with a smaller diameter."""
        grid = (np.arange(_NODES + 1)) / _NODES
        return np.asarray(np.interp(diameter_um, self.quantiles(grid), grid, left=0.0, right=1.0))

    def _standard(self, probability: Float) -> Float:
        """Quantiles of the distribution with cut tails, up to a factor."""
        p = _TAIL + (1 - 2 * _TAIL) * probability
        spread = self.std_um / self.mean_um
        if self.kind == "gamma":
            return np.asarray(special.gammaincinv(1 / spread**2, p))
        if self.kind == "normal":
            return np.asarray(1 + spread * special.ndtri(p))
        return np.asarray(np.exp(np.sqrt(np.log1p(spread**2)) * special.ndtri(p)))


class MeasuredSizes:
    """Equivalent diameters that were measured: grains with the same distribution, none of another size.

    Parameters
    ----------
    diameters_um
        One per grain, in micrometres.

    Examples
    --------
    >>> MeasuredSizes([4.0, 1.0]).quantiles([0.1, 0.6])
    array([1., 4.])
    """

    def __init__(self, diameters_um: Float | Sequence[float]) -> None:
        self._sorted = np.sort(np.asarray(diameters_um, dtype=np.float64).ravel())
        if not (self._sorted.size and np.isfinite(self._sorted).all() and self._sorted[0] > 0):
            raise InputError("a list of grain sizes needs positive diameters in micrometres")
        self.mean_um, self.std_um = float(self._sorted.mean()), float(self._sorted.std())

    def quantiles(self, probability: Float | Sequence[float]) -> Float:
        """Return the diameters in micrometres below which shares of the grains lie."""
        place = np.asarray(probability, dtype=np.float64) * len(self._sorted)
        return np.asarray(self._sorted[np.clip(place.astype(int), 0, len(self._sorted) - 1)])

    def cdf(self, diameter_um: Float) -> Float:
        """Return the share of grains with a diameter up to this one."""
        return np.searchsorted(self._sorted, diameter_um, side="right") / len(self._sorted)


Sizes = SizeDistribution | MeasuredSizes


def draw(sizes: Sizes, random: np.random.Generator, content: float, ndim: int) -> Float:
    """Draw the grains that fill an area or volume: one from each of equally likely classes of size.

    Parameters
    ----------
    sizes
        What they are drawn from.
    content
        Area or volume in square or cubic micrometres.
    ndim
        2 for areas, 3 for volumes.

    Returns
    -------
    NDArray[np.float64]
        Areas or volumes in ascending order. They fill `content` exactly: of a few drawings that which fills it best is
        taken, and all are changed by the factor that is still missing.

    Raises
    ------
    InputError
        If there is no room for 4 grains.
    """
    typical = ball(sizes.quantiles((np.arange(_NODES) + 0.5) / _NODES), ndim).mean()
    count = round(content / float(typical))
    if count < 4:
        raise InputError(f"the frame has room for {count} grains of {sizes.mean_um:g} um: make it larger")
    # the few largest grains decide whether they fill the space
    drawings = ball(sizes.quantiles((np.arange(count) + random.random((_DRAWINGS, count))) / count), ndim)
    contents = drawings[np.argmin(np.abs(drawings.sum(axis=1) - content))]
    return np.asarray(contents * (content / contents.sum()))


def ball(diameter: Any, ndim: int) -> Any:
    """Area of circles or volume of spheres.

    >>> round(ball(2.0, 3) / np.pi, 4)
    1.3333
    """
    return np.pi / 4 * diameter**2 if ndim == 2 else np.pi / 6 * diameter**3


def diameters_um(labels: NDArray[np.integer[Any]], spacing: Sequence[float]) -> Float:
    """Equivalent diameter of each grain of a label map by counting its grid points; labels run from 1.

    >>> diameters_um(np.ones((4, 4), int), (0.5, 0.5)) ** 2 * np.pi / 4
    array([4.])
    """
    content = np.bincount(labels.ravel())[1:] * float(np.prod(spacing))
    return np.asarray((content / ball(1.0, labels.ndim)) ** (1 / labels.ndim))
