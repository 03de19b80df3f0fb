"""Twins: straight lamellae across grains, with the orientation relation of the twin law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.orientations import quaternions, rotations
from microgen.core.seeds import rng
from microgen.core.texture_components import plane_normals

Float = NDArray[np.floating[Any]]

_STREAM = 8
_SPREAD = 0.3  # of the logarithm of lamella widths
_FACTORS = np.exp(2 * _SPREAD)  # most that a width differs from the median
_ROOM = 3.0  # extent of a grain across the lamellae in widths, at least
_FILLED = 0.6  # largest part of that extent that lamellae fill
_FLAT = 0.2  # least sine of the angle between section and twin plane at which lamellae are drawn


@dataclass(frozen=True)
class TwinLaw:
    """A twin law: the plane that both crystals share, and how far the twin is turned about its normal.

    Attributes
    ----------
    plane
        Miller indices of the composition plane.
    angle_deg
        Angle of the rotation about the normal of the plane.
    laue
        Laue groups of the crystals it holds for.
    """

    plane: tuple[int, ...]
    angle_deg: float
    laue: tuple[str, ...]


LAWS: dict[str, TwinLaw] = {
    "annealing": TwinLaw((1, 1, 1), 60.0, ("m-3m",)),
    "tension": TwinLaw((1, 0, -1, 2), 180.0, ("6/mmm",)),
}
"""Twin laws by name.

