"""Elasticity against closed forms, an assembled finite element system, bounds and published lattices."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from microgen.core import DivergedError, InputError
from microgen.core.orientations import from_euler, random_orientations
from microgen.physics import bounds, elasticity, elements
from microgen.physics.elasticity import effective_stiffness, local_fields
from microgen.physics.stiffness import cubic, isotropic, plane_strain, rotated

VOID = np.zeros((6, 6))


def layered(normals: Any, share: Any, axis: int) -> Any:
    """Stiffness of layers across x (0), y (1) or z (2): stress across them and strain along them are continuous."""
    across = {0: [0, 4, 5], 1: [1, 3, 5], 2: [2, 3, 4]}[axis]
    along = [i for i in range(6) if i not in across]
    cross = [np.linalg.inv(c[np.ix_(across, across)]) for c in normals]
    whole = np.linalg.inv(sum(f * i for f, i in zip(share, cross, strict=True)))
    mixed = sum(f * i @ c[np.ix_(across, along)] for f, i, c in zip(share, cross, normals, strict=True))
    found = np.zeros((6, 6))
    found[np.ix_(across, across)] = whole
    found[np.ix_(across, along)] = whole @ mixed
    found[np.ix_(along, across)] = (whole @ mixed).T
    found[np.ix_(along, along)] = mixed.T @ whole @ mixed + sum(
        f * (c[np.ix_(along, along)] - c[np.ix_(along, across)] @ i @ c[np.ix_(across, along)])
        for f, i, c in zip(share, cross, normals, strict=True)
    )
    return found


def assembled(labels: Any, table: Any, spacing: Any) -> Any:
    """The same elements by another way: a dense matrix over all nodes, solved directly."""
    shape, ndim = labels.shape, labels.ndim
    gradient = elements.gradients(spacing)
    points, voigt, corners, _ = gradient.shape
    nodes = np.arange(labels.size).reshape(shape)
    offsets = [np.unravel_index(c, (2,) * ndim) for c in range(corners)]
    size = labels.size * ndim
    stiffness, load = np.zeros((size, size)), np.zeros((size, voigt))
    mean = np.zeros((voigt, voigt))
    for place in np.ndindex(*shape):
        own = [nodes[tuple((np.array(place) + o) % shape)] for o in offsets]
        unknowns = np.array([n * ndim + i for n in own for i in range(ndim)])
        for b in gradient.reshape(points, voigt, -1):
            weighted = b.T @ table[labels[place]] / points
            stiffness[np.ix_(unknowns, unknowns)] += weighted @ b
            np.add.at(load, unknowns, weighted)
        mean += table[labels[place]]
    moved = np.linalg.lstsq(stiffness, -load, rcond=1e-12)[0]
    return (mean + load.T @ moved) / labels.size


def test_a_homogeneous_block_keeps_its_stiffness() -> None:
    crystal = rotated(cubic(168.0, 121.0, 75.0), from_euler(np.array([0.3, 0.7, 1.1])))
    for shape, expected in (((5, 6), plane_strain(crystal)), ((3, 4, 5), crystal)):
        found = effective_stiffness(np.zeros(shape, int), crystal[None], spacing=(1.0, 2.0, 0.5)[: len(shape)])
        np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_layers_of_crystals_are_exact(axis: int) -> None:
    table = rotated(cubic(168.0, 121.0, 75.0), random_orientations(np.random.default_rng(1), 3))
    table[1] *= 0.1
    counts = [2, 3, 5]
    line = np.repeat([0, 1, 2], counts)
    labels = np.broadcast_to(np.moveaxis(line[:, None, None], 0, 2 - axis), np.roll((10, 3, 3), 2 - axis))
    found = effective_stiffness(labels, table, spacing=(1.0, 0.7, 2.0), tolerance=1e-8)
    np.testing.assert_allclose(found, layered(table, np.array(counts) / 10, axis), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", ["isotropic", "crystals", "voids"])
@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 3)])
def test_equals_the_assembled_system(shape: tuple[int, ...], kind: str) -> None:
    random = np.random.default_rng(2)
    labels = random.integers(0, 3, shape)
    if kind == "crystals":
        table = rotated(cubic(168.0, 121.0, 75.0), random_orientations(random, 3))
    else:
        table = np.array([isotropic(1.0, 0.3), isotropic(7.0, 0.2), isotropic(3.0, 0.4) * (kind == "isotropic")])
    table = plane_strain(table) if len(shape) == 2 else table
    spacing = (0.8, 1.0, 1.7)[: len(shape)]
    found = effective_stiffness(labels, table, spacing=spacing, tolerance=1e-7)
    np.testing.assert_allclose(found, assembled(labels, table, spacing), rtol=1e-6, atol=1e-6 * table.max())


def test_isotropic_and_general_law_agree() -> None:
    labels = np.random.default_rng(3).integers(0, 2, (6, 5, 4))
    table = np.array([isotropic(1.0, 0.3), isotropic(9.0, 0.1)])
    strain = np.random.default_rng(4).normal(size=(8, 6, labels.size))
    fast = elements.material_law(labels, table)(strain, slice(0, 6))
    crystal = rotated(cubic(3.0, 1.0, 2.0), random_orientations(np.random.default_rng(0), 1))
    general = elements.material_law(labels, np.concatenate([table, crystal]))(strain, slice(0, 6))
    np.testing.assert_allclose(fast, general, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stiff", [0.0, 8.0])
def test_few_cylinders_follow_eshelby(stiff: float) -> None:
    """Dilute cylinders in plane strain (Eshelby 1957; Christensen, Mechanics of Composite Materials, 1979)."""
    n, fraction = 200, 0.02
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    labels = (np.hypot(x, y) < n * math.sqrt(fraction / math.pi)).astype(int)
    matrix, table = isotropic(1.0, 0.3), np.array([isotropic(1.0, 0.3), isotropic(stiff, 0.3)])
    g, k = matrix[5, 5], matrix[0, 1] + matrix[5, 5]
    gi, ki = table[1, 5, 5], table[1, 0, 1] + table[1, 5, 5]
    c = labels.mean()
    bulk = k + c / (1 / (ki - k) + (1 - c) / (k + g))
    shear = g * (1 + c / (g / (gi - g) + (k + 2 * g) / (2 * (k + g))))
    found = effective_stiffness(labels, table, spacing=(1.0, 1.0))
    assert (found[0, 0] + found[0, 1]) / 2 - k == pytest.approx(bulk - k, rel=0.03)
    both = ((found[0, 0] - found[0, 1]) / 2 + found[2, 2]) / 2  # the square array is not quite isotropic
    assert both - g == pytest.approx(shear - g, rel=0.05)


def test_few_spherical_voids_follow_eshelby() -> None:
    n = 32
    axis = (np.arange(n) + 0.5) / n - 0.5
    labels = (sum(np.meshgrid(axis**2, axis**2, axis**2)) < (0.03 * 3 / (4 * math.pi)) ** (2 / 3)).astype(int)
    table = np.array([isotropic(1.0, 0.25), VOID])
    c, g = labels.mean(), table[0, 5, 5]
    k = 1.0 / (3 * (1 - 2 * 0.25))
    found = effective_stiffness(labels, table, spacing=(1.0,) * 3, tolerance=1e-3)
    bulk = (found[0, 0] + 2 * found[0, 1]) / 3
    assert bulk - k == pytest.approx(-k * c / (1 - (1 - c) * k / (k + 4 / 3 * g)), rel=0.05)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), ndim=st.integers(2, 3), contrast=st.floats(1.1, 1e3), fraction=st.floats(0.1, 0.9))
def test_no_structure_leaves_the_bounds(seed: int, ndim: int, contrast: float, fraction: float) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(2, 7, ndim))
    labels = (random.random(shape) < fraction).astype(int)
    turned = rotated(cubic(2.5, 1.2, 1.4), random_orientations(random, 2)) * np.array([1.0, contrast])[:, None, None]
    table = plane_strain(turned) if ndim == 2 else turned
    found = effective_stiffness(labels, table, spacing=tuple(random.uniform(0.5, 2, ndim)), tolerance=1e-6)
    reuss, voigt = bounds.voigt_reuss([1 - labels.mean(), labels.mean()], table)
    assert np.linalg.eigvalsh(voigt - found).min() > -1e-6 * contrast
    assert np.linalg.eigvalsh(found - reuss).min() > -1e-6 * contrast


@pytest.mark.parametrize("ndim", [2, 3])
def test_isotropic_structures_obey_hashin_and_shtrikman(ndim: int) -> None:
    shape = (96, 96) if ndim == 2 else (20, 20, 20)
    field = ndimage.gaussian_filter(np.random.default_rng(7).normal(size=shape), 1.5, mode="wrap")
    labels = (field > np.quantile(field, 0.6)).astype(int)
    table = np.array([isotropic(1.0, 0.3), isotropic(10.0, 0.2)])
    found = effective_stiffness(labels, table, spacing=(1.0,) * ndim)
    normal = found[:ndim, :ndim]
    bulk = float(normal.mean())
    shear = float(np.trace(found[ndim:, ndim:]) / (len(found) - ndim))
    in_plane = [c[:2, :2].mean() if ndim == 2 else c[:3, :3].mean() for c in table]
    share = [1 - labels.mean(), labels.mean()]
    low, high = bounds.hashin_shtrikman_moduli(share, in_plane, table[:, 5, 5], ndim=ndim)
    assert low[0] < bulk < high[0]
    assert low[1] < shear < high[1]


def test_hashin_shtrikman_meets_known_numbers() -> None:
    """Bulk bound of a porous solid: K (1 - c) / (1 + 3 c K / 4 G), and equal phases need no room."""
    _, high = bounds.hashin_shtrikman_moduli([0.7, 0.3], [2.0, 0.0], [1.0, 0.0])
    assert high[0] == pytest.approx(2 * 0.7 / (1 + 3 * 0.3 * 2 / 4))
    low, high = bounds.hashin_shtrikman_moduli([0.7, 0.3], [2.0, 2.0], [1.0, 1.0], ndim=2)
    assert low == pytest.approx((2.0, 1.0))
    assert high == pytest.approx((2.0, 1.0))


def test_stiffness_turns_with_the_structure_and_crystals() -> None:
    random = np.random.default_rng(8)
    labels = random.integers(0, 4, (6, 6, 6))
    orientations = random_orientations(random, 4)
    found = effective_stiffness(labels, rotated(cubic(2.0, 1.0, 1.5), orientations), spacing=(1.0,) * 3, tolerance=1e-7)
    # a quarter turn about z sends x to y and y to -x
    quarter = np.array([math.sqrt(0.5), 0, 0, math.sqrt(0.5)])
    w, x, y, z = quarter[0], *orientations.T[1:]
    turned = np.stack(
        [
            w * orientations[:, 0] - quarter[3] * z,
            w * x - quarter[3] * y,
            w * y + quarter[3] * x,
            w * z + quarter[3] * orientations[:, 0],
        ],
        axis=1,
    )
    moved = np.rot90(labels, axes=(2, 1))
    other = effective_stiffness(moved, rotated(cubic(2.0, 1.0, 1.5), turned), spacing=(1.0,) * 3, tolerance=1e-7)
    np.testing.assert_allclose(other, rotated(found, quarter), atol=1e-6)


def test_local_fields_average_to_the_whole_and_obey_the_law() -> None:
    labels = np.random.default_rng(9).integers(0, 2, (12, 14))
    table = plane_strain(np.array([isotropic(1.0, 0.3), isotropic(5.0, 0.3)]))
    mean = np.array([0.01, -0.02, 0.005])
    strain, stress = local_fields(labels, table, mean, spacing=(1.0, 2.0), tolerance=1e-7)
    np.testing.assert_allclose(strain.mean(axis=(1, 2)), mean, atol=1e-12)
    whole = effective_stiffness(labels, table, spacing=(1.0, 2.0), tolerance=1e-7)
    np.testing.assert_allclose(stress.mean(axis=(1, 2)), whole @ mean, atol=1e-8)
    np.testing.assert_allclose(stress, np.einsum("yxab,byx->ayx", table[labels], strain), atol=1e-12)


def test_voids_without_a_frame_carry_nothing() -> None:
    labels = np.zeros((8, 8), int)
    labels[3:5, 3:5] = 1
    found = effective_stiffness(labels, np.array([VOID, isotropic(1.0, 0.3)]), spacing=(1.0, 1.0))
    np.testing.assert_allclose(found, 0, atol=1e-8)


def test_the_number_of_iterations_does_not_grow_with_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    forces = elements.forces

    def counted(*given: Any) -> Any:
        calls.append(1)
        return forces(*given)

    monkeypatch.setattr(elements, "forces", counted)
    counts = []
    for n in (16, 32, 64, 128):
        y, x = np.mgrid[:n, :n] / n - 0.5
        calls.clear()
        table = np.array([isotropic(1.0, 0.3), VOID])
        local_fields((np.hypot(x, y) < 0.3).astype(int), table, [1, 0, 0], spacing=(1.0, 1.0))
        counts.append(len(calls))
    assert max(counts) <= 1.3 * counts[0]


def test_rotated_crystals() -> None:
    crystal = cubic(168.0, 121.0, 75.0)
    group_element = from_euler(np.array([np.pi / 2, np.pi / 2, 0.0]))
    np.testing.assert_allclose(rotated(crystal, group_element), crystal, atol=1e-10)
    np.testing.assert_allclose(
        rotated(isotropic(2.0, 0.3), random_orientations(np.random.default_rng(0), 5)),
        np.broadcast_to(isotropic(2.0, 0.3), (5, 6, 6)),
        atol=1e-12,
    )
    # Young's modulus of copper along <111>, from its compliances
    along = rotated(crystal, from_euler(np.array([0.0, math.acos(1 / math.sqrt(3)), np.pi / 4])))
    s = np.linalg.inv(crystal)
    expected = 1 / (s[0, 0] - 2 / 3 * (s[0, 0] - s[0, 1] - s[3, 3] / 2))
    assert 1 / np.linalg.inv(along)[2, 2] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": np.zeros((4, 4))}, "integers"),
        ({"labels": np.full((4, 4), 3)}, "labels go from 0 to 1"),
        ({"stiffness": np.ones((2, 4, 4))}, r"shape \(materials, 3, 3\)"),
        ({"stiffness": -np.stack([np.eye(3)] * 2)}, "material 0 is not positive"),
        ({"stiffness": np.stack([np.eye(3), np.triu(np.ones((3, 3)))])}, "symmetric"),
        ({"stiffness": np.zeros((2, 3, 3))}, "no material"),
        ({"spacing": (1.0, 1.0, 1.0)}, "spacing needs"),
        ({"tolerance": 0.0}, "tolerance is between"),
    ],
)
def test_mistakes_are_one_clear_sentence(change: dict[str, Any], words: str) -> None:
    given = {
        "labels": np.eye(4, dtype=int),
        "stiffness": np.array([isotropic(1.0, 0.3)] * 2),
        "spacing": (1.0, 1.0),
        **change,
    }
    with pytest.raises(InputError, match=words):
        effective_stiffness(given.pop("labels"), given.pop("stiffness"), **given)


def test_what_cannot_be_balanced_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elasticity, "_LIMIT", 2)
    with pytest.raises(DivergedError, match="raise the tolerance"):
        effective_stiffness(np.eye(9, dtype=int), np.array([isotropic(1.0, 0.3), VOID]), spacing=(1.0, 1.0))


LATTICES = {
    "Gyroid": lambda x, y, z: np.cos(x) * np.sin(y) + np.cos(y) * np.sin(z) + np.cos(z) * np.sin(x),
    "P": lambda x, y, z: np.cos(x) + np.cos(y) + np.cos(z),
    "D": lambda x, y, z: (
        np.sin(x) * np.sin(y) * np.sin(z)
        + np.sin(x) * np.cos(y) * np.cos(z)
        + np.cos(x) * np.sin(y) * np.cos(z)
        + np.cos(x) * np.cos(y) * np.sin(z)
    ),
    "IWP": lambda x, y, z: (
        2 * (np.cos(x) * np.cos(y) + np.cos(y) * np.cos(z) + np.cos(z) * np.cos(x))
        - (np.cos(2 * x) + np.cos(2 * y) + np.cos(2 * z))
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "row"),
    [("Gyroid", "surf", 3), ("P", "surf", 4), ("IWP", "surf", 4), ("Gyroid", "endo", 5), ("D", "surf", 3)],
)
def test_published_lattices(shared_data: Path, name: str, kind: str, row: int) -> None:
    """Voxel homogenisation of lattices with voids (Data in Brief 2023, doi:10.1016/j.dib.2023.109311), 2 GPa, 0.3."""
    with h5py.File(shared_data / "tpms_ground_truth" / "homogenization" / f"{name}_homogenization_data.h5") as file:
        published, level = file[f"{kind}_C"][row], float(file[f"{kind}_LVL"][0, row])
    axis = (np.arange(48) + 0.5) / 48 * 2 * np.pi
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    field = LATTICES[name](x, y, z)
    solid = (np.abs(field) <= level) if kind == "surf" else (field < level)
    table = np.array([VOID, isotropic(2e9, 0.3)])
    found = effective_stiffness(solid.astype(int), table, spacing=(1.0,) * 3, tolerance=1e-3)
    for i, j in ((0, 0), (0, 1), (3, 3)):
        assert found[i, j] == pytest.approx(published[i, j], rel=0.035 if name == "D" else 0.02)
