"""The kinds of synthetic structures by name, as the command line offers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from microgen.core import InputError, Microstructure
from microgen.synth.backscatter import render_backscatter
from microgen.synth.ebsd_scan import scan_ebsd
from microgen.synth.evolved import grown_polycrystal, phase_separated
from microgen.synth.graded import Map, graded_polycrystal
from microgen.synth.laguerre import laguerre
from microgen.synth.matched import two_phase_like
from microgen.synth.micrographs import render_micrograph
from microgen.synth.particles import fibres, particles
from microgen.synth.polycrystals import polycrystal
from microgen.synth.textures import Phase, crystallise
from microgen.synth.twins import twins as with_twins
from microgen.synth.two_phase import spinodal, two_phase

RENDERINGS: dict[str, Callable[[int, Microstructure], Microstructure]] = {
    "none": lambda seed, made: made,
    "optical": render_micrograph,
    "backscatter": render_backscatter,
    "ebsd": scan_ebsd,
}
"""What a section can be looked at with, see :mod:`microgen.synth.micrographs` and its neighbours."""


def any_polycrystal(
    seed: int,
    shape: Sequence[int],
    spacing: Sequence[float],
    grain_size_um: Map | None = None,
    *,
    texture: str | None = None,
    phases: Mapping[str, float] | None = None,
    twins: float | None = None,
    twin_width_um: float | None = None,
    twin_law: str = "annealing",
    twin_phase: str | None = None,
    **options: Any,
) -> Microstructure:
    """Make a polycrystal of any sort.

    Parameters
    ----------
    seed, shape, spacing
        As for :func:`microgen.synth.polycrystal`.
    grain_size_um
        Mean lineal intercept of Poisson-Voronoi grains; a map or formula makes a
        :func:`microgen.synth.graded_polycrystal`. Left out where `options` state ``diameter_um``, the mean equivalent
        diameter, for :func:`microgen.synth.laguerre`.
    texture, phases
        If either is given the grains get crystals, see :func:`microgen.synth.crystallise`: the text of a texture for
        all phases, and the share of each phase by name, by default iron alone.
    twins, twin_width_um, twin_law, twin_phase
        Fraction of grains with twins, thickness of the lamellae, law and phase, see :func:`microgen.synth.twins`.
    options
        Those of the function that makes the grains.

    Raises
    ------
    InputError
        If the wishes do not fit together.
    """
    made = _grains(seed, shape, spacing, grain_size_um, options)
    if texture is not None or phases is not None or twins is not None:
        shares = phases or {"iron": 1.0}
        made = crystallise(
            seed, made, [Phase(name, share, texture=texture or "random") for name, share in shares.items()]
        )
    if twins is not None:
        if twin_width_um is None:
            raise InputError("twins need twin_width_um, the thickness of their lamellae")
        periodic = bool(options.get("periodic", False))
        made = with_twins(seed, made, twins, twin_width_um, law=twin_law, phase=twin_phase, periodic=periodic)
    elif twin_width_um is not None:
        raise InputError("twin_width_um is for twins: say which fraction of the grains has them")
    return made


def grown(
    seed: int, shape: Sequence[int], spacing: Sequence[float], *, texture: str | None = None, **options: Any
) -> Microstructure:
    """Make a polycrystal by grain growth, see :func:`microgen.synth.grown_polycrystal`, with crystals for a texture."""
    made = grown_polycrystal(seed, shape, spacing, **options)
    return made if texture is None else crystallise(seed, made, texture)


def _drawn(make: Callable[..., Microstructure], usual: str) -> Callable[..., Microstructure]:
    """Let a section be drawn as it looks; `usual` is what is done unasked, and only for sections."""

    def kind(
        seed: int, shape: Sequence[int], spacing: Sequence[float], *, render: str | None = None, **options: Any
    ) -> Microstructure:
        if render is not None and render not in RENDERINGS:
            raise InputError(f"no rendering {render!r}; known are {', '.join(RENDERINGS)}")
        if render == "ebsd" and make in (any_polycrystal, grown):
            options.setdefault("texture", "random")
        made = make(seed, shape, spacing, **options)
        return RENDERINGS[render or (usual if made.ndim == 2 else "none")](seed, made)

    return kind


def _grains(
    seed: int, shape: Sequence[int], spacing: Sequence[float], size: Map | None, options: Mapping[str, Any]
) -> Microstructure:
    if (size is None) == ("diameter_um" not in options):
        raise InputError(
            "a polycrystal needs grain_size_um, its mean lineal intercept, or diameter_um, the mean equivalent"
            " diameter of its grains, and not both"
        )
    if size is None:
        return laguerre(seed, shape, spacing, **options)
    maps = [size, options.get("aspect_ratio", 1.0), options.get("direction_deg", 0.0)]
    if all(isinstance(value, int | float) for value in maps):
        return polycrystal(seed, shape, spacing, size, **options)  # type: ignore[arg-type]
    return graded_polycrystal(seed, shape, spacing, size, **options)


KINDS: dict[str, Callable[..., Microstructure]] = {
    "polycrystal": _drawn(any_polycrystal, "optical"),
    "grown-polycrystal": _drawn(grown, "optical"),
    "two-phase": _drawn(two_phase, "none"),
    "two-phase-like": _drawn(two_phase_like, "none"),
    "spinodal": _drawn(spinodal, "none"),
    "phase-separated": _drawn(phase_separated, "none"),
    "particles": _drawn(particles, "none"),
    "fibres": _drawn(fibres, "none"),
}
"""Each is called with seed, shape, spacing and its own parameters by name; ``render`` is a name of RENDERINGS."""
