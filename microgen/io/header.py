"""The header that microgen writes into formats that hold several fields of one structure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import FIELDS, InputError, Microstructure
from microgen.core.crystals import crystals_from_json, crystals_to_json
from microgen.core.recipe import RECIPE_KEY
from microgen.io import own
from microgen.io.recording import Recording

NAME = "microgen"
"""Name of the text in a file that holds the header."""

VERSION = 1

Fields = Mapping[str, NDArray[Any]]


def dumps(structure: Microstructure, recipe: Mapping[str, Any] | None) -> str:
    """Return everything but the values as one line of ASCII JSON."""
    header: dict[str, Any] = {
        "version": VERSION,
        own.SPACING_KEY: list(structure.spacing),
        "shape": list(structure.shape),
        "fields": {name: values.dtype.name for name, values in structure.fields.items()},
        "phases": list(structure.phases),
        "scalars": dict(structure.scalars),
        "crystals": crystals_to_json(structure.crystals),
        "source": dict(structure.source),
    }
    if recipe is not None:
        header[RECIPE_KEY] = dict(recipe)
    return own.dumps(header)


def loads(text: str | None) -> dict[str, Any]:
    """Return a header as a dictionary, empty where there is none."""
    if text is None:
        return {}
    header = json.loads(text)
    if not isinstance(header, dict) or "version" not in header:
        raise InputError("its header of microgen is damaged")
    if header["version"] > VERSION:
        raise InputError(f"was written by a newer microgen (header {header['version']}); update microgen")
    return header


def restore(header: Mapping[str, Any], fields: Fields) -> Recording | None:
    """Give fields their types, phases and scale back; None where the header speaks of another grid or there is none.

    Fields that another program added are kept as they are.
    """
    if not header:
        return None
    spacing, shape = tuple(header[own.SPACING_KEY]), tuple(header["shape"])
    if any(values.shape[: len(shape)] != shape for values in fields.values()):
        return None
    types = header["fields"]
    ordered = [*(n for n in types if n in fields), *(n for n in fields if n not in types)]
    kept = {name: typed(fields[name], types[name]) if name in types else fields[name] for name in ordered}
    structure = Microstructure(
        kept,
        spacing,
        tuple(header["phases"]),
        header["scalars"],
        header["source"],
        crystals_from_json(header["crystals"]),
    )
    about = own.Own("", "", structure.shape, structure.spacing, (), {}, header.get(RECIPE_KEY))
    return Recording(structure=structure, own=about)


def typed(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Return values in the type of numbers that a header names."""
    kind = np.dtype(name)
    if kind.kind not in "buif":
        raise InputError(f"its header of microgen names the type {name!r}, which is no number")
    return values.astype(kind)


def foreign(arrays: Fields, ndim: int) -> dict[str, NDArray[Any]]:
    """Return arrays of another program as fields, vectors as one field per component (``name_0``, ``name_1``).

    The only array of a file is ``intensity``, as the values of a picture are, unless it has a standard name. Labels
    that were stored as whole floats become integers.

    >>> list(foreign({"stress": np.zeros((2, 2, 3)), "phase": np.zeros((2, 2))}, 2))
    ['stress_0', 'stress_1', 'stress_2', 'phase']
    """
    if len(arrays) == 1:
        ((name, values),) = arrays.items()
        if name not in FIELDS and values.ndim == ndim:
            return {"intensity": values}
    fields: dict[str, NDArray[Any]] = {}
    for name, values in arrays.items():
        known = FIELDS.get(name)
        if known and known.kind == "label" and values.ndim == ndim:
            fields[name] = whole_numbers(name, values)
        elif values.ndim == ndim or (known and known.channels == values.shape[-1]):
            fields[name] = values
        else:
            fields |= {f"{name}_{i}": np.ascontiguousarray(values[..., i]) for i in range(values.shape[-1])}
    return fields


def whole_numbers(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return labels as integers, also where they were stored as floats."""
    if values.dtype.kind != "f":
        return values
    labels = values.astype(np.int64) if np.isfinite(values).all() else None
    if labels is None or not np.array_equal(labels, values):
        raise InputError(f"the array {name!r} should hold labels and holds fractions; rename it")
    return np.asarray(labels)
