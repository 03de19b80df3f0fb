"""Crystal symmetry of a phase: its Laue group and lattice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from microgen.core.errors import InputError

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

LAUE_GROUPS: dict[str, tuple[str, str]] = {
    "-1": ("C1", "Z"),
    "2/m": ("C2", "Y"),
    "mmm": ("D2", "Z"),
    "4/m": ("C4", "Z"),
    "4/mmm": ("D4", "Z"),
    "-3": ("C3", "Z"),
    "-3m": ("D3", "Z"),
    "6/m": ("C6", "Z"),
    "6/mmm": ("D6", "Z"),
    "m-3": ("T", "Z"),
    "m-3m": ("O", "Z"),
}
"""The 11 Laue groups, each with the name of its proper rotations in scipy and the axis they turn about."""

_LAUE_OF_POINT_GROUP = {
    "-1": "1 -1",
    "2/m": "2 m 2/m",
    "mmm": "222 mm2 mmm",
    "4/m": "4 -4 4/m",
    "4/mmm": "422 4mm -42m -4m2 4/mmm",
    "-3": "3 -3",
    "-3m": "32 3m -3m 321 312 3m1 31m -3m1 -31m",
    "6/m": "6 -6 6/m",
    "6/mmm": "622 6mm -6m2 -62m 6/mmm",
    "m-3": "23 m-3 m3",
    "m-3m": "432 -43m m-3m m3m",
}


@dataclass(frozen=True)
class Crystal:
    """Symmetry and lattice of one phase.

    Attributes
    ----------
    laue
        Laue group, one of :data:`LAUE_GROUPS`.
    lattice
        Lattice parameters ``(a, b, c, alpha, beta, gamma)`` in nanometres and degrees, None where unknown.
    x_along
        Crystal direction that lies along the x axis of the orthonormal crystal frame (z is along c):
        ``"a"`` as EDAX has it, or ``"a*"`` as Oxford Instruments has it. The two differ by 30 degrees in trigonal and
        hexagonal crystals and are the same in cubic, tetragonal and orthorhombic ones.

    Examples
    --------
    >>> Crystal("m-3m").operations.as_quat().shape
    (24, 4)
    """

    laue: str
    lattice: tuple[float, ...] | None = None
    x_along: Literal["a", "a*"] = "a"

    def __post_init__(self) -> None:
        if self.laue not in LAUE_GROUPS:
            raise InputError(f"no Laue group {self.laue!r}; known are {', '.join(LAUE_GROUPS)}")
        if self.x_along not in ("a", "a*"):
            raise InputError(f"x_along is 'a' or 'a*', got {self.x_along!r}")
        if self.lattice is not None:
            lattice = tuple(float(v) for v in self.lattice)
            if len(lattice) != 6 or not all(0 < v < 1e4 for v in lattice):
                raise InputError(f"a lattice has six positive numbers (nm and degrees), got {self.lattice}")
            object.__setattr__(self, "lattice", lattice)

    @property
    def operations(self) -> Rotation:
        """Proper rotations of the Laue group, in the orthonormal crystal frame, the identity among them."""
        from scipy.spatial.transform import Rotation  # takes longer than all the rest of the command line

        group = Rotation.create_group(LAUE_GROUPS[self.laue][0], axis=LAUE_GROUPS[self.laue][1])
        if self.laue == "-3m" and self.x_along == "a*":  # the twofold axes lie along a, 30 degrees away from x
            turn = Rotation.from_euler("Z", 30, degrees=True)
            return turn * group * turn.inv()
        return group

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values from which :meth:`from_dict` makes the same crystal."""
        return {"laue": self.laue, "lattice": self.lattice and list(self.lattice), "x_along": self.x_along}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Crystal:
        """Make a crystal from what :meth:`to_dict` returned."""
        lattice = values.get("lattice")
        return cls(values["laue"], None if lattice is None else tuple(lattice), values.get("x_along", "a"))


def laue_group(point_group: str) -> str:
    """Return the Laue group of a crystallographic point group in Hermann-Mauguin symbols.

    >>> laue_group("-43m"), laue_group("m3m")
    ('m-3m', 'm-3m')
    """
    name = point_group.replace(" ", "")
    for laue, members in _LAUE_OF_POINT_GROUP.items():
        if name in members.split():
            return laue
    raise InputError(f"no point group {point_group!r}")


def crystals_to_json(crystals: Mapping[str, Crystal]) -> dict[str, Any]:
    """Return the crystals of a microstructure as JSON-able values by name of phase."""
    return {name: crystal.to_dict() for name, crystal in crystals.items()}


def crystals_from_json(values: Mapping[str, Any] | None) -> dict[str, Crystal]:
    """Return what :func:`crystals_to_json` was given; None stands for no crystals."""
    return {name: Crystal.from_dict(about) for name, about in (values or {}).items()}
