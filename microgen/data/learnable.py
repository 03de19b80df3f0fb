"""Which field of the images is learned: said by a person, or the only one; never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microgen.core import InputError, Microstructure
from microgen.data.meaning import is_map, with_field
from microgen.data.split import MIN_SIDE, MIN_SIDE_3D

TYPES = frozenset({"uint8", "int8", "uint16", "int16", "float32", "float64"})
"""Types of number that a model can make."""
_NEVER = frozenset({"mask", "grain", "orientation", "boundary"})
_WHAT = {
    "intensity": "the gray picture",
    "phase": "which phase is where",
    "boundary": "the lines between grains",
}
_COLUMN = "these values as a gray picture"
_WHY_NOT = {
    "orientation": "orientations cannot be learned yet",
    "grain": "grain numbers only name grains and cannot be learned; --field boundary learns where grains meet",
    "mask": "the mask says where data are valid and is not learned",
}


def learnable(m: Microstructure) -> dict[str, str]:
    """Fields that a model could learn, each with what that would mean.

    Fields of one value, and of numbers that no model makes, are left out; boundaries can be drawn where grains are
    known.

    >>> m = Microstructure({"phase": np.eye(4, dtype=np.uint8), "grain": np.eye(4, dtype=int)}, (1, 1))
    >>> learnable(m)
    {'phase': 'which phase is where', 'boundary': 'the lines between grains'}
    """
    able = [n for n, v in m.fields.items() if n not in _NEVER and v.dtype.name in TYPES and v.min() < v.max()]
    if "phase" in m and "phase" not in able and m["phase"].min() < m["phase"].max():
        able.append("phase")
    found = {name: _WHAT.get(name, _COLUMN) for name in able}
    if any(name in m and m[name].min() < m[name].max() for name in ("boundary", "grain")):
        found["boundary"] = _WHAT["boundary"]
    return found


def choose(m: Microstructure, path: Path, wanted: str | None) -> str:
    """Return the field to learn.

    Parameters
    ----------
    m
        The first image.
    path
        Its file, for messages.
    wanted
        What a person named. Without it, the only field that could be learned is taken, and of what is no orientation
        map the gray values, or else the phases.

    Raises
    ------
    InputError
        If the named field cannot be learned, or several could and none is named; it lists them.
    """
    able = learnable(m)
    if wanted:
        return _checked(m, path, wanted, able)
    if not is_map(m):
        for name in ("intensity", "phase"):
            if name in able:
                return name
    if len(able) == 1:
        return next(iter(able))
    if not able:
        raise InputError(f"{path} has no field that could be learned; it has {', '.join(m.fields)}")
    raise InputError(f"{path} has several fields that could be learned; name one: {_listed(able)}")


def _checked(m: Microstructure, path: Path, name: str, able: dict[str, str]) -> str:
    if name in able:
        return name
    choices = f"choose from {_listed(able)}" if able else "nothing else in it can be either"
    if name in _WHY_NOT and name in m:
        raise InputError(f"{path}: {_WHY_NOT[name]}; {choices}")
    if name == "boundary":
        raise InputError(f"{path} has no grains to draw boundaries from; {choices}")
    if name not in m:
        raise InputError(f"{path} has no field {name!r}; {choices}")
    values = m[name]
    if values.min() == values.max():
        meaning = f" ({m.phases[values.flat[0]]})" if name == "phase" and values.flat[0] < len(m.phases) else ""
        raise InputError(f"{path}: the field {name!r} is {values.flat[0]:g}{meaning} everywhere; {choices}")
    raise InputError(f"{path}: the field {name!r} holds {values.dtype}, which no model makes; {choices}")


def _listed(able: dict[str, str]) -> str:
    """The choices with what they mean, columns of one kind together.

    >>> _listed({"phase": "which phase is where", "ci": _COLUMN, "iq": _COLUMN})
    '--field phase (which phase is where); --field ci, iq (these values as a gray picture)'
    """
    by_meaning: dict[str, list[str]] = {}
    for name, what in able.items():
        by_meaning.setdefault(what, []).append(name)
    return "; ".join(f"--field {', '.join(names)} ({what})" for what, names in by_meaning.items())


@dataclass(frozen=True)
class Kind:
    """What all images of a data set share.

    Attributes
    ----------
    field
        Field that is learned.
    ndim, phases, first
        Number of axes, phases and file of the first image.
    """

    field: str
    ndim: int
    phases: tuple[str, ...]
    first: Path

    @classmethod
    def of(cls, m: Microstructure, path: Path, wanted: str | None) -> Kind:
        """Take the kind from the first image; see :func:`choose`."""
        return cls(choose(m, path, wanted), m.ndim, m.phases, path)

    def admit(self, m: Microstructure, path: Path) -> Microstructure:
        """Return an image with the field that is learned, or refuse what cannot be learned with the others."""
        made = with_field(m, self.field)
        if path != self.first:
            self._check_alike(made, path)
        return made

    def _check_alike(self, m: Microstructure, path: Path) -> None:
        if m.ndim != self.ndim:
            volume, picture = (path, self.first) if m.ndim == 3 else (self.first, path)
            raise InputError(
                f"{volume} is a volume and {picture} a picture: they cannot be mixed in one data set; "
                "prepare them separately"
            )
        if self.field not in m:
            raise InputError(
                f"{path} has no field {self.field!r}, which is learned from {self.first}; it has "
                f"{', '.join(m.fields)}: prepare images of one kind at a time, or name a --field that all have"
            )
        if m[self.field].min() == m[self.field].max():
            raise InputError(f"{path}: the field {self.field!r}, which is learned, has one value; leave it out")
        if self.field == "phase" and m.phases != self.phases:
            raise InputError(
                f"{path} has the phases {', '.join(m.phases) or 'without names'}, {self.first} has "
                f"{', '.join(self.phases) or 'some without names'}: one number must mean one phase; "
                "prepare them separately"
            )


def check(m: Microstructure, path: Path) -> None:
    """Refuse an image that nothing can be learned from."""
    smallest = MIN_SIDE if m.ndim == 2 else MIN_SIDE_3D
    if min(m.shape) < smallest:
        size = " x ".join(map(str, m.shape))
        unit = "pixels" if m.ndim == 2 else "voxels"
        raise InputError(f"{path} is {size} {unit}; at least {smallest} along every side are needed")
    if all(values.min() == values.max() for values in m.fields.values()):
        value = next(iter(m.fields.values())).flat[0]
        raise InputError(f"{path} has the same value {np.asarray(value).item()} everywhere; leave it out")
