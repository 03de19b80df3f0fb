"""Structures that evolved by an equation of motion: grown polycrystals, and two phases that separated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure
from microgen.core.seeds import rng
from microgen.physics.cahn_hilliard import cahn_hilliard, characteristic_length_um
from microgen.physics.grain_growth import grow
from microgen.synth.polycrystals import polycrystal

Float = NDArray[np.floating[Any]]

_STREAM = 10
_WIDTHS = 16  # lengths of the separating structure in widths of the interface
_NOISE = 0.05
_GROWTH = 2.5  # final over first grain size: by then the start is forgotten
_STEP = 0.1  # of diffusion, in final grain sizes
_MOST_STEPS = 20_000


def grown_polycrystal(
    seed: int, shape: Sequence[int], spacing: Sequence[float], grain_size_um: float, *, periodic: bool = False
) -> Microstructure:
    """Make a polycrystal by grain growth: boundaries are curved and meet at 120 degrees, sizes are self-similar.

    A Poisson-Voronoi structure grows by the curvature of its boundaries (:mod:`microgen.physics.grain_growth`) to 2.5
    times its grain size.

    Parameters
    ----------
    seed, shape, spacing
        As for :func:`microgen.synth.polycrystal`.
    grain_size_um
        Mean lineal intercept over test lines along all axes, at least 12 grid points. It holds for the periodic
        structure; a window cut out of it scatters around it.
    periodic
        False cuts the structure out of a periodic one that is larger by three grains.

    Raises
    ------
    InputError
        If the grid is too coarse, or the frame has no room for 4 grains.

    Examples
    --------
    >>> made = grown_polycrystal(0, (96, 96), (1.0, 1.0), 14.0, periodic=True)
    >>> len(np.unique(made["grain"])) > 10
    True
    """
    step = _STEP * grain_size_um
    if not grain_size_um > 0 or step < 1.2 * max(spacing):
        raise InputError(
            f"grain growth needs 12 grid points in a grain, {grain_size_um:g} um has "
            f"{grain_size_um / max(spacing):.3g}; take a finer grid or larger grains"
        )
    margin = 0.0 if periodic else 3 * grain_size_um
    wide = [n + int(np.ceil(margin / s)) for n, s in zip(shape, spacing, strict=True)]
    start = polycrystal(seed, wide, spacing, grain_size_um / _GROWTH, periodic=True)
    grain: NDArray[np.int32] = start["grain"]
    for grain in grow(start["grain"], spacing=spacing, step_um=step):
        if _intercept_um(grain, spacing) >= grain_size_um:
            break
        if grain.min() == grain.max():
            raise InputError(f"the frame has no room for 4 grains of {grain_size_um:g} um; enlarge it")
    _, numbers = np.unique(grain[tuple(slice(n) for n in shape)], return_inverse=True)
    return Microstructure(
        {"grain": (numbers.reshape(tuple(shape)) + 1).astype(np.int32)},
        tuple(spacing),
        scalars={"grain_size_um": float(grain_size_um)},
        source={"generator": "grown-polycrystal", "seed": seed},
    )


def phase_separated(
    seed: int,
    shape: Sequence[int],
    spacing: Sequence[float],
    fraction: float,
    length_um: float,
    *,
    periodic: bool = True,
) -> Microstructure:
    """Make two phases by spinodal decomposition and coarsening (:mod:`microgen.physics.cahn_hilliard`).

    Parameters
    ----------
    seed, shape, spacing, fraction
        As for :func:`microgen.synth.two_phase`; the fraction lies between 0.22 and 0.78, where a mixture separates by
        itself.
    length_um
        Mean wavelength: 2 pi over the mean wave number of the concentration, weighted by power. At least 12 grid
        points.
    periodic
        False cuts the structure out of a periodic one that is larger by two wavelengths.

    Returns
    -------
    Microstructure
        With ``phase`` (cut where the fraction is met exactly) and ``concentration`` (-1 to 1, diffuse interfaces).

    Raises
    ------
    InputError
        If a number is out of range or the grid too coarse.

    Examples
    --------
    >>> float(phase_separated(0, (64, 64), (1.0, 1.0), 0.4, 16.0)["phase"].mean().round(3))
    0.4
    """
    if not 0.22 <= fraction <= 0.78:
        raise InputError(
            f"a mixture with the fraction {fraction:g} does not separate by itself (0.22 to 0.78 do); "
            "take two_phase or particles"
        )
    if not length_um >= 12 * max(spacing):
        raise InputError(f"length_um must be at least 12 grid points ({12 * max(spacing):g} um), got {length_um:g}")
    margin = 0.0 if periodic else 2 * length_um
    wide = [n + int(np.ceil(margin / s)) for n, s in zip(shape, spacing, strict=True)]
    if min(n * s for n, s in zip(wide, spacing, strict=True)) < 2 * length_um:
        raise InputError(f"the frame is smaller than two wavelengths of {length_um:g} um; enlarge it")
    noise = rng(seed, _STREAM).standard_normal(wide)
    start = 2 * fraction - 1 + _NOISE * (noise - noise.mean())
    concentration = _coarsened(start, spacing, length_um)[tuple(slice(n) for n in shape)]
    matrix = concentration.size - round(fraction * concentration.size)
    phase = np.zeros(concentration.size, dtype=np.uint8)
    phase[np.argpartition(concentration, matrix, axis=None)[matrix:]] = 1
    fields: dict[str, NDArray[Any]] = {
        "phase": phase.reshape(concentration.shape),
        "concentration": concentration.astype(np.float32),
    }
    source = {"generator": "phase-separated", "seed": seed}
    return Microstructure(fields, tuple(spacing), ("matrix", "second"), source=source)


def _coarsened(start: Float, spacing: Sequence[float], length_um: float) -> Float:
    """Concentration at the moment when its wavelength has grown to `length_um`."""
    found: Float = start
    for step, found in enumerate(cahn_hilliard(start, spacing=spacing, width_um=length_um / _WIDTHS), 1):
        separated = float(np.abs(found).max()) > 0.9
        if separated and characteristic_length_um(found, spacing=spacing) >= length_um:
            return found
        if step > _MOST_STEPS:
            raise InputError(f"the structure stays finer than {length_um:g} um in this frame; enlarge it")
    return found


def _intercept_um(grain: NDArray[np.int32], spacing: Sequence[float]) -> float:
    """Mean lineal intercept over the axes of a periodic structure."""
    crossings = [np.mean(grain != np.roll(grain, 1, axis)) / s for axis, s in enumerate(spacing)]
    return float(len(crossings) / max(sum(crossings), 1e-300))
