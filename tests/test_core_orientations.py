"""Quaternions, Euler angles and symmetry against scipy, group theory and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from microgen.core.crystals import LAUE_GROUPS, Crystal, crystals_from_json, crystals_to_json, laue_group
from microgen.core.errors import InputError
from microgen.core.orientations import (
    disorientation,
    disorientation_angle,
    from_euler,
    mean_orientation,
    mean_orientations,
    quaternions,
    random_orientations,
    reduced,
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
    np.testing.assert_allclose(disorientation_angle(a, b, crystal), brute, atol=1e-12)


LARGEST = {"-1": 180, "mmm": 120, "4/mmm": 98.4211, "-3m": 104.4775, "6/mmm": 93.8411, "m-3": 90.9799, "m-3m": 62.7994}


@pytest.mark.parametrize(("laue", "degrees"), LARGEST.items())
def test_largest_disorientation(laue: str, degrees: float) -> None:
    """The corners of the fundamental zones furthest from their centres."""
    pair = random_orientations(np.random.default_rng(1), 400_000)
    found = np.rad2deg(disorientation_angle(pair[::2], pair[1::2], Crystal(laue)).max())
    assert degrees - 3 < found <= degrees + 1e-3


@pytest.mark.parametrize("laue", LAUE_GROUPS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_angles_are_precise(laue: str, dtype: type) -> None:
    """The arc cosine of a scalar part in single precision would give 0 or 0.03 degrees."""
    crystal, random = Crystal(laue), np.random.default_rng(5)
    angle = np.deg2rad([0.0, 0.001, 0.01, 0.1, 1.0, 5.0])
    a = rotations(random_orientations(random, len(angle)))
    axes = random.standard_normal((len(angle), 3))
    turn = Rotation.from_rotvec(axes / np.linalg.norm(axes, axis=1, keepdims=True) * angle[:, None])
    operations = crystal.operations
    equivalent = operations[random.integers(len(operations), size=len(angle))] if len(operations) > 1 else operations
    b = quaternions(a * turn * equivalent)
    found = disorientation_angle(quaternions(a).astype(dtype), b.astype(dtype), crystal)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, angle, atol=5e-7 if dtype == np.float32 else 1e-14)


@pytest.mark.parametrize("laue", LAUE_GROUPS)
def test_angle_and_axis_turn_one_orientation_into_the_other(laue: str) -> None:
    crystal, random = Crystal(laue), np.random.default_rng(7)
    a, b = random_orientations(random, 5000), random_orientations(random, 5000)
    angle, axis = disorientation(a, b, crystal)
    np.testing.assert_allclose(np.linalg.norm(axis, axis=1), 1)
    np.testing.assert_array_equal(angle, disorientation_angle(a, b, crystal))
    turned = quaternions(rotations(a) * Rotation.from_rotvec(axis * angle[:, None]))
    assert disorientation_angle(turned, b, crystal).max() < 1e-12


def test_no_turn_has_an_axis_too() -> None:
    angle, axis = disorientation(np.array([1.0, 0, 0, 0]), np.array([1.0, 0, 0, 0]), Crystal("m-3m"))
    assert angle == 0
    assert axis.tolist() == [0, 0, 1]


def test_shapes_broadcast_and_many_pairs_are_worked_on_in_parts() -> None:
    q, one = random_orientations(np.random.default_rng(2), 9000), from_euler([0.1, 0.2, 0.3])
    crystal = Crystal("6/mmm")
    whole = disorientation_angle(q.reshape(90, 100, 4), one, crystal)
    assert whole.shape == (90, 100)
    np.testing.assert_array_equal(whole.ravel()[8990:], disorientation_angle(q[8990:], one, crystal))
    assert disorientation_angle(q[:0], one, crystal).shape == (0,)
    assert disorientation_angle(np.array([1, 0, 0, 0]), one, crystal) > 0


@pytest.mark.parametrize("laue", LAUE_GROUPS)
def test_fundamental_zone(laue: str) -> None:
    """Equivalent orientations have one representative, and it is turned least of all."""
    crystal, random = Crystal(laue), np.random.default_rng(11)
    q = random_orientations(random, 500)
    found = reduced(q, crystal)
    every = np.stack([quaternions(rotations(q) * s) for s in crystal.operations])
    np.testing.assert_allclose(found[:, 0], np.abs(every[..., 0]).max(0), atol=1e-12)
    for equivalent in every:
        np.testing.assert_allclose(reduced(equivalent, crystal), found, atol=1e-9)
    np.testing.assert_allclose(disorientation_angle(found, q, crystal), 0, atol=1e-12)


@pytest.mark.parametrize("laue", LAUE_GROUPS)
def test_mean_of_scattered_equivalents_is_the_middle(laue: str) -> None:
    crystal, random = Crystal(laue), np.random.default_rng(13)
    middles, group = random_orientations(random, 20), np.repeat(np.arange(20), 400)
    scatter = Rotation.from_rotvec(random.normal(0, np.deg2rad(2), (len(group), 3)))
    operations = crystal.operations
    chosen = random.integers(len(operations), size=len(group))
    turned = rotations(middles[group]) * scatter
    q = quaternions(turned * operations[chosen] if len(operations) > 1 else turned)
    found = mean_orientations(q.astype(np.float32), group, crystal)
    off = np.rad2deg(disorientation_angle(found, middles, crystal))
    assert off.max() < 4 * 2 * np.sqrt(3 / 400)  # standard error of three components
    plain = Rotation.from_quat(rotations(quaternions(turned)).as_quat()[:400]).mean()  # chordal mean of matrices
    assert disorientation_angle(found[0], quaternions(plain)[0], crystal) < np.deg2rad(0.01)


def test_mean_does_not_depend_on_the_first_member() -> None:
    """A first member far from the others picks wrong equivalents at the start; they change sides."""
    crystal, random = Crystal("m-3m"), np.random.default_rng(17)
    close = quaternions(Rotation.from_rotvec(random.normal(0, np.deg2rad(3), (200, 3))))
    stray = from_euler(np.deg2rad([[44.0, 0.0, 0.0]]))
    one, two = (mean_orientation(np.concatenate(parts), crystal) for parts in ((stray, close), (close, stray)))
    assert disorientation_angle(one, two, crystal) < 1e-9


def test_mean_of_groups_without_members_and_of_nothing() -> None:
    found = mean_orientations(from_euler([[0.2, 0.0, 0.0]]), np.array([2]), Crystal("-1"))
    np.testing.assert_allclose(found, [[1, 0, 0, 0], [1, 0, 0, 0], from_euler([0.2, 0.0, 0.0])], atol=1e-15)
    with pytest.raises(InputError, match="no orientation"):
        mean_orientation(np.zeros((0, 4)), Crystal("-1"))


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
