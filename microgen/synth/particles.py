"""Particles and fibres in a matrix: given sizes, fraction and directions, none overlapping another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from microgen.core import InputError, Microstructure
from microgen.core.seeds import rng
from microgen.synth.sizes import SizeDistribution

Float = NDArray[np.float64]
_Bodies = Callable[[Float], "list[_Body]"]  # bodies by their place in the order of sizes, 0 .. 1

_STREAM = 6
_BATCH = 64  # places tried at once
_TRIES = 400  # batches before a particle is given up
_DENSE = {2: 0.4, 3: 0.25}  # fraction above which balls are moved apart instead of added at random places
_STEPS = 3000  # of moving apart
_PROBES = {2: 24, 3: 60}  # points on the surface that rule out most places cheaply


def particles(
    seed: int,
    shape: Sequence[int],
    spacing: Sequence[float],
    fraction: float,
    diameter_um: float,
    *,
    diameter_std_um: float = 0.0,
    distribution: str = "lognormal",
    aspect_ratio: float = 1.0,
    direction_deg: float | None = None,
    direction_std_deg: float = 0.0,
    gap_um: float | None = None,
    periodic: bool = True,
) -> Microstructure:
    """Make ellipsoidal particles (ellipses in 2-D) that do not overlap.

    They are added at random places, largest first. Dense packings of balls and discs start at random places too, and
    those that overlap are pushed apart.

    Parameters
    ----------
    seed
        The same numbers give the same structure.
    shape
        Grid points ``(Y, X)`` or ``(Z, Y, X)``.
    spacing
        Distance of grid points in micrometres along each axis.
    fraction
        Share of the particles, met to within what the grid can resolve.
    diameter_um, diameter_std_um, distribution
        Mean and standard deviation of the equivalent diameter (circle of equal area, sphere of equal volume), and the
        law it follows, see :class:`microgen.synth.sizes.SizeDistribution`.
    aspect_ratio
        Length over width, at least 1; particles are bodies of revolution about their length.
    direction_deg
        Direction of the length in the plane of the last two axes, 0 along x, counted from x towards y. None: all
        directions alike.
    direction_std_deg
        Standard deviation of the angle to that direction (in 3-D: in every plane through it).
    gap_um
        Least distance between particles, by default the diagonal of a grid cell, so that no two touch on the grid.
    periodic
        Particles cut by a face go on at the opposite one. False cuts the structure out of a larger one, so its
        fraction scatters by as much as that of a window does.

    Returns
    -------
    Microstructure
        With ``phase`` (1 in particles) and ``grain`` (number of the particle, 0 in the matrix).

    Raises
    ------
    InputError
        If a number is out of range, particles are thinner than a grid point, a single one is more than the fraction,
        or there is no room left for the fraction asked for; the message says how much found room. Discs reach about
        0.8, spheres 0.55, minus the gap; elongated particles less.

    References
    ----------
    Widom, J. Chem. Phys. 44 (1966) 3888, doi:10.1063/1.1726548 (random sequential addition).
    Moscinski, Bargiel, Rycerz, Jacobs, Mol. Simul. 3 (1989) 201, doi:10.1080/08927028908031373 (pushing apart).

    Examples
    --------
    >>> made = particles(0, (96, 96), (1.0, 1.0), 0.3, 12.0)
    >>> round(float(made["phase"].mean()), 1)
    0.3
    """
    if not aspect_ratio >= 1:
        raise InputError(f"aspect_ratio is length over width, at least 1, got {aspect_ratio}")
    law = SizeDistribution(diameter_um, diameter_std_um, distribution)
    ndim = len(shape)
    widths = np.array([1.0, *[aspect_ratio ** (-1 / ndim)] * (ndim - 1)])
    widths[0] = aspect_ratio ** ((ndim - 1) / ndim)

    def bodies(quantiles: Float) -> list[_Body]:
        return [_Body(d / 2 * widths, capsule=False) for d in law.quantiles(quantiles)]

    margin = 0.0 if periodic else 2 * float(bodies(np.array([1.0]))[0].half[0])
    packing = _Packing(seed, shape, spacing, fraction, gap_um, margin_um=margin)
    if aspect_ratio == 1 and fraction > _DENSE[ndim]:
        packing.press(bodies)
    else:
        packing.fill(bodies, direction_deg, direction_std_deg)
    return packing.structure(shape, {"generator": "particles", "seed": seed})


def fibres(
    seed: int,
    shape: Sequence[int],
    spacing: Sequence[float],
    fraction: float,
    diameter_um: float,
    length_um: float,
    *,
    length_std_um: float = 0.0,
    direction_deg: float | None = None,
    direction_std_deg: float = 0.0,
    gap_um: float | None = None,
    periodic: bool = True,
) -> Microstructure:
    """Make straight fibres with round ends (in 2-D: stadiums) that do not overlap.

    Parameters
    ----------
    seed, shape, spacing, fraction, direction_deg, direction_std_deg, gap_um, periodic
        As for :func:`particles`.
    diameter_um
        Diameter of every fibre.
    length_um, length_std_um
        Mean and standard deviation (lognormal) of the length from tip to tip, more than the diameter.

    Examples
    --------
    >>> fibres(0, (96, 96), (1.0, 1.0), 0.2, 4.0, 30.0, direction_deg=0.0)["grain"].max() > 5
    np.True_
    """
    if not 0 < diameter_um <= length_um:
        raise InputError(f"fibres are longer than wide, got length {length_um} and diameter {diameter_um} um")
    law = SizeDistribution(length_um, length_std_um)
    ndim = len(shape)

    def bodies(quantiles: Float) -> list[_Body]:
        lengths = np.maximum(law.quantiles(quantiles), diameter_um)
        return [_Body(np.array([n / 2, *[diameter_um / 2] * (ndim - 1)]), capsule=True) for n in lengths]

    margin = 0.0 if periodic else 2 * float(bodies(np.array([1.0]))[0].half[0])
    packing = _Packing(seed, shape, spacing, fraction, gap_um, margin_um=margin)
    packing.fill(bodies, direction_deg, direction_std_deg)
    return packing.structure(shape, {"generator": "fibres", "seed": seed})


@dataclass(frozen=True)
class _Body:
    """A convex body of revolution about its first axis: half axes, and whether it is a capsule or an ellipsoid."""

    half: Float
    capsule: bool

    @property
    def volume(self) -> float:
        """Volume, in 2-D area."""
        a, r = float(self.half[0]), float(self.half[1])
        if len(self.half) == 2:
            return 4 * r * (a - r) + np.pi * r**2 if self.capsule else np.pi * a * r
        return np.pi * r**2 * 2 * (a - r) + 4 / 3 * np.pi * r**3 if self.capsule else 4 / 3 * np.pi * a * r**2

    def grown(self, by: float) -> _Body:
        """Return a body whose surface is nowhere nearer than `by` to that of this one."""
        # an ellipsoid with all half axes longer by as much would come nearer between the axes; a scaled one does not
        return _Body(self.half + by if self.capsule else self.half * (1 + by / self.half[1]), self.capsule)

    def holds(self, along: Float, across2: Float) -> NDArray[np.bool_]:
        """Tell which points lie inside, from their place along the axis and squared distance from it."""
        a, r = self.half[0], self.half[1]
        if self.capsule:
            beyond = np.maximum(np.abs(along) - (a - r), 0)
            return np.asarray(beyond**2 + across2 <= r**2)
        return np.asarray((along / a) ** 2 + across2 / r**2 <= 1)

    def reach(self, axis: Float) -> Float:
        """Half extent along each coordinate when the body lies along `axis`."""
        a, r = self.half[0], self.half[1]
        if self.capsule:
            return np.asarray((a - r) * np.abs(axis) + r)
        return np.asarray(np.sqrt((a * axis) ** 2 + r**2 * (1 - axis**2)))


class _Packing:
    """A periodic grid that bodies are put into one by one, larger by a margin than what is returned."""

    def __init__(
        self,
        seed: int,
        shape: Sequence[int],
        spacing: Sequence[float],
        fraction: float,
        gap_um: float | None,
        *,
        margin_um: float,
    ) -> None:
        if len(shape) not in (2, 3) or len(shape) != len(spacing) or min(shape) < 1 or not min(spacing) > 0:
            raise InputError(f"shape and spacing need 2 or 3 positive numbers, got {tuple(shape)}, {tuple(spacing)}")
        if not 0 < fraction < 1:
            raise InputError(f"fraction must lie between 0 and 1, got {fraction}")
        self.random = rng(seed, _STREAM)
        self.step = np.asarray(spacing, dtype=np.float64)
        self.fraction = fraction
        self.gap = float(np.linalg.norm(self.step)) if gap_um is None else gap_um
        self.grain = np.zeros(tuple(np.add(shape, np.ceil(margin_um / self.step).astype(int))), dtype=np.int32)
        if self.gap < 0:
            raise InputError(f"gap_um must not be negative, got {gap_um}")

    def fill(self, bodies: _Bodies, direction_deg: float | None, direction_std_deg: float) -> None:
        """Add bodies, largest first, until the fraction is met."""
        for number, body in enumerate(self._chosen(bodies), 1):
            if not self._added(number, body, direction_deg, direction_std_deg):
                reached = float((self.grain > 0).mean())
                raise InputError(
                    f"no room for more than a fraction of {reached:.3f} of these particles without overlap, "
                    f"{self.fraction:g} was asked for; lower the fraction, the gap or the aspect ratio"
                )

    def press(self, bodies: _Bodies) -> None:
        """Put balls anywhere, then push those that overlap apart until none does."""
        chosen = self._chosen(bodies)
        frame = np.multiply(self.grain.shape, self.step)
        radii = np.array([body.half[0] for body in chosen])
        places = self.random.random((len(chosen), len(frame))) * frame
        for _ in range(_STEPS):
            overlap, places = self._pushed(places, radii + self.gap / 2, frame)
            if overlap <= 0:
                break
        else:
            raise InputError(
                f"no room for a fraction of {self.fraction:g} of these particles without overlap; "
                "lower the fraction or the gap"
            )
        axis = np.eye(len(frame))[0]
        for number, (body, place) in enumerate(zip(chosen, places, strict=True), 1):
            self._mark(number, body, place, axis)

    def _pushed(self, places: Float, radii: Float, frame: Float) -> tuple[float, Float]:
        """Move balls that overlap apart, each by half of it and a little more; return the largest overlap before."""
        tree = cKDTree(places, boxsize=frame)
        one, two = tree.query_pairs(2 * radii.max(), output_type="ndarray").T
        apart = places[two] - places[one]
        apart -= frame * np.rint(apart / frame)
        distance = np.linalg.norm(apart, axis=1)
        overlap = radii[one] + radii[two] - distance
        near = overlap > 0
        if not near.any():
            return 0.0, places
        one, two, overlap = one[near], two[near], overlap[near]
        length = (0.505 * overlap + 1e-3 * radii.min()) / np.maximum(distance[near], 1e-12)
        push = apart[near] * length[:, None]
        moved = places.copy()
        np.add.at(moved, two, push)
        np.add.at(moved, one, -push)
        wrapped = moved % frame
        return float(overlap.max()), np.where(wrapped >= frame, 0.0, wrapped)

    def structure(self, shape: Sequence[int], source: dict[str, Any]) -> Microstructure:
        """Return what was packed, without the margin; particles are numbered from 1 without holes."""
        grain = self.grain[tuple(slice(n) for n in shape)]
        present, numbers = np.unique(grain, return_inverse=True)
        grain = (numbers.reshape(grain.shape) + (present[0] > 0)).astype(np.int32)
        fields = {"phase": (grain > 0).astype(np.uint8), "grain": grain}
        return Microstructure(fields, tuple(self.step), ("matrix", "particle"), source=source)

    def _chosen(self, bodies: _Bodies) -> list[_Body]:
        """Bodies whose volumes add up to the fraction, drawn by stratified quantiles, largest first."""
        typical = bodies((np.arange(512) + 0.5) / 512)
        width = 2 * float(np.median([body.half.min() for body in typical]))
        if width < self.step.min():
            raise InputError(f"particles {width:g} um wide are thinner than a grid point: take a finer grid")
        wanted = self.fraction * float(np.prod(np.multiply(self.grain.shape, self.step)))
        count = round(wanted / float(np.mean([body.volume for body in typical])))
        if count < 1:
            raise InputError(f"one particle is more than {self.fraction:g} of the frame: make the frame larger")
        drawn = bodies((self.random.permutation(count) + self.random.random(count)) / count)
        scale = (wanted / sum(body.volume for body in drawn)) ** (1 / len(self.step))
        return sorted((_Body(b.half * scale, b.capsule) for b in drawn), key=lambda b: -b.volume)

    def _added(self, number: int, body: _Body, direction_deg: float | None, std_deg: float) -> bool:
        wide = body.grown(self.gap)
        for _ in range(_TRIES):
            centres = self._free_centres()
            axis = self._axis(direction_deg, std_deg)
            for centre in centres[self._plausible(centres, wide, axis)]:
                inside, at = self._raster(wide, centre, axis)
                if not (self.grain[at][inside] > 0).any():
                    self._mark(number, body, centre, axis)
                    return True
        return False

    def _free_centres(self) -> Float:
        """Places in units of length whose grid point is free."""
        centres = self.random.random((_BATCH, len(self.step))) * np.multiply(self.grain.shape, self.step)
        return np.asarray(centres[self.grain[self._points(centres)] == 0])

    def _points(self, places: Float) -> tuple[NDArray[np.intp], ...]:
        """Indices of the grid points around places."""
        index = np.floor(places / self.step).astype(np.intp) % np.array(self.grain.shape)
        return tuple(np.moveaxis(index, -1, 0))

    def _plausible(self, centres: Float, body: _Body, axis: Float) -> NDArray[np.bool_]:
        """Tell which centres have only free grid points on the surface of the body."""
        ndim = len(self.step)
        offsets = _sphere(_PROBES[ndim]) if ndim == 3 else _circle(_PROBES[ndim])
        along = offsets @ axis
        stretched = (offsets - along[:, None] * axis) * body.half[1] + along[:, None] * axis * body.half[0]
        places = centres[:, None] + 0.97 * stretched
        return np.asarray((self.grain[self._points(places)] == 0).all(axis=1))

    def _axis(self, direction_deg: float | None, std_deg: float) -> Float:
        ndim = len(self.step)
        axis = self.random.standard_normal(ndim)
        if direction_deg is not None:
            angle = np.deg2rad(direction_deg)
            along = np.array([0.0] * (ndim - 2) + [np.sin(angle), np.cos(angle)])
            across = axis - (axis @ along) * along
            tilt = np.deg2rad(std_deg) * across  # a normal angle in every plane through the direction
            size = float(np.linalg.norm(tilt))
            axis = np.cos(size) * along + (np.sin(size) * tilt / size if size else 0)
        return np.asarray(axis / np.linalg.norm(axis))

    def _raster(self, body: _Body, centre: Float, axis: Float) -> tuple[NDArray[np.bool_], tuple[Any, ...]]:
        """Grid points whose centre lies in the body: a mask, and where in the grid it lies."""
        reach = body.reach(axis)
        low = np.floor((centre - reach) / self.step).astype(int)
        high = np.ceil((centre + reach) / self.step).astype(int) + 1
        shape = np.array(self.grain.shape)
        high = np.minimum(high, low + shape)
        ranges = [np.arange(a, b) for a, b in zip(low, high, strict=True)]
        offsets = np.meshgrid(
            *[(r + 0.5) * s - c for r, s, c in zip(ranges, self.step, centre, strict=True)], indexing="ij", sparse=True
        )
        along = sum((o * a for o, a in zip(offsets, axis, strict=True)), np.zeros(()))
        square = sum((o**2 for o in offsets), np.zeros(()))
        at = np.ix_(*[r % n for r, n in zip(ranges, shape, strict=True)])
        return body.holds(along, np.maximum(square - along**2, 0)), at

    def _mark(self, number: int, body: _Body, centre: Float, axis: Float) -> None:
        inside, at = self._raster(body, centre, axis)
        block = self.grain[at]
        block[inside] = number
        self.grain[at] = block


def _circle(count: int) -> Float:
    angle = 2 * np.pi * np.arange(count) / count
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1)


def _sphere(count: int) -> Float:
    """Points spread evenly over the unit sphere (a spiral by the golden angle)."""
    height = 1 - 2 * (np.arange(count) + 0.5) / count
    angle = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    radius = np.sqrt(1 - height**2)
    return np.stack([height, radius * np.sin(angle), radius * np.cos(angle)], axis=-1)
