"""What the formats of Oxford Instruments share: numbers of Laue groups, phases, and what is said about frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microgen.core import LAUE_GROUPS
from microgen.io.ebsd import Phase, crystal_of

LAUE_NUMBERS: dict[int, str] = dict(enumerate(LAUE_GROUPS, 1))
"""Laue groups by the number that Oxford Instruments gives them, 1 to 11."""

_LAST_SPACE_GROUP = (2, 15, 74, 88, 142, 148, 167, 176, 194, 206, 230)  # of each Laue group, in order


def laue_of_space_group(number: int) -> str | None:
    """Return the Laue group of a space group, None for no such group.

    >>> laue_of_space_group(225), laue_of_space_group(194), laue_of_space_group(0)
    ('m-3m', '6/mmm', None)
    """
    if not 1 <= number <= 230:
        return None
    return LAUE_NUMBERS[1 + int(np.searchsorted(_LAST_SPACE_GROUP, number))]


def turned_surface(angles: Sequence[float | None]) -> list[str]:
    """Return a warning where the acquisition surface is turned against the sample: no angle is changed for it."""
    if not any(angles):
        return []
    stated = ", ".join(f"{angle or 0:g}" for angle in angles)
    return [
        f"its acquisition surface is turned by Euler angles of {stated} degrees; its orientations are kept as stored"
    ]


def listed_phase(name: str, lattice: Sequence[float], laue: int, space_group: int, remarks: list[str]) -> Phase:
    """Return a phase of Oxford Instruments; a Laue group that contradicts the space group is reported."""
    by_space_group = laue_of_space_group(space_group)
    group = LAUE_NUMBERS.get(laue) or by_space_group
    if group is None:
        remarks.append(f"phase {name!r} has the Laue group {laue}, which does not exist; it has no crystal")
    elif by_space_group not in (None, group):
        remarks.append(
            f"phase {name!r} has the Laue group {laue} ({group}) but the space group {space_group} "
            f"({by_space_group}); the former is taken"
        )
    return Phase(name, crystal_of(group, lattice, x_along="a*"))
