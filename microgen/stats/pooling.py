"""One measurement out of those of several pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from microgen.stats.descriptors import DESCRIPTORS
from microgen.stats.interval import bootstrap_ci, circular_mean
from microgen.stats.measurement import Measurement


def pool(pictures: Sequence[Mapping[str, Measurement]]) -> dict[str, Measurement]:
    """Return the mean over pictures of every number, with the interval that their scatter gives.

    Each picture counts once. Angles are averaged modulo their period. Names that fewer than two pictures have a
    value for, and curves, are left out.

    Parameters
    ----------
    pictures
        Results of :func:`microgen.stats.measure`.

    Examples
    --------
    >>> found = pool([{"phase_fraction": Measurement(0.2)}, {"phase_fraction": Measurement(0.4)}])
    >>> round(found["phase_fraction"].value, 3), found["phase_fraction"].n
    (0.3, 2)
    """
    names = dict.fromkeys(name for picture in pictures for name in picture)
    known = {name: [p[name] for p in pictures if name in p and p[name].value is not None] for name in names}
    return {name: _pooled(name, parts) for name, parts in known.items() if len(parts) > 1}


def _pooled(name: str, parts: Sequence[Measurement]) -> Measurement:
    period = DESCRIPTORS[name.partition(":")[0]].period
    values = np.array([part.value for part in parts], dtype=np.float64)
    if period:
        value, std = circular_mean(values, period=period), None
    else:
        value, std = float(values.mean()), float(values.std(ddof=1))
    return Measurement(value, bootstrap_ci(values, period=period), len(values), parts[0].unit, std)
