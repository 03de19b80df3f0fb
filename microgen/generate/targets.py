"""What a structure shall measure: numbers and curves by the names of descriptors, and properties of its phases."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from microgen import stats
from microgen.core import DivergedError, InputError, Microstructure
from microgen.generate.properties import PROPERTIES
from microgen.stats.interpret import thresholded

Value = float | stats.Curve
"""A number, or a curve over a physical abscissa."""

OF_GRAINS = ("mean_intercept_um", "correlation_length_um", "intensity_mean", "intensity_std", "s2")
"""What stands for a micrograph of grains."""
OF_PHASES = ("phase_fraction", "specific_surface_per_um", "correlation_length_um", "s2", "lineal_path")
"""What stands for a picture of two phases."""


@dataclass(frozen=True)
class Meaning:
    """How the samples of a model are looked at.

    Attributes
    ----------
    threshold
        Splits gray into phases, as :func:`microgen.stats.interpret.thresholded`; None leaves it gray.
    materials
        Values of each phase by the name of a material constant, for :data:`PROPERTIES`.
    """

    threshold: float | Literal["otsu"] | None = None
    materials: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def of(self, structure: Microstructure) -> Microstructure:
        """Return the structure as it is measured; InputError if a phase would be empty."""
        if self.threshold is None or "intensity" not in structure:
            return structure
        return thresholded(structure, self.threshold)

    def measure(self, structure: Microstructure, names: Sequence[str]) -> dict[str, Value | None]:
        """Measure numbers and curves by name; None where a structure does not allow one.

        Raises
        ------
        InputError
            For a name that is unknown or not for such structures.
        """
        asked = list(dict.fromkeys(name.partition(":")[0] for name in names if name not in PROPERTIES))
        try:
            seen = self.of(structure)
        except InputError:
            return dict.fromkeys(names)
        measured = stats.measure(seen, asked, intervals=False) if asked else {}
        found: dict[str, Value | None] = {name: _value_of(m) for name, m in measured.items()}
        for name in names:
            if name in PROPERTIES:
                try:
                    found[name] = PROPERTIES[name](seen, self.materials)
                except DivergedError:
                    found[name] = None
        if missing := [name for name in names if name not in found]:
            raise InputError(f"{missing[0]!r} is measured here as {', '.join(found)}; write one of these names")
        return {name: found[name] for name in names}


@dataclass(frozen=True, eq=False)
class Target:
    """One thing that a structure shall measure.

    Attributes
    ----------
    name
        Of a scalar or curve of :data:`microgen.stats.DESCRIPTORS` (``"phase_fraction:pores"`` with several phases), or
        of :data:`PROPERTIES`.
    value
        What it shall be.

    Examples
    --------
    >>> Target("phase_fraction", 0.25).error(0.26)
    0.04
    >>> wanted = stats.Curve(np.array([0.0, 2.0]), np.array([0.5, 0.25]))
    >>> Target("s2", wanted).error(stats.Curve(np.array([0.0, 4.0]), np.array([0.5, 0.1])))
    0.0667
    """

    name: str
    value: Value

    def error(self, found: Value | None) -> float:
        """Return the relative error: of a curve the mean departure over the mean value; inf where there is no value.

        The error of curves is that of Lee and Yun 2024 (Micro3Diff, arXiv:2308.14035), over the points of the target
        that the other curve reaches. Of a target of 0 it is the absolute error, of directions the share of the largest
        possible angle.
        """
        if found is None or isinstance(found, stats.Curve) != isinstance(self.value, stats.Curve):
            return math.inf
        if isinstance(self.value, stats.Curve) and isinstance(found, stats.Curve):
            inside = reached(self.value, found.x)
            wanted, there = self.value.y[inside], np.interp(self.value.x[inside], found.x, found.y)
            return _round(float(np.abs(there - wanted).mean() / (np.abs(wanted).mean() or 1.0)))
        return _round(_apart(self.name, float(found), float(self.value)))  # type: ignore[arg-type]


def _apart(name: str, found: float, wanted: float) -> float:
    descriptor = stats.DESCRIPTORS.get(name.partition(":")[0])
    if descriptor is not None and descriptor.period:
        half = descriptor.period / 2
        return abs((found - wanted + half) % descriptor.period - half) / half
    return abs(found - wanted) / (abs(wanted) or 1.0)


def reached(wanted: stats.Curve, x: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which points of a wanted curve lie within an abscissa; InputError if there are fewer than two."""
    inside = (wanted.x >= x.min() * (1 - 1e-9)) & (wanted.x <= x.max() * (1 + 1e-9))
    if np.count_nonzero(inside) < 2:
        raise InputError(
            f"the curve is given from {wanted.x.min():g} to {wanted.x.max():g}, samples are measured from "
            f"{x.min():g} to {x.max():g}; give points there"
        )
    return np.asarray(inside)


