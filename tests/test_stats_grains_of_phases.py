"""Grains of each phase by themselves: bricks, sums over phases, Poisson-Voronoi theory, maps of several phases."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.orientations import from_euler, quaternions, random_orientations, rotations
from microgen.io import read
from microgen.stats import grains, measure, pool
from microgen.stats.grain_network import triple_junctions_per_um2
from microgen.stats.grain_shapes import e2627, grain_table
from microgen.stats.measuring import DESCRIPTORS
from microgen.stats.phases import crossings, specific_surface
from microgen.stats.texture import ODF
from microgen.stats.views import Views
from microgen.synth import Phase, crystallise, polycrystal
from microgen.synth.ebsd_scan import scan_ebsd

PHASES = ("not indexed", "ferrite", "austenite")
CRYSTALS = {"ferrite": Crystal("m-3m"), "austenite": Crystal("m-3m")}
OF_GRAINS = [name for name, d in DESCRIPTORS.items() if d.needs[0] in Views.OF_GRAINS and 2 in d.dims]


def voronoi(seed: int, shape: tuple[int, ...], count: int) -> Any:
    points = np.random.default_rng(seed).uniform(0, shape, (count, len(shape)))
    grid = np.indices(shape).reshape(len(shape), -1).T + 0.5
    return cKDTree(points, boxsize=shape).query(grid)[1].reshape(shape) + 1


def bricks(*columns: int) -> Any:
    """Blocks 60 points wide of square grains with the given sides, side by side."""
    blocks = [np.add.outer(np.arange(60) // side * 100, np.arange(60) // side) for side in columns]
    return np.hstack([block + 10_000 * number + 1 for number, block in enumerate(blocks)])


def duplex(labels: Any, phase_of_grain: Any, *, seed: int = 0, noise_deg: tuple[float, float] = (0.3, 0.3)) -> Any:
    """Random orientations of grains of two phases, each with its own noise."""
    rng = np.random.default_rng(seed)
    phase = np.asarray(phase_of_grain)[labels].astype(np.uint8)
    noise = rotations(
        from_euler(np.deg2rad(rng.normal(0, 1, (labels.size, 3)) * np.take(noise_deg, phase.ravel() - 1)[:, None]))
    )
    turned = rotations(random_orientations(rng, int(labels.max()) + 1)[labels.ravel()]) * noise
    fields = {
        "phase": phase,
        "mask": np.ones(labels.shape, np.uint8),
        "orientation": quaternions(turned).astype(np.float32).reshape(*labels.shape, 4),
    }
    return Microstructure(fields, (0.5,) * labels.ndim, PHASES, crystals=CRYSTALS)


# counting in a part of the grains


def test_a_pair_of_neighbours_counts_by_its_ends() -> None:
    rng = np.random.default_rng(0)
    values, within, mask = rng.integers(0, 3, (9, 11)), rng.random((9, 11)) < 0.4, rng.random((9, 11)) < 0.8
    for direction in (np.array([0, 1]), np.array([1, -1])):
        for periodic in (False, True):
            count = pairs = 0.0
            for y, x in np.ndindex(values.shape):
                there = y + direction[0], x + direction[1]
                if not periodic and not (0 <= there[0] < 9 and 0 <= there[1] < 11):
                    continue
                far = there[0] % 9, there[1] % 11
                if mask[y, x] and mask[far]:
                    ends = (float(within[y, x]) + float(within[far])) / 2
                    pairs, count = pairs + ends, count + ends * bool(values[y, x] != values[far])
            assert crossings(values, direction, periodic=periodic, mask=mask, within=within) == (count, pairs)


def test_bricks_of_two_sizes_have_each_their_own() -> None:
    """Half of the boundaries between the blocks belongs to each, so that whole bricks end at them."""
    labels = bricks(5, 10, 20)
    for number, side in enumerate((5, 10, 20)):
        within = labels // 10_000 == number
        how: Any = {"spacing": 0.5, "periodic": True, "within": within}
        assert grains.intercepts(labels, **how).mean_um == pytest.approx(side / 2, rel=1e-12)
        assert grains.planimetric(labels, **how).count == (60 / side) ** 2
        assert grains.planimetric(labels, **how).mean_um == pytest.approx(side / 2)
        assert e2627(labels, **how, smallest=1).mean_area_um2 == pytest.approx(side**2 / 4)
        assert set(grain_table(labels, **how).points) == {side**2}


def test_a_chessboard_of_two_phases_has_no_boundary_within_either() -> None:
    labels = bricks(10)
    white = np.add(*np.indices(labels.shape) // 10) % 2 == 0
    for within in (white, ~white):
        found = grains.intercepts(labels, spacing=1.0, periodic=True, within=within)
        assert found.mean_um == 10
        assert found.count == 6 * 60  # intercepts of rows and columns


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("periodic", [False, True])
def test_phases_add_up_to_the_whole(masked: bool, periodic: bool) -> None:
    labels = grains.label_grains(voronoi(1, (150, 180), 90), periodic=periodic)
    phase = np.random.default_rng(1).integers(0, 3, labels.max() + 1)[labels]
    mask = np.hypot(*(np.indices(labels.shape) - 70)) > 35 if masked else None
    how: Any = {"spacing": (1.0, 0.5), "periodic": periodic, "mask": mask}
    points = np.array([np.count_nonzero((phase == i) & (mask if masked else True)) for i in range(3)])
    for method in (grains.intercepts, grains.planimetric):
        whole, parts = method(labels, **how), [method(labels, **how, within=phase == i) for i in range(3)]
        assert sum(part.count for part in parts) == pytest.approx(whole.count, rel=1e-12)
        power = 1 if method is grains.intercepts else 2
        amounts = [part.count * part.mean_um**power for part in parts]
        assert sum(amounts) == pytest.approx(whole.count * whole.mean_um**power, rel=1e-12)
        if method is grains.planimetric:
            assert amounts == pytest.approx(points * 0.5)
    m = Microstructure({"grain": labels, "phase": phase} | ({"mask": mask} if masked else {}), (1.0, 0.5), tuple("abc"))
    found = measure(m, ["grain_boundary_per_um", "triple_junctions_per_um2"], periodic=periodic)
    for name in ("grain_boundary_per_um", "triple_junctions_per_um2"):
        total = sum(found[f"{name}:{p}"].value * n for p, n in zip("abc", points, strict=True)) / points.sum()
        assert total == pytest.approx(found[name].value, rel=0.005), name


def test_triple_points_of_a_phase() -> None:
    """Brick wall of courses 8 high: courses of single grains between courses of bricks have half of each T."""
    labels = np.kron([[1, 1, 2, 2], [3, 3, 3, 3]], np.ones((8, 8), int))
    for number, expected in ((3, 4 / 3), (1, 4 / 3)):  # two of the four corners of each of the 4 windows
        within = labels == 3 if number == 3 else labels < 3
        density = triple_junctions_per_um2(labels, spacing=1.0, periodic=True, within=within)
        assert density * np.count_nonzero(within) == pytest.approx(expected * 1.5)


def test_grains_of_phases_that_are_alike_have_the_size_of_all() -> None:
    """Phases by lot: every second boundary is one of phases, and small crops are not biased."""
    found = []
    for seed in range(12):
        labels = voronoi(seed, (240, 240), 144)
        phase = np.random.default_rng(seed).integers(0, 2, labels.max() + 1)[labels]
        crop = np.s_[:110, :120]
        sizes = [grains.intercepts(labels[crop], spacing=1.0, within=phase[crop] == i) for i in (0, 1)]
        found += [[1 / size.mean_um, size.ci95_um[0], size.ci95_um[1]] for size in sizes]
    density, low, high = np.array(found).T
    truth = np.pi / 4 * 20
    assert 1 / density.mean() == pytest.approx(truth, rel=0.03)
    assert np.mean((low < truth) & (truth < high)) >= 0.8


# maps


def test_a_duplex_map_has_grains_of_each_phase_and_of_both() -> None:
    labels = bricks(12, 20)
    m = duplex(labels, np.where(np.arange(labels.max() + 1) < 10_000, 1, 2), noise_deg=(0.2, 0.6))
    found = measure(m, periodic=True)
    for name in OF_GRAINS:
        assert {name, f"{name}:ferrite", f"{name}:austenite"} <= set(found), name
    assert not [name for name, row in found.items() if row.note and name.partition(":")[0] in OF_GRAINS]
    assert found["grain_size_um:ferrite"].value == pytest.approx(6)
    assert found["grain_size_um:austenite"].value == pytest.approx(10)
    assert found["grain_size_um"].value == pytest.approx(2 / (1 / 6 + 1 / 10))
    assert found["grain_diameter_um:austenite"].n == 9
    assert found["grain_neighbours:ferrite"].value > 4
    assert (found["grain_neighbours:austenite"].n, found["grain_neighbours:ferrite"].n) == (9, 25)
    assert found["kam_deg:austenite"].value == pytest.approx(3 * found["kam_deg:ferrite"].value, rel=0.05)
    assert "not_indexed_fraction" in found
    assert "not_indexed_fraction:ferrite" not in found
    assert found["grain_size_um:ferrite"].ci95[0] <= 6 <= found["grain_size_um:ferrite"].ci95[1]


def test_disorientations_of_a_phase_are_those_between_its_grains() -> None:
    labels = np.repeat([[1, 2, 3, 4]], 40, axis=0).repeat(20, axis=1)
    phase_of_grain = np.array([0, 1, 1, 2, 2])
    turns = np.deg2rad([[0, 0, 0], [0, 0, 0], [20, 0, 0], [0, 0, 0], [40, 0, 0]])
    m = duplex(labels, phase_of_grain)
    m = m.with_fields(orientation=from_euler(turns)[labels].astype(np.float32))
    found = measure(m, ["disorientation_deg", "grain_neighbours"])
    assert found["disorientation_deg:ferrite"].value == pytest.approx(20, abs=1e-3)
    assert found["disorientation_deg:austenite"].value == pytest.approx(40, abs=1e-3)
    assert found["disorientation_deg"].value == pytest.approx(30, abs=1e-3)


def test_the_texture_index_of_each_phase_by_name_only() -> None:
    labels = bricks(3)[:30, :30]
    m = duplex(labels, np.arange(labels.max() + 1) % 2 + 1)
    cube = from_euler(np.deg2rad(np.random.default_rng(0).normal(0, 1, (*labels.shape, 3))))
    sharp = m.with_fields(orientation=np.where(m["phase"][..., None] == 1, cube, m["orientation"]).astype(np.float32))
    found = measure(sharp, ["texture_index"])
    assert list(found) == ["texture_index:ferrite", "texture_index:austenite"]
    assert found["texture_index:ferrite"].value > 20
    assert 1 < found["texture_index:austenite"].value < 3  # crystals are not quite random
    expected = ODF(sharp["orientation"][m["phase"] == 1], Crystal("m-3m")).texture_index(np.random.default_rng(1))
    assert found["texture_index:ferrite"].value == pytest.approx(expected, rel=0.1)
    assert "texture_index" not in measure(sharp.crop(slice(0, 20), slice(0, 20)))


def test_a_chosen_phase_is_measured_alone() -> None:
    labels = bricks(12, 20)
    m = duplex(labels, np.where(np.arange(labels.max() + 1) < 10_000, 1, 2))
    every, one = measure(m, ["grain_size_um", "kam_deg", "phase_fraction"]), measure(m, phase=2)
    for name in ("grain_size_um", "kam_deg", "phase_fraction"):
        assert one[name].value == every[f"{name}:austenite"].value
    assert not [name for name in one if ":" in name]
    several = measure(m, ["grain_size_um"], phase=[2])
    assert list(several) == ["grain_size_um", "grain_size_um:austenite"]
    with pytest.raises(InputError, match="there is no phase 7"):
        measure(m, phase=[1, 7])


def test_a_phase_that_is_absent_says_so() -> None:
    labels = bricks(12)
    m = duplex(labels, np.ones(labels.max() + 1, int))
    found = measure(m, phase=[1, 2])
    assert found["phase_fraction:austenite"].value == 0
    assert found["grain_size_um:austenite"].value is None
    assert found["grain_size_um:austenite"].note
    assert found["grain_size_um:ferrite"].value == found["grain_size_um"].value


def test_grains_have_the_phase_of_most_of_their_points() -> None:
    """A grain field of one's own, phases with wrong points, points that are not indexed."""
    rng = np.random.default_rng(4)
    labels = bricks(12, 20)
    of_grain = np.where(np.arange(labels.max() + 1) < 10_000, 1, 2)
    clean = of_grain[labels]
    noisy = np.where(rng.random(labels.shape) < 0.2, 3 - clean, clean)
    noisy[rng.random(labels.shape) < 0.2] = 0
    m = duplex(labels, of_grain).with_fields(grain=labels, phase=noisy.astype(np.uint8))
    views = Views(m, 2).of_phase(2, apart=True)
    assert np.mean(views.frame("grains")["within"] != (clean == 2)) < 0.001  # at the frame, points not indexed


