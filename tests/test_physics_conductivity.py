"""Conductivity and tortuosity against closed forms, published values, bounds and a direct solution."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, sparse

from microgen.core import DivergedError, InputError
from microgen.physics import bounds, conduction, multigrid
from microgen.physics.conductivity import Boundary, effective_conductivity, percolating, tortuosity

BOUNDARIES: tuple[Boundary, ...] = ("plates", "periodic")


def balls(n: int, radius: float) -> Any:
    """Cells of a cubic array with a ball of the given radius (edge 1) in the middle."""
    axis = (np.arange(n) + 0.5) / n - 0.5
    return sum(np.meshgrid(axis**2, axis**2, axis**2)) < radius**2


def blobs(seed: int, shape: tuple[int, ...], fraction: float, sigma: float = 2.0) -> Any:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma, mode="wrap")
    return field < np.quantile(field, fraction)


@pytest.mark.parametrize("shape", [(7, 5), (4, 7, 5)])
@pytest.mark.parametrize("boundary", ["plates", "periodic"])
def test_layers_conduct_in_series_and_in_parallel(shape: tuple[int, ...], boundary: Any) -> None:
    spacing = (0.3, 2.0, 5.0)[: len(shape)]
    for across in range(len(shape)):
        k = np.random.default_rng(0).uniform(0.1, 50, shape[across])
        layers = np.broadcast_to(k.reshape([-1 if a == across else 1 for a in range(len(shape))]), shape)
        for axis in range(len(shape)):
            found = effective_conductivity(layers, spacing=spacing, axis=axis, boundary=boundary, tolerance=1e-8)
            expected = 1 / (1 / k).mean() if axis == across else k.mean()
            assert found == pytest.approx(expected, rel=1e-9)


def test_one_voxel_across_is_no_special_case() -> None:
    line = np.array([[1.0, 4.0, 4.0]])
    for boundary in BOUNDARIES:
        along = effective_conductivity(line, spacing=(1.0, 1.0), axis=1, boundary=boundary)
        across = effective_conductivity(line, spacing=(1.0, 1.0), axis=0, boundary=boundary)
        assert (along, across) == pytest.approx((2.0, 3.0))


def test_symmetric_two_phase_tiling_has_the_geometric_mean() -> None:
    """Dykhne 1970: any two-phase plane structure that looks the same with its phases swapped."""
    errors = []
    for cell in (4, 8, 16, 32):
        board = np.kron(np.indices((2, 2)).sum(axis=0) % 2, np.ones((cell, cell)))
        tensor = effective_conductivity(1 + 2 * board, spacing=(1.0, 1.0), boundary="periodic")
        assert isinstance(tensor, np.ndarray)
        np.testing.assert_allclose(tensor, tensor[0, 0] * np.eye(2), atol=1e-7)
        errors.append(abs(tensor[0, 0] / math.sqrt(3) - 1))
    assert errors[-1] < 3e-3
    assert all(b < a / 2 for a, b in itertools.pairwise(errors))


@pytest.mark.parametrize("ratio", [0.0, 10.0, 1e6])
@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.3])
def test_cubic_array_of_balls(ratio: float, fraction: float) -> None:
    """Rayleigh's series (1892), with the coefficient as corrected by McPhedran and McKenzie (1978)."""
    inside = balls(48, (fraction * 3 / (4 * math.pi)) ** (1 / 3))
    f = float(inside.mean())
    expected = 1 - 3 * f / ((2 + ratio) / (1 - ratio) + f - 1.3047 * (1 - ratio) / (4 / 3 + ratio) * f ** (10 / 3))
    k = np.where(inside, ratio, 1.0)
    found = effective_conductivity(k, spacing=(1.0,) * 3, axis=0, boundary="periodic")
    assert found - 1 == pytest.approx(expected - 1, rel=0.1)
    assert found == pytest.approx(expected, rel=0.02)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.lists(st.integers(3, 12), min_size=2, max_size=3),
    contrast=st.floats(1.1, 1e4),
    fraction=st.floats(0.1, 0.9),
    boundary=st.sampled_from(["plates", "periodic"]),
)
def test_no_structure_leaves_the_bounds(
    seed: int, shape: list[int], contrast: float, fraction: float, boundary: Any
) -> None:
    second = np.random.default_rng(seed).random(shape) < fraction
    k = np.where(second, contrast, 1.0)
    spacing = tuple(np.random.default_rng(seed + 1).uniform(0.3, 3, len(shape)))
    share = [1 - second.mean(), second.mean()]
    low, high = bounds.wiener(share, [1.0, contrast])
    found = np.asarray(effective_conductivity(k, spacing=spacing, boundary=boundary))
    values = np.diag(found) if found.ndim == 2 else found
    assert (values >= low * (1 - 1e-6)).all()
    assert (values <= high * (1 + 1e-6)).all()


