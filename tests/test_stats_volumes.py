"""The table of descriptors on volumes: closed forms, voxels that are no cubes, masks, phases, slabs, real data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from skimage import measure as skimage_measure

from microgen import Microstructure
from microgen.stats import DESCRIPTORS, Measurement, correlation_length, lineal, measure, orientation, spectrum
from microgen.stats.interpret import distinct, labelled
from microgen.stats.lineal import runs
from microgen.stats.orientation import structure_tensor
from microgen.stats.spectrum import power_spectrum
from microgen.stats.views import Views
from microgen.synth import two_phase

OF_PHASE = [n for n, d in DESCRIPTORS.items() if d.needs[0] in Views.OF_PHASE - {"texture"} and 3 in d.dims]
DEFAULT = [n for n in OF_PHASE if not DESCRIPTORS[n].costly]
ANISOTROPIC = (1.0, 0.5, 0.25)


def blobs(seed: int = 0, shape: tuple[int, ...] = (36, 40, 44), level: float = 0.0) -> Any:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.5, mode="wrap")
    return (noise > level * noise.std()).astype(np.uint8)


def volume(phase: Any, spacing: tuple[float, ...] = (1.0, 1.0, 1.0), **fields: Any) -> Microstructure:
    return Microstructure({"phase": phase, **fields}, spacing=spacing)


def one(structure: Microstructure, name: str, **how: Any) -> Measurement:
    return measure(structure, [name], **{"intervals": False, **how})[name]


def value(structure: Microstructure, name: str, **how: Any) -> float:
    found = one(structure, name, **how)
    assert found.value is not None, found.note
    return found.value


def points(found: Measurement) -> tuple[Any, Any]:
    assert found.x is not None
    assert found.y is not None
    return found.x, found.y


def layers(axis: int, period: int = 8, thick: int = 4, n: int = 32) -> Any:
    index = np.arange(n) % period < thick
    return np.broadcast_to(index.reshape([-1 if k == axis else 1 for k in range(3)]), (n, n, n)).astype(np.uint8)


# closed forms


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_layers(axis: int) -> None:
    """Slabs of 4 voxels, 8 apart: everything about them is known."""
    step, name = ANISOTROPIC[axis], "zyx"[axis]
    found = measure(volume(layers(axis), ANISOTROPIC), OF_PHASE, periodic=True)
    values = {key: m.value for key, m in found.items()}
    assert values["phase_fraction"] == 0.5
    assert values["specific_surface_per_um"] == pytest.approx(2 / (8 * step), rel=0.21)  # flat surfaces are worst
    assert values["local_thickness_um"] == pytest.approx(4 * step, rel=1e-6)
    assert values["euler_number_density"] == pytest.approx(0, abs=1e-12)  # a slab on a torus: Euler number 0
    assert values["largest_component_share"] == pytest.approx(1 / 4)
    for other in "zyx":
        share = values[f"percolating_share_{other}"]
        conductivity, tortuosity = found[f"relative_conductivity_{other}"], found[f"tortuosity_{other}"]
        if other == name:
            assert (share, conductivity.value, tortuosity.value) == (0, 0, None)
            assert tortuosity.note == f"infinite: the phase does not percolate along {name}"
        else:
            assert (share, conductivity.value, tortuosity.value) == pytest.approx((1, 0.5, 1), rel=1e-6)
    assert points(found["lineal_path"])[1][0] == 0.5


def test_lamellae_of_two_phases_are_series_and_parallel_bounds() -> None:
    """Both phases of a laminate through the rows: along the layers each conducts by its fraction, across not at all."""
    laminate = volume(layers(0, period=8, thick=2), ANISOTROPIC)
    for phase, fraction in ((1, 0.25), (0, 0.75)):
        assert value(laminate, "relative_conductivity_x", phase=phase) == pytest.approx(fraction, rel=1e-6)
        assert value(laminate, "relative_conductivity_y", phase=phase) == pytest.approx(fraction, rel=1e-6)
        assert value(laminate, "relative_conductivity_z", phase=phase) == 0
        assert value(laminate, "tortuosity_x", phase=phase) == pytest.approx(1, rel=1e-6)


def test_straight_and_bent_channels() -> None:
    """A channel that steps aside has a tortuosity above 1; where it is cut there is none, and JSON stays valid."""
    straight = np.zeros((12, 12, 24), np.uint8)
    straight[4:6, 4:6, :] = 1
    assert value(volume(straight, ANISOTROPIC), "tortuosity_x") == pytest.approx(1, rel=1e-6)
    bent = straight.copy()
    bent[4:6, 4:6, 12:] = 0
    bent[4:6, 9:11, 12:] = bent[4:6, 4:11, 11:13] = 1
    assert value(volume(bent), "tortuosity_x") > 1.3
    cut = straight.copy()
    cut[:, :, 10] = 0
    found = measure(volume(cut), ["tortuosity_x", "relative_conductivity_x", "percolating_share_x"])
    assert found["tortuosity_x"].value is None
    assert "does not percolate along x" in found["tortuosity_x"].note
    assert (found["relative_conductivity_x"].value, found["percolating_share_x"].value) == (0, 0)
    text = json.dumps({name: m.to_dict() for name, m in found.items()}, allow_nan=False)
    assert json.loads(text)["tortuosity_x"]["value"] is None


def test_conductivity_lies_below_the_bounds() -> None:
    """A phase in an insulator conducts less than parallel layers, and less than the upper Hashin-Shtrikman bound."""
    sponge = volume(blobs(1, (28, 28, 28), -0.7))
    fraction = value(sponge, "phase_fraction")
    for axis in "xyz":
        conducted = value(sponge, f"relative_conductivity_{axis}")
        assert 0 < conducted < 2 * fraction / (3 - fraction)
        assert value(sponge, f"tortuosity_{axis}") == pytest.approx(fraction / conducted, rel=1e-6)


def test_balls() -> None:
    """Eight balls of radius 8 in a periodic box, voxels flat along z."""
    step = (1.0, 0.5, 0.5)
    z, y, x = (np.abs((np.arange(n) * s) % 24 - 12) for n, s in zip((48, 96, 96), step, strict=True))
    inside = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 < 8**2
    found = {n: m.value for n, m in measure(volume(inside.astype(np.uint8), step), DEFAULT, periodic=True).items()}
    box = 48.0**3
    assert found["phase_fraction"] == pytest.approx(8 * 4 / 3 * np.pi * 8**3 / box, rel=0.02)
    assert found["specific_surface_per_um"] == pytest.approx(8 * 4 * np.pi * 8**2 / box, rel=0.03)
    assert found["euler_number_density"] == pytest.approx(8 / box)
    assert found["chord_length_um"] == pytest.approx(4 / 3 * 8, rel=0.03)  # mean chord of a ball: 4/3 of its radius
    assert found["local_thickness_um"] == pytest.approx(16, rel=0.03)
    assert found["largest_component_share"] == pytest.approx(1 / 8)
    assert found["anisotropy"] == pytest.approx(0, abs=0.05)
    assert (found["percolating_share_x"], found["percolating_share_z"]) == (0, 0)


# voxels that are no cubes


@pytest.mark.parametrize("name", DEFAULT)
def test_a_finer_grid_along_one_axis_shows_the_same_structure(name: str) -> None:
    """Every voxel cut into three along z: lengths, surfaces and numbers stay, within what the grid can show."""
    coarse = blobs(2, (32, 32, 32), -0.2)
    a = one(volume(coarse, (0.75, 0.75, 0.75)), name)
    b = one(volume(np.repeat(coarse, 3, axis=0), (0.25, 0.75, 0.75)), name)
    if a.value is not None:
        assert b.value == pytest.approx(a.value, rel=0.12, abs=0.03)
    else:
        (x, y), (fine_x, fine_y) = points(a), points(b)
        inner = x[(x > 1) & (x < 0.8 * fine_x.max())] if x[0] == 0 else x[2:8]
        expected, got = np.interp(inner, x, y), np.interp(inner, fine_x, fine_y)
        np.testing.assert_allclose(got, expected, rtol=0.25, atol=0.03)


@pytest.mark.parametrize("name", DEFAULT)
def test_the_order_of_the_axes_does_not_matter(name: str) -> None:
    still, turned = volume(blobs(3), ANISOTROPIC), volume(blobs(3).transpose(2, 0, 1), (0.25, 1.0, 0.5))
    other = name[:-1] + {"z": "y", "y": "x", "x": "z"}[name[-1]] if name[-2:] in ("_x", "_y", "_z") else name
    a, b = one(still, name), one(turned, other)
    for part in ("value", "x", "y"):
        if getattr(a, part) is not None:
            np.testing.assert_allclose(getattr(b, part), getattr(a, part), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", DEFAULT)
def test_a_period_may_begin_anywhere(name: str) -> None:
    still, moved = volume(blobs(4), ANISOTROPIC), volume(np.roll(blobs(4), (5, 17, 30), (0, 1, 2)), ANISOTROPIC)
    a, b = one(still, name, periodic=True), one(moved, name, periodic=True)
    for part in ("value", "x", "y"):
        if getattr(a, part) is not None:
            np.testing.assert_allclose(getattr(b, part), getattr(a, part), rtol=1e-4, atol=1e-6)


# masks and several phases


@pytest.mark.parametrize("name", [n for n in DEFAULT if n not in ("power_spectrum", "anisotropy", "aspect_ratio")])
def test_a_mask_of_a_box_equals_the_crop(name: str) -> None:
    box = np.s_[4:32, 2:38, 6:40]
    mask = np.zeros((36, 40, 44), np.uint8)
    mask[box] = 1
    masked, cropped = one(volume(blobs(5), mask=mask), name), one(volume(blobs(5)[box]), name)
    if cropped.value is not None:
        assert masked.value == pytest.approx(cropped.value, rel=1e-4)
    else:
        n = len(points(cropped)[1]) - 1  # the last shell ends with the frame
        np.testing.assert_allclose(points(masked)[1][:n], points(cropped)[1][:n], atol=2e-6)


def test_what_a_mask_does_not_allow_says_so() -> None:
    mask = np.ones((36, 40, 44), np.uint8)
    mask[0] = 0
    found = measure(volume(blobs(6), mask=mask), ["tortuosity_x", "relative_conductivity_y", "power_spectrum"])
    assert all("crop it first" in m.note for m in found.values())


def test_three_phases_have_their_names_and_share_their_surfaces() -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(7).normal(size=(40, 40, 40)), 2.5, mode="wrap")
    phase = np.digitize(noise, np.quantile(noise, [0.4, 0.9])).astype(np.uint8)
    structure = volume(phase).replace(phases=("pore", "grain", "binder"))
    found = measure(structure, intervals=False)
    assert {n.partition(":")[2] for n in found} == {"pore", "grain", "binder"}
    assert {n.partition(":")[0] for n in found} == set(DEFAULT)
    assert sum(found[f"phase_fraction:{p}"].value or 0 for p in structure.phases) == pytest.approx(1)
    alone = one(volume((phase == 2).astype(np.uint8)), "local_thickness_um")
    assert found["local_thickness_um:binder"].value == alone.value


def test_absent_and_whole_phases_say_why() -> None:
    empty, full = (measure(volume(np.full((20, 20, 20), v, np.uint8)), OF_PHASE) for v in (0, 1))
    for name in ("largest_component_share", "percolating_share_z", "local_thickness_um", "tortuosity_x"):
        assert "absent" in empty[name].note, name
    assert "fills the whole frame" in full["local_thickness_um"].note
    assert (full["tortuosity_x"].value, full["percolating_share_z"].value) == (pytest.approx(1), 1)
    assert empty["euler_number_density"].value == 0
    json.dumps([{n: m.to_dict() for n, m in table.items()} for table in (empty, full)], allow_nan=False)


def test_costly_descriptors_are_measured_by_name_only() -> None:
    costly = {n for n, d in DESCRIPTORS.items() if d.costly}
    assert {"tortuosity_x", "relative_conductivity_z"} <= costly
    assert not costly & set(measure(volume(blobs(8, (16, 16, 16))), intervals=False))


def test_long_distributions_are_kept_as_quantiles() -> None:
    found = one(volume(blobs(9, (64, 64, 64))), "local_thickness_um")
    assert found.values is not None
    assert len(found.values) == 1 << 16
    assert np.mean(found.values) == pytest.approx(found.value, rel=1e-4)
    assert found.ci95 is not None
    assert found.ci95[0] < (found.value or 0) < found.ci95[1]


# slabs


def test_gradients_of_slabs_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    field, mask = np.random.default_rng(10).normal(size=(23, 12, 13)), np.ones((23, 12, 13), bool)
    mask[:2, :, :3] = False
    hows: list[dict[str, Any]] = [{}, {"periodic": True}, {"mask": mask}, {"mask": mask, "periodic": True}]
    whole = [structure_tensor(field, spacing=ANISOTROPIC, **how).tensor for how in hows]
    monkeypatch.setattr(orientation, "_SLAB", 4 * 12 * 13)
    for how, expected in zip(hows, whole, strict=True):
        np.testing.assert_allclose(structure_tensor(field, spacing=ANISOTROPIC, **how).tensor, expected, rtol=1e-12)


@pytest.mark.parametrize("periodic", [False, True])
def test_runs_of_slabs_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch, periodic: bool) -> None:
    region, mask = blobs(11, (9, 12, 14)).astype(bool), np.random.default_rng(0).random((9, 12, 14)) < 0.9
    cases = [(axis, valid) for axis in range(3) for valid in (None, mask)]
    whole = [runs(region, axis, periodic=periodic, mask=valid) for axis, valid in cases]
    monkeypatch.setattr(lineal, "_SLAB", 30)
    for (axis, valid), expected in zip(cases, whole, strict=True):
        found = runs(region, axis, periodic=periodic, mask=valid)
        assert sorted(zip(found.lengths, found.cut, strict=True)) == sorted(
            zip(expected.lengths, expected.cut, strict=True)
        )


def test_spectra_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    region = blobs(12).astype(bool)
    for periodic in (False, True):
        double = power_spectrum(region, spacing=ANISOTROPIC, periodic=periodic)
        with monkeypatch.context() as patched:
            patched.setattr(spectrum, "_DOUBLE", 0)
            single = power_spectrum(region, spacing=ANISOTROPIC, periodic=periodic)
        np.testing.assert_allclose(single.y, double.y, rtol=1e-4, atol=1e-8 * double.y.max())


def test_labels_layer_by_layer() -> None:
    values = np.random.default_rng(13).choice(np.array([3, 200, 77], np.uint8), (5, 6, 7))
    structure = labelled(Microstructure({"intensity": values}, (1, 1, 1)), "phase", names=("a", "b", "c"))
    expected, index = np.unique(values, return_inverse=True)
    np.testing.assert_array_equal(structure["phase"], index.reshape(values.shape))
    np.testing.assert_array_equal(distinct(values), expected)
    assert structure.phases == ("a", "b", "c")


def test_a_synthetic_volume_has_the_length_it_was_made_with() -> None:
    made = two_phase(0, (64, 64, 64), (0.5, 0.5, 0.5), 0.3, 3.0)
    assert correlation_length(made["phase"] == 1, spacing=made.spacing, periodic=True) == pytest.approx(3.0, rel=0.1)


# real data


def test_a_real_electrode(shared_data: Path) -> None:
    """Three phases of a battery electrode, an eighth of it: against scikit-image and what is known about it."""
    path = shared_data / "volume_nmc_electrode" / "nmc-1-cal_generatedCBD_bridge.tif"
    if not path.exists():
        pytest.skip("the electrode is not in the shared data")
    phase = tifffile.imread(path)[60:160, 100:200, 100:200]
    names = ("phase_fraction", "specific_surface_per_um", "euler_number_density", "percolating_share_z")
    structure = volume(phase, (0.4, 0.4, 0.4)).replace(phases=("pore", "active", "binder"))
    found = {n: m.value for n, m in measure(structure, names, intervals=False).items()}
    assert sum(found[f"phase_fraction:{p}"] or 0 for p in structure.phases) == pytest.approx(1)
    for index, name in enumerate(structure.phases):
        mesh = skimage_measure.marching_cubes((phase == index).astype(np.float32), 0.5, spacing=(0.4, 0.4, 0.4))
        area = skimage_measure.mesh_surface_area(mesh[0], mesh[1]) / (phase.size * 0.4**3)
        ours = found[f"specific_surface_per_um:{name}"]
        assert 0.8 * area < (ours or 0) < area  # the steps of voxels make meshes too large
    assert (found["percolating_share_z:pore"] or 0) > 0.95
    assert 1.2 < value(structure.crop(*[slice(0, 60)] * 3), "tortuosity_z", phase=0) < 4
