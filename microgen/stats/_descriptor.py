"""One row of the table of descriptors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from microgen.stats.curve import Curve
from microgen.stats.measurement import Measurement

Array = NDArray[Any]


@dataclass(frozen=True)
class Descriptor:
    """One row of :data:`microgen.stats.DESCRIPTORS`.

    Attributes
    ----------
    function
        ``function(array, *, spacing, periodic, mask)`` to a number, a :class:`Curve` or a
        :class:`Measurement`.
    unit
        Of the result, in powers of ``um`` where it has a length in it.
    needs
        What the array is: a name of :class:`microgen.stats.views.Views`.
    kind
        ``"scalar"``, ``"curve"`` or ``"distribution"``.
    meaning
        One line for tables.
    x_unit
        Unit of the abscissa of a curve.
    period
        Of an angle.
    dims
        Numbers of dimensions it is defined for.
    costly
        Solved rather than counted: measured only where it is asked for by name.
    tiles
        Whether parts of a picture scatter around the value of the whole, so that they tell its interval.
    """

    function: Callable[..., float | Curve | Measurement]
    unit: str
    needs: tuple[str, ...]
    kind: Literal["scalar", "curve", "distribution"]
    meaning: str
    x_unit: str = ""
    period: float | None = None
    dims: tuple[int, ...] = (2, 3)
    costly: bool = False
    tiles: bool = True
