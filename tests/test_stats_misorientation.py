"""Disorientations: Mackenzie's law, other Laue groups, boundaries, random pairs, KAM and GROD by brute force, orix."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.spatial.transform import Rotation

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.crystals import LAUE_GROUPS
from microgen.core.orientations import disorientation_angle, from_euler, quaternions, random_orientations, rotations
from microgen.stats.mackenzie import mackenzie_cdf, mackenzie_pdf, random_disorientation_cdf, random_disorientations
from microgen.stats.misorientation import (
    boundary_disorientation,
    grain_orientation_spread,
    grod,
    kam,
    random_pairs_disorientation,
)

LARGEST = float(np.rad2deg(2 * np.arctan(np.sqrt(23 - 16 * np.sqrt(2)))))  # 62.7994


def ebsd(orientation: Any, laue: str = "m-3m", **more: Any) -> Microstructure:
    fields = {"orientation": np.asarray(orientation, np.float32), **more}
    spacing = (1.0,) * (np.ndim(orientation) - 1)
    crystals = {"iron": Crystal(laue), "titanium": Crystal("6/mmm")}
    if "phase" in more:
        return Microstructure(fields, spacing, ("not indexed", "iron", "titanium"), crystals=crystals)
    return Microstructure(fields, spacing, ("iron",), crystals={"iron": Crystal(laue)})


def noisy(seed: int, shape: tuple[int, ...], degrees: float = 2.0) -> Any:
    turns = np.random.default_rng(seed).normal(0, np.deg2rad(degrees), (int(np.prod(shape)), 3))
    return quaternions(Rotation.from_rotvec(turns)).reshape(*shape, 4)


# the law of Mackenzie


def test_pairs_of_random_cubic_crystals_follow_mackenzie() -> None:
    found = random_disorientations(np.random.default_rng(0), 100_000, Crystal("m-3m"))
    assert stats.kstest(found, mackenzie_cdf).statistic < 0.01
    other = random_disorientations(np.random.default_rng(0), 100_000, Crystal("6/mmm"))
    assert stats.kstest(other, mackenzie_cdf).statistic > 0.1


def test_mackenzie_is_a_distribution_with_the_known_corners() -> None:
    knots = [45, 60, float(np.rad2deg(2 * np.arctan(2 - np.sqrt(2))))]
    mass, _ = integrate.quad(mackenzie_pdf, 0, LARGEST, points=knots, epsabs=1e-12)
    assert mass == pytest.approx(1, abs=1e-10)
    mean, _ = integrate.quad(lambda t: t * mackenzie_pdf(t), 0, LARGEST, points=knots)
    assert mean == pytest.approx(40.736, abs=1e-3)  # Mackenzie (1958): 40.736 degrees
    assert mackenzie_pdf(45) == pytest.approx(2 / 15 * (1 - np.sqrt(0.5)), rel=1e-12)
    for knot in [*knots, LARGEST]:
        assert mackenzie_pdf(knot - 1e-7) == pytest.approx(mackenzie_pdf(knot + 1e-7), abs=1e-7)
    np.testing.assert_array_equal(mackenzie_pdf([-1.0, 0.0, 63.0, 180.0]), 0)


def test_mackenzie_pdf_and_cdf_agree() -> None:
    angles = np.array([10, 44, 47, 59, 60.5, 60.9, 61.7, 62.5])
    expected = [integrate.quad(mackenzie_pdf, 0, t, points=[45, 60, 60.7224], epsabs=1e-12)[0] for t in angles]
    np.testing.assert_allclose(mackenzie_cdf(angles), expected, atol=1e-8)
    np.testing.assert_allclose(mackenzie_cdf([-5.0, 0.0, LARGEST, 180.0]), [0, 0, 1, 1], atol=1e-9)
    assert mackenzie_cdf(50.0).shape == ()


@pytest.mark.parametrize("laue", LAUE_GROUPS)
def test_random_crystals_of_every_laue_group(laue: str) -> None:
    grid = np.linspace(0, 180, 361)
    law = random_disorientation_cdf(grid, Crystal(laue))
    assert law[0] == 0
    assert law[-1] == pytest.approx(1, abs=2e-5)
    assert (np.diff(law) >= -1e-12).all()
    found = random_disorientations(np.random.default_rng(1), 50_000, Crystal(laue))
    assert stats.kstest(found, lambda t: np.interp(t, grid, law)).statistic < 0.01


def test_the_general_law_is_mackenzies_for_cubic_crystals() -> None:
    grid = np.linspace(0, 63, 300)
    np.testing.assert_allclose(random_disorientation_cdf(grid, Crystal("m-3m")), mackenzie_cdf(grid), atol=2e-5)


def test_frames_of_trigonal_crystals_share_one_law() -> None:
    grid = np.linspace(0, 180, 50)
    laws = [random_disorientation_cdf(grid, Crystal("-3m", x_along=along)) for along in ("a", "a*")]
    np.testing.assert_allclose(laws[0], laws[1], atol=1e-4)


# maps


def test_pairs_across_boundaries_are_those_of_the_grains() -> None:
    grain = np.repeat([[1, 2, 0, 3]], 4, axis=0)
    of_grain = random_orientations(np.random.default_rng(0), 4)
    found = boundary_disorientation(ebsd(of_grain[grain]), grain)
    expected = np.rad2deg(disorientation_angle(of_grain[1], of_grain[2], Crystal("m-3m")))
    assert found.shape == (4, 4, 2)
    np.testing.assert_allclose(found[:, 0, 1], expected, rtol=1e-5)
    assert np.isnan(found[..., 0]).all()
    assert np.isnan(found[:, 1:, 1]).all()
    wrapped = boundary_disorientation(ebsd(of_grain[grain]), grain, periodic=True)
    around = np.rad2deg(disorientation_angle(of_grain[1], of_grain[3], Crystal("m-3m")))
    np.testing.assert_allclose(wrapped[:, 3, 1], around, rtol=1e-5)


def test_phases_have_no_disorientation_between_them() -> None:
    grain, phase = np.array([[1, 2, 3]]), np.array([[1, 2, 2]])
    q = random_orientations(np.random.default_rng(1), 3)[None]
    found = boundary_disorientation(ebsd(q, phase=phase), grain)[0, :, 1]
    assert np.isnan(found[[0, 2]]).all()
    expected = np.rad2deg(disorientation_angle(q[0, 1], q[0, 2], Crystal("6/mmm")))
    assert found[1] == pytest.approx(expected, rel=1e-5)


def test_random_pairs_of_a_random_texture_follow_the_law_and_of_a_sharp_one_do_not() -> None:
    q = random_orientations(np.random.default_rng(2), 40_000).reshape(200, 200, 4)
    found = random_pairs_disorientation(ebsd(q), np.random.default_rng(3), 20_000)
    assert stats.kstest(found, mackenzie_cdf).statistic < 0.02
    sharp = random_pairs_disorientation(ebsd(noisy(0, (50, 50))), np.random.default_rng(3), 1000)
    assert sharp.max() < 20
    phase = np.where(np.arange(200) < 100, 1, 2)[:, None].repeat(200, axis=1)
    mixed = random_pairs_disorientation(ebsd(q, phase=phase), np.random.default_rng(4), 20_000)
    grid = np.linspace(0, 95, 500)
    law = (mackenzie_cdf(grid) + random_disorientation_cdf(grid, Crystal("6/mmm"))) / 2
    assert stats.kstest(mixed, lambda t: np.interp(t, grid, law)).statistic < 0.02
    ideal = np.where(phase[..., None] == 1, from_euler([0.0, 0, 0]), from_euler([0.3, 0.4, 0.5]))
    assert random_pairs_disorientation(ebsd(ideal, phase=phase), np.random.default_rng(5), 1000).max() < 0.01
    with pytest.raises(InputError, match="no point of the map is indexed"):
        random_pairs_disorientation(ebsd(q, mask=np.zeros((200, 200), np.uint8)), np.random.default_rng(0), 5)


def kernel(m: Microstructure, order: int, threshold: float | None, grain: Any = None) -> Any:
    """Kernel average misorientation point by point."""
    found = np.full(m.shape, np.nan)
    steps = [s for s in itertools.product(range(-order, order + 1), repeat=m.ndim) if 0 < np.abs(s).sum() <= order]
    for here in np.ndindex(m.shape):
        angles = []
        for step in steps:
            there = tuple(int(h + s) for h, s in zip(here, step, strict=True))
            if not all(0 <= c < n for c, n in zip(there, m.shape, strict=True)):
                continue
            if not (m["mask"][here] and m["mask"][there]) or (grain is not None and grain[here] != grain[there]):
                continue
            pair = m["orientation"][here].astype(float), m["orientation"][there].astype(float)
            angle = float(np.rad2deg(disorientation_angle(*pair, Crystal("m-3m"))))
            if threshold is None or angle <= threshold:
                angles.append(angle)
        if angles:
            found[here] = np.mean(angles)
    return found


@pytest.mark.parametrize("shape", [(9, 11), (4, 5, 6)])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("threshold", [4.0, None])
def test_kam_is_the_mean_over_neighbours(shape: tuple[int, ...], order: int, threshold: float | None) -> None:
    rng = np.random.default_rng(5)
    mask = (rng.random(shape) > 0.2).astype(np.uint8)
    m = ebsd(noisy(1, shape), mask=mask)
    np.testing.assert_allclose(
        kam(m, order=order, threshold_deg=threshold), kernel(m, order, threshold), rtol=1e-4, atol=1e-5
    )
    grain = rng.integers(1, 3, shape)
    found = kam(m, order=order, threshold_deg=threshold, grain=grain)
    np.testing.assert_allclose(found, kernel(m, order, threshold, grain), rtol=1e-4, atol=1e-5)


def test_kam_of_a_bent_crystal_is_its_bend_per_step() -> None:
    bend = np.zeros((20, 30, 3))
    bend[..., 0] = np.deg2rad(0.02 * np.arange(30))
    found = kam(ebsd(from_euler(bend)))
    np.testing.assert_allclose(found[1:-1, 1:-1], 0.01, atol=2e-5)  # half of the four neighbours differ
    ring = np.zeros((20, 30, 3))
    ring[..., 0] = np.deg2rad(3.0 * np.arange(30))  # 90 degrees around: the same cubic crystal
    np.testing.assert_allclose(kam(ebsd(from_euler(ring)), periodic=True), 1.5, atol=1e-4)
    with pytest.raises(InputError, match="1 or more"):
        kam(ebsd(from_euler(bend)), order=0)


def test_neighbours_beyond_5_degrees_do_not_count_unless_told() -> None:
    line = np.zeros((1, 3, 3))
    line[0, :, 0] = np.deg2rad([0, 4.9, 10.0])
    m = ebsd(from_euler(line))
    np.testing.assert_allclose(kam(m), [[4.9, 4.9, np.nan]], atol=1e-4)
    np.testing.assert_allclose(kam(m, threshold_deg=5.2), [[4.9, 5.0, 5.1]], atol=1e-4)


def test_deviation_from_the_mean_of_the_grain() -> None:
    grain = np.repeat([[1, 1, 2, 2, 0]], 30, axis=0)
    middles = random_orientations(np.random.default_rng(7), 3)
    turned = quaternions(rotations(middles[grain]) * rotations(noisy(2, grain.shape, 1.0))).reshape(*grain.shape, 4)
    mask = np.ones(grain.shape, np.uint8)
    mask[3, 1] = 0
    m = ebsd(turned, mask=mask)
    found = grod(m, grain)
    assert np.isnan(found[:, 4]).all()
    assert np.isnan(found[3, 1])
    expected = np.rad2deg(disorientation_angle(turned, middles[grain], Crystal("m-3m")))
    there = ~np.isnan(found)
    assert np.abs(found[there] - expected[there]).max() < 1.0  # the mean itself is uncertain
    assert found[there].mean() == pytest.approx(np.sqrt(8 / np.pi), rel=0.15)  # of a Maxwell distribution
    spread = grain_orientation_spread(m, grain)
    np.testing.assert_allclose(spread, [np.nanmean(found[grain == g]) for g in (1, 2)], rtol=1e-6)


# another implementation


ORIX = """
import json, sys
import numpy as np
from orix.quaternion import Orientation, symmetry as S
groups = dict(zip(sys.argv[3].split(","), (S.C1, S.C2y, S.D2, S.C4, S.D4, S.C3, S.D3, S.C6, S.D6, S.T, S.O)))
a, b = np.load(sys.argv[1]), np.load(sys.argv[2])
turned = [Orientation(q * [1, -1, -1, -1], symmetry=groups[sys.argv[4]]) for q in (a, b)]
print(json.dumps(np.asarray(turned[0].angle_with(turned[1])).tolist()))
"""


@pytest.mark.parametrize("laue", LAUE_GROUPS)
def test_the_disorientations_of_orix(tmp_path: Path, laue: str) -> None:
    """orix as a separate program; its orientations turn the sample into the crystal."""
    interpreter = os.environ.get("MICROGEN_ORACLE_PYTHON")
    if not interpreter:
        pytest.skip("set MICROGEN_ORACLE_PYTHON to an interpreter that has orix")
    a, b = random_orientations(np.random.default_rng(0), 2000).reshape(2, 1000, 4)
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    command = [interpreter, "-W", "ignore", "-c", ORIX, str(tmp_path / "a.npy"), str(tmp_path / "b.npy")]
    run = subprocess.run([*command, ",".join(LAUE_GROUPS), laue], check=True, capture_output=True, text=True)
    found = np.array(json.loads(run.stdout.splitlines()[-1]))
    np.testing.assert_allclose(disorientation_angle(a, b, Crystal(laue)), found, atol=1e-9)