def test_isotropic_structures_obey_the_narrower_bounds() -> None:
    second = blobs(3, (48, 48, 48), 0.4)
    low, high = bounds.hashin_shtrikman([0.6, 0.4], [1.0, 20.0], ndim=3)
    tensor = effective_conductivity(np.where(second, 20.0, 1.0), spacing=(1.0,) * 3, boundary="periodic")
    assert low < np.trace(tensor) / 3 < high
    assert (np.linalg.eigvalsh(tensor) > 0).all()


@pytest.mark.parametrize("shape", [(23, 31), (9, 14, 11)])
def test_equals_a_direct_solution(shape: tuple[int, ...]) -> None:
    k = np.exp(3 * np.random.default_rng(5).normal(size=shape))
    k[np.random.default_rng(6).random(shape) < 0.3] = 0
    spacing = (0.7, 1.0, 2.5)[: len(shape)]
    active = percolating(k > 0, axis=1)
    system = conduction.between_plates(k, active, spacing, 1)
    potential = sparse.linalg.spsolve(system.matrix.tocsc(), system.right[0])
    expected = (system.constant[0] - system.right[0] @ potential) * (shape[1] * spacing[1]) ** 2 / k.size
    found = effective_conductivity(k, spacing=spacing, axis=1, tolerance=1e-6)
    assert expected > 0
    assert found == pytest.approx(expected, rel=1e-9)


def test_periodic_tensor_turns_with_the_structure() -> None:
    k = np.where(blobs(1, (24, 24), 0.5), 9.0, 1.0)
    tensor = np.asarray(effective_conductivity(k, spacing=(1.0, 2.0), boundary="periodic", tolerance=1e-7))
    turned = np.asarray(effective_conductivity(np.rot90(k), spacing=(2.0, 1.0), boundary="periodic", tolerance=1e-7))
    np.testing.assert_allclose(turned, [[tensor[1, 1], -tensor[0, 1]], [-tensor[0, 1], tensor[0, 0]]], rtol=1e-6)
    assert abs(tensor[0, 1]) > 1e-3


def test_straight_channels_have_tortuosity_one() -> None:
    cross = np.zeros((9, 8), bool)
    cross[1:3, 2:5] = cross[6, 6] = cross[8, 0] = True
    for axis in range(3):
        channels = np.repeat(np.expand_dims(cross, axis), 21, axis=axis)
        assert tortuosity(channels, spacing=(0.5, 1.0, 3.0), axis=axis) == pytest.approx(1.0, abs=1e-9)
        for other in {0, 1, 2} - {axis}:
            assert tortuosity(channels, spacing=(0.5, 1.0, 3.0), axis=other) == math.inf


def test_one_diagonal_step_does_not_connect() -> None:
    assert tortuosity(np.eye(5, dtype=bool), spacing=(1.0, 1.0), axis=0) == math.inf
    assert tortuosity(np.zeros((4, 4), bool), spacing=(1.0, 1.0), axis=0) == math.inf


@pytest.mark.parametrize("degrees", [20.0, 45.0, 60.0])
def test_inclined_channels_are_longer_by_the_cosine_squared(degrees: float) -> None:
    """Wide layers at an angle, repeated for ever: D_eff / D0 = fraction cos^2, so the tortuosity is 1 / cos^2."""
    slope = math.tan(math.radians(degrees))
    rows = 240
    columns = round(rows / slope)
    y, x = np.mgrid[:rows, :columns]
    layers = ((x / columns - y / rows) * 2 % 1) < 0.5
    tensor = np.asarray(effective_conductivity(layers, spacing=(1.0, 1.0), boundary="periodic"))
    exact = math.atan(rows / columns)
    direction = np.array([math.sin(exact), math.cos(exact)])
    np.testing.assert_allclose(tensor, layers.mean() * np.outer(direction, direction), atol=0.02)
    assert layers.mean() / tensor[1, 1] == pytest.approx(1 / math.cos(exact) ** 2, rel=0.04)