def test_points_not_indexed_hardly_change_the_grains_of_a_phase() -> None:
    labels = voronoi(8, (200, 200), 80)
    of_grain = np.random.default_rng(0).integers(1, 3, labels.max() + 1)
    m = duplex(labels, of_grain)
    near = ndimage.maximum_filter(labels, 3) != ndimage.minimum_filter(labels, 3)
    bad = np.random.default_rng(0).random(labels.shape) < np.where(near, 0.4, 0.02)
    orientation = np.where(bad[..., None], np.float32([1, 0, 0, 0]), m["orientation"])
    holed = m.with_fields(orientation=orientation, phase=np.where(bad, 0, m["phase"]), mask=np.where(bad, 0, m["mask"]))
    names = ["grain_size_um", "grain_diameter_um", "grain_boundary_per_um"]
    one, other = measure(m, names), measure(holed, names)
    for name in one:
        assert other[name].value == pytest.approx(one[name].value, rel=0.05), name


def test_grains_of_phases_are_pooled_by_name() -> None:
    maps = [duplex(voronoi(s, (96, 96), 40), np.arange(41) % 2 + 1, seed=s) for s in range(3)]
    found = pool([measure(m, ["grain_size_um", "grain_direction_deg"]) for m in maps])
    assert {"grain_size_um", "grain_size_um:ferrite", "grain_direction_deg:austenite"} <= set(found)


