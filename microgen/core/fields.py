"""The standard field names: what an array of that name means, its unit, channels and kind of number."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """Meaning of a field name.

    Attributes
    ----------
    kind
        ``"number"`` for measured values (any integer or float type), ``"label"`` for integers that name something.
    channels
        Length of the last axis, or 0 where the field has no channel axis.
    unit
        Unit of the values, empty where they have none.
    meaning
        One line for tables and messages.
    """

    kind: str
    channels: int
    unit: str
    meaning: str


FIELDS: dict[str, Field] = {
    "intensity": Field("number", 0, "", "gray value as recorded, bit depth kept"),
    "phase": Field("label", 0, "", "index into the list of phases"),
    "grain": Field("label", 0, "", "grain number; 0 is boundary or not indexed"),
    "boundary": Field("label", 0, "", "1 on a grain boundary, 0 elsewhere"),
    "mask": Field("label", 0, "", "1 where the data are valid"),
    "orientation": Field("number", 4, "", "crystal orientation as a unit quaternion, see core.orientations"),
    "grain_size_um": Field("number", 0, "um", "local mean lineal intercept"),
    "orientation_deg": Field("number", 0, "deg", "local direction of elongation, 0 along x, modulo 180"),
    "phase_fraction": Field("number", 0, "", "local fraction of the phase of interest"),
}
