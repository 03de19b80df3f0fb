"""The kinds of synthetic structures by name, as the command line offers them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from microgen.core import Microstructure
from microgen.synth.micrographs import render_micrograph
from microgen.synth.polycrystals import polycrystal
from microgen.synth.two_phase import spinodal, two_phase


def etched_polycrystal(
    seed: int, shape: Sequence[int], spacing: Sequence[float], grain_size_um: float, **options: Any
) -> Microstructure:
    """Make a polycrystal, and where it is a picture also its micrograph; options are those of :func:`polycrystal`."""
    made = polycrystal(seed, shape, spacing, grain_size_um, **options)
    return render_micrograph(seed, made) if made.ndim == 2 else made


KINDS: dict[str, Callable[..., Microstructure]] = {
    "polycrystal": etched_polycrystal,
    "two-phase": two_phase,
    "spinodal": spinodal,
}
"""Each is called with seed, shape, spacing and its own parameters by name."""
