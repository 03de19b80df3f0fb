"""Batches made ahead of time in the background, each a pure function of the images seen before it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

Batch = dict[str, Any]


class Feed:
    """Hands out ``make(images)`` for any position, and prepares the next ones meanwhile.

    Because a batch depends on its position alone, jumping back after a failure needs no care.

    Parameters
    ----------
    make
        Makes the batch that follows after so many images.
    batch
        Images per step, the distance between positions.
    ahead
        Batches prepared beyond the one asked for.

    >>> with Feed(lambda images: {"first": images}, batch=4) as feed:
    ...     feed.get(0), feed.get(4), feed.get(0)
    ({'first': 0}, {'first': 4}, {'first': 0})
    """

    def __init__(self, make: Callable[[int], Batch], *, batch: int, ahead: int = 2) -> None:
        self._make, self._batch, self._ahead = make, batch, ahead
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="microgen-feed")
        self._ready: dict[int, Future[Batch]] = {}

    def get(self, images: int) -> Batch:
        """Return the batch at this position; errors of `make` are raised here."""
        wanted = [images + k * self._batch for k in range(self._ahead + 1)]
        for position in set(self._ready) - set(wanted):
            self._ready.pop(position).cancel()
        for position in wanted:
            if position not in self._ready:
                self._ready[position] = self._pool.submit(self._make, position)
        return self._ready.pop(images).result()

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
