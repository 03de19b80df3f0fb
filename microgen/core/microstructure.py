"""The one container: named fields on a regular grid with a physical spacing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core.crystals import Crystal
from microgen.core.errors import InputError
from microgen.core.fields import FIELDS

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class Microstructure:
    """Named fields on one regular grid: a micrograph, an EBSD map, a volume or a lattice cell.

    Values are kept exactly as given: nothing is rescaled, and no array is guessed to mean something.

    Parameters
    ----------
    fields
        Arrays by name, each of shape ``(Y, X)`` or ``(Z, Y, X)``, plus one last axis of channels where
        the field has them. Standard names are those of :data:`microgen.core.fields.FIELDS`; other names are
        allowed and carry no channel axis.
    spacing
        Distance between neighbouring grid points along each axis in micrometres, in the order of the axes.
    phases
        Names of the phases; the field ``phase`` indexes this list.
    scalars
        Numbers that hold for the whole specimen, the unit in the name: ``{"anneal_temperature_K": 1273.0}``.
    source
        Where it came from, as JSON-able values (file, recipe, origin of the pixel size).
    crystals
        Symmetry and lattice by name of phase, for phases of which it is known.

    Raises
    ------
    InputError
        For NaN or infinite values, unequal grids, a spacing that is not positive, or wrong kinds of number.

    Examples
    --------
    >>> m = Microstructure({"intensity": np.zeros((64, 48), np.uint8)}, spacing=(0.5, 0.5))
    >>> m
    Microstructure 64 x 48 px, 32 x 24 um (0.5 x 0.5 um/px)
      intensity  uint8  0 .. 0
    """

    fields: Mapping[str, Array]
    spacing: tuple[float, ...]
    phases: tuple[str, ...] = ()
    scalars: Mapping[str, float] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    crystals: Mapping[str, Crystal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        spacing = tuple(float(s) for s in self.spacing)
        if len(spacing) not in (2, 3):
            raise InputError(f"spacing needs 2 or 3 numbers (micrometres per axis), got {len(spacing)}")
        if not all(np.isfinite(s) and s > 0 for s in spacing):
            raise InputError(f"spacing must be positive micrometres, got {spacing}")
        if not self.fields:
            raise InputError("a Microstructure needs at least one field")
        fields = {name: _checked(name, values, len(spacing)) for name, values in self.fields.items()}
        grids = {name: values.shape[: len(spacing)] for name, values in fields.items()}
        if len(set(grids.values())) > 1:
            raise InputError(f"all fields share one grid, got {grids}")
        object.__setattr__(self, "fields", MappingProxyType(fields))
        object.__setattr__(self, "spacing", spacing)
        object.__setattr__(self, "phases", tuple(self.phases))
        object.__setattr__(self, "scalars", MappingProxyType(dict(self.scalars)))
        object.__setattr__(self, "source", MappingProxyType(dict(self.source)))
        if unknown := [name for name in self.crystals if name not in self.phases]:
            raise InputError(f"crystals are given by name of phase; {unknown[0]!r} is none of {list(self.phases)}")
        object.__setattr__(self, "crystals", MappingProxyType(dict(self.crystals)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of grid points along each axis, ``(Y, X)`` or ``(Z, Y, X)``."""
        return next(iter(self.fields.values())).shape[: len(self.spacing)]

    @property
    def ndim(self) -> int:
        """2 for pictures, 3 for volumes."""
        return len(self.spacing)

    @property
    def extent_um(self) -> tuple[float, ...]:
        """Length of the grid along each axis in micrometres."""
        return tuple(n * s for n, s in zip(self.shape, self.spacing, strict=True))

    def __getitem__(self, name: str) -> Array:
        if name not in self.fields:
            raise InputError(f"no field {name!r} here; it has {', '.join(self.fields)}")
        return self.fields[name]

    def __contains__(self, name: object) -> bool:
        return name in self.fields

    def replace(self, **changes: Any) -> Microstructure:
        """Return a copy with some attributes replaced."""
        return replace(self, **changes)

    def with_fields(self, **fields: Array) -> Microstructure:
        """Return a copy with fields added or replaced."""
        return replace(self, fields={**self.fields, **fields})

    def crop(self, *slices: slice) -> Microstructure:
        """Return the part inside one slice per axis (steps are not allowed, they would change the spacing)."""
        if len(slices) != self.ndim or any(s.step not in (None, 1) for s in slices):
            raise InputError(f"crop needs {self.ndim} slices without a step")
        return replace(self, fields={name: values[slices] for name, values in self.fields.items()})

    def __repr__(self) -> str:
        um = " x ".join(f"{v:.4g}" for v in self.extent_um)
        step = " x ".join(f"{v:.4g}" for v in self.spacing)
        unit = "px" if self.ndim == 2 else "voxels"
        lines = [f"Microstructure {' x '.join(map(str, self.shape))} {unit}, {um} um ({step} um/px)"]
        width = max(map(len, self.fields))
        for name, values in self.fields.items():
            span = f"{values.min():.4g} .. {values.max():.4g}" if values.size else "empty"
            lines.append(f"  {name:<{width}}  {values.dtype}  {span}")
        if self.phases:
            lines.append(f"  phases: {', '.join(self._phase_names())}")
        lines += [f"  {name} = {value:g}" for name, value in self.scalars.items()]
        return "\n".join(lines)

    def _phase_names(self) -> list[str]:
        return [f"{name} ({self.crystals[name].laue})" if name in self.crystals else name for name in self.phases]


def _checked(name: str, values: Array, ndim: int) -> Array:
    """Return a read-only view of a field after checking its axes, kind and finiteness."""
    array = np.asarray(values)
    known = FIELDS.get(name)
    axes = ndim + (1 if known and known.channels else 0)
    if array.ndim != axes or array.size == 0:
        raise InputError(f"field {name!r} needs {axes} axes and at least one value, got shape {array.shape}")
    if known and known.channels and array.shape[-1] != known.channels:
        raise InputError(f"field {name!r} needs {known.channels} channels, got {array.shape[-1]}")
    if array.dtype.kind not in "buif":
        raise InputError(f"field {name!r} holds {array.dtype}, not real numbers")
    if known and known.kind == "label" and array.dtype.kind == "f":
        raise InputError(f"field {name!r} holds labels and needs an integer type, got {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise InputError(f"field {name!r} has {bad} NaN or infinite values; mask or fill them first")
    view = array.view()
    view.flags.writeable = False
    return view