def test_ferrite_and_austenite_of_a_duplex_steel(shared_data: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        m = read(shared_data / "ebsd_maps" / "orix" / "sdss_ferrite_austenite.ang")[0]
    found = measure(m)
    names = [name for name in found if name.startswith("grain_size_um")]
    assert len(names) == 3
    assert not [name for name, row in found.items() if row.note]
    shares = [found[name.replace("grain_size_um", "phase_fraction")].value for name in names[1:]]
    together = sum(share / found[name].value for share, name in zip(shares, names[1:], strict=True))
    assert 1 / together == pytest.approx(found["grain_size_um"].value, rel=0.02)
    # austenite is full of twins, ferrite is not
    assert found[names[1]].value < found[names[2]].value
    assert found["disorientation_deg:" + names[1].partition(":")[2]].value > 50


def test_the_outline_of_a_phase_is_that_of_the_scanned_one() -> None:
    """Nearly all points along boundaries are not indexed; without them the phase would have no outline."""
    ratios: dict[str, list[float]] = {}
    for seed in range(3):
        truth = crystallise(
            seed, polycrystal(seed, (160, 160), (0.5, 0.5), 8.0), [Phase("ferrite"), Phase("austenite")]
        )
        scan = scan_ebsd(seed, truth)
        scan = scan.replace(fields={name: scan[name] for name in ("phase", "mask", "orientation")})
        names = ["specific_surface_per_um", "chord_length_um", "local_thickness_um", "correlation_length_um"]
        one, other = (measure(m, [*names, "grain_size_um", "phase_fraction"], intervals=False) for m in (truth, scan))
        for name in one:
            ratios.setdefault(name, []).append(other[name].value / one[name].value)
        there = scan["mask"] == 1
        assert other["phase_fraction:ferrite"].value == pytest.approx(np.mean(scan["phase"][there] == 1))
    for name, values in ratios.items():
        assert np.mean(values) == pytest.approx(1, abs=0.04), name


def test_a_wide_gap_belongs_to_no_phase() -> None:
    labels = voronoi(3, (120, 120), 40)
    m = duplex(labels, np.arange(41) % 2 + 1)
    gap = np.hypot(*(np.indices(labels.shape) - 60)) < 20
    holed = m.with_fields(phase=np.where(gap, 0, m["phase"]), mask=np.where(gap, 0, m["mask"]))
    how = {"spacing": m.spacing, "mask": ~gap}
    expected = specific_surface(m["phase"] == 1, **how)
    assert measure(holed)["specific_surface_per_um:ferrite"].value == pytest.approx(expected, rel=0.02)
