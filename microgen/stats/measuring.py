"""Measuring all descriptors that apply to a microstructure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import DivergedError, InputError, Microstructure
from microgen.stats.curve import Curve
from microgen.stats.descriptors import DESCRIPTORS, Descriptor
from microgen.stats.interval import interval_of_parts, tiles
from microgen.stats.measurement import Measurement
from microgen.stats.views import Views, regions

Array = NDArray[Any]


def measure(
    microstructure: Microstructure,
    names: Iterable[str] | None = None,
    *,
    phase: int | Sequence[int] | None = None,
    periodic: bool = False,
    intervals: bool = True,
    solving: Callable[[str], None] | None = None,
) -> dict[str, Measurement]:
    """Measure every descriptor that the fields allow but the costly ones, or those named.

    Parameters
    ----------
    microstructure
        With ``phase``, ``grain``, ``boundary``, ``orientation`` or ``intensity``; a field ``mask`` is obeyed.
        An intensity without phases, grains or boundaries is taken as a micrograph of etched grain boundaries,
        which are found in it; it is never split into phases. Orientations without grains are split into grains by
        disorientations above 5 degrees. Points of a map that are not indexed are no phase and no grain: their share
        is ``not_indexed_fraction``, and fractions of phases are of the points that are indexed.
    names
        Names of :data:`DESCRIPTORS`.
    phase
        Index of the phase of interest, by default 1. With more than two phases and no choice, every phase is
        measured and its name follows a colon: ``"phase_fraction:pores"``; so is each of several that are chosen.
        Grains of several phases are measured together, without a suffix, and those of each phase by themselves:
        ``"grain_size_um:ferrite"``. Of one phase that is chosen, only its grains are measured.
    periodic
        The structure wraps around at the frame.
    intervals
        False leaves out the intervals that need the parts of the picture to be measured again.
    solving
        Receives the name of each costly descriptor when it is begun.

    Returns
    -------
    dict
        Measurements by name. Where a picture does not allow one (no boundary in it, say), its ``value`` is
        None and its ``note`` says why.

    Raises
    ------
    InputError
        For an unknown name, one that the fields do not allow, or a phase that is not there.

    Examples
    --------
    >>> board = (np.indices((64, 64)).sum(0) % 2).astype(np.uint8)
    >>> found = measure(Microstructure({"phase": board}, spacing=(1, 1)), ["phase_fraction"])
    >>> found["phase_fraction"].value, found["phase_fraction"].n
    (0.5, 16)
    """
    chosen, whole, rows = _chosen(microstructure, names, phase, periodic=periodic)

    def each(rows: Mapping[str, Descriptor], views: Views, suffix: str) -> dict[str, Measurement]:
        found = {}
        for name, descriptor in rows.items():
            if descriptor.costly and solving:
                solving(name + suffix)
            found[name + suffix] = _measured(descriptor, views, intervals=intervals)
        return found

    results: dict[str, Measurement] = {}
    if "" not in chosen:
        results = each({name: d for name, d in rows.items() if d.needs[0] not in Views.OF_PHASE}, whole, "")
        rows = {name: d for name, d in rows.items() if d.needs[0] in Views.OF_PHASE | Views.OF_GRAINS}
    apart = "" not in chosen or (phase is not None and whole.several_phases)
    for suffix, index in chosen.items():
        results |= each(rows, whole.of_phase(index, apart=apart), suffix)
    return results


def check(
    microstructure: Microstructure, names: Iterable[str] | None = None, *, phase: int | Sequence[int] | None = None
) -> None:
    """Refuse what :func:`measure` refuses, without measuring.

    Raises
    ------
    InputError
        For an unknown name, one that the fields do not allow, or a phase that is not there.

    Examples
    --------
    >>> check(Microstructure({"phase": np.eye(8, dtype=int)}, spacing=(1, 1)), ["phase_fraction"])
    """
    _chosen(microstructure, names, phase, periodic=False)


def applicable(microstructure: Microstructure) -> list[str]:
    """Names of the descriptors that the fields of a microstructure allow, costly ones too, in the order of the table.

    >>> applicable(Microstructure({"mask": np.ones((8, 8), bool)}, spacing=(1, 1)))
    []
    """
    return _applicable(Views(microstructure, 1))


def _chosen(
    microstructure: Microstructure, names: Iterable[str] | None, phase: int | Sequence[int] | None, *, periodic: bool
) -> tuple[dict[str, int], Views, dict[str, Descriptor]]:
    """Phases by their suffix, views of the first of them, and the rows to measure."""
    chosen = regions(microstructure, phase)
    whole = Views(microstructure, next(iter(chosen.values())), periodic=periodic)
    return chosen, whole, {name: DESCRIPTORS[name] for name in _wanted(names, whole, alone="" in chosen)}


def _wanted(names: Iterable[str] | None, views: Views, *, alone: bool) -> list[str]:
    """Names to measure; `alone` says that the phase is not measured by its name, to go with that of others."""
    known = _applicable(views)
    if names is None:
        rows = {name: DESCRIPTORS[name] for name in known}
        return [name for name, d in rows.items() if not (d.costly or (alone and views.tells_nothing(d.needs[0])))]
    wanted = list(names)
    for name in wanted:
        if name not in DESCRIPTORS:
            near = difflib.get_close_matches(name, DESCRIPTORS, n=1)
            raise InputError(f"no descriptor {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        if name not in known:
            raise InputError(_inapplicable(name, views))
    return wanted


def _inapplicable(name: str, views: Views) -> str:
    """Why a descriptor is not for these fields, and what to do."""
    m, descriptor = views.microstructure, DESCRIPTORS[name]
    if m.ndim not in descriptor.dims:
        return f"{name} is not defined for {'volumes' if m.ndim == 3 else 'pictures'}"
    lacking = next(need for need in descriptor.needs if not views.has(need))
    what = {"phase_points": "phases", "phase": "phases", "indexed": "orientation maps"}.get(lacking, lacking)
    gray = "intensity" in m and lacking in ("phase_points", "phase", "region", "grains")
    advice = "; say what the values mean with --threshold or --labels (microgen.stats.interpret)" if gray else ""
    return f"{name} is measured on {what}, and here is only {', '.join(m.fields)}{advice}"


def _applicable(views: Views) -> list[str]:
    dims = views.microstructure.ndim
    return [n for n, d in DESCRIPTORS.items() if dims in d.dims and all(views.has(need) for need in d.needs)]


def _measured(descriptor: Descriptor, views: Views, *, intervals: bool) -> Measurement:
    if views.lacks(descriptor.needs[0]):
        return Measurement(unit=descriptor.unit, note="the phase is absent here")
    try:
        array = views.get(descriptor.needs[0])
        found = descriptor.function(array, **views.frame(descriptor.needs[0]))
    except (InputError, DivergedError) as error:
        return Measurement(unit=descriptor.unit, note=str(error))
    if isinstance(found, Curve):
        return Measurement(unit=descriptor.unit, x=found.x, y=found.y, x_unit=descriptor.x_unit)
    if not isinstance(found, Measurement):
        found = Measurement(float(found))
    found = replace(found, unit=descriptor.unit)
    if found.ci95 or not intervals or not descriptor.tiles:
        return found
    return _with_interval(found, descriptor, array, views)


def _with_interval(found: Measurement, descriptor: Descriptor, array: Array, views: Views) -> Measurement:
    """Add the interval that the scatter between tiles of the picture gives, centred on the value."""
    parts = np.array(list(_tile_values(descriptor, array, views)))
    if len(parts) < 4 or found.value is None:
        return found
    ci95 = interval_of_parts(found.value, parts, period=descriptor.period)
    return replace(found, ci95=ci95, n=len(parts))


def _tile_values(descriptor: Descriptor, array: Array, views: Views) -> Iterator[float]:
    """The descriptor of each tile of the picture; tiles that do not allow it are left out."""
    frame = views.frame(descriptor.needs[0]) | {"periodic": False}
    for tile in tiles(array.shape[: views.microstructure.ndim]):
        part = {name: v[tile] if isinstance(v, np.ndarray) else v for name, v in frame.items()}
        try:
            found = descriptor.function(array[tile], **part)
        except InputError:
            continue
        value = found.value if isinstance(found, Measurement) else found
        if isinstance(value, float) and np.isfinite(value):
            yield value
