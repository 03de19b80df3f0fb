"""Saying what the values of a picture mean: phases or grains instead of gray. Nothing here is ever guessed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure

MOST_PHASES = 32
"""More different values than this are gray values, not phases."""


def thresholded(microstructure: Microstructure, threshold: float | Literal["otsu"]) -> Microstructure:
    """Split an intensity into the phases ``dark`` (0) and ``bright`` (1).

    Parameters
    ----------
    microstructure
        With the field ``intensity``.
    threshold
        Values above it are bright; ``"otsu"`` finds the value that separates the histogram best.

    Returns
    -------
    Microstructure
        With the field ``phase`` in place of ``intensity``, and the scalar ``threshold``.

    Raises
    ------
    InputError
        If one phase would be empty.

    References
    ----------
    Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62, doi:10.1109/TSMC.1979.4310076.

    Examples
    --------
    >>> m = Microstructure({"intensity": np.array([[10, 200], [12, 220]], np.uint8)}, spacing=(1, 1))
    >>> thresholded(m, "otsu")["phase"].tolist()
    [[0, 1], [0, 1]]
    """
    gray = microstructure["intensity"]
    if gray.min() == gray.max():
        raise InputError(f"all pixels have the value {gray.flat[0]}: there is nothing to split into phases")
    level = _otsu(gray) if threshold == "otsu" else float(threshold)
    bright = gray > level
    if bright.all() or not bright.any():
        raise InputError(
            f"a threshold of {level:g} leaves one phase empty; the values are {gray.min()} to {gray.max()}"
        )
    scalars = {**microstructure.scalars, "threshold": level}
    return _replaced(microstructure, "phase", bright.astype(np.uint8), ("dark", "bright"), scalars)


def labelled(
    microstructure: Microstructure,
    kind: Literal["phase", "grain"],
    *,
    names: Sequence[str] = (),
    values: Sequence[int] | None = None,
) -> Microstructure:
    """Take the values of a picture as labels.

    Parameters
    ----------
    microstructure
        With the field ``intensity`` holding whole numbers.
    kind
        ``"phase"``: each value is a phase, in ascending order, named by its value. ``"grain"``: each value is a
        grain, 0 is boundary.
    names
        Other names of the phases, in ascending order of their values.
    values
        Values of all phases, where this is one of several pictures and may lack some; by default those that occur.

    Raises
    ------
    InputError
        For fractions, negative grains, too many phases, not one name for each, or a value that is not among `values`.

    Examples
    --------
    >>> m = Microstructure({"intensity": np.array([[0, 255], [128, 255]], np.uint8)}, spacing=(1, 1))
    >>> labelled(m, "phase")["phase"].tolist(), labelled(m, "phase").phases
    ([[0, 2], [1, 2]], ('0', '128', '255'))
    """
    labels = _whole_numbers(microstructure["intensity"])
    if kind == "grain":
        if labels.min() < 0:
            raise InputError(f"grain labels start at 0, got {labels.min()}")
        return _replaced(microstructure, "grain", labels, (), dict(microstructure.scalars))
    present = distinct(labels)
    known = present if values is None else np.unique(values)
    many = max(len(present), len(known))
    if many > MOST_PHASES:
        raise InputError(f"{many} different values are gray values, not phases; split them with a threshold")
    if not np.isin(present, known).all():
        raise InputError(f"the values {_listed(present)} are not all among those of the phases, {_listed(known)}")
    if names and len(names) != len(known):
        raise InputError(f"{len(names)} names are given for {len(known)} phases, the values {_listed(known)}")
    phase = np.zeros(labels.shape, dtype=np.uint8)
    for layer, found in zip(labels, phase, strict=True):
        found[...] = np.searchsorted(known, layer)
    named = tuple(names) or tuple(map(str, known.tolist()))
    return _replaced(microstructure, "phase", phase, named, dict(microstructure.scalars))


def label_values(structures: Iterable[Microstructure]) -> list[int]:
    """Values that occur in any of several pictures, for the `values` of :func:`labelled`.

    Pictures that hold no labels of phases, which `labelled` refuses, add none.

    >>> parts = [np.array([[0, 128]]), np.array([[128, 255]]), np.array([[0.5, 7.0]])]
    >>> label_values(Microstructure({"intensity": part}, spacing=(1, 1)) for part in parts)
    [0, 128, 255]
    """
    found: set[int] = set()
    for one in structures:
        values = distinct(one["intensity"]) if "intensity" in one else np.zeros(0)
        if len(values) <= MOST_PHASES and (values == np.rint(values)).all():
            found.update(map(int, values))
    return sorted(found)


def _listed(values: NDArray[Any]) -> str:
    return ", ".join(map(str, values.tolist()))


def distinct(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the values that occur, ascending; layer by layer, which for volumes is faster and takes less memory.

    >>> distinct(np.array([[2, 0], [2, 2]])).tolist()
    [0, 2]
    """
    return np.unique(np.concatenate([np.unique(layer) for layer in labels]))


def _replaced(
    m: Microstructure, name: str, values: NDArray[Any], phases: tuple[str, ...], scalars: dict[str, float]
) -> Microstructure:
    others = {key: field for key, field in m.fields.items() if key != "intensity"}
    return Microstructure({**others, name: values}, m.spacing, phases, scalars, m.source)


def _whole_numbers(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind != "f":
        return values
    if (values != np.rint(values)).any():
        raise InputError("labels are whole numbers, and here are fractions; split gray values with a threshold")
    return np.asarray(values.astype(np.int64))


def _otsu(gray: NDArray[Any]) -> float:
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(gray))