def parse(texts: Sequence[str], meaning: Meaning, read: Callable[[Path], Microstructure]) -> list[Target]:
    """Read targets as they are written on the command line.

    Parameters
    ----------
    texts
        ``"name=number"``, ``"name=curve.csv"``, ``"name=picture.png"`` (as measured on that picture), or a picture
        alone, which stands for its five descriptors (:data:`OF_GRAINS` or :data:`OF_PHASES`).
    meaning
        How pictures are looked at.
    read
        Reads a picture.

    Raises
    ------
    InputError
        For what is none of these, names given twice, and what a picture does not allow.
    """
    found: list[Target] = []
    for text in texts:
        name, equals, value = text.partition("=")
        if Path(text).is_file():
            found += _all_of(read(Path(text)), meaning)
        elif not equals:
            raise InputError(f"targets are written name=number, name=curve.csv or name=picture; {text} is not")
        else:
            found.append(Target(name.strip(), _parsed(name.strip(), value.strip(), meaning, read)))
    names = [target.name for target in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"the target {twice[0]!r} is given twice; give it once")
    return found


def read_curve(path: Path) -> stats.Curve:
    """Read a curve: two columns with commas, distance in micrometres and value; a first line of names is skipped.

    Raises
    ------
    InputError
        If there are fewer than two points, or they are not numbers in rising order.
    """
    try:
        rows = [row for row in csv.reader(path.read_text(encoding="utf-8-sig").splitlines()) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table: {error}") from error
    rows = rows[1:] if rows and not _is_number(rows[0][0]) else rows
    try:
        points = np.array([[float(cell) for cell in row[:2]] for row in rows])
    except ValueError as error:
        raise InputError(f"{path} holds something else than numbers: {error}") from error
    if points.ndim != 2 or points.shape[1:] != (2,) or len(points) < 2 or not np.isfinite(points).all():
        raise InputError(f"{path} needs two columns, distance in um and value, and at least two rows of finite numbers")
    if (np.diff(points[:, 0]) <= 0).any():
        raise InputError(f"the distances in {path} do not rise; sort the rows")
    return stats.Curve(points[:, 0], points[:, 1])


def _parsed(name: str, text: str, meaning: Meaning, read: Callable[[Path], Microstructure]) -> Value:
    if _is_number(text):
        _check_kind(name, "scalar")
        return float(text)
    path = Path(text)
    if not path.is_file():
        raise InputError(f"targets are written name=number, name=curve.csv or name=picture; {name}={text} is not")
    if path.suffix.lower() == ".csv":
        _check_kind(name, "curve")
        return read_curve(path)
    found = meaning.measure(read(path), [name])[name]
    if found is None:
        raise InputError(f"{name} cannot be measured on {path}")
    return found


def _check_kind(name: str, kind: str) -> None:
    """Refuse a curve for a number and the other way round; distributions are met by their mean."""
    descriptor = stats.DESCRIPTORS.get(name.partition(":")[0])
    if descriptor is not None and (descriptor.kind == "curve") != (kind == "curve"):
        wanted = "a curve: write name=curve.csv" if descriptor.kind == "curve" else "a number: write name=number"
        raise InputError(f"{name} is {wanted}")


def _all_of(structure: Microstructure, meaning: Meaning) -> list[Target]:
    names = OF_PHASES if "phase" in meaning.of(structure) else OF_GRAINS
    found = meaning.measure(structure, names)
    if missing := [name for name, value in found.items() if value is None]:
        raise InputError(f"{missing[0]} cannot be measured on that picture; give single targets instead")
    return [Target(name, value) for name, value in found.items() if value is not None]


def _value_of(measured: stats.Measurement) -> Value | None:
    if measured.y is not None and measured.x is not None:
        return stats.Curve(measured.x, measured.y)
    return measured.value


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _round(error: float) -> float:
    return float(f"{error:.3g}")
