"""The floor: what a comparison looks like when nothing but simple statistics of the real pictures is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import Microstructure
from microgen.evaluate.texture import gray

Array = NDArray[Any]


def same_spectrum(values: Array, rng: np.random.Generator) -> Array:
    """Return a random field with the power spectrum of `values` and exactly its histogram.

    The phases of the Fourier transform are drawn at random, then the values are exchanged by rank for those of
    the original (amplitude-adjusted surrogate).

    References
    ----------
    Theiler et al., Physica D 58 (1992) 77, doi:10.1016/0167-2789(92)90102-S.

    Examples
    --------
    >>> x = np.arange(12.0).reshape(3, 4)
    >>> bool((np.sort(same_spectrum(x, np.random.default_rng(0)), None) == x.ravel()).all())
    True
    """
    amplitude = np.abs(np.fft.rfftn(values))
    noise = np.fft.rfftn(rng.standard_normal(values.shape))
    field = np.fft.irfftn(amplitude * noise / np.maximum(np.abs(noise), 1e-30), s=values.shape, axes=range(values.ndim))
    out = np.zeros_like(values).ravel()
    out[np.argsort(field, axis=None, kind="stable")] = np.sort(values, axis=None)
    return out.reshape(values.shape)


def shuffled(values: Array, rng: np.random.Generator) -> Array:
    """Return the same values in random places."""
    return rng.permutation(values.ravel()).reshape(values.shape)


FLOORS: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "same spectrum": same_spectrum,
    "shuffled pixels": shuffled,
}
"""The two floors by name."""


def surrogate(window: Microstructure, kind: str, rng: np.random.Generator) -> Microstructure:
    """Return the window with every plain field replaced by its surrogate; other fields are left out.

    The points of an orientation map are moved as a whole: to where a surrogate of its gray picture has their rank.
    """
    if "orientation" in window:
        order = np.argsort(gray(window), axis=None, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        moved = order[FLOORS[kind](rank.reshape(window.shape), rng)]
        flat = {name: v.reshape(order.size, *v.shape[window.ndim :]) for name, v in window.fields.items()}
        return window.replace(fields={name: v[moved] for name, v in flat.items()})
    found = "boundary" in window and "intensity" in window  # boundaries of noise are those found in the noise
    left_out = {"mask", "boundary"} if found else {"mask"}
    plain = {name: v for name, v in window.fields.items() if v.ndim == window.ndim and name not in left_out}
    return window.replace(fields={name: FLOORS[kind](np.asarray(v), rng) for name, v in plain.items()})
