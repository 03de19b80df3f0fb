"""Grains of orientation maps: neighbouring points of one phase whose orientations differ by little."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.orientations import NOT_INDEXED, disorientation_angle, mean_orientations

Array = NDArray[Any]
Labels = NDArray[np.int32]

_PART = 1 << 18  # points worked on at a time
_VOTERS = 1 << 14


def segment_orientation(
    microstructure: Microstructure,
    *,
    threshold_deg: float = 5.0,
    smallest: int = 1,
    fill_um: float = 0.0,
    periodic: bool = False,
) -> Labels:
    """Number the grains of an orientation map.

    Two neighbours along an axis belong to one grain where they are of one phase and their disorientation is at most
    the threshold. Grains are what such links connect, so the orientation may change slowly over a grain by more than
    the threshold, and phases never merge.

    Parameters
    ----------
    microstructure
        A map or volume with ``orientation``, and with ``phase`` and ``crystals`` that say which symmetry a point has.
        Points outside the field ``mask``, and those of the phase ``"not indexed"``, have none.
    threshold_deg
        Largest disorientation in degrees within a grain.
    smallest
        Least number of points of a grain; smaller ones are taken as errors and get no number.
    fill_um
        Points without a grain get the number of the grain around them, of whatever phase, in places narrower than
        this; infinity fills everything. See :func:`filled`.
    periodic
        The structure wraps around at the frame.

    Returns
    -------
    NDArray[np.int32]
        Grain numbers from 1 in the order of their first points, 0 where there is no grain.

    Raises
    ------
    InputError
        If there is no orientation, or no crystal symmetry for one of the phases.

    References
    ----------
    Bachmann, Hielscher, Schaeben, Ultramicroscopy 111 (2011) 1720, doi:10.1016/j.ultramic.2011.08.002.

    Examples
    --------
    >>> from microgen.core.orientations import from_euler
    >>> tilt = np.zeros((1, 6, 3))
    >>> tilt[0, :, 0] = np.deg2rad([0, 2, 4, 30, 31, 121])
    >>> fields = {"phase": np.ones((1, 6), int), "orientation": from_euler(tilt)}
    >>> ebsd = Microstructure(fields, (1, 1), ("not indexed", "iron"), crystals={"iron": Crystal("m-3m")})
    >>> segment_orientation(ebsd)
    array([[1, 1, 1, 2, 2, 2]], dtype=int32)
    """
    if not (np.isfinite(threshold_deg) and threshold_deg > 0):
        raise InputError(f"the threshold of grains must be a positive number of degrees, got {threshold_deg}")
    points = OrientationMap.of(microstructure)
    steps = np.eye(microstructure.ndim, dtype=np.intp)
    links = [points.angles_deg(step, periodic=periodic).ravel() <= threshold_deg for step in steps]
    targets = [_forward(points.shape, step) for step in steps]
    labels = _numbered(_components(links, targets), points.phase.ravel() > 0, smallest).reshape(points.shape)
    if not fill_um > 0:
        return labels
    return filled(labels, spacing=microstructure.spacing, width_um=fill_um, periodic=periodic)


def filled(labels: NDArray[Any], *, spacing: Sequence[float], width_um: float, periodic: bool = False) -> NDArray[Any]:
    """Give points without a grain the number of the nearest, in places narrower than a width in micrometres.

    Then each of them takes the number that most of its neighbours have, twice over: nearest numbers alone make ragged
    boundaries, which lines cross too often (by 9 % where half of the points at boundaries are missing; so by 1 %).
    A periodic structure goes on beyond its frame, else what lies beyond is unknown.

    >>> filled(np.array([[1, 0, 0, 2, 0, 0, 0, 0, 0]]), spacing=(1, 1), width_um=2)
    array([[1, 1, 2, 2, 0, 0, 0, 0, 0]])
    """
    empty = labels == 0
    if empty.all() or not empty.any():
        return labels
    if periodic:
        margin = _margins(labels.shape, spacing, width_um)
        wide = filled(np.pad(labels, margin, mode="wrap"), spacing=spacing, width_um=width_um)
        return wide[_without(margin)]
    nearest = ndimage.distance_transform_edt(empty, spacing, return_distances=False, return_indices=True)
    found = np.asarray(labels[tuple(nearest)])
    for _ in range(2):
        found = _voted(found, np.flatnonzero(empty))
    return np.where(holes(~empty, spacing=spacing, width_um=width_um), labels, found)


def holes(
    valid: NDArray[np.bool_], *, spacing: Sequence[float], width_um: float, periodic: bool = False
) -> NDArray[np.bool_]:
    """Parts of what is not valid that a disc or ball of a width in micrometres fits into: its opening.

    The frame does not count as valid: a gap along it is as wide as if it went on beyond, which it does where the
    structure is periodic.

    >>> holes(np.array([[True, False, False, True, False, False, False, False, False]]), spacing=(1, 1), width_um=2)
    array([[False, False, False, False,  True,  True,  True,  True,  True]])
    """
    if valid.all():
        return np.zeros(valid.shape, bool)
    if not valid.any():
        return np.ones(valid.shape, bool)
    if periodic:
        margin = _margins(valid.shape, spacing, width_um)
        return holes(np.pad(valid, margin, mode="wrap"), spacing=spacing, width_um=width_um)[_without(margin)]
    # the middle of a gap of n points is (n + 1) / 2 steps from the nearest valid point
    reach = (width_um + max(spacing)) / 2
    depth = ndimage.distance_transform_edt(~valid, spacing)
    core = depth > reach
    if not core.any():
        return np.zeros(valid.shape, bool)
    return np.asarray(~valid & (ndimage.distance_transform_edt(~core, spacing) <= reach))


@dataclass(frozen=True, eq=False)
class OrientationMap:
    """Orientations, and for every point the crystal it belongs to.

    Attributes
    ----------
    orientation
        Quaternions ``(*grid, 4)``.
    phase
        Index of the phase where there is an orientation, counted from 1; 0 elsewhere. Shape of the grid.
    crystals
        Symmetry by that index.
    """

    orientation: Array
    phase: Array
    crystals: Mapping[int, Crystal]

    @classmethod
    def of(cls, microstructure: Microstructure) -> OrientationMap:
        """Take the orientations of a microstructure, or raise an :class:`InputError` if they cannot be used."""
        m = microstructure
        orientation = m["orientation"]
        valid = indexed(m)
        if "phase" not in m:
            if len(m.crystals) != 1:
                raise InputError("orientations without the field 'phase' need exactly one entry in crystals")
            return cls(orientation, valid.astype(np.uint8), {1: next(iter(m.crystals.values()))})
        phase = np.where(valid, m["phase"].astype(np.int32) + 1, 0)
        return cls(orientation, phase, {int(i): _crystal(m, int(i) - 1) for i in np.unique(phase) if i})

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the grid."""
        return self.phase.shape

    def angles_deg(
        self, step: NDArray[np.intp], *, periodic: bool = False, where: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Disorientation in degrees between each point and the one a step away; NaN where that is of another phase.

        Parameters
        ----------
        step
            Grid points along each axis.
        periodic
            Steps across the frame count too.
        where
            Points to start from; all others get NaN.

        Returns
        -------
        NDArray[np.float32]
            Shape of the grid, at the point where the step starts.
        """
        phase, orientation = self.phase.ravel(), self.orientation.reshape(-1, 4)
        angles = np.full(phase.size, np.nan, np.float32)
        far = _forward(self.shape, step)
        same = (phase > 0) & (phase == phase[far])
        if not periodic:
            same &= _inside(self.shape, step).ravel()
        if where is not None:
            same &= where.ravel()
        for index, crystal in self.crystals.items():
            for near in _parts(np.flatnonzero(same & (phase == index))):
                turned = disorientation_angle(orientation[near], orientation[far[near]], crystal)
                angles[near] = np.rad2deg(turned)
        return angles.reshape(self.shape)

    def means(self, grain: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Mean orientation by grain number, ``(grains + 1, 4)``; the identity for 0 and for grains without any.

        A grain is taken to be of one phase.
        """
        means = np.tile(np.array([1.0, 0, 0, 0]), (int(grain.max()) + 1, 1))
        for index, crystal in self.crystals.items():
            there = (self.phase == index) & (grain > 0)
            numbers, group = np.unique(grain[there], return_inverse=True)
            if len(numbers):
                means[numbers] = mean_orientations(self.orientation[there], group, crystal)
        return means

    def away_deg(self, reference: Array) -> NDArray[np.float32]:
        """Disorientation in degrees of every point from a reference of its own, ``(*grid, 4)``; NaN without phase."""
        angles = np.full(self.shape, np.nan, np.float32)
        for index, crystal in self.crystals.items():
            there = self.phase == index
            angles[there] = np.rad2deg(disorientation_angle(self.orientation[there], reference[there], crystal))
        return angles


def indexed(microstructure: Microstructure) -> NDArray[np.bool_]:
    """True where a point has an orientation: inside the mask, and not of the phase ``"not indexed"``.

    >>> m = Microstructure({"phase": np.array([[0, 1]])}, (1, 1), ("not indexed", "iron"))
    >>> indexed(m)
    array([[False,  True]])
    """
    m = microstructure
    valid = m["mask"].astype(bool) if "mask" in m else np.ones(m.shape, bool)
    if "phase" in m and NOT_INDEXED in m.phases:
        valid = valid & (m["phase"] != m.phases.index(NOT_INDEXED))
    return np.asarray(valid)


def _voted(labels: NDArray[Any], where: NDArray[np.intp]) -> NDArray[Any]:
    """Give some points, by their flat numbers, the label that is most frequent in their 3 x 3 (x 3) neighbours."""
    padded = np.pad(labels, 1, mode="edge")
    steps = np.array(list(itertools.product((-1, 0, 1), repeat=labels.ndim)))
    offsets = steps @ np.array(padded.strides) // padded.itemsize
    found, flat = labels.copy().reshape(-1), padded.reshape(-1)
    for start in range(0, len(where), _VOTERS):
        part = where[start : start + _VOTERS]
        place = np.stack(np.unravel_index(part, labels.shape)) + 1
        near = flat[np.ravel_multi_index(tuple(place), padded.shape)[:, None] + offsets]
        votes = (near[:, :, None] == near[:, None, :]).sum(2) + 0.5 * (near == near[:, [len(offsets) // 2]])
        found[part] = near[np.arange(len(part)), votes.argmax(1)]
    return found.reshape(labels.shape)


def _margins(shape: tuple[int, ...], spacing: Sequence[float], width_um: float) -> list[tuple[int, int]]:
    """Points to go on with beyond a periodic frame, so that gaps are seen whole, and their nearest grains."""
    if np.isinf(width_um):
        return [(n // 2 + 1,) * 2 for n in shape]
    reach = 2 * (width_um + max(spacing))
    return [(min(n, int(reach / step) + 2),) * 2 for n, step in zip(shape, spacing, strict=True)]


def _without(margin: Sequence[tuple[int, int]]) -> tuple[slice, ...]:
    return tuple(slice(before, -after) for before, after in margin)


def _crystal(microstructure: Microstructure, index: int) -> Crystal:
    phases = microstructure.phases
    name = phases[index] if 0 <= index < len(phases) else str(index)
    if name not in microstructure.crystals:
        raise InputError(f"phase {name!r} has orientations but no crystal symmetry; give it one in crystals")
    return microstructure.crystals[name]


def _parts(numbers: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    return (numbers[start : start + _PART] for start in range(0, len(numbers), _PART))


def _forward(shape: tuple[int, ...], step: NDArray[np.intp]) -> NDArray[np.intp]:
    """Flat number of the grid point a step away from each, around the frame."""
    size = int(np.prod(shape))
    numbers: NDArray[Any] = np.arange(size, dtype=np.int32 if size < 2**31 else np.int64).reshape(shape)
    return np.asarray(np.roll(numbers, (-step).tolist(), list(range(len(shape)))).ravel())


def _inside(shape: tuple[int, ...], step: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether a step from each point stays within the frame."""
    inside = np.zeros(shape, bool)
    inside[tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, shape, strict=True))] = True
    return inside


def _components(links: Sequence[NDArray[np.bool_]], targets: Sequence[NDArray[Any]]) -> NDArray[np.int32]:
    """Number what links from each point to its targets connect, in the order of the first points."""
    there = np.stack(links, axis=1)
    ends = np.stack(targets, axis=1)[there]
    starts = np.concatenate([[0], np.cumsum(there.sum(1))]).astype(ends.dtype)
    graph = csr_array((np.ones(len(ends), np.int8), ends, starts), shape=(len(there), len(there)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int32)


def _numbered(parts: NDArray[np.int32], valid: NDArray[np.bool_], smallest: int) -> Labels:
    """Number the parts that are valid and large enough from 1, in the order of their first points."""
    kept = np.bincount(parts[valid], minlength=int(parts.max()) + 1) >= max(smallest, 1)
    numbers = np.cumsum(kept) * kept
    return np.where(valid, numbers[parts], 0).astype(np.int32)
