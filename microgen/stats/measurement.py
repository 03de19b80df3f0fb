"""The result of a descriptor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured: a number with its interval, a curve, or a distribution.

    Attributes
    ----------
    value
        The number; None for curves, and where the picture does not allow it (see `note`).
    ci95
        95 % confidence interval of `value`, None where it is not known.
    n
        Parts whose scatter gives the interval: tiles or fields of a picture, grains, or pictures.
    unit
        Unit of `value`, `y` or `values`: ``"um"``, ``"1/um"``, ``"1"`` ...
    std
        Standard deviation of the single parts.
    x, y, x_unit
        A curve.
    values
        A distribution: every single value.
    note
        Why there is no value.
    """

    value: float | None = None
    ci95: tuple[float, float] | None = None
    n: int | None = None
    unit: str = "1"
    std: float | None = None
    x: Array | None = None
    y: Array | None = None
    x_unit: str = ""
    values: Array | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form: the attributes that are set; distributions as their value, count and quantiles."""
        kept = {name: getattr(self, name) for name in ("value", "ci95", "n", "std", "x_unit", "note")}
        table = {name: value for name, value in kept.items() if value not in (None, "")} | {"unit": self.unit}
        if self.note:
            table["value"] = None
        for name in ("x", "y"):
            if getattr(self, name) is not None:
                table[name] = getattr(self, name).tolist()
        if self.values is not None and len(self.values):
            levels = (5, 25, 50, 75, 95)
            table["quantiles"] = dict(zip(map(str, levels), np.percentile(self.values, levels).tolist(), strict=True))
        return table
