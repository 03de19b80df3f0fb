"""Particles and fibres: sizes, fraction, directions, and that none touches another."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from microgen.core import InputError
from microgen.synth.particles import fibres, particles
from microgen.synth.sizes import SizeDistribution, diameters_um

ONE = (1.0, 1.0)


def touching(grain: np.ndarray) -> bool:
    """Whether two different particles are neighbours (edges and corners count, also around the frame)."""
    for shift in np.ndindex((3,) * grain.ndim):
        other = np.roll(grain, [s - 1 for s in shift], range(grain.ndim))
        if ((grain > 0) & (other > 0) & (grain != other)).any():
            return True
    return False


@pytest.mark.parametrize(
    ("shape", "fraction", "options"),
    [
        ((256, 256), 0.35, {}),
        ((256, 256), 0.6, {"diameter_std_um": 3.0}),
        ((256, 256), 0.3, {"aspect_ratio": 3.0}),
        ((72, 72, 72), 0.2, {"diameter_std_um": 2.0}),
        ((72, 72, 72), 0.35, {}),
        ((72, 72, 72), 0.12, {"aspect_ratio": 2.0, "direction_deg": 45.0}),
    ],
)
def test_fraction_is_met_and_nothing_touches(shape: tuple[int, ...], fraction: float, options: dict) -> None:
    made = particles(3, shape, (1.0,) * len(shape), fraction, 16.0, **options)
    assert made["phase"].mean() == pytest.approx(fraction, rel=0.01)
    assert not touching(made["grain"])
    np.testing.assert_array_equal(made["phase"] > 0, made["grain"] > 0)


def test_sizes_follow_the_law() -> None:
    made = particles(0, (512, 512), (0.5, 0.5), 0.4, 6.0, diameter_std_um=1.5)
    found = np.sort(diameters_um(made["grain"], (0.5, 0.5)))
    law = SizeDistribution(6.0, 1.5)
    assert found.mean() == pytest.approx(6.0, rel=0.02)
    assert np.abs(law.cdf(found) - (np.arange(len(found)) + 0.5) / len(found)).max() < 0.05


def principal_deg(grain: np.ndarray) -> np.ndarray:
    """Direction of the longest axis of each particle that does not reach the frame, from x towards y."""
    angles = []
    for number, at in enumerate(ndimage.find_objects(grain), 1):
        if any(s.start == 0 or s.stop == n for s, n in zip(at, grain.shape, strict=True)):
            continue
        y, x = np.nonzero(grain[at] == number)
        angles.append(np.rad2deg(0.5 * np.arctan2(2 * np.cov(x, y)[0, 1], x.var() - y.var())))
    return np.array(angles)


def test_directions_follow_the_mean_and_the_scatter() -> None:
    made = fibres(1, (512, 512), ONE, 0.2, 5.0, 40.0, direction_deg=30.0, direction_std_deg=8.0)
    angles = principal_deg(made["grain"])
    assert angles.mean() == pytest.approx(30, abs=2.5)
    assert angles.std() == pytest.approx(8, rel=0.25)
    free = principal_deg(fibres(1, (512, 512), ONE, 0.2, 5.0, 40.0)["grain"])
    assert np.abs(np.exp(2j * np.deg2rad(free)).mean()) < 0.15


def test_a_fibre_has_its_length_and_diameter() -> None:
    made = fibres(0, (64, 400), ONE, 0.12, 10.0, 60.0, direction_deg=0.0, gap_um=2.0)
    grain = made["grain"]
    inner = [
        (number, at)
        for number, at in enumerate(ndimage.find_objects(grain), 1)
        if all(s.start > 0 and s.stop < n for s, n in zip(at, grain.shape, strict=True))
    ]
    assert inner
    for _, (rows, columns) in inner:
        assert rows.stop - rows.start == pytest.approx(10, abs=1)
        assert columns.stop - columns.start == pytest.approx(60, abs=2)


def test_the_gap_is_kept() -> None:
    grain = particles(2, (256, 256), ONE, 0.3, 14.0, gap_um=5.0)["grain"]
    inside = np.tile(grain, (3, 3))
    for number in range(1, 20):
        others = ndimage.distance_transform_edt(~((inside > 0) & (inside != number)))
        assert others[256:512, 256:512][grain == number].min() > 5 - np.sqrt(2)


def test_volumes_count_in_anisotropic_voxels() -> None:
    made = particles(4, (40, 80, 80), (2.0, 1.0, 1.0), 0.15, 20.0)
    assert made["phase"].mean() == pytest.approx(0.15, rel=0.02)
    at = ndimage.find_objects(made["grain"])
    extents = [tuple((s.stop - s.start) for s in one) for one in at]
    inner = [e for e in extents if e[1] < 40 and e[2] < 40 and e[0] < 20]
    assert inner
    assert np.median([e[0] * 2.0 / e[1] for e in inner]) == pytest.approx(1, abs=0.12)


def test_open_frames_are_windows_of_a_larger_structure() -> None:
    shares = [particles(s, (128, 128), ONE, 0.5, 10.0, periodic=False)["phase"].mean() for s in range(12)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)
    made = particles(0, (128, 128), ONE, 0.5, 10.0, periodic=False)["grain"]
    np.testing.assert_array_equal(np.unique(made), np.arange(made.max() + 1))


def test_same_seed_same_structure_and_other_seed_another() -> None:
    one, two, three = (particles(s, (64, 64), ONE, 0.3, 9.0)["grain"] for s in (5, 5, 6))
    np.testing.assert_array_equal(one, two)
    assert (one != three).any()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"fraction": 0.95}, "no room"),
        ({"fraction": 0.7, "aspect_ratio": 4.0}, "no room"),
        ({"fraction": 1.5}, "between 0 and 1"),
        ({"aspect_ratio": 0.5}, "at least 1"),
        ({"gap_um": -1.0}, "gap_um"),
        ({"diameter_um": 0.0}, "positive"),
        ({"diameter_um": 0.6}, "thinner than a grid point"),
        ({"diameter_um": 200.0}, "make the frame larger"),
    ],
)
def test_what_cannot_be_made_is_refused(options: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        particles(0, (64, 64), ONE, **{"fraction": 0.3, "diameter_um": 9.0, **options})
