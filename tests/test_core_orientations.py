"""Quaternions, Euler angles and symmetry against scipy, group theory and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from microgen.core.crystals import LAUE_GROUPS, Crystal, crystals_from_json, crystals_to_json, laue_group
from microgen.core.orientations import (
    disorientation_angle,
    from_euler,
    quaternions,
    random_orientations,
    rotations,
    to_euler,
)

ORDER = {"-1": 1, "2/m": 2, "mmm": 4, "4/m": 4, "4/mmm": 8, "-3": 3, "-3m": 6, "6/m": 6, "6/mmm": 12, "m-3": 12}
ORDER["m-3m"] = 24


@pytest.mark.parametrize("laue", LAUE_GROUPS)
@pytest.mark.parametrize("x_along", ["a", "a*"])
def test_operations_are_a_group_of_the_right_order(laue: str, x_along: str) -> None:
    crystal = Crystal(laue, x_along=x_along)
    found = quaternions(crystal.operations)
    assert len(found) == ORDER[laue]
    products = quaternions(rotations(np.repeat(found, len(found), 0)) * rotations(np.tile(found, (len(found), 1))))
    nearest = np.abs(products @ found.T)
    assert (nearest.max(1) > 1 - 1e-9).all(), "not closed"
    assert ((nearest > 1 - 1e-9).sum(1) == 1).all(), "an operation appears twice"


def test_euler_angles_there_and_back() -> None:
    q = random_orientations(np.random.default_rng(0), 2000)
    angles = to_euler(q)
    np.testing.assert_allclose(from_euler(angles), q, atol=1e-12)
    assert (angles >= 0).all()
    assert (angles[:, [0, 2]] < 2 * np.pi).all()
    special = np.deg2rad([[30, 0, 40], [30, 180, 40], [0, 0, 0], [350, 0, 10], [0, 90, 0], [360, 180, 360]])
    back = from_euler(to_euler(from_euler(special)))
    assert (np.abs((back * from_euler(special)).sum(1)) > 1 - 1e-12).all()


def test_bunge_matrix() -> None:
    """g of Bunge (1982), equation 2.50, turns sample into crystal components."""
    a, b, c = np.deg2rad([12.0, 57.0, 201.0])
    g = np.array(
        [
            [
                np.cos(a) * np.cos(c) - np.sin(a) * np.sin(c) * np.cos(b),
                np.sin(a) * np.cos(c) + np.cos(a) * np.sin(c) * np.cos(b),
                np.sin(c) * np.sin(b),
            ],
            [
                -np.cos(a) * np.sin(c) - np.sin(a) * np.cos(c) * np.cos(b),
                -np.sin(a) * np.sin(c) + np.cos(a) * np.cos(c) * np.cos(b),
                np.cos(c) * np.sin(b),
            ],
            [np.sin(a) * np.sin(b), -np.cos(a) * np.sin(b), np.cos(b)],
        ]
    )
    np.testing.assert_allclose(rotations(from_euler([a, b, c])).inv().as_matrix()[0], g, atol=1e-14)


@pytest.mark.parametrize("laue", LAUE_GROUPS)
def test_disorientation_is_the_smallest_of_all_pairs_of_equivalents(laue: str) -> None:
    crystal, random = Crystal(laue), np.random.default_rng(3)
    a, b = random_orientations(random, 6), random_orientations(random, 6)
    s = crystal.operations
    brute = [
        min(((one * i).inv() * (two * j)).magnitude() for i in s for j in s)
        for one, two in zip(rotations(a), rotations(b), strict=True)
    ]
    np.testing.assert_allclose(disorientation_angle(a, b, crystal), brute, atol=1e-7)


def test_symmetry_multiplies_from_the_right() -> None:
    """Turning the crystal about its own fourfold axis changes nothing; turning the sample does."""
    q, quarter, crystal = from_euler([0.3, 0.8, 1.1]), Rotation.from_euler("Z", np.pi / 2), Crystal("4/mmm")
    assert disorientation_angle(q, quaternions(rotations(q) * quarter)[0], crystal) < 1e-7
    assert disorientation_angle(q, quaternions(quarter * rotations(q))[0], crystal) > 0.1


def test_point_groups_and_json() -> None:
    assert [laue_group(p) for p in ("-43m", "6mm", "mm2", "321", "4/m", "-1")] == [
        "m-3m",
        "6/mmm",
        "mmm",
        "-3m",
        "4/m",
        "-1",
    ]
    given = {"Ti": Crystal("6/mmm", (0.295, 0.295, 0.468, 90, 90, 120), "a*"), "Fe": Crystal("m-3m")}
    assert crystals_from_json(crystals_to_json(given)) == given
