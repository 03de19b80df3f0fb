"""Crystals for the grains of a synthetic structure: phases, and orientations with a preferred direction."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.lattice import parse_indices
from microgen.core.orientations import NOT_INDEXED, random_orientations
from microgen.core.seeds import rng
from microgen.core.texture_components import IDEAL, ideal, on_fibre, scattered

Float = NDArray[np.floating[Any]]

_STREAM = 7
_DEFAULT_HALFWIDTH = 10.0

PHASES: dict[str, Crystal] = {
    "iron": Crystal("m-3m", (0.28665, 0.28665, 0.28665, 90, 90, 90)),
    "ferrite": Crystal("m-3m", (0.28665, 0.28665, 0.28665, 90, 90, 90)),
    "austenite": Crystal("m-3m", (0.3595, 0.3595, 0.3595, 90, 90, 90)),
    "nickel": Crystal("m-3m", (0.35238, 0.35238, 0.35238, 90, 90, 90)),
    "copper": Crystal("m-3m", (0.36149, 0.36149, 0.36149, 90, 90, 90)),
    "aluminium": Crystal("m-3m", (0.40495, 0.40495, 0.40495, 90, 90, 90)),
    "magnesium": Crystal("6/mmm", (0.32094, 0.32094, 0.52108, 90, 90, 120)),
    "titanium": Crystal("6/mmm", (0.29508, 0.29508, 0.46855, 90, 90, 120)),
    "zirconium": Crystal("6/mmm", (0.32316, 0.32316, 0.51475, 90, 90, 120)),
}
"""Crystals of common metals at room temperature by name; lattice parameters in nanometres and degrees."""


@dataclass(frozen=True, eq=False)
class Texture:
    """Distribution from which the orientations of grains are drawn: a sum of parts and of randomness.

    Attributes
    ----------
    parts
        Text of :func:`parse_texture`, like ``"0.6*cube:10 + 0.4*random"``; or measured orientations ``(n, 4)``, of
        which each grain gets one at random.
    halfwidth_deg
        Half width in degrees of the scatter around measured orientations.
    """

    parts: str | Float = "random"
    halfwidth_deg: float = 0.0

    def draw(self, random: np.random.Generator, count: int, crystal: Crystal) -> Float:
        """Draw orientations ``(count, 4)``; of a sum of parts each gets its share of them, to within one."""
        if isinstance(self.parts, str):
            return _drawn(random, parse_texture(self.parts), count, crystal)
        given = np.asarray(self.parts, dtype=float)
        if given.ndim != 2 or given.shape[1] != 4 or not len(given):
            raise InputError(f"measured orientations are quaternions of shape (n, 4), got {given.shape}")
        return scattered(random, given[random.integers(len(given), size=count)], self.halfwidth_deg)


@dataclass(frozen=True)
class Phase:
    """One phase of a polycrystal.

    Attributes
    ----------
    name
        Its name, one of :data:`PHASES` if no crystal is given.
    fraction
        Share of the area or volume; the shares of all phases are divided by their sum.
    crystal
        Symmetry and lattice.
    texture
        Distribution of its orientations, or the text of one.
    """

    name: str = "iron"
    fraction: float = 1.0
    crystal: Crystal | None = None
    texture: Texture | str = field(default="random")

    @property
    def symmetry(self) -> Crystal:
        """The crystal, looked up by name if none was given."""
        if self.crystal is not None:
            return self.crystal
        if self.name not in PHASES:
            raise InputError(f"no crystal known for the phase {self.name!r}; known are {', '.join(PHASES)}")
        return PHASES[self.name]


@dataclass(frozen=True)
class Component:
    """One part of a texture: share, what it is (``random``, a name of :data:`IDEAL`, or a fibre), and half width."""

    share: float
    name: str
    halfwidth_deg: float = 0.0
    hkl: tuple[int, ...] = ()
    axis: str = "z"


def parse_texture(text: str) -> list[Component]:
    """Read the text of a texture: parts joined by ``+``, each ``[SHARE*]NAME[:HALFWIDTH]``.

    NAME is ``random``, an ideal component of rolled cubic metals with the sheet normal along z and the rolling
    direction along x (:data:`microgen.core.texture_components.IDEAL`), or a fibre ``<hkl>//AXIS`` such as
    ``<111>//z``. HALFWIDTH is in degrees, by default 10.

    Raises
    ------
    InputError
        If it cannot be read.

    Examples
    --------
    >>> [(part.share, part.name, part.halfwidth_deg) for part in parse_texture("0.75*cube:8 + 0.25*random")]
    [(0.75, 'cube', 8.0), (0.25, 'random', 0.0)]
    >>> parse_texture("<10-10>//x:15")[0].hkl
    (1, 0, -1, 0)
    """
    parts = [_component(part.strip(), text) for part in text.split("+")]
    total = sum(part.share for part in parts)
    if not total > 0:
        raise InputError(f"the shares of the texture {text!r} add up to nothing")
    return [Component(p.share / total, p.name, p.halfwidth_deg, p.hkl, p.axis) for p in parts]


def _component(part: str, text: str) -> Component:
    match = re.fullmatch(r"(?:([\d.]+)\s*\*\s*)?([a-z-]+|<([^>]+)>//([xyz]))(?::([\d.]+))?", part)
    try:
        share, width = (float(match[k]) if match and match[k] else default for k, default in ((1, 1.0), (5, -1.0)))
    except ValueError:
        match = None
    if match is None or not (match[3] or match[2] in ("random", *IDEAL)):
        raise InputError(
            f"texture {text!r}: {part!r} is not like 0.6*cube:10, <111>//z:8 or random; components are"
            f" {', '.join(IDEAL)}"
        )
    if match[2] == "random":
        return Component(share, "random")
    halfwidth = width if width >= 0 else _DEFAULT_HALFWIDTH
    if match[3]:
        return Component(share, "fibre", halfwidth, parse_indices(match[3]), match[4])
    return Component(share, match[2], halfwidth)


def crystallise(
    seed: int, microstructure: Microstructure, phases: Sequence[Phase] | Phase | str = "random"
) -> Microstructure:
    """Give every grain a phase and an orientation.

    Parameters
    ----------
    seed
        The same numbers give the same crystals.
    microstructure
        Has the field ``grain``, numbered from 1; where it is 0 nothing is indexed.
    phases
        The phases; or the text of a texture, for iron.

    Returns
    -------
    Microstructure
        The one given, with the fields ``phase`` (0 for "not indexed"), ``mask`` and ``orientation``, and the crystals
        of the phases: what an EBSD map of it would hold. ``source["euler_frame"]`` is ``"map"``.

    Raises
    ------
    InputError
        If there are no grains, or a phase or texture is unknown.

    Examples
    --------
    >>> grains = Microstructure({"grain": np.arange(1, 101).reshape(10, 10)}, (1.0, 1.0))
    >>> made = crystallise(0, grains, [Phase("ferrite", 0.7), Phase("austenite", 0.3)])
    >>> float((made["phase"] == 2).mean())
    0.3
    """
    grain = microstructure["grain"]
    wanted = [Phase(texture=phases)] if isinstance(phases, str) else [phases] if isinstance(phases, Phase) else phases
    names = [phase.name for phase in wanted]
    if not names or len(set(names)) < len(names) or NOT_INDEXED in names:
        raise InputError(f"phases need names of their own, got {', '.join(names) or 'none'}")
    random = rng(seed, _STREAM)
    sizes = np.bincount(grain.ravel())
    sizes[0] = 0
    which = _phase_of_grain(random, sizes, [phase.fraction for phase in wanted])
    orientation = np.zeros((len(sizes), 4), dtype=np.float32)
    orientation[:, 0] = 1
    for index, phase in enumerate(wanted, start=1):
        texture = Texture(phase.texture) if isinstance(phase.texture, str) else phase.texture
        mine = np.flatnonzero(which == index)
        orientation[mine] = texture.draw(random, len(mine), phase.symmetry)
    made = microstructure.with_fields(
        phase=which[grain], mask=(grain > 0).astype(np.uint8), orientation=orientation[grain]
    )
    return made.replace(
        phases=(NOT_INDEXED, *names),
        crystals={phase.name: phase.symmetry for phase in wanted},
        source={**microstructure.source, "euler_frame": "map"},
    )


def _phase_of_grain(random: np.random.Generator, sizes: NDArray[Any], fractions: Sequence[float]) -> NDArray[np.uint8]:
    """Index of the phase of each grain (0 where there is no grain), shares of the area met to within half a grain."""
    shares = np.asarray(fractions, dtype=float)
    if not (np.isfinite(shares).all() and shares.min() >= 0 and shares.sum() > 0):
        raise InputError(f"fractions of phases are not negative and not all zero, got {tuple(fractions)}")
    order = random.permutation(np.flatnonzero(sizes))
    middles = np.cumsum(sizes[order]) - sizes[order] / 2
    ends = np.cumsum(shares / shares.sum()) * sizes.sum()
    found = np.zeros(len(sizes), dtype=np.uint8)
    found[order] = 1 + np.minimum(np.searchsorted(ends, middles), len(shares) - 1)
    return found


def _drawn(random: np.random.Generator, parts: Sequence[Component], count: int, crystal: Crystal) -> Float:
    ends = np.rint(np.cumsum([part.share for part in parts]) * count).astype(int)
    counts = np.diff(ends, prepend=0)
    found = [_part(random, part, int(n), crystal) for part, n in zip(parts, counts, strict=True)]
    return np.asarray(random.permutation(np.concatenate(found)))


def _part(random: np.random.Generator, part: Component, count: int, crystal: Crystal) -> Float:
    if part.name == "random":
        return random_orientations(random, count)
    if part.name == "fibre":
        centres = on_fibre(crystal, part.hkl, random.uniform(0, 2 * np.pi, count), axis=part.axis)
    else:
        if crystal.laue not in ("m-3", "m-3m"):
            raise InputError(f"the texture {part.name!r} is one of cubic crystals, not of {crystal.laue}")
        variants = ideal(part.name)
        centres = variants[random.integers(len(variants), size=count)]
    return scattered(random, centres.reshape(-1, 4), part.halfwidth_deg)
