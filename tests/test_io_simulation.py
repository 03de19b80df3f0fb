"""Files for simulations: meshes that CalculiX solves, grids that DAMASK loads, tessellations that come back."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.lattice import direction
from microgen.core.orientations import disorientation_angle, from_euler, random_orientations, rotations
from microgen.io import left_out, read, read_recipe, write
from microgen.io.crystal_axes import with_x_along
from microgen.io.grainwise import grains_of

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("volume_fakes.py"))))

RECIPE = {"command": "synth", "kind": "polycrystal"}
SHAPES = [(4, 5), (3, 4, 5)]


def _same_rotation(one: Any, other: Any) -> bool:
    return bool((np.abs((np.asarray(one) * np.asarray(other)).sum(-1)) > 1 - 1e-6).all())


# grains


@pytest.mark.parametrize("shape", SHAPES)
def test_grains_have_their_numbers_phases_and_orientations(shape: tuple[int, ...]) -> None:
    m = fakes.polycrystal(shape, voids=True)
    grains = grains_of(m)
    assert np.array_equal(grains.numbers[grains.index], m["grain"])
    real = m["grain"] > 0
    assert np.array_equal(grains.phase[grains.index][real], m["phase"][real])
    assert np.array_equal(grains.orientation[grains.index][real].astype(np.float32), m["orientation"][real])
    assert grains.orientation[0].tolist() == [1, 0, 0, 0]
    assert [grains.names[i] for i in grains.phase[:1]] == ["not indexed"]


def test_the_mean_orientation_is_that_of_the_crystal_not_of_its_equivalents() -> None:
    """Points of one grain may be stated by different but equivalent angles."""
    rng = np.random.default_rng(3)
    true = random_orientations(rng, 1)[0]
    turned = (rotations(true) * fakes.IRON.operations).as_quat()[rng.integers(0, 24, 400)][:, [3, 0, 1, 2]]
    turned += 0.004 * rng.standard_normal(turned.shape)
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    fields = {"grain": np.ones((20, 20), int), "orientation": turned.reshape(20, 20, 4)}
    m = Microstructure(fields, (1, 1), ("iron",), crystals={"iron": fakes.IRON})
    (mean,) = grains_of(m).orientation
    assert np.rad2deg(disorientation_angle(mean, true, fakes.IRON)) < 0.1


def test_a_grain_has_the_phase_of_its_indexed_points() -> None:
    m = fakes.polycrystal((6, 6), grains=2)
    wrong = np.where(np.arange(36).reshape(6, 6) % 2, 0, m["phase"]).astype(np.uint8)
    grains = grains_of(m.with_fields(phase=wrong))
    assert np.array_equal(grains.phase, grains_of(m).phase)


def test_points_not_indexed_do_not_count_in_the_mean_orientation() -> None:
    m = fakes.polycrystal((6, 6), grains=1)
    lost = np.arange(36).reshape(6, 6) % 3 == 0
    unknown = np.where(lost[..., None], np.float32([1, 0, 0, 0]), m["orientation"])
    grains = grains_of(m.with_fields(orientation=unknown, mask=(~lost).astype(np.uint8)))
    assert grains.orientation is not None
    assert _same_rotation(grains.orientation[0], m["orientation"][0, 0])


def test_axes_of_all_crystals_are_turned_together() -> None:
    """Directions of the crystals stay where they are, also where the angle depends on the lattice."""
    lattice = (0.3, 0.4, 0.5, 90, 110, 90)
    crystals = {"a": Crystal("2/m", lattice, "a*"), "b": Crystal("6/mmm", (0.3, 0.3, 0.5, 90, 90, 120), "a*")}
    q = random_orientations(np.random.default_rng(0), 4).reshape(2, 2, 4)
    m = Microstructure({"phase": np.array([[0, 1], [0, 1]]), "orientation": q}, (1, 1), ("a", "b"), crystals=crystals)
    turned = with_x_along(m, "a")
    for name, column in (("a", 0), ("b", 1)):
        assert turned.crystals[name] == Crystal(crystals[name].laue, crystals[name].lattice, "a")
        for uvw in ([1, 0, 0], [0, 1, 0], [0, 0, 1]):
            before, after = (direction(s.crystals[name], uvw) for s in (m, turned))
            old, new = (rotations(s["orientation"][:, column]) for s in (m, turned))
            assert np.allclose(new.apply(after), old.apply(before), atol=1e-12)
    unknown = m.replace(crystals={**crystals, "a": Crystal("2/m", None, "a*")})
    with pytest.raises(InputError, match="lattice"):
        with_x_along(unknown, "a")


def test_hexagonal_axes_are_those_of_simulations() -> None:
    """A crystal whose frame has x along a* has its a axis 30 degrees before that."""
    star = Crystal("6/mmm", x_along="a*")
    q = np.tile(from_euler(np.deg2rad([50.0, 0, 0])), (2, 2, 1))
    m = Microstructure({"grain": np.ones((2, 2), int), "orientation": q}, (1, 1), ("Zr",), crystals={"Zr": star})
    turned = with_x_along(m, "a")
    assert turned.crystals["Zr"].x_along == "a"
    assert _same_rotation(turned["orientation"], from_euler(np.deg2rad([20.0, 0, 0])))
    a_before = rotations(q[0, 0]).apply([np.cos(np.pi / 6), -np.sin(np.pi / 6), 0])
    assert np.allclose(rotations(turned["orientation"][0, 0]).apply([1, 0, 0]), a_before)


def test_what_has_neither_grains_nor_phases_is_refused(tmp_path: Path) -> None:
    gray = Microstructure({"intensity": np.zeros((4, 4), np.uint8)}, (1, 1))
    ebsd = fakes.polycrystal((4, 4))
    ebsd = ebsd.replace(fields={"orientation": ebsd["orientation"], "phase": ebsd["phase"]})
    for name in ("a.inp", "a.damask.vti"):
        with pytest.raises(InputError, match="neither grains nor phases"):
            write(tmp_path / name, gray)
        with pytest.raises(InputError, match="--segment-deg"):
            write(tmp_path / name, ebsd)
    with pytest.raises(InputError, match="needs grains"):
        write(tmp_path / "a.tesr", ebsd)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.inp", "a.damask.vti", "a.tesr"])
def test_lost_fields_and_foreign_frames_are_named(name: str, tmp_path: Path) -> None:
    m = fakes.polycrystal((4, 4)).with_fields(band_contrast=np.zeros((4, 4), np.uint8))
    assert left_out(tmp_path / name, m) == ["band_contrast"]
    with pytest.warns(UserWarning, match="no place for the fields band_contrast"):
        write(tmp_path / name, m)
    m = fakes.polycrystal((4, 4)).replace(source={"euler_frame": "edax"})
    with pytest.warns(UserWarning, match="in the frame 'edax'"):
        write(tmp_path / name, m)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(tmp_path / name, fakes.polycrystal((4, 4)))
    if name != "a.tesr":  # Neper knows voids
        m = fakes.polycrystal((4, 4), voids=True)
        with pytest.warns(UserWarning, match=f"{(m['grain'] == 0).sum()} of 16 points belong to no grain"):
            write(tmp_path / name, m)


# Abaqus and CalculiX


def _cards(path: Path) -> dict[str, list[str]]:
    """Data lines by card."""
    cards: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line.startswith("*") and not line.startswith("**"):
            key = line.replace(" ", "")
            assert key not in cards
            cards[key] = []
        elif not line.startswith("**"):
            cards[key].append(line)
    return cards


def _numbers(lines: list[str]) -> list[int]:
    return [int(word) for line in lines for word in line.split(",")]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_mesh_is_the_grid(shape: tuple[int, ...], tmp_path: Path) -> None:
    m = fakes.polycrystal(shape)
    write(tmp_path / "a.inp", m, RECIPE)
    cards = _cards(tmp_path / "a.inp")
    nodes = np.array([[float(v) for v in line.split(",")] for line in cards["*NODE,NSET=ALL_NODES"]])
    elements = np.array([[int(v) for v in line.split(",")] for line in cards["*ELEMENT,TYPE=C3D8,ELSET=ALL"]])
    assert np.array_equal(nodes[:, 0], np.arange(1, len(nodes) + 1))
    assert np.array_equal(elements[:, 0], np.arange(1, m["grain"].size + 1))
    xyz = nodes[:, 1:]
    steps = (*m.spacing[::-1], *[m.spacing[-1]] * (3 - m.ndim))
    corner = xyz[elements[:, 1:] - 1]
    x, y, z = np.moveaxis(corner.mean(1) / steps - 0.5, -1, 0).round().astype(int)
    centres = (y, x) if m.ndim == 2 else (z, y, x)
    assert np.array_equal(np.ravel_multi_index(centres, shape), np.arange(m["grain"].size))
    a, b, c = (corner[:, i] - corner[:, 0] for i in (1, 3, 4))
    assert np.allclose((np.cross(a, b) * c).sum(1), np.prod(steps))  # right-handed and of the voxel's volume
    assert np.allclose(corner[:, 6] - corner[:, 0], steps)
    for grain in np.unique(m["grain"]):
        found = np.array(_numbers(cards[f"*ELSET,ELSET=GRAIN_{grain}"])) - 1
        assert np.array_equal(found, np.flatnonzero(m["grain"].ravel() == grain))
    low, high = xyz.min(0), xyz.max(0)
    for axis, name in enumerate("XYZ"):
        for end, value in (("MIN", low), ("MAX", high)):
            face = np.array(_numbers(cards[f"*NSET,NSET={name}{end}"])) - 1
            assert np.array_equal(face, np.flatnonzero(xyz[:, axis] == value[axis]))


def test_sections_materials_and_orientations(tmp_path: Path) -> None:
    m = fakes.polycrystal((4, 5))
    m = m.replace(phases=("not indexed", "Iron (bcc)", "iron-bcc "), crystals={})
    write(tmp_path / "a.inp", m, RECIPE)
    cards = _cards(tmp_path / "a.inp")
    materials = [key.partition("NAME=")[2] for key in cards if key.startswith("*MATERIAL")]
    assert materials == ["IRON__BCC_", "IRON_BCC_"]
    for grain in np.unique(m["grain"]):
        inside = m["grain"] == grain
        phase = materials[int(m["phase"][inside][0]) - 1]
        assert f"*SOLIDSECTION,ELSET=GRAIN_{grain},MATERIAL={phase},ORIENTATION=ORI_{grain}" in cards
        assert f"GRAIN_{grain}" in cards[f"*ELSET,ELSET=PHASE_{phase}"]
        axes = np.array(cards[f"*ORIENTATION,NAME=ORI_{grain},SYSTEM=RECTANGULAR"][0].split(","), float)
        matrix = rotations(m["orientation"][inside][0]).as_matrix()[0]
        assert np.allclose(axes, [*matrix[:, 0], *matrix[:, 1]], atol=1e-7)
    header = "".join(line[3:] for line in (tmp_path / "a.inp").read_text().splitlines() if line.startswith("**:"))
    assert json.loads(header)["microgen:recipe"] == RECIPE
    assert max(map(len, (tmp_path / "a.inp").read_text().splitlines())) < 256


def test_a_mesh_of_phases_alone(tmp_path: Path) -> None:
    phase = np.array([[0, 1, 1], [0, 0, 2]], np.uint8)
    write(tmp_path / "a.inp", Microstructure({"phase": phase}, (1, 1), ("pore", "NMC", "binder")))
    cards = _cards(tmp_path / "a.inp")
    assert _numbers(cards["*ELSET,ELSET=PHASE_NMC"]) == [2, 3]
    assert "*SOLIDSECTION,ELSET=PHASE_PORE,MATERIAL=PORE" in cards
    with pytest.raises(InputError, match="are not read"):
        read(tmp_path / "a.inp")


CUBIC = (230e3, 135e3, 117e3)  # MPa, iron


def _stiffness(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Fourth-order stiffness of a cubic crystal, turned by `matrix` from the crystal into the sample."""
    c11, c12, c44 = CUBIC
    one = np.eye(3)
    fixed = c12 * np.einsum("ij,kl->ijkl", one, one)
    fixed += c44 * (np.einsum("ik,jl->ijkl", one, one) + np.einsum("il,jk->ijkl", one, one))
    for i in range(3):
        fixed[i, i, i, i] += c11 - c12 - 2 * c44
    return np.einsum("ai,bj,ck,dl,ijkl->abcd", matrix, matrix, matrix, matrix, fixed)


