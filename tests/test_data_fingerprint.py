"""The fingerprint: each number against a picture that was made with it."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from microgen.core import Microstructure
from microgen.data.fingerprint import (
    direction,
    image_fingerprint,
    noise_sigma,
    saturated_share,
    shading,
    summary,
    symmetries,
)
from microgen.data.overlap import Overlap

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("data_fakes.py"))))


@pytest.mark.parametrize("sigma", [0.5, 5.0, 40.0])
def test_noise_is_measured_beside_lines_and_shading(sigma):
    rng = np.random.default_rng(0)
    clean = fakes.etched(0, (300, 300), noise=0.0).astype(float) + np.linspace(0, 50, 300)
    noisy = clean * 0.2 + rng.normal(0, sigma, clean.shape)
    assert noise_sigma(noisy) == pytest.approx(sigma, rel=0.15, abs=0.15)


def test_noise_of_a_plane_is_zero():
    assert noise_sigma(np.add.outer(np.arange(50.0), 2 * np.arange(50.0))) == 0.0
    assert noise_sigma(np.ones((2, 2))) == 0.0


def test_saturation_follows_the_bit_depth():
    values = np.array([[0, 4095, 4095, 7]], dtype=np.uint16)
    assert saturated_share(values, 12) == 0.75
    assert saturated_share(values) == 0.25
    assert saturated_share(np.array([[0.0, 0.5, 1.0, 1.0]])) == 0.75


def test_shading_is_a_share_of_the_contrast():
    ramp = np.tile(np.linspace(0, 1, 400), (400, 1))
    assert shading(ramp) == pytest.approx(0.75 / 0.99, rel=0.01)
    assert shading(np.tile([[0, 1], [1, 0]], (40, 40))) == 0.0


def texture(seed, sigma):
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(400, 400)), sigma)


def symmetries_of(directions):
    return symmetries([{"direction": d} for d in directions])


def test_directions_of_stretched_and_lit_textures():
    assert symmetries_of([direction(texture(0, (3, 3)), 1.0)]) == ["flip_x", "flip_y", "quarter_turns"]
    assert symmetries_of([direction(texture(0, (3, 9)), 1.0)]) == ["flip_x", "flip_y"]
    oblique = ndimage.rotate(texture(0, (3, 9)), 30, reshape=False, mode="wrap")[80:-80, 80:-80]
    assert symmetries_of([direction(oblique, 1.0)]) == []
    # steps that rise fast and fall slowly along y, as on a surface lit from above
    sawtooth = np.add.outer(np.arange(400) % 20 / 20, np.zeros(400)) + texture(1, (2, 2))
    assert symmetries_of([direction(sawtooth, 1.0)]) == ["flip_x"]
    assert symmetries_of([direction(sawtooth.T, 1.0)]) == ["flip_y"]


def test_directions_do_not_depend_on_scale_or_contrast():
    one = direction(texture(0, (3, 6)), 1.0)
    two = direction(1000 + 7 * texture(0, (3, 6)), 0.01)
    assert one["axis_difference"] == pytest.approx(two["axis_difference"], rel=1e-3)
    assert one["skewness"] == pytest.approx(two["skewness"], abs=1e-3)


def test_images_elongated_both_ways_balance_as_a_set():
    both = [direction(texture(0, (3, 9)), 1.0), direction(texture(1, (9, 3)), 1.0)]
    assert symmetries_of(both) == ["flip_x", "flip_y", "quarter_turns"]


@pytest.mark.parametrize(("grain_px", "spacing"), [(16.0, 0.5), (24.0, 2.0)])
def test_grain_size_of_a_voronoi_structure(grain_px, spacing):
    """The mean intercept of the fake micrograph is known from its density of seeds."""
    made = image_fingerprint("a", fakes.picture(fakes.etched(3, (500, 500), grain_px=grain_px), spacing), "intensity")
    assert made["grains"]["mean_intercept_um"] == pytest.approx(grain_px * spacing, rel=0.1)
    assert made["grains"]["boundary_contrast"] > 3
    crops = made["grains"]["crops_um"]
    assert crops["p5"] < made["grains"]["mean_intercept_um"] < crops["p95"]
    json.dumps(made, allow_nan=False)


def test_random_textures_are_not_taken_for_grains():
    two_phases = (texture(1, 3) > 0) * np.uint8(200)
    for values in (texture(0, 0.0), texture(0, 1.5), texture(0, 4.0), two_phases):
        made = image_fingerprint("a", fakes.picture(values), "intensity")
        assert summary([made], [], "intensity")["grain_size_um"] is None


def test_correlation_length_and_effective_samples():
    """A Gaussian filter of sigma s gives the covariance exp(-r^2 / 4 s^2): 1/e at 2 s."""
    made = [image_fingerprint(str(k), fakes.picture(texture(k, 4), 0.5), "intensity") for k in range(3)]
    report = summary(made, [Overlap("0", "1", (0.0, 0.0), 0.5, 0.9)], "intensity")
    assert report["correlation_length_um"] == pytest.approx(2 * 4 * 0.5, rel=0.1)
    assert report["area_um2"] == pytest.approx(2.5 * 200**2)
    assert report["effective_samples"] == round(report["area_um2"] / report["correlation_length_um"] ** 2)
    assert report["overlaps"][0]["duplicate"] is False


def volume_of(values, spacing=(1.0, 1.0, 1.0)):
    return Microstructure({"intensity": np.asarray(values, dtype=np.float32)}, spacing)


@pytest.fixture(scope="module")
def blobs():
    return ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(96, 96, 96)), 2.0, mode="wrap")


@pytest.mark.parametrize(("axis", "name"), [(0, "flip_z"), (1, "flip_y"), (2, "flip_x")])
def test_volumes_are_flipped_only_along_axes_that_show_it(blobs, axis, name):
    """Steps that rise slowly and fall fast along one axis forbid its flip, and quarter turns where it lies in them."""
    every = ["flip_x", "flip_y", "flip_z"]
    assert symmetries([image_fingerprint("v", volume_of(blobs), "intensity")]) == [*every, "quarter_turns"]
    steps = np.moveaxis(np.broadcast_to((np.arange(96) % 16 / 16)[:, None, None], (96, 96, 96)), 0, axis)
    made = image_fingerprint("v", volume_of(blobs / blobs.std() / 20 + steps), "intensity")
    assert name not in symmetries([made])
    assert set(every) - {name} <= set(symmetries([made]))
    assert ("quarter_turns" in symmetries([made])) == (name == "flip_z")


def test_planes_inclined_in_a_volume_forbid_the_flips_of_their_two_axes():
    waves = np.random.default_rng(1).normal(size=(96, 96, 96))
    z, y, _ = np.indices(waves.shape)
    made = image_fingerprint("v", volume_of(np.sin((z + y) / 3) + 0.1 * waves), "intensity")
    assert symmetries([made]) == ["flip_x"]


def test_effective_samples_of_volumes_count_their_depth(blobs):
    """Twice the depth is twice the samples; the correlation length is 2 sigma, as in pictures."""
    one = image_fingerprint("a", volume_of(blobs[:48]), "intensity")
    two = image_fingerprint("b", volume_of(blobs), "intensity")
    reports = [
        summary([r], [], "intensity") for r in (one, {**two, "correlation_length_um": one["correlation_length_um"]})
    ]
    assert reports[1]["volume_um3"] == 2 * reports[0]["volume_um3"] == 96**3
    assert reports[1]["effective_samples"] == pytest.approx(2 * reports[0]["effective_samples"], abs=1)
    assert one["correlation_length_um"] == pytest.approx(4.0, rel=0.15)
    assert reports[1]["effective_samples"] == round(96**3 / one["correlation_length_um"] ** 3)
    copies = summary([one, {**one, "name": "b"}], [Overlap("a", "b", (0.0, 0.0, 0.0), 1.0, 1.0)], "intensity")
    assert copies["volume_um3"] == reports[0]["volume_um3"]


def test_volumes_and_labels_have_fingerprints_without_grains():
    volume = Microstructure({"phase": (texture(0, 3)[:60, :64, None] + np.zeros(40) > 0).astype(np.uint8)}, (1, 1, 1))
    made = image_fingerprint("v", volume, "phase")
    assert made["grains"] is None
    assert made["shape"] == [60, 64, 40]
    json.dumps(made, allow_nan=False)


def test_an_empty_slice_does_not_hide_the_length_of_a_volume():
    volume = np.random.default_rng(0).random((41, 40, 40))
    whole = image_fingerprint("v", fakes.picture(volume), "intensity")["correlation_length_um"]
    volume[20] = 0.5
    made = image_fingerprint("v", fakes.picture(volume), "intensity")
    assert made["correlation_length_um"] == pytest.approx(whole, rel=0.1)
    json.dumps(made, allow_nan=False)


def test_a_volume_empty_in_all_its_sections_has_no_length():
    volume = np.zeros((40, 40, 40))
    volume[:5, :5, :5] = np.random.default_rng(0).random((5, 5, 5))
    made = image_fingerprint("v", fakes.picture(volume), "intensity")
    assert made["correlation_length_um"] is None
    assert summary([made], [], "intensity")["effective_samples"] is None
    json.dumps(made, allow_nan=False)