Annealing twins of face-centred cubic metals (Sigma 3): 60 degrees about <111>, on that {111} plane. Tension twins of
hexagonal metals: half a turn about the normal of {10-12}, which is the same as 86.3 degrees about <11-20> in magnesium
and 85.0 in titanium (Christian and Mahajan 1995, doi:10.1016/0079-6425(94)00007-7).
"""


def twins(
    seed: int,
    microstructure: Microstructure,
    fraction: float,
    width_um: float,
    *,
    law: str = "annealing",
    lamellae: int = 2,
    phase: str | None = None,
    periodic: bool = False,
) -> Microstructure:
    """Put twin lamellae into grains, straight and parallel from boundary to boundary.

    Parameters
    ----------
    seed
        The same numbers give the same twins.
    microstructure
        Has the fields ``grain``, ``phase`` and ``orientation``, one orientation per grain: see
        :func:`microgen.synth.textures.crystallise`.
    fraction
        Share of the grains (of this phase) that get twins, by number.
    width_um
        Median thickness of the lamellae across the twin plane in micrometres; in a section that cuts the plane
        obliquely they look wider. They scatter lognormally by 0.3, at most by two standard deviations.
    law
        One of :data:`LAWS`.
    lamellae
        Largest number of lamellae in a grain; each number from 1 is equally likely.
    phase
        Name of the phase that twins; by default the only one with crystals the law holds for.
    periodic
        Whether the grains go on over the edges.

    Returns
    -------
    Microstructure
        The one given, in which every lamella, and every part of a grain between lamellae, is a grain of its own in
        ``grain``. ``parent`` has the numbers that ``grain`` had before, ``twin`` is 1 in lamellae. The twin plane is
        chosen at random among its variants, each as likely as a section is to cut its lamellae.

    Raises
    ------
    InputError
        If the law does not fit the crystal, or too few grains are wide enough for a lamella.
    """
    steps = microstructure.spacing
    if not 0 <= fraction <= 1 or lamellae < 1:
        raise InputError(f"twins need a fraction from 0 to 1 and at least one lamella, got {fraction} and {lamellae}")
    if not (np.isfinite(width_um) and width_um >= 2 * max(steps)):
        raise InputError(f"lamellae of {width_um:g} um are thinner than two grid points: take a finer grid")
    index, crystal = _twinning_phase(microstructure, law, phase)
    normals = plane_normals(crystal, LAWS[law].plane)
    random = rng(seed, _STREAM)
    grain = microstructure["grain"]
    numbers, first, row = np.unique(grain, return_index=True, return_inverse=True)
    row = row.reshape(grain.shape)
    mine = (numbers > 0) & (microstructure["phase"].ravel()[first] == index)
    orientation = microstructure["orientation"].reshape(-1, 4)[first].astype(np.float64)
    normal = normals[_variants(random, orientation, normals, grain.ndim)]
    across = _along_axes(rotations(orientation).apply(normal), grain.ndim)
    place = _distance(row, first, across, steps, periodic=periodic)
    rows = np.arange(len(numbers))
    low, high = (np.asarray(f(place, row, rows)) for f in (ndimage.minimum, ndimage.maximum))
    wide = mine & (high - low >= _ROOM * width_um) & (np.linalg.norm(across, axis=1) >= _FLAT)
    chosen = _chosen(random, np.flatnonzero(wide), round(fraction * int(mine.sum())), width_um)
    edges = np.full((len(numbers), 2 * lamellae), np.inf)
    for k in chosen:
        found = _edges(random, low[k], high[k], width_um, int(random.integers(1, lamellae + 1)))
        edges[k, : len(found)] = found
    band = np.zeros(grain.shape, dtype=np.int64)
    for column in edges.T:
        band += place > column[row]
    turn = Rotation.from_rotvec(np.deg2rad(LAWS[law].angle_deg) * normal)
    turned = quaternions(rotations(orientation) * turn).astype(np.float32)
    twin = band % 2 == 1
    return microstructure.with_fields(
        grain=_numbered(row * (2 * lamellae + 1) + band, nothing=row == 0 if numbers[0] == 0 else None),
        parent=grain,
        twin=twin.astype(np.uint8),
        orientation=np.where(twin[..., None], turned[row], microstructure["orientation"]),
    )


def _twinning_phase(microstructure: Microstructure, law: str, phase: str | None) -> tuple[int, Crystal]:
    if law not in LAWS:
        raise InputError(f"no twin law {law!r}; known are {', '.join(LAWS)}")
    crystals = microstructure.crystals
    fit = [name for name in crystals if crystals[name].laue in LAWS[law].laue and phase in (None, name)]
    if len(fit) != 1:
        groups = " or ".join(LAWS[law].laue)
        found = ", ".join(fit) or "none"
        raise InputError(f"{law} twins need one phase of Laue group {groups}, found {found}: name the phase")
    return microstructure.phases.index(fit[0]), crystals[fit[0]]


def _variants(random: np.random.Generator, orientation: Float, normals: Float, ndim: int) -> NDArray[np.intp]:
    """Variant of the twin plane for each grain, as likely as its lamellae are to be seen."""
    seen = np.stack([np.linalg.norm(_along_axes(rotations(orientation).apply(n), ndim), axis=1) for n in normals], 1)
    ends = np.cumsum(seen, axis=1)
    return np.asarray((random.random((len(seen), 1)) * ends[:, -1:] > ends).sum(axis=1))


def _along_axes(vectors: Float, ndim: int) -> Float:
    """Components of sample vectors (x, y, z) along the axes of the array."""
    return vectors[:, ndim - 1 :: -1]


def _distance(
    row: NDArray[np.intp], first: NDArray[np.intp], across: Float, steps: tuple[float, ...], *, periodic: bool
) -> Float:
    """Distance of each point from the first point of its grain, along the normal of the twin plane."""
    found = np.zeros(row.shape)
    origin = np.unravel_index(first, row.shape)
    for axis, (count, step) in enumerate(zip(row.shape, steps, strict=True)):
        index = np.arange(count).reshape([-1 if a == axis else 1 for a in range(row.ndim)])
        away = index - origin[axis][row]
        if periodic:
            away = (away + count // 2) % count - count // 2
        found += across[row, axis] * away * step
    return found


def _chosen(random: np.random.Generator, wide: NDArray[np.intp], wanted: int, width_um: float) -> NDArray[np.intp]:
    if wanted > len(wide):
        raise InputError(
            f"only {len(wide)} grains are wide enough for lamellae of {width_um:g} um, {wanted} should be twinned:"
            " ask for thinner lamellae, or a smaller fraction"
        )
    return np.sort(random.choice(wide, wanted, replace=False)) if wanted else wide[:0]


def _edges(random: np.random.Generator, low: float, high: float, width_um: float, count: int) -> Float:
    """Where lamellae begin and end between `low` and `high`; as many of `count` as fit."""
    width = width_um * np.clip(np.exp(_SPREAD * random.standard_normal(count)), 1 / _FACTORS, _FACTORS)
    width[0] = min(width[0], _FILLED * (high - low))
    width = width[np.cumsum(width) <= _FILLED * (high - low)]
    gaps = random.dirichlet(np.full(len(width) + 1, 3.0)) * (high - low - width.sum())
    return low + np.cumsum(np.stack([gaps[:-1], width], axis=1).ravel())


def _numbered(keys: NDArray[np.int64], *, nothing: NDArray[np.bool_] | None) -> NDArray[np.int32]:
    """Numbers from 1 in the order of the keys; 0 where there is nothing."""
    used = np.bincount(keys.ravel()) > 0
    numbers = np.cumsum(used)[keys]
    if nothing is not None:
        numbers = np.where(nothing, 0, numbers - int(used[: int(keys[nothing].max()) + 1].sum()))
    return numbers.astype(np.int32)
