"""Rendered micrographs: dark grooves where grains meet, everything else mild."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from microgen.core import InputError
from microgen.synth import polycrystal, render_micrograph


def test_boundaries_are_dark_and_grains_are_bright() -> None:
    made = render_micrograph(0, polycrystal(0, (256, 256), (0.5, 0.5), 12.0))
    picture, grain = made["intensity"].astype(float), made["grain"]
    boundary = (grain[:-1, :-1] != grain[1:, :-1]) | (grain[:-1, :-1] != grain[:-1, 1:])
    inside = ndimage.distance_transform_edt(~boundary) > 4
    assert picture.shape == (256, 256)
    assert made["intensity"].dtype == np.uint8
    assert picture[:-1, :-1][boundary].mean() < picture[:-1, :-1][inside].mean() - 60
    assert picture[:-1, :-1][boundary].std() > 15  # grooves differ in depth
    assert picture[:-1, :-1][inside].std() < 20


def test_grooves_have_their_width_in_micrometres() -> None:
    widths = []
    for step in (0.25, 0.5):
        cells = np.ones((200, 400), dtype=np.int32)
        cells[:, 200:] = 2
        from microgen.core import Microstructure

        plain = Microstructure({"grain": cells}, (step, step))
        profile = np.mean(
            [render_micrograph(seed, plain, groove_um=4.0, noise=0.0)["intensity"].mean(axis=0) for seed in range(8)],
            axis=0,
        )
        depth = np.median(profile) - profile
        widths.append((depth > depth[190:210].max() / 2).sum() * step)
    assert widths == pytest.approx([4.0, 4.0], rel=0.35)
    assert widths[0] == pytest.approx(widths[1], rel=0.15)


def test_noise_is_what_was_asked_for() -> None:
    made = polycrystal(1, (128, 128), (0.5, 0.5), 30.0)
    rough, clean = (render_micrograph(1, made, noise=n)["intensity"].astype(float) for n in (8.0, 0.0))
    assert (rough - clean)[clean < 200].std() == pytest.approx(8.0, rel=0.1)


def test_a_picture_depends_on_its_seed_only() -> None:
    made = polycrystal(2, (64, 64), (0.5, 0.5), 8.0)
    one, again, other = (render_micrograph(seed, made)["intensity"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.5


def test_volumes_are_refused() -> None:
    with pytest.raises(InputError, match="section"):
        render_micrograph(0, polycrystal(0, (8, 8, 8), (1.0, 1.0, 1.0), 4.0))


def test_lines_are_drawn_alike_in_all_directions() -> None:
    """The gradient energy of equiaxed grains shows no direction, not even between the two diagonals."""
    tensors = []
    for seed in range(4):
        micrograph = render_micrograph(seed, polycrystal(seed, (256, 256), (0.5, 0.5), 6.0))
        gray = micrograph["intensity"].astype(float)
        dy, dx = ndimage.gaussian_filter(gray, 1.0, order=(1, 0)), ndimage.gaussian_filter(gray, 1.0, order=(0, 1))
        energy = float((dx**2 + dy**2).mean())
        tensors.append([2 * float((dx * dy).mean()) / energy, float((dx**2 - dy**2).mean()) / energy])
    assert np.abs(np.mean(tensors, axis=0)).max() < 0.04
