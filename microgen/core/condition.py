"""What a model is asked for: scalars and maps in physical units, classes by name, and the range it learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from microgen.core.errors import InputError


@dataclass(frozen=True)
class ConditionSpec:
    """One quantity that a model can be asked for.

    Attributes
    ----------
    name
        Quantity with its unit, ``"grain_size_um"``.
    kind
        ``"scalar"`` (one number per sample) or ``"map"`` (one number per grid point).
    low, high
        Range seen in training, in physical units.
    scale
        ``"log"``, ``"linear"``, ``"axial"`` for directions modulo 180 degrees (encoded as cos 2a, sin 2a), or
        ``"class"`` for one of `labels` (encoded one-hot). The number of a class is its place among the labels.
    labels
        Names of the classes; empty on the other scales.

    Examples
    --------
    >>> steel = ConditionSpec("steel", "scalar", 0, 1, "class", ("304", "435Q"))
    >>> float(steel.numbers("435Q")), steel.encode("435Q")
    (1.0, array([0., 1.], dtype=float32))
    """

    name: str
    kind: Literal["scalar", "map"]
    low: float
    high: float
    scale: Literal["log", "linear", "axial", "class"] = "linear"
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        if not self.low < self.high or (self.scale == "log" and self.low <= 0):
            raise InputError(f"condition {self.name!r}: the range {self.low:g} .. {self.high:g} is not usable")
        if self.scale == "class" and (self.low, self.high) != (0, len(self.labels) - 1):
            raise InputError(f"condition {self.name!r}: classes are numbered 0 .. {len(self.labels) - 1}")
        if len(set(self.labels)) < len(self.labels) or (self.labels and self.scale != "class"):
            raise InputError(f"condition {self.name!r}: labels must differ, and belong to the scale 'class'")

    @property
    def channels(self) -> int:
        """Numbers the network sees per value."""
        return len(self.labels) or (2 if self.scale == "axial" else 1)

    def numbers(self, values: NDArray[Any] | float | str) -> NDArray[np.float64]:
        """Values as numbers: the label of a class becomes its place among the labels.

        Raises
        ------
        InputError
            For a text that is no label, or a number that is not that of a label.
        """
        if isinstance(values, str) and values in self.labels:
            return np.asarray(float(self.labels.index(values)))
        known = f"one of {', '.join(self.labels)}" if self.labels else "a number"
        if isinstance(values, str):
            raise InputError(f"{self.name} must be {known}, not {values!r}")
        found = np.asarray(values, dtype=np.float64)
        if self.labels and not np.isin(found, range(len(self.labels))).all():
            raise InputError(f"{self.name} must be {known}, or its number from 0")
        return found

    def encode(self, values: NDArray[Any] | float | str) -> NDArray[np.float32]:
        """Map physical values to about -1 .. 1, classes to 0 and 1, with a new first axis of :attr:`channels`.

        >>> ConditionSpec("grain_size_um", "scalar", 5, 20, "log").encode(10.0).round(6)
        array([0.], dtype=float32)
        """
        v = self.numbers(values)
        if self.scale == "class":
            return np.stack([v == k for k in range(self.channels)]).astype(np.float32)
        if self.scale == "axial":
            double = np.deg2rad(2 * v)
            return np.stack([np.cos(double), np.sin(double)]).astype(np.float32)
        low, high = self.low, self.high
        if self.scale == "log":
            v, low, high = np.log(np.maximum(v, 1e-300)), np.log(low), np.log(high)
        return np.asarray((2 * (v - low) / (high - low) - 1)[None], dtype=np.float32)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; ``ConditionSpec(**d)`` is the way back."""
        labels = {"labels": list(self.labels)} if self.labels else {}
        return {"name": self.name, "kind": self.kind, "low": self.low, "high": self.high, "scale": self.scale, **labels}


@dataclass(frozen=True, eq=False)
class Condition:
    """Values asked for, in physical units.

    Parameters
    ----------
    scalars
        One number per name, or the label of a class.
    maps
        One array per name on the grid of the wanted picture, ``(Y, X)`` or ``(Z, Y, X)``.
        A scalar given for a quantity the model knows as a map is spread over the whole picture.
    """

    scalars: Mapping[str, float | str] = field(default_factory=dict)
    maps: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.scalars.items():
            if not (value if isinstance(value, str) else np.isfinite(value)):
                raise InputError(f"condition {name!r} must be a finite number or a label, got {value!r}")

    def __bool__(self) -> bool:
        return bool(self.scalars or self.maps)
