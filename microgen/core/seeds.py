"""Seeds: parsing lists of them, and independent streams for each sample."""

from __future__ import annotations

import re

import numpy as np

from microgen.core.errors import InputError


def parse_seeds(text: str) -> list[int]:
    """Read a list of seeds such as ``"0-9,15"``; order is kept and repeats are dropped.

    >>> parse_seeds("0-3,7")
    [0, 1, 2, 3, 7]
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        if not match:
            raise InputError(f"seeds are written like 0-9,15; {part.strip()!r} is not")
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        if last < first:
            raise InputError(f"seeds {part.strip()!r} run backwards")
        seeds.update(dict.fromkeys(range(first, last + 1)))
    return list(seeds)


def rng(*key: int) -> np.random.Generator:
    """Return a generator that depends on all numbers of `key` and on nothing else.

    >>> rng(3, 1).integers(100) == rng(3, 1).integers(100)
    np.True_
    """
    return np.random.default_rng(np.random.SeedSequence([int(k) for k in key]))
