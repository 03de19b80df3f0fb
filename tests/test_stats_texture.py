"""Orientation densities and pole figures against closed forms of de la Vallée Poussin's kernel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import beta
from scipy.stats import kstest

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.crystals import LAUE_GROUPS
from microgen.core.lattice import plane_normal
from microgen.core.orientations import (
    disorientation_angle,
    from_euler,
    quaternions,
    random_orientations,
    rotations,
)
from microgen.core.texture_components import kernel_kappa, orientation_of
from microgen.stats.sphere import hemisphere, pooled, project, sphere_density, unit_direction, unproject
from microgen.stats.texture import (
    IDEAL,
    ODF,
    fibre,
    ideal,
    inverse_pole_density,
    phase_orientations,
    plane_normals,
    pole_density,
)

CUBIC, TRICLINIC = Crystal("m-3m"), Crystal("-1", (1, 1, 1, 90, 90, 90))
ONE = np.array([[1.0, 0, 0, 0]])
GRID, SHARE = hemisphere(3)


def turned(angle_deg: float, axis: tuple[float, ...] = (0.0, 0.0, 1.0)) -> np.ndarray:
    half = np.deg2rad(angle_deg) / 2
    return np.array([np.cos(half), *(np.sin(half) * np.array(axis))])


def test_kernel_has_its_half_width_and_peak() -> None:
    """Without symmetry the density of one orientation is the kernel: C = B(3/2, 1/2) / B(3/2, kappa + 1/2)."""
    for halfwidth in (3.0, 10.0, 45.0):
        odf = ODF(ONE, TRICLINIC, halfwidth)
        peak, half = odf.evaluate(ONE[0]), odf.evaluate(turned(halfwidth, (0.6, 0.0, 0.8)))
        kappa = kernel_kappa(halfwidth)
        assert peak == pytest.approx(beta(1.5, 0.5) / beta(1.5, kappa + 0.5), rel=1e-9)
        assert half / peak == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("laue", ["-1", "-3m", "6/mmm", "m-3m"])
def test_mean_density_is_one(laue: str) -> None:
    random = np.random.default_rng(0)
    odf = ODF(random_orientations(random, 3), Crystal(laue), 25)
    values = odf.evaluate(random_orientations(random, 40_000))
    assert abs(values.mean() - 1) < 4 * values.std() / 200


def test_density_has_the_symmetry_of_the_crystal() -> None:
    random = np.random.default_rng(1)
    odf, at = ODF(random_orientations(random, 4), CUBIC), random_orientations(random, 7)
    for operation in CUBIC.operations:
        same = quaternions(rotations(at) * operation)
        np.testing.assert_allclose(odf.evaluate(same), odf.evaluate(at), rtol=1e-6, atol=1e-12)


def test_peak_of_a_cube_is_shared_among_its_equivalents() -> None:
    """One orientation of 24: each equivalent has a 24th of the kernel, and kernels hardly overlap."""
    peak = ODF(ONE, CUBIC, 5).evaluate(ONE[0])
    assert peak == pytest.approx(ODF(ONE, TRICLINIC, 5).evaluate(ONE[0]) / 24, rel=1e-6)


def test_texture_index() -> None:
    """Of one kernel it is C(kappa)^2 / C(2 kappa); of all orientations 1."""
    random, kappa = np.random.default_rng(2), kernel_kappa(20)
    exact = beta(1.5, 0.5) * beta(1.5, 2 * kappa + 0.5) / beta(1.5, kappa + 0.5) ** 2
    found = ODF(ONE, TRICLINIC, 20).texture_index(random, 20_000)
    assert found == pytest.approx(exact, rel=0.02)
    assert ODF(random_orientations(random, 5000), CUBIC, 15).texture_index(random, 300) == pytest.approx(1, abs=0.02)
    copper = ODF(ideal("copper"), CUBIC, 15)
    many = ODF(copper.sample(random, 4000), CUBIC, 10)
    whole = many.evaluate(many.sample(random, 500)).mean()
    assert many.texture_index(random, 1500) == pytest.approx(whole, rel=0.1), "some orientations stand for all"


def test_samples_are_spread_as_the_kernel() -> None:
    """cos^2 of half the angle from the centre has the beta distribution (kappa + 1/2, 3/2)."""
    odf = ODF(turned(50)[None], TRICLINIC, 15)
    drawn = odf.sample(np.random.default_rng(3), 5000)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1)
    square = np.cos(disorientation_angle(drawn, turned(50), TRICLINIC) / 2) ** 2
    assert kstest(square, "beta", (odf.kappa + 0.5, 1.5)).pvalue > 1e-3


def test_samples_follow_weights_and_the_random_fraction() -> None:
    far = np.stack([turned(0), turned(45)])
    odf = ODF(far, CUBIC, 3, weights=np.array([3.0, 1.0]), random_fraction=0.2)
    drawn = odf.sample(np.random.default_rng(4), 8000)
    near = [np.rad2deg(disorientation_angle(drawn, one, CUBIC)) < 12 for one in far]
    everywhere = np.rad2deg(disorientation_angle(random_orientations(np.random.default_rng(5), 8000), ONE, CUBIC)) < 12
    for found, share in zip(near, (0.6, 0.2), strict=True):
        assert abs(found.mean() - share - 0.2 * everywhere.mean()) < 0.02
    same = odf.sample(np.random.default_rng(4), 8000)
    np.testing.assert_array_equal(drawn, same)


def test_random_texture_is_one_everywhere() -> None:
    odf = ODF(random_orientations(np.random.default_rng(6), 60_000), CUBIC, 15)
    for density in (odf.pole_figure((1, 1, 1), GRID[::9]), odf.inverse_pole_figure("y", GRID[::9])):
        np.testing.assert_allclose(density, 1, atol=0.05)
    only = ODF(ONE, CUBIC, random_fraction=1.0)
    np.testing.assert_allclose(only.pole_figure((1, 1, 1), GRID), 1)
    np.testing.assert_allclose(only.evaluate(random_orientations(np.random.default_rng(0), 5)), 1)


@pytest.mark.parametrize("hkl", [(0, 0, 1), (1, 1, 1), (1, 2, 3)])
def test_pole_figures_integrate_to_one_and_peak_at_the_poles(hkl: tuple[int, ...]) -> None:
    """Antipodal kernel of poles: (1 + kappa) / 2 at each of the n poles that a plane has, divided by n."""
    q = random_orientations(np.random.default_rng(7), 1)
    odf = ODF(q, CUBIC, 8)
    fine, share = hemisphere(1)
    assert (odf.pole_figure(hkl, fine) * share).sum() == pytest.approx(1, abs=1e-3)
    poles = rotations(q).apply(plane_normals(CUBIC, hkl))
    exact = (1 + odf.kappa) / 2 / len(poles)
    at_poles = odf.pole_figure(hkl, poles)
    assert (at_poles >= exact * (1 - 1e-9)).all()
    if hkl == (0, 0, 1):
        np.testing.assert_allclose(at_poles, exact, rtol=1e-6)
    np.testing.assert_allclose(odf.pole_figure(hkl, -poles), at_poles)


def test_pole_figure_is_the_mean_of_the_odf_over_its_fibre() -> None:
    """The definition: densities of all orientations that have the pole there, over all equivalent poles."""
    random = np.random.default_rng(8)
    odf, hkl = ODF(random_orientations(random, 2), CUBIC, 20), (1, 1, 0)
    for at in ([0.0, 0.0, 1.0], [0.48, 0.6, -0.64]):
        fibres = [fibre(CUBIC, sign * np.array(hkl), axis=at, count=180) for sign in (1, -1)]
        mean = np.mean([odf.evaluate(q).mean() for q in fibres])
        assert odf.pole_figure(hkl, np.array([at]))[0] == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("laue", LAUE_GROUPS)
def test_inverse_pole_figure_of_one_orientation(laue: str) -> None:
    """Sum over the group of antipodal kernels, written out."""
    crystal, q = Crystal(laue), random_orientations(np.random.default_rng(9), 1)
    odf = ODF(q, crystal, 15)
    assert (odf.inverse_pole_figure("x", GRID) * SHARE).sum() == pytest.approx(1, abs=2e-3)
    seen = rotations(q).inv().apply([1.0, 0.0, 0.0])[0]
    everywhere = np.array([operation.apply(seen) for operation in crystal.operations])
    cosine = GRID[:50] @ np.concatenate([everywhere, -everywhere]).T
    exact = (1 + odf.kappa) * (((1 + cosine) / 2) ** odf.kappa).mean(axis=1)
    np.testing.assert_allclose(odf.inverse_pole_figure("x", GRID[:50]), exact, rtol=1e-6, atol=1e-12)


def test_pooled_poles_change_densities_by_less_than_said() -> None:
    random, kappa = np.random.default_rng(10), kernel_kappa(5)
    q = ODF(ideal("copper"), CUBIC, 8).sample(random, 12_000)
    poles = np.concatenate([rotations(q).apply(normal) for normal in plane_normals(CUBIC, (0, 0, 1))])
    at = GRID[::5]
    fewer, weights = pooled(poles, np.ones(len(poles)))
    assert len(fewer) < len(poles) / 2
    assert weights.sum() == len(poles)
    each = random.uniform(0, 2, len(poles))
    parts = zip(np.split(poles, 2), np.split(each, 2), strict=True)
    exact = sum(sphere_density(part, share, at, kappa) * share.sum() for part, share in parts) / each.sum()
    found = sphere_density(poles, each, at, kappa)
    assert np.abs(found - exact).max() < 3e-3 * exact.max()


def test_weights_are_repetitions() -> None:
    q = random_orientations(np.random.default_rng(11), 3)
    twice = {"kappa": 40.0, "weights": np.array([2.0, 1.0, 1.0])}
    listed = np.concatenate([q[:1], q])
    for function, what in ((pole_density, (1, 1, 1)), (inverse_pole_density, (1, 1, 1))):
        np.testing.assert_allclose(
            function(q, CUBIC, what, GRID, **twice), function(listed, CUBIC, what, GRID, kappa=40.0)
        )


EULER = {"cube": (0, 0, 0), "rotated-cube": (45, 0, 0), "goss": (0, 45, 0), "brass": (35.26, 45, 0)}
EULER |= {"copper": (90, 35.26, 45), "s": (58.98, 36.7, 63.43)}


@pytest.mark.parametrize("name", IDEAL)
def test_ideal_textures_have_the_angles_of_the_books(name: str) -> None:
    """Angles by Bunge; one of the variants of rolling symmetry."""
    book = from_euler(np.deg2rad(EULER[name]))
    assert np.rad2deg(disorientation_angle(ideal(name), book, CUBIC)).min() < 0.1


@pytest.mark.parametrize("name", IDEAL)
def test_ideal_textures_put_their_plane_in_the_sheet_and_their_direction_along_rolling(name: str) -> None:
    plane, along = IDEAL[name]
    for q in ideal(name):
        normals = rotations(q).apply(plane_normals(CUBIC, plane))
        directions = rotations(q).apply(plane_normals(CUBIC, along))
        assert np.abs(normals[:, 2]).max() == pytest.approx(1)
        assert np.abs(directions[:, 0]).max() == pytest.approx(1)


def test_fibre_has_its_pole_along_the_axis_and_all_turns_about_it() -> None:
    axis = unit_direction((1, 2, -2))
    found = fibre(CUBIC, (1, 1, 1), axis=axis, count=90)
    poles = rotations(found).apply(plane_normal(CUBIC, (1, 1, 1)))
    np.testing.assert_allclose(poles, np.tile(axis, (90, 1)), atol=1e-12)
    density = ODF(found, CUBIC, 10).pole_figure((1, 1, 1), rotations(turned(70.53)).apply(GRID[:1]) * 0 + axis)
    assert density[0] == pytest.approx((1 + kernel_kappa(10)) / 8, rel=1e-3), "one of four poles lies there"


def test_orientation_of_two_directions() -> None:
    q = orientation_of(np.array([1.0, 1.0, 1.0]), np.array([1.0, 0.0, 0.0]))
    found = rotations(q).apply([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(found[0] / np.sqrt(3), [0, 0, 1], atol=1e-12)
    assert found[1, 0] > 0
    assert found[1, 1] == pytest.approx(0)
    with pytest.raises(InputError, match="parallel"):
        orientation_of(np.array([1.0, 1, 1]), np.array([2.0, 2, 2]))


@pytest.mark.parametrize("projection", ["equal-area", "stereographic"])
def test_projections_there_and_back(projection: str) -> None:
    np.testing.assert_allclose(unproject(project(GRID, projection), projection), GRID, atol=1e-9)  # type: ignore[arg-type]
    np.testing.assert_allclose(project(-GRID, projection), project(GRID, projection))  # type: ignore[arg-type]
    rim = project(np.array([[0.6, 0.8, 0.0]]), projection)  # type: ignore[arg-type]
    assert np.linalg.norm(rim) == pytest.approx(1)


def test_equal_areas_are_equal_solid_angles_and_circles_stay_circles() -> None:
    for tilt in (20.0, 45.0, 70.0):
        cap = np.array([np.sin(np.deg2rad(tilt)), 0, np.cos(np.deg2rad(tilt))])
        assert np.linalg.norm(project(cap)) ** 2 == pytest.approx(1 - cap[2])
        assert np.linalg.norm(project(cap, "stereographic")) == pytest.approx(np.tan(np.deg2rad(tilt / 2)))


def test_plane_beyond_the_disc_is_the_other_hemisphere() -> None:
    """So that densities can be interpolated across the rim."""
    for projection in ("equal-area", "stereographic"):
        out, into = (unproject(np.array([r, 0.0]), projection) for r in (1 + 1e-6, 1 - 1e-6))  # type: ignore[arg-type]
        assert out[2] < 0 < into[2]
        np.testing.assert_allclose(out * [1, 1, -1], into, atol=1e-5)
    with pytest.raises(InputError, match="projection"):
        project(GRID, "mercator")  # type: ignore[arg-type]


def duplex() -> Microstructure:
    phase = np.array([[1, 1, 2], [0, 1, 2]])
    q = random_orientations(np.random.default_rng(12), 6).reshape(2, 3, 4)
    names = ("not indexed", "ferrite", "titanium")
    return Microstructure(
        {"phase": phase, "orientation": q},
        (1, 1),
        names,
        crystals={"ferrite": CUBIC, "titanium": Crystal("6/mmm")},
    )


def test_orientations_of_a_phase() -> None:
    m = duplex()
    found, crystal = phase_orientations(m)
    assert crystal.laue == "m-3m"
    np.testing.assert_array_equal(found, m["orientation"][m["phase"] == 1])
    assert len(phase_orientations(m, "titanium")[0]) == 2
    masked = m.with_fields(mask=np.array([[1, 0, 1], [0, 0, 1]], np.uint8))
    assert len(phase_orientations(masked, "ferrite")[0]) == 1
    with pytest.raises(InputError, match="austenite"):
        phase_orientations(m, "austenite")
    with pytest.raises(InputError, match="symmetry"):
        phase_orientations(m.replace(crystals={}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"orientation": np.zeros((0, 4))},
        {"halfwidth_deg": 0.1},
        {"halfwidth_deg": np.nan},
        {"weights": np.ones(3)},
        {"weights": np.array([-1.0])},
        {"weights": np.zeros(1)},
        {"random_fraction": 1.5},
    ],
)
def test_impossible_distributions_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError):
        ODF(**{"orientation": ONE, "crystal": CUBIC, **wrong})


def test_wrong_names_are_refused() -> None:
    with pytest.raises(InputError, match="copper"):
        ideal("silver")
    for wrong in ("w", (0, 0, 0), (1, 2)):
        with pytest.raises(InputError):
            unit_direction(wrong)
