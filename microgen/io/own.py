"""The header that microgen writes into its own files: field, type, spacing, phases, scalars and recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.crystals import crystals_from_json, crystals_to_json
from microgen.core.recipe import RECIPE_KEY

SPACING_KEY = "microgen:spacing_um"
FIELD_KEY = "microgen:field"

_DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{kind}"/>
</rdf:RDF>
</x:xmpmeta>"""


@dataclass(frozen=True)
class Own:
    """Header of a file that microgen wrote.

    Attributes
    ----------
    name, dtype
        Field and its numpy type; integers may be stored in a narrower type that holds all their values.
    shape
        Grid at the time of writing; a file of another shape was edited since.
    spacing
        Micrometres per axis.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    phases: tuple[str, ...]
    scalars: Mapping[str, float]
    recipe: dict[str, Any] | None
    crystals: Mapping[str, Crystal] = field(default_factory=dict)


def texts(structure: Microstructure, recipe: Mapping[str, Any] | None) -> dict[str, Any]:
    """Header of a one-field structure as JSON-able values by key."""
    ((name, values),) = structure.fields.items()
    header: dict[str, Any] = {
        SPACING_KEY: list(structure.spacing),
        FIELD_KEY: {
            "version": 1,
            "name": name,
            "dtype": values.dtype.name,
            "shape": list(values.shape),
            "phases": list(structure.phases),
            "scalars": dict(structure.scalars),
        },
    }
    if structure.crystals:
        header[FIELD_KEY]["crystals"] = crystals_to_json(structure.crystals)
    if recipe is not None:
        header[RECIPE_KEY] = dict(recipe)
    return header


def parse(header: Mapping[str, Any], shape: Sequence[int]) -> Own | None:
    """Read a header back, or return None where there is none or it does not belong to this picture."""
    if SPACING_KEY not in header or FIELD_KEY not in header:
        return None
    spacing, about, recipe = (_json(header.get(key)) for key in (SPACING_KEY, FIELD_KEY, RECIPE_KEY))
    if tuple(about["shape"]) != tuple(shape):
        return None
    return Own(
        name=str(about["name"]),
        dtype=np.dtype(about["dtype"]).name,
        shape=tuple(about["shape"]),
        spacing=tuple(float(v) for v in spacing),
        phases=tuple(str(p) for p in about["phases"]),
        scalars={str(k): float(v) for k, v in about["scalars"].items()},
        recipe=recipe,
        crystals=crystals_from_json(about.get("crystals")),
    )


def dumps(value: Any) -> str:
    """JSON on one line, keys in order given, NaN refused."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def storable(name: str, values: NDArray[Any], allowed: Sequence[str], advice: str) -> NDArray[Any]:
    """Return `values` in one of the types a format has, all values kept exactly.

    A type that the format has is kept; other integers take the first allowed type that holds their range,
    other floats the first that gives every value back.
    """
    if values.dtype.name in allowed:
        return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("="), copy=False)
    for target in map(np.dtype, allowed):
        if target.kind == "f" or values.dtype.kind == "f":
            fits = target.kind == "f" and values.dtype.kind == "f"
        else:
            limits = np.iinfo(target)
            fits = limits.min <= int(values.min()) and int(values.max()) <= limits.max
        if fits and np.array_equal(values.astype(target), values):
            return np.ascontiguousarray(values.astype(target))
    raise InputError(f"field {name!r} ({values.dtype}) does not fit this format without loss; {advice}")


def digital_source(recipe: Mapping[str, Any] | None) -> str | None:
    """XMP packet with the IPTC digital source type of a synthetic picture, None for a recorded one.

    Source: IPTC Digital Source Type NewsCodes, https://cv.iptc.org/newscodes/digitalsourcetype/
    """
    if recipe is None:
        return None
    if isinstance(recipe.get("of"), Mapping):  # converted from a file that has a recipe itself
        return digital_source(recipe["of"])
    if "model" in recipe or recipe.get("command") == "sample":
        return _XMP.format(kind=_DIGITAL_SOURCE + "trainedAlgorithmicMedia")
    if recipe.get("command") == "synth":
        return _XMP.format(kind=_DIGITAL_SOURCE + "algorithmicMedia")
    return None


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
