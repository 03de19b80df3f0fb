"""Components on a torus: which of them meet through the frame, and around which axes they wind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Wraps:
    """Sets of labels, each label with its period relative to the first of its set (a union-find with offsets).

    Two ways from a label to itself that differ in periods are a path around the torus.

    Attributes
    ----------
    winds
        Whether the set of a root winds around each axis, ``(labels, ndim)``.

    Examples
    --------
    >>> wraps = Wraps(3, 2)
    >>> wraps.join(1, 2, (0, 1))
    >>> wraps.join(2, 1, (0, 1))  # on in the same direction, and back at label 1: two periods further
    >>> wraps.root(1) == wraps.root(2), wraps.winds[wraps.root(1)].tolist()
    (True, [False, True])
    """

    def __init__(self, labels: int, ndim: int) -> None:
        self.parent = list(range(labels))
        self.offset = [(0,) * ndim for _ in range(labels)]  # periods from the parent to the label
        self.winds: NDArray[np.bool_] = np.zeros((labels, ndim), dtype=bool)

    def root(self, label: int) -> int:
        """Return the label that stands for the set."""
        return self._found(label)[0]

    def join(self, first: int, second: int, periods: tuple[int, ...]) -> None:
        """Note that a step from `first` to `second` crosses so many periods along each axis."""
        a, of_first = self._found(first)
        b, of_second = self._found(second)
        # where the root of `second` lies, seen from the root of `first`
        between = tuple(i + p - j for i, p, j in zip(of_first, periods, of_second, strict=True))
        if a == b:
            self.winds[a] |= np.array(between) != 0
            return
        self.parent[b], self.offset[b] = a, between
        self.winds[a] |= self.winds[b]

    def _found(self, label: int) -> tuple[int, tuple[int, ...]]:
        """Root of a label and its periods from there; the way is shortened as it is walked."""
        path = []
        while self.parent[label] != label:
            path.append(label)
            label = self.parent[label]
        total = self.offset[label]
        for node in reversed(path):
            total = tuple(i + j for i, j in zip(total, self.offset[node], strict=True))
            self.parent[node], self.offset[node] = label, total
        return label, total
