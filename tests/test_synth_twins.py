"""Textures, phases and twins of synthetic grains."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.orientations import (
    disorientation,
    disorientation_angle,
    from_euler,
    random_orientations,
    rotations,
)
from microgen.core.texture_components import IDEAL, ideal, kernel_kappa, plane_normals, scattered
from microgen.synth import Phase, Texture, crystallise, laguerre, twins
from microgen.synth.textures import PHASES, parse_texture

CUBIC = Crystal("m-3m")


def grains(count: int = 400) -> Microstructure:
    return Microstructure({"grain": np.arange(1, count + 1).reshape(20, -1)}, (1.0, 1.0))


def angle_to(orientation: NDArray[Any], centres: NDArray[Any]) -> NDArray[Any]:
    """Smallest angle in degrees to any of several orientations."""
    each = [disorientation_angle(orientation, centre, CUBIC) for centre in centres]
    return np.asarray(np.rad2deg(np.min(each, axis=0)))


def test_scatter_has_the_angles_of_its_kernel() -> None:
    random, width = np.random.default_rng(0), 12.0
    found = scattered(random, np.tile([1.0, 0, 0, 0], (20000, 1)), width)
    kappa = kernel_kappa(width)
    # density over rotations cos^(2 kappa)(w/2), and sin^2(w/2) dw of them have the angle w
    angle = np.linspace(0, np.pi, 4001)
    share = np.cumsum(np.cos(angle / 2) ** (2 * kappa) * np.sin(angle / 2) ** 2)
    turned = 2 * np.arccos(np.minimum(np.abs(found[:, 0]), 1))
    assert stats.kstest(turned, lambda w: np.interp(w, angle, share / share[-1])).statistic < 0.015
    assert np.cos(np.deg2rad(width) / 2) ** (2 * kappa) == pytest.approx(0.5)
    axis = found[:, 1:] / np.linalg.norm(found[:, 1:], axis=1, keepdims=True)
    assert np.abs(axis.mean(axis=0)).max() < 0.03


@pytest.mark.parametrize(
    ("name", "euler"),
    [
        ("cube", (0, 0, 0)),
        ("goss", (0, 45, 0)),
        ("brass", (35.26, 45, 0)),
        ("copper", (90, 35.26, 45)),
        ("s", (58.98, 36.70, 63.43)),
        ("rotated-cube", (45, 0, 0)),
    ],
)
def test_ideal_components_have_their_euler_angles(name: str, euler: tuple[float, ...]) -> None:
    assert name in IDEAL
    assert angle_to(from_euler(np.deg2rad(euler)), ideal(name)).min() < 0.1


def test_a_texture_is_a_sum_of_its_parts() -> None:
    made = crystallise(0, grains(), "0.75*goss:5 + 0.25*random")["orientation"].reshape(-1, 4).astype(float)
    near = angle_to(made, ideal("goss")) < 15
    by_chance = (angle_to(random_orientations(np.random.default_rng(1), 4000), ideal("goss")) < 15).mean()
    assert near.mean() == pytest.approx(0.75 + 0.25 * by_chance, abs=0.03)


def test_a_fibre_keeps_its_direction_and_turns_about_it() -> None:
    made = crystallise(0, grains(), Phase("titanium", texture="<10-10>//x:0"))["orientation"].reshape(-1, 4)
    normals = plane_normals(PHASES["titanium"], (1, 0, -1, 0))
    along_x = np.max([np.abs(rotations(made).apply(n)[:, 0]) for n in normals], axis=0)
    np.testing.assert_allclose(along_x, 1, atol=1e-6)
    c = rotations(made).apply([0, 0, 1.0])
    turn = np.arctan2(c[:, 1], c[:, 2]) % (2 * np.pi)
    assert stats.kstest(turn / (2 * np.pi), "uniform").pvalue > 0.001


def test_random_orientations_are_random() -> None:
    made = crystallise(0, grains(4000), "random")["orientation"].reshape(-1, 4)
    tilt = rotations(made).apply([0, 0, 1.0])[:, 2]  # uniform from -1 to 1 (Archimedes)
    assert stats.kstest((tilt + 1) / 2, "uniform").pvalue > 0.001


def test_measured_orientations_are_drawn_from() -> None:
    measured = random_orientations(np.random.default_rng(3), 7)
    exact = crystallise(0, grains(), Phase(texture=Texture(measured)))["orientation"].reshape(-1, 4)
    assert angle_to(exact.astype(float), measured).max() < 0.1
    assert len(np.unique(exact.round(4), axis=0)) == 7
    blurred = crystallise(0, grains(), Phase(texture=Texture(measured, 6.0)))["orientation"].reshape(-1, 4)
    assert 3 < np.median(angle_to(blurred.astype(float), measured)) < 9


def test_phases_have_their_share_of_the_area() -> None:
    structure = laguerre(0, (128, 128), (1.0, 1.0), 10.0, diameter_std_um=3.0, periodic=True)
    made = crystallise(0, structure, [Phase("ferrite", 3.0), Phase("austenite", 1.0)])
    largest = np.bincount(structure["grain"].ravel()).max() / structure["grain"].size
    assert (made["phase"] == 1).mean() == pytest.approx(0.75, abs=largest)
    assert made.phases == ("not indexed", "ferrite", "austenite")
    assert made.crystals["austenite"].laue == "m-3m"
    assert made.source["euler_frame"] == "map"
    for name in ("phase", "orientation"):
        values = made[name].reshape(-1, *made[name].shape[2:])
        _, first, back = np.unique(structure["grain"], return_index=True, return_inverse=True)
        np.testing.assert_array_equal(values[first][back.ravel()], values)


def test_no_grain_has_no_crystal() -> None:
    grain = np.ones((4, 4), int)
    grain[0] = 0
    made = crystallise(0, Microstructure({"grain": grain}, (1.0, 1.0)), "cube:20")
    assert (made["phase"][0] == 0).all()
    assert (made["mask"] == (grain > 0)).all()
    np.testing.assert_array_equal(made["orientation"][0], [[1, 0, 0, 0]] * 4)


@pytest.mark.parametrize(
    "text", ["", "cub:10", "cube:10:3", "2*", "0*cube", "<1 2>//z", "<111>//w", "cube:x", "1..2*cube"]
)
def test_unknown_textures_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_texture(text)


@pytest.mark.parametrize(
    ("phases", "says"),
    [
        ([Phase("unobtainium")], "known are"),
        ([Phase("iron"), Phase("iron")], "names of their own"),
        ([Phase("iron", -1.0)], "fractions"),
        ([], "none"),
        ([Phase("titanium", texture="cube:10")], "cubic"),
        ([Phase("iron", texture="cube:100")], "half width"),
        ([Phase("iron", texture=Texture(np.ones(4)))], "quaternions"),
    ],
)
def test_impossible_crystals_are_refused(phases: list[Phase], says: str) -> None:
    with pytest.raises(InputError, match=says):
        crystallise(0, grains(), phases)


def twinned(phase: str, law: str, *, shape: tuple[int, ...] = (200, 200), seed: int = 0) -> Any:
    structure = laguerre(seed, shape, (0.5,) * len(shape), 16.0, diameter_std_um=4.0, walls=True)
    before = crystallise(seed, structure, Phase(phase))
    return before, twins(seed, before, 0.5, 2.0, law=law)


@pytest.mark.parametrize(
    ("phase", "law", "degrees", "axis"),
    [
        ("nickel", "annealing", 60.0, [1, 1, 1]),
        ("magnesium", "tension", 2 * np.rad2deg(np.arctan(0.52108 / 0.32094 / np.sqrt(3))), [2, 0, 0]),
        ("titanium", "tension", 2 * np.rad2deg(np.arctan(0.46855 / 0.29508 / np.sqrt(3))), [2, 0, 0]),
    ],
)
def test_twins_have_the_orientation_of_their_law(phase: str, law: str, degrees: float, axis: list[float]) -> None:
    before, after = twinned(phase, law)
    inside = after["twin"] == 1
    a, b = (m["orientation"][inside].astype(float) for m in (before, after))
    angle, found = disorientation(a, b, before.crystals[phase])
    np.testing.assert_allclose(np.rad2deg(angle), degrees, atol=1e-3)
    turned = before.crystals[phase].operations.apply(np.array(axis) / np.linalg.norm(axis))
    assert np.max(np.abs(found @ turned.T), axis=-1).min() > 1 - 1e-6
    np.testing.assert_array_equal(after["orientation"][~inside], before["orientation"][~inside])


@pytest.mark.parametrize("shape", [(200, 200), (50, 54, 60)])
def test_lamellae_lie_on_the_twin_plane(shape: tuple[int, ...]) -> None:
    before, after = twinned("nickel", "annealing", shape=shape)
    normals = plane_normals(CUBIC, (1, 1, 1))
    checked = 0
    for parent in np.unique(after["parent"][after["twin"] == 1]):
        at = np.argwhere(after["parent"] == parent)
        twin, piece = (after[name][tuple(at.T)] for name in ("twin", "grain"))
        orientation = before["orientation"][tuple(at[0])]
        planes = rotations(orientation).apply(normals)[:, len(shape) - 1 :: -1]
        separated = [_separated(at * 0.5 @ plane, piece) for plane in planes]
        assert any(separated)
        assert 0 < twin.mean() < 1
        checked += 1
    assert checked >= 4


def _separated(place: NDArray[Any], piece: NDArray[Any]) -> bool:
    """Whether pieces are one behind the other along a direction."""
    ranges = sorted((place[piece == number].min(), place[piece == number].max()) for number in np.unique(piece))
    return all(first[1] < second[0] + 1e-6 for first, second in pairwise(ranges))


def test_as_many_grains_are_twinned_as_asked_for() -> None:
    structure = laguerre(1, (240, 240), (0.5, 0.5), 14.0, diameter_std_um=3.0, periodic=True)
    before = crystallise(1, structure, [Phase("austenite", 0.6), Phase("titanium", 0.4)])
    after = twins(1, before, 0.4, 1.5, lamellae=3, periodic=True)
    mine = np.unique(structure["grain"][before["phase"] == 1])
    found = np.unique(after["parent"][after["twin"] == 1])
    assert len(found) == round(0.4 * len(mine))
    assert set(found) <= set(mine)
    np.testing.assert_array_equal(after["parent"], structure["grain"])
    np.testing.assert_array_equal(np.unique(after["grain"]), np.arange(1, after["grain"].max() + 1))
    pairs = np.unique(np.stack([after["grain"], after["parent"], after["twin"]]).reshape(3, -1), axis=1)
    assert pairs.shape[1] == after["grain"].max()  # every part lies in one grain and is twin or not
    untouched = twins(1, before, 0.0, 1.5)
    np.testing.assert_array_equal(untouched["grain"], structure["grain"])


def test_lamellae_of_a_volume_are_as_thick_as_asked_for() -> None:
    structure = laguerre(2, (80, 80, 80), (0.25,) * 3, 9.0, diameter_std_um=1.5, walls=True)
    after = twins(2, crystallise(2, structure, "random"), 1.0, 1.0, lamellae=1)
    flat = plane_normals(CUBIC, (1, 1, 1))
    thick = []
    for number in np.unique(after["grain"][after["twin"] == 1]):
        at = np.argwhere(after["grain"] == number)
        planes = rotations(after["orientation"][tuple(at[0])]).apply(flat)[:, ::-1]
        thick.append(min(np.ptp(at * 0.25 @ plane) for plane in planes))
    assert len(thick) > 8
    assert np.median(thick) == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"fraction": 1.5, "width_um": 1.5}, "0 to 1"),
        ({"fraction": 0.5, "width_um": 0.4}, "finer grid"),
        ({"fraction": 0.9, "width_um": 8.0}, "wide enough"),
        ({"fraction": 0.5, "width_um": 1.5, "law": "tension"}, "6/mmm"),
        ({"fraction": 0.5, "width_um": 1.5, "law": "mirror"}, "known are"),
        ({"fraction": 0.5, "width_um": 1.5, "phase": "gold"}, "found none"),
    ],
)
def test_impossible_twins_are_refused(options: dict[str, Any], says: str) -> None:
    structure = laguerre(1, (80, 80), (0.5, 0.5), 14.0, periodic=True)
    with pytest.raises(InputError, match=says):
        twins(0, crystallise(0, structure, "random"), **options)