def test_islands_and_dead_ends_count_as_fraction_only() -> None:
    pores = np.zeros((10, 10), bool)
    pores[4] = True
    assert tortuosity(pores, spacing=(1.0, 1.0), axis=1) == pytest.approx(1.0)
    pores[7, 3:6] = True  # an island
    assert tortuosity(pores, spacing=(1.0, 1.0), axis=1) == pytest.approx(1.3)


def test_unconnected_phases_conduct_nothing() -> None:
    wall = np.ones((8, 8))
    wall[3] = 0
    assert effective_conductivity(wall, spacing=(1.0, 1.0), axis=0) == 0.0
    tensor = np.asarray(effective_conductivity(wall, spacing=(1.0, 1.0), boundary="periodic"))
    np.testing.assert_allclose(tensor, np.diag([0, 7 / 8]), atol=1e-9)
    assert effective_conductivity(np.zeros((4, 4)), spacing=(1.0, 1.0), axis=0, boundary="periodic") == 0.0


def test_the_number_of_iterations_hardly_grows_with_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    whole = multigrid.solve

    def counting(levels: Any, right: Any, start: Any, done: Any, **options: Any) -> Any:
        calls = []

        def counted(unknowns: Any, residual: Any) -> bool:
            calls.append(1)
            return bool(done(unknowns, residual))

        found = whole(levels, right, start, counted, **options)
        counts.append(len(calls))
        return found

    monkeypatch.setattr(multigrid, "solve", counting)
    for n in (16, 32, 64):
        effective_conductivity(blobs(2, (n, n, n), 0.35), spacing=(1.0,) * 3, axis=0)
    assert max(counts) < 30
    assert counts[-1] < 2 * counts[0]


def test_tolerance_is_kept_and_unreachable_ones_are_reported() -> None:
    region = blobs(2, (24, 24, 24), 0.4)
    exact = effective_conductivity(region, spacing=(1.0,) * 3, axis=0, tolerance=1e-9)
    for tolerance in (1e-2, 1e-3, 1e-4):
        found = effective_conductivity(region, spacing=(1.0,) * 3, axis=0, tolerance=tolerance)
        assert abs(found / exact - 1) < tolerance
    system = conduction.between_plates(region, percolating(region, axis=0), (1.0,) * 3, 0)
    with pytest.raises(DivergedError, match="raise the tolerance"):
        conduction.potentials(system, (1.0,) * 3, np.zeros(system.place.shape[1]), lambda *_: 1e-9, limit=3)


def test_inputs_stay_as_they_are() -> None:
    k = np.random.default_rng(0).random((9, 9))
    before = k.copy()
    k.flags.writeable = False
    effective_conductivity(k, spacing=(1.0, 1.0))
    np.testing.assert_array_equal(k, before)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: effective_conductivity(np.ones((4, 4)), spacing=(1.0, 1.0), tolerance=1e-30), "tolerance is between"),
        (lambda: effective_conductivity(np.ones(4), spacing=(1.0,)), "Y, X"),
        (lambda: effective_conductivity(-np.ones((4, 4)), spacing=(1.0, 1.0)), "not negative"),
        (lambda: effective_conductivity(np.full((4, 4), np.nan), spacing=(1.0, 1.0)), "finite"),
        (lambda: effective_conductivity(np.ones((4, 4)), spacing=(1.0,)), "2 axes"),
        (lambda: effective_conductivity(np.ones((4, 4)), spacing=(1.0, 1.0), axis=2), "axis must be 0 to 1"),
        (lambda: effective_conductivity(np.ones((4, 4)), spacing=(1.0, 1.0), boundary="open"), "periodic"),  # type: ignore[call-overload]
        (lambda: tortuosity(np.ones((4, 4)), spacing=(1.0, 1.0), axis=0), "boolean"),
        (lambda: bounds.wiener([0.5, 0.4], [1.0, 2.0]), "sum to 1"),
    ],
)
def test_mistakes_are_one_clear_sentence(call: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


def test_pores_of_a_real_electrode_as_taufactor_has_them(shared_data: Path) -> None:
    """TauFactor 1.2.1 (conv_crit=1e-5) finds 2.5419393 in this corner."""
    labels = tifffile.imread(shared_data / "volume_nmc_electrode" / "nmc-1-cal_generatedCBD_bridge.tif")
    corner = labels[:96, :96, :96] == 0
    assert tortuosity(corner, spacing=(1.0, 1.0, 1.0), axis=0) == pytest.approx(2.5419393, rel=1e-6)
