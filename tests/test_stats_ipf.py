"""Fundamental sectors and colours against group theory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from microgen.core import Crystal
from microgen.core.crystals import LAUE_GROUPS
from microgen.core.lattice import direction, parse_indices
from microgen.core.orientations import quaternions, random_orientations, rotations
from microgen.stats.ipf import colour_key, corners, direction_colours, ipf_colours, outline, sector_directions

HEXAGONAL = ("-3", "-3m", "6/m", "6/mmm")
GROUPS = [(laue, x) for laue in LAUE_GROUPS for x in (("a", "a*") if laue in HEXAGONAL else ("a",))]
REFLECTION = ["mmm", "4/mmm", "6/mmm", "m-3", "m-3m"]
"""Groups whose key has no jumps."""


def crystal(laue: str, x_along: str = "a") -> Crystal:
    c = 0.3 if laue.startswith("m-3") else 0.5
    return Crystal(laue, (0.3, 0.3, c, 90, 90, 120 if laue in HEXAGONAL else 90), x_along)  # type: ignore[arg-type]


def directions(count: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((count, 3))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize(("laue", "x_along"), GROUPS)
def test_sector_holds_each_direction_once(laue: str, x_along: str) -> None:
    """All equivalents and opposites of a direction come to one point of the sector, which is one of them."""
    c, d = crystal(laue, x_along), directions(300)
    found = sector_directions(d, c)
    equivalents = np.stack([operation.apply(d) for operation in c.operations])
    assert np.abs((equivalents * found).sum(-1)).max(axis=0).min() > 1 - 1e-12
    for equivalent in equivalents:
        np.testing.assert_allclose(sector_directions(-equivalent, c), found, atol=1e-9)
    np.testing.assert_allclose(sector_directions(found, c), found, atol=1e-9)


@pytest.mark.parametrize(("laue", "x_along"), GROUPS)
def test_sector_has_its_share_of_the_sphere(laue: str, x_along: str) -> None:
    """The order of the Laue group, inversion included, times the sector is the whole sphere: by counting."""
    c, d = crystal(laue, x_along), directions(40_000, 1)
    share = (np.abs(sector_directions(d, c) - d).max(axis=1) < 1e-9).mean()
    expected = 1 / (2 * len(c.operations))
    assert abs(share - expected) < 4 * np.sqrt(expected / len(d))


@pytest.mark.parametrize(("laue", "x_along"), GROUPS)
def test_colours_do_not_depend_on_the_equivalent(laue: str, x_along: str) -> None:
    c, q = crystal(laue, x_along), random_orientations(np.random.default_rng(2), 50)
    for operation in c.operations:
        turned = quaternions(rotations(q) * operation)
        np.testing.assert_allclose(
            ipf_colours(turned, c, direction=(1, 2, 3)), ipf_colours(q, c, direction=(1, 2, 3)), atol=1e-5
        )


@pytest.mark.parametrize(("laue", "x_along"), GROUPS)
def test_colours_are_saturated_and_finite(laue: str, x_along: str) -> None:
    colour = direction_colours(np.concatenate([directions(500), np.eye(3), -np.eye(3)]), crystal(laue, x_along))
    assert colour.dtype == np.float32
    assert (colour >= 0).all()
    np.testing.assert_allclose(colour.max(axis=1), 1)


@pytest.mark.parametrize(("laue", "x_along"), GROUPS)
def test_corners_have_the_indices_they_are_labelled_with_and_the_primary_colours(laue: str, x_along: str) -> None:
    c = crystal(laue, x_along)
    found = corners(c)
    for name, vector in found:
        if name[-1] in "xz":
            continue
        same = np.array([operation.apply(direction(c, parse_indices(name))) for operation in c.operations])
        assert np.abs(same @ vector).max() == pytest.approx(1), name
        np.testing.assert_allclose(sector_directions(vector[None], c), vector[None], atol=1e-9)
    colours = direction_colours(np.array([vector for _, vector in found]), c)
    primary = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]], float)
    np.testing.assert_allclose(colours[: len(found)], primary[: len(found)], atol=1e-5)


@pytest.mark.parametrize("laue", REFLECTION)
def test_near_directions_have_near_colours(laue: str) -> None:
    d = directions(4000, 3)
    near = d + 1e-4 * directions(4000, 4)
    step = np.abs(direction_colours(near, crystal(laue)) - direction_colours(d, crystal(laue))).max()
    assert step < 0.05, "the square root is steep near corners, and 1e-4 rad apart is no more than that"


def test_colours_of_a_crystal_do_not_depend_on_where_x_lies() -> None:
    """The same physical direction has one colour in the conventions of EDAX and Oxford."""
    for laue in HEXAGONAL:
        for indices in [(1, 0, -1, 0), (2, -1, -1, 0), (1, 2, -3, 4), (3, -1, -2, 1)]:
            one, other = (direction(crystal(laue, x), indices)[None] for x in ("a", "a*"))
            np.testing.assert_allclose(
                direction_colours(one, crystal(laue, "a")), direction_colours(other, crystal(laue, "a*")), atol=1e-6
            )


@pytest.mark.parametrize(("laue", "x_along"), GROUPS)
def test_outline_goes_around_the_sector(laue: str, x_along: str) -> None:
    c = crystal(laue, x_along)
    edge = outline(c)
    np.testing.assert_allclose(edge[0], edge[-1], atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(edge, axis=1), 1)
    stays = np.abs((sector_directions(edge, c) * edge).sum(1))
    assert (stays > 1 - 1e-9).mean() > 0.3, "the edge is its own equivalent, or is mapped onto another edge"


def test_key_is_opaque_inside_and_shows_the_colours_of_the_map() -> None:
    picture, limits = colour_key(crystal("m-3m"))
    assert picture[0, 0, 3] in (0, 1)
    inside = picture[..., 3] == 1
    assert 0.3 < inside.mean() < 0.6
    assert limits[0] < 0 < limits[1] < 0.43
    np.testing.assert_allclose(picture[inside][:, :3].max(axis=1), 1, atol=1e-6)


def test_shape_follows_the_map() -> None:
    q = random_orientations(np.random.default_rng(5), 12).reshape(3, 4, 4)
    assert ipf_colours(q, crystal("6/mmm")).shape == (3, 4, 3)
    assert ipf_colours(q[:0], crystal("6/mmm")).shape == (0, 4, 3)


@pytest.mark.parametrize(("laue", "name"), [("m-3m", "Oh"), ("6/mmm", "D6h"), ("4/mmm", "D4h"), ("mmm", "D2h")])
def test_sectors_agree_with_orix(laue: str, name: str, tmp_path: Path) -> None:
    python = os.environ.get("MICROGEN_ORACLE_PYTHON")
    if not python:
        pytest.skip("set MICROGEN_ORACLE_PYTHON to an interpreter that has orix")
    d = directions(2000, 6)
    np.save(tmp_path / "d.npy", d)
    program = f"""
import numpy as np
from orix.quaternion import symmetry
from orix.vector import Vector3d
d = Vector3d(np.load({str(tmp_path / "d.npy")!r}))
np.save({str(tmp_path / "found.npy")!r}, d.in_fundamental_sector(symmetry.{name}).data)
"""
    subprocess.run([python, "-W", "ignore", "-c", program], check=True, capture_output=True)
    np.testing.assert_allclose(sector_directions(d, crystal(laue)), np.load(tmp_path / "found.npy"), atol=1e-9)
