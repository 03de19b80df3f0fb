"""Structures and damaged files for the tests of volume formats."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.orientations import random_orientations
from microgen.io import read

IRON = Crystal("m-3m", (0.287, 0.287, 0.287, 90, 90, 90))
TITANIUM = Crystal("6/mmm", (0.295, 0.295, 0.468, 90, 90, 120))


def polycrystal(
    shape: tuple[int, ...], *, grains: int = 6, seed: int = 0, voids: bool = False, scatter: bool = False
) -> Microstructure:
    """Grains of two phases; `voids` leaves points without grain, `scatter` turns points within grains."""
    rng = np.random.default_rng(seed)
    numbers = np.sort(rng.choice(np.arange(1, 90), grains, replace=False))  # with gaps
    which = rng.integers(0, grains, shape)
    grain, phase = numbers[which], (1 + np.arange(grains) % 2)[which].astype(np.uint8)
    orientation = random_orientations(rng, grains)[which]
    if scatter:
        orientation = orientation + 0.003 * rng.standard_normal(orientation.shape)
        orientation /= np.linalg.norm(orientation, axis=-1, keepdims=True)
    fields: dict[str, Any] = {"grain": grain, "phase": phase, "orientation": orientation.astype(np.float32)}
    if voids:
        void = rng.random(shape) < 0.2
        fields["grain"], fields["phase"] = np.where(void, 0, grain), np.where(void, 0, phase).astype(np.uint8)
        fields["orientation"] = np.where(void[..., None], np.float32([1, 0, 0, 0]), fields["orientation"])
        fields["mask"] = (~void).astype(np.uint8)
    crystals = {"iron": IRON, "titanium": TITANIUM}
    source = {"euler_frame": "map"}
    spacing = (3.0, 2.0, 0.1)[-len(shape) :]
    return Microstructure(fields, spacing, ("not indexed", *crystals), {"anneal_K": 900.0}, source, crystals)


def same_fields(one: Microstructure, other: Microstructure) -> bool:
    """Whether two structures agree in all but their source."""
    return (
        list(one.fields) == list(other.fields)
        and all(one[n].dtype == other[n].dtype and np.array_equal(one[n], other[n]) for n in one.fields)
        and (one.spacing, one.phases, dict(one.scalars)) == (other.spacing, other.phases, dict(other.scalars))
        and dict(one.crystals) == dict(other.crystals)
    )


def attempt(path: Path, **how: Any) -> Microstructure | None:
    """Read, or None for the one error allowed, which must name the file."""
    try:
        return read(path, crop_bottom=0, **how)[0]
    except InputError as error:
        if str(path) not in str(error):
            pytest.fail(f"the error does not name the file: {error}")
        return None


def mutant(data: bytes, rng: random.Random) -> bytes:
    """Overwrite, delete, insert or repeat a few bytes, half of them in the header, or put something odd there."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(len(changed) if rng.random() < 0.5 else min(len(changed), 800))
        kind = rng.random()
        if kind < 0.6:
            changed[at : at + 1] = bytes([rng.choice([rng.randrange(256), 0, 45, 48, 57, 127, 255])])
        elif kind < 0.7:
            del changed[at : at + rng.randrange(1, 16)]
        elif kind < 0.8:
            changed[at:at] = rng.randbytes(rng.randrange(1, 8))
        elif kind < 0.9:
            changed[at:at] = changed[at : at + rng.randrange(1, 200)]
        else:
            changed[at : at + 1] = rng.choice([b"99999999", b"-1", b"1e300", b"nan", b"<", b"&x;", b"*"])
    return bytes(changed)


def check_mutants(build: Callable[[Path], None], path: Path, count: int, **how: Any) -> None:
    """Read mutants of a file: each is refused by the one error allowed, or gives a structure of bounded size."""
    build(path)
    data, whole = path.read_bytes(), attempt(path, **how)
    assert whole is not None
    rng, refused = random.Random(path.name), 0
    for _ in range(count):
        path.write_bytes(mutant(data, rng))
        found = attempt(path, max_pixels=1 << 16, **how)
        refused += found is None
        assert found is None or sum(values.nbytes for values in found.fields.values()) < 1000 * len(data) + (1 << 20)
    assert refused > count // 10
