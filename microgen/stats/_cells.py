"""Merging the cells of a watershed over their weakest common lines."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


def merge_cells(cells: NDArray[Any], response: NDArray[Any], *, threshold: float, smallest: float) -> Labels:
    """Merge neighbouring cells, weakest common line first, while its mean response is below `threshold`.

    Two lines that come to separate the same two cells are pooled, so a gap in a strong boundary does not open it.
    Cells smaller than `smallest` times the area-weighted mean area then join the neighbour behind their weakest line.

    Parameters
    ----------
    cells
        Labels of all pixels, shape ``(Y, X)``.
    response
        Strength of lines, shape ``(Y, X)``.
    """
    graph = _Graph(cells, response)
    graph.merge_weak(threshold)
    area = np.array(graph.area, dtype=float)
    graph.merge_small(smallest * float((area**2).sum() / area.sum()))
    return np.asarray(graph.roots()[cells])


class _Graph:
    """Cells as nodes; each link holds the summed response along the common line and its length in pixels."""

    def __init__(self, cells: NDArray[Any], response: NDArray[Any]) -> None:
        count = int(cells.max()) + 1
        self.parent = list(range(count))
        self.area: list[int] = np.bincount(cells.ravel(), minlength=count).tolist()
        self.links: list[dict[int, tuple[float, int]]] = [{} for _ in range(count)]
        for first, second, total, length in _contacts(cells, response):
            self.links[first][second] = self.links[second][first] = (total, length)

    def merge_weak(self, threshold: float) -> None:
        heap = [(t / n, a, b) for a, row in enumerate(self.links) for b, (t, n) in row.items() if a < b]
        heap = [item for item in heap if item[0] < threshold]
        heapq.heapify(heap)
        while heap:
            mean, a, b = heapq.heappop(heap)
            total, length = self.links[a].get(b, (0.0, 0))
            if length and total / length == mean:
                joined, changed = self._join(a, b)
                for c in changed:
                    total, length = self.links[joined][c]
                    if total / length < threshold:
                        heapq.heappush(heap, (total / length, joined, c))

    def merge_small(self, area: float) -> None:
        heap = [(n, a) for a, n in enumerate(self.area) if self.links[a] and n < area]
        heapq.heapify(heap)
        while heap:
            size, a = heapq.heappop(heap)
            if size != self.area[a] or not self.links[a]:
                continue
            weakest = min(self.links[a], key=lambda b: self.links[a][b][0] / self.links[a][b][1])
            joined, _ = self._join(a, weakest)
            if self.area[joined] < area:
                heapq.heappush(heap, (self.area[joined], joined))

    def roots(self) -> Labels:
        roots = np.array(self.parent, dtype=np.int64)
        while (roots[roots] != roots).any():
            roots = roots[roots]
        return roots

    def _join(self, a: int, b: int) -> tuple[int, list[int]]:
        """Join two cells; return the number that stays and the neighbours whose link changed."""
        if len(self.links[a]) < len(self.links[b]):
            a, b = b, a
        self.parent[b] = a
        self.area[a] += self.area[b]
        self.area[b] = 0
        del self.links[a][b], self.links[b][a]
        moved = self.links[b]
        for c, (total, length) in moved.items():
            more, further = self.links[a].get(c, (0.0, 0))
            del self.links[c][b]
            self.links[a][c] = self.links[c][a] = (total + more, length + further)
        self.links[b] = {}
        return a, list(moved)


def _contacts(cells: NDArray[Any], response: NDArray[Any]) -> list[tuple[int, int, float, int]]:
    """Pairs of neighbouring cells with the summed response and the number of pixel sides between them."""
    count = int(cells.max()) + 1
    keys, values = [], []
    for axis in (0, 1):
        one, two = (np.moveaxis(cells, axis, 0)[part].astype(np.int64) for part in (slice(None, -1), slice(1, None)))
        high = np.maximum(*(np.moveaxis(response, axis, 0)[part] for part in (slice(None, -1), slice(1, None))))
        differ = one != two
        keys.append((np.minimum(one, two) * count + np.maximum(one, two))[differ])
        values.append(high[differ])
    pairs, place = np.unique(np.concatenate(keys), return_inverse=True)
    totals = np.bincount(place, np.concatenate(values))
    lengths = np.bincount(place)
    return list(
        zip((pairs // count).tolist(), (pairs % count).tolist(), totals.tolist(), lengths.tolist(), strict=True)
    )