def _solve(path: Path, elastic: str, conditions: str) -> np.ndarray[Any, Any]:
    """Add constants and a step to a mesh, run CalculiX, and return the stresses xx, yy, zz, xy, xz, yz."""
    ccx = shutil.which("ccx")
    if ccx is None:
        pytest.skip("CalculiX (ccx) is not installed")
    text = re.sub(r"(\*MATERIAL.*\n\*\*.*\n)", lambda card: card[1] + elastic, path.read_text())
    step = f"*STEP\n*STATIC\n{conditions}*EL PRINT, ELSET=ALL, GLOBAL=YES\nS\n*END STEP\n"
    path.write_text(text + step)
    subprocess.run([ccx, path.stem], cwd=path.parent, check=True, capture_output=True, timeout=120)
    rows = [line.split() for line in path.with_suffix(".dat").read_text().splitlines()]
    return np.array([[float(v) for v in row[2:]] for row in rows if len(row) == 8 and row[0].isdigit()])


def test_a_uniform_stretch_gives_a_uniform_stress(tmp_path: Path) -> None:
    write(tmp_path / "job.inp", fakes.polycrystal((2, 3, 4)))
    faces = "".join(f"{axis}MIN, {i}, {i}\n" for i, axis in enumerate("XYZ", 1))
    length = 4 * 0.1
    conditions = f"*BOUNDARY\n{faces}XMAX, 1, 1, {1e-3 * length}\n"
    stress = _solve(tmp_path / "job.inp", "*ELASTIC\n210000, 0.3\n", conditions)
    assert len(stress) == 24 * 8
    assert np.allclose(stress, [210, 0, 0, 0, 0, 0], atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_stress_of_a_turned_crystal_is_that_of_the_turned_stiffness(seed: int, tmp_path: Path) -> None:
    """Displacements of a homogeneous strain on all faces: the stress tells how the solver took the orientation."""
    m = fakes.polycrystal((2, 3, 3), grains=1, seed=seed)
    write(tmp_path / "job.inp", m)
    strain = 1e-3 * np.array([[1, 0.2, 0.1], [0.2, -0.5, 0.3], [0.1, 0.3, 0.7]])
    nodes = [[float(v) for v in line.split(",")] for line in _cards(tmp_path / "job.inp")["*NODE,NSET=ALL_NODES"]]
    moved = [(int(n), strain @ np.array(place)) for n, *place in nodes]
    lines = "".join(f"{n}, {i}, {i}, {u[i - 1]:.12g}\n" for n, u in moved for i in (1, 2, 3))
    c11, c12, c44 = CUBIC
    elastic = f"*ELASTIC, TYPE=ORTHO\n{c11}, {c12}, {c11}, {c12}, {c12}, {c11}, {c44}, {c44}\n{c44}\n"
    stress = _solve(tmp_path / "job.inp", elastic, f"*BOUNDARY\n{lines}")
    s = np.einsum("ijkl,kl", _stiffness(rotations(m["orientation"][0, 0, 0]).as_matrix()[0]), strain)
    assert np.allclose(stress, [s[0, 0], s[1, 1], s[2, 2], s[0, 1], s[0, 2], s[1, 2]], rtol=1e-5, atol=1e-3)


# DAMASK


@pytest.mark.parametrize("shape", SHAPES)
def test_materials_of_a_damask_grid(shape: tuple[int, ...], tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    m = fakes.polycrystal(shape, voids=True)
    with pytest.warns(UserWarning, match="belong to no grain"):
        write(tmp_path / "steel.damask.vti", m, RECIPE)
    about = yaml.safe_load((tmp_path / "steel.material.yaml").read_text())
    (grid,) = read(tmp_path / "steel.damask.vti")
    assert grid.spacing == m.spacing
    steps = [1e-6 * um for um in (*m.spacing[::-1], m.spacing[-1])[:3]]
    assert f'Spacing="{" ".join(map(repr, steps))}"' in (tmp_path / "steel.damask.vti").read_text()
    assert read_recipe(tmp_path / "steel.damask.vti") == RECIPE
    assert len(about["material"]) == len(np.unique(m["grain"]))
    for number, material in enumerate(about["material"]):
        inside = grid["material"] == number
        (constituent,) = material["constituents"]
        assert len(np.unique(m["grain"][inside])) == 1
        assert constituent["phase"] == m.phases[m["phase"][inside][0]]
        assert _same_rotation(constituent["O"], m["orientation"][inside][0])
    assert about["phase"]["titanium"] == {"lattice": "hP", "c/a": pytest.approx(0.468 / 0.295)}
    assert about["phase"]["iron"] == {"lattice": "cP"}


def test_damask_loads_grid_and_materials(tmp_path: Path) -> None:
    python = os.environ.get("MICROGEN_ORACLE_PYTHON")
    if not python:
        pytest.skip("MICROGEN_ORACLE_PYTHON names no interpreter with damask")
    m = fakes.polycrystal((3, 4, 5))
    write(tmp_path / "a.damask.vti", m)
    program = (
        "import damask, json; g = damask.GeomGrid.load('a.damask.vti');"
        "c = damask.ConfigMaterial.load('a.material.yaml');"
        "q = [list(map(float, v['constituents'][0]['O'])) for v in c['material']];"
        "e = damask.Rotation.from_quaternion(q).as_Euler_angles().tolist();"
        "print(json.dumps([g.material.tolist(), g.size.tolist(), bool(c.is_complete), bool(c.is_valid), e]))"
    )
    run = subprocess.run([python, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True)
    material, size, complete, valid, angles = json.loads(run.stdout.splitlines()[-1])
    assert complete
    assert valid
    assert np.allclose(size, [5 * 0.1e-6, 4 * 2e-6, 3 * 3e-6], rtol=1e-12)
    index = np.array(material).T
    assert np.array_equal(np.unique(m["grain"])[index], m["grain"])
    assert _same_rotation(from_euler(np.array(angles))[index], m["orientation"])
