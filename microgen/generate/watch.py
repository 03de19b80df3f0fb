"""Counting finished samples while any number of processes make them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

Report = Callable[[int, int, float], None]
"""Called with samples done, samples in all, and samples per second since the start."""


def sample_name(seed: int, suffix: str) -> str:
    """Name of a sample's file.

    >>> sample_name(17, "png")
    'seed_000017.png'
    """
    return f"seed_{seed:06d}.{suffix}"


def count_samples(folders: Sequence[Path], suffix: str, *, seeds: Iterable[int] | None = None) -> int:
    """Number of finished samples in `folders`, of all seeds or of `seeds`; a missing folder has none."""
    wanted = None if seeds is None else {sample_name(seed, suffix) for seed in seeds}
    found = 0
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                names = [e.name for e in entries if e.name.startswith("seed_") and e.name.endswith(f".{suffix}")]
        except FileNotFoundError:
            continue
        found += len(names if wanted is None else wanted.intersection(names))
    return found


class Watch:
    """Reports progress from a thread of its own, until it is left.

    Parameters
    ----------
    folders, suffix
        What to count, see :func:`count_samples`.
    expected
        Samples in all.
    report
        See :data:`Report`.
    every
        Seconds between reports.
    """

    def __init__(
        self, folders: Sequence[Path], suffix: str, expected: int, report: Report, *, every: float = 0.5
    ) -> None:
        self._folders, self._suffix = folders, suffix
        self._expected, self._report, self._every = expected, report, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._first, self._since = self._count(), time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._say()

    def _count(self) -> int:
        return min(count_samples(self._folders, self._suffix), self._expected)

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self._say()

    def _say(self) -> None:
        done, seconds = self._count(), time.monotonic() - self._since
        self._report(done, self._expected, (done - self._first) / max(seconds, 1e-9))
