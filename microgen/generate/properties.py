"""Properties of a structure of phases, solved for: the targets that are no descriptors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure
from microgen.physics.conductivity import effective_conductivity
from microgen.physics.elasticity import effective_stiffness
from microgen.physics.stiffness import isotropic

Materials = Mapping[str, Sequence[float]]
"""Constants of the phases by name, each one number per phase, in the order of the phases."""

_AXES = {"x": 1, "y": 2, "z": 3}  # counted from the last
_VOIGT = {2: ("xx", "yy", "xy"), 3: ("xx", "yy", "zz", "yz", "xz", "xy")}


def conductivity(structure: Microstructure, materials: Materials, *, axis: str | None = None) -> float:
    """Return the effective conductivity between two plates, in the unit of the material constant ``conductivity``.

    Parameters
    ----------
    structure
        With the field ``phase``.
    axis
        ``"x"``, ``"y"`` or ``"z"``; None for the mean over all axes.

    Examples
    --------
    >>> layers = Microstructure({"phase": np.repeat([[0], [1]], 8, axis=0).repeat(8, axis=1)}, (1.0, 1.0))
    >>> round(conductivity(layers, {"conductivity": (1.0, 3.0)}, axis="x"), 4)
    2.0
    """
    labels = _labels(structure)
    values = _constants(materials, "conductivity", labels)[labels]
    if axis is None:
        return float(np.mean(effective_conductivity(values, spacing=structure.spacing)))
    return float(effective_conductivity(values, spacing=structure.spacing, axis=_axis(axis, structure)))


def stiffness(structure: Microstructure, materials: Materials, *, component: str) -> float:
    """Return a diagonal component of the effective stiffness, ``"xx"``, in the unit of the constant ``young``.

    The phases are isotropic, with the constants ``young`` and ``poisson``; pictures are in plane strain and the
    structure is repeated on all sides.
    """
    labels = _labels(structure)
    if component not in _VOIGT[structure.ndim]:
        raise InputError(f"there is no stiffness_{component} of pictures; ask for one of xx, yy, xy")
    constants = [_constants(materials, name, labels) for name in ("young", "poisson")]
    phases = np.stack([isotropic(float(young), float(poisson)) for young, poisson in zip(*constants, strict=True)])
    found = effective_stiffness(labels, phases, spacing=structure.spacing)
    index = _VOIGT[structure.ndim].index(component)
    return float(found[index, index])


def _along(axis: str | None) -> Callable[[Microstructure, Materials], float]:
    return lambda structure, materials: conductivity(structure, materials, axis=axis)


def _component(component: str) -> Callable[[Microstructure, Materials], float]:
    return lambda structure, materials: stiffness(structure, materials, component=component)


PROPERTIES: dict[str, Callable[[Microstructure, Materials], float]] = {
    "conductivity": _along(None),
    **{f"conductivity_{axis}": _along(axis) for axis in _AXES},
    **{f"stiffness_{component}": _component(component) for component in _VOIGT[3]},
}
"""``function(structure, materials)`` by the name of a target."""


def _labels(structure: Microstructure) -> NDArray[Any]:
    if "phase" not in structure:
        raise InputError("properties are those of phases; split gray values into phases with a threshold")
    return structure["phase"]


def _constants(materials: Materials, name: str, labels: NDArray[Any]) -> NDArray[np.float64]:
    """One number per phase."""
    if name not in materials:
        raise InputError(f"say the {name} of each phase, like {name}=1,100")
    values = np.asarray(materials[name], np.float64)
    if len(values) <= labels.max():
        raise InputError(f"{name} is given for {len(values)} phases; there are at least {int(labels.max()) + 1}")
    return values


def _axis(axis: str, structure: Microstructure) -> int:
    if _AXES[axis] > structure.ndim:
        raise InputError(f"pictures have no axis {axis}")
    return structure.ndim - _AXES[axis]
