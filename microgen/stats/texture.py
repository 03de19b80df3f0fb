"""Texture: the orientation distribution function, pole figures and inverse pole figures.

All densities are in multiples of a random distribution (mrd): 1 everywhere if there is no texture.

References
----------
Hielscher, Kernel density estimation on the rotation group and its application to crystallographic texture analysis,
J. Multivar. Anal. 119 (2013) 119, doi:10.1016/j.jmva.2013.03.014. Schaeben, The de la Vallée Poussin standard
orientation density function, Textures and Microstructures 33 (1999) 365, doi:10.1155/TSM.33.365. Bunge, Texture
Analysis in Materials Science (1982).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.orientations import quaternions, random_orientations, rotations
from microgen.core.texture_components import IDEAL, ideal, kernel_kappa, on_fibre, plane_normals, scattered
from microgen.stats.ebsd import indexed
from microgen.stats.ipf import crystal_directions, sector_directions
from microgen.stats.sphere import cosine_power, pooled, sphere_density

__all__ = [
    "IDEAL",
    "ODF",
    "fibre",
    "ideal",
    "inverse_pole_density",
    "phase_orientations",
    "plane_normals",
    "pole_density",
]

Float = NDArray[np.floating[Any]]

_CHUNK = 4_000_000


@dataclass(frozen=True, eq=False)
class ODF:
    """Orientation distribution function: the kernel density of orientations under the symmetry of the crystal.

    Around every orientation lies de la Vallée Poussin's kernel ``C cos^(2 kappa)(angle / 2)``.

    Parameters
    ----------
    orientation
        Unit quaternions ``(n, 4)``.
    crystal
        Their symmetry.
    halfwidth_deg
        Angle in degrees at which the kernel has fallen to half its peak.
    weights
        Share of each orientation, ``(n,)``; by default all the same. They need not add up to 1.
    random_fraction
        Share of the crystals that have no preferred orientation at all.

    Raises
    ------
    InputError
        For no orientations, a half width that is not between 0.5 and 90 degrees, or weights that do not fit.

    Examples
    --------
    >>> odf = ODF(np.array([[1.0, 0, 0, 0]]), Crystal("m-3m"), halfwidth_deg=15)
    >>> odf.pole_figure((0, 0, 1), [[0, 0, 1], [1, 1, 1]]).round(2)
    array([6.89, 0.  ])
    """

    orientation: Float
    crystal: Crystal
    halfwidth_deg: float = 10.0
    weights: Float | None = None
    random_fraction: float = 0.0

    def __post_init__(self) -> None:
        given = np.asarray(self.orientation, dtype=float).reshape(-1, 4)
        weights = np.ones(len(given)) if self.weights is None else np.asarray(self.weights, dtype=float)
        if not len(given):
            raise InputError("an ODF needs at least one orientation")
        if weights.shape != (len(given),) or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
            raise InputError(f"an ODF of {len(given)} orientations needs as many weights, none of them negative")
        if not 0.5 <= self.halfwidth_deg <= 90:
            raise InputError(f"the half width of the kernel lies between 0.5 and 90 degrees, got {self.halfwidth_deg}")
        if not 0 <= self.random_fraction <= 1:
            raise InputError(f"the random fraction lies between 0 and 1, got {self.random_fraction}")
        object.__setattr__(self, "orientation", given)
        object.__setattr__(self, "weights", weights / weights.sum())

    @property
    def kappa(self) -> float:
        """Exponent of the kernel."""
        return kernel_kappa(self.halfwidth_deg)

    def evaluate(self, orientation: Float) -> Float:
        """Return the density in mrd at orientations ``(..., 4)``."""
        at = np.asarray(orientation, dtype=float)
        operations = quaternions(self.crystal.operations)
        turned = quaternions(
            rotations(np.repeat(self.orientation, len(operations), 0))
            * rotations(np.tile(operations, (len(self.orientation), 1)))
        )
        share = np.repeat(self._shares, len(operations)) / len(operations)
        rows, columns = at.reshape(-1, 4), turned.T
        step = max(1, _CHUNK // len(turned))
        sums = [cosine_power(rows[i : i + step] @ columns, 2 * self.kappa) @ share for i in range(0, len(rows), step)]
        peak = np.pi / 2 * np.exp(-betaln(1.5, self.kappa + 0.5))
        return self._mixed(np.concatenate(sums) * peak).reshape(at.shape[:-1])

    def sample(self, random: np.random.Generator, count: int) -> Float:
        """Draw orientations ``(count, 4)`` from the distribution: measured ones, turned by the kernel."""
        chosen = self.orientation[random.choice(len(self.orientation), size=count, p=self._shares)]
        drawn = scattered(random, chosen, self.halfwidth_deg)
        without = random.random(count) < self.random_fraction
        drawn[without] = random_orientations(random, int(without.sum()))
        return drawn

    def texture_index(self, random: np.random.Generator, draws: int = 2000) -> float:
        """Return the mean of the squared density over all orientations: 1 without texture, larger the sharper.

        It is estimated, without bias, as the mean density at orientations drawn from the distribution; of more than
        `draws` orientations, as many are drawn to stand for all. Its square root is called the texture strength.
        """
        at = self.sample(random, draws)
        if len(self.orientation) <= draws:
            return float(self.evaluate(at).mean())
        some = self.orientation[random.choice(len(self.orientation), size=draws, p=self._shares)]
        few = ODF(some, self.crystal, self.halfwidth_deg, random_fraction=self.random_fraction)
        return float(few.evaluate(at).mean())

    def pole_figure(self, hkl: Sequence[float], directions: Any) -> Float:
        """Return the density in mrd of the poles of a plane at sample directions ``(..., 3)``."""
        return self._mixed(
            pole_density(self.orientation, self.crystal, hkl, directions, kappa=self.kappa, weights=self.weights)
        )

    def inverse_pole_figure(self, direction: str | Sequence[float], directions: Any) -> Float:
        """Return the density in mrd of a sample direction at crystal directions ``(..., 3)``."""
        return self._mixed(
            inverse_pole_density(
                self.orientation, self.crystal, direction, directions, kappa=self.kappa, weights=self.weights
            )
        )

    @property
    def _shares(self) -> Float:
        return np.asarray(self.weights, dtype=float)

    def _mixed(self, density: Float) -> Float:
        return np.asarray(self.random_fraction + (1 - self.random_fraction) * density)


def pole_density(
    orientation: Float,
    crystal: Crystal,
    hkl: Sequence[float],
    directions: Any,
    *,
    kappa: float,
    weights: Float | None = None,
) -> Float:
    """Return the pole density of a plane in mrd at sample directions ``(..., 3)``; see :meth:`ODF.pole_figure`."""
    at = np.asarray(directions, dtype=float)
    normals = plane_normals(crystal, hkl)
    poles = np.concatenate([rotations(orientation).apply(normal) for normal in normals])
    each = np.tile(np.ones(len(poles) // len(normals)) if weights is None else weights, len(normals))
    return sphere_density(poles, each, _unit(at), kappa).reshape(at.shape[:-1])


def inverse_pole_density(
    orientation: Float,
    crystal: Crystal,
    direction: str | Sequence[float],
    directions: Any,
    *,
    kappa: float,
    weights: Float | None = None,
) -> Float:
    """Return the density of a sample direction in mrd at crystal directions; see :meth:`ODF.inverse_pole_figure`."""
    at = np.asarray(directions, dtype=float)
    seen = sector_directions(crystal_directions(orientation, direction), crystal)
    each = np.ones(len(seen)) if weights is None else np.asarray(weights, dtype=float)
    seen, each = pooled(seen, each) if len(seen) > 1000 else (seen, each)
    operations = crystal.operations.as_matrix()
    everywhere = np.concatenate([seen @ operation.T for operation in operations])
    return sphere_density(everywhere, np.tile(each, len(operations)), _unit(at), kappa).reshape(at.shape[:-1])


def fibre(crystal: Crystal, hkl: Sequence[float], *, axis: str | Sequence[float] = "z", count: int = 360) -> Float:
    """Return orientations ``(count, 4)`` evenly around a fibre: the normal of plane (hkl) along an axis of the sample.

    >>> len(fibre(Crystal("m-3m"), (1, 1, 1), count=90))
    90
    """
    return on_fibre(crystal, hkl, np.arange(count) * 2 * np.pi / count, axis=axis)


def phase_orientations(microstructure: Microstructure, phase: str | None = None) -> tuple[Float, Crystal]:
    """Return the orientations ``(n, 4)`` of the indexed points of a phase, and its crystal.

    Parameters
    ----------
    phase
        Name of the phase; by default the one that covers most points.

    Raises
    ------
    InputError
        If there are no orientations, no such phase, or its symmetry is unknown.
    """
    name = texture_phase(microstructure, phase)
    found = microstructure["orientation"][_points_of(microstructure, name)]
    if not len(found):
        raise InputError(f"no point of phase {name!r} is indexed")
    return np.asarray(found, dtype=float), microstructure.crystals[name]


def texture_phase(microstructure: Microstructure, phase: str | None = None) -> str:
    """Return the name of the phase whose texture is meant: the one that is named, else the one of most points."""
    known = [name for name in microstructure.phases if name in microstructure.crystals]
    if not known:
        raise InputError("no phase here has a known crystal symmetry; texture needs one")
    if phase is not None and phase not in known:
        raise InputError(f"no phase {phase!r} with a known symmetry; there are {', '.join(known)}")
    return phase or max(known, key=lambda name: int(_points_of(microstructure, name).sum()))


def _points_of(microstructure: Microstructure, name: str) -> NDArray[np.bool_]:
    """Indexed points of a phase."""
    numbers = microstructure["phase"] if "phase" in microstructure else np.zeros(microstructure.shape, int)
    found: NDArray[np.bool_] = indexed(microstructure) & (numbers == microstructure.phases.index(name))
    return found


def _unit(directions: Float) -> Float:
    flat = directions.reshape(-1, 3)
    return np.asarray(flat / np.linalg.norm(flat, axis=1, keepdims=True))
