"""EBSD maps written as ``.ang`` and ``.ctf``: round trips, damaged files, and what another program reads."""

from __future__ import annotations

import json
import os
import random
import runpy
import subprocess
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.frames import in_map_frame
from microgen.core.lattice import direction
from microgen.core.orientations import disorientation_angle, rotations
from microgen.io import read_recipe, write

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("ebsd_fakes.py"))))
ang_rows, ang_text, ctf_text, hexagonal_text = fakes.ang_rows, fakes.ang_text, fakes.ctf_text, fakes.hexagonal_text
one, same = fakes.one, fakes.same
ebsd_map, mutant, NICKEL, TITANIUM = fakes.ebsd_map, fakes.mutant, fakes.NICKEL, fakes.TITANIUM

ROWS = ang_rows(6, 7)


# written files


@pytest.mark.parametrize("frame", ["edax", "unknown"])
def test_ang_round_trip(frame: str, tmp_path: Path) -> None:
    m = ebsd_map(frame=frame)
    extra = {"grain": np.arange(108).reshape(9, 12).astype(np.int32) + 300, "sem_signal": m["image_quality"] + 1}
    extra["strain"] = np.random.default_rng(1).random((9, 12)).astype(np.float32)
    extra["energy"] = np.random.default_rng(2).random((9, 12))
    extra["sem_signal"] = np.where(m["mask"] > 0, extra["sem_signal"], 0).astype(np.float32)
    extra["fit_deg"] = np.where(m["mask"] > 0, extra["strain"], 180).astype(np.float32)
    m = m.with_fields(**extra)
    write(tmp_path / "a.ang", m, {"command": "test", "seed": 3})
    back = one(tmp_path / "a.ang")
    same(m, back)
    assert (back.spacing, back.phases, dict(back.crystals)) == (m.spacing, m.phases, dict(m.crystals))
    assert back.source["euler_frame"] == frame
    assert [w for w in back.source["warnings"] if "in which frame" not in w] == []
    lost = int((m["mask"] == 0).sum())
    assert 0 < lost == (tmp_path / "a.ang").read_text().count("12.5663706 12.5663706 12.5663706")
    assert back.source["recipe"] == {"command": "test", "seed": 3} == read_recipe(tmp_path / "a.ang")
    first = (tmp_path / "a.ang").read_bytes()
    write(tmp_path / "a.ang", m, {"command": "test", "seed": 3})
    assert (tmp_path / "a.ang").read_bytes() == first


@pytest.mark.parametrize("frame", ["oxford", "unknown"])
def test_ctf_round_trip(frame: str, tmp_path: Path) -> None:
    m = ebsd_map(frame=frame)
    rng = np.random.default_rng(3)
    crystals = {name: Crystal(c.laue, c.lattice, "a*") for name, c in m.crystals.items()}
    columns = {
        name: rng.integers(0, high, (9, 12)).astype(kind)
        for name, high, kind in (("bands", 12, "u1"), ("error", 6, "u1"), ("band_contrast", 256, "u1"),
                                 ("band_slope", 900, "i4"))
    }  # fmt: skip
    columns["mean_angular_deviation_deg"] = rng.random((9, 12)).astype(np.float32)
    fields = {name: m[name] for name in ("phase", "mask", "orientation")}
    m = m.replace(fields={**fields, **columns}, crystals=crystals)
    write(tmp_path / "a.ctf", m)
    back = one(tmp_path / "a.ctf")
    same(m, back)
    assert (back.spacing, back.phases, dict(back.crystals)) == (m.spacing, m.phases, dict(m.crystals))
    assert back.source["euler_frame"] == frame
    assert [w for w in back.source["warnings"] if "in which frame" not in w] == []
    assert b"\r\n" in (tmp_path / "a.ctf").read_bytes()


@pytest.mark.parametrize(
    ("name", "frame"), [("a.ang", "oxford"), ("a.ctf", "edax"), ("a.ang", "map"), ("a.ctf", "up-left")]
)
def test_other_frames_and_crystal_axes_are_converted(name: str, frame: str, tmp_path: Path) -> None:
    """Whatever the vendor's frame, crystal directions lie where they lay in the picture."""
    m = ebsd_map(frame=frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(tmp_path / name, m)
    back = one(tmp_path / name)
    before, after = in_map_frame(m), in_map_frame(back)
    for k, phase in enumerate(m.phases[1:], 1):
        where = m["phase"] == k
        for indices in ([1, 0, 0], [0, 1, 0], [1, 1, 1]):
            old = rotations(before["orientation"][where]).apply(direction(m.crystals[phase], indices))
            new = rotations(after["orientation"][where]).apply(direction(back.crystals[phase], indices))
            np.testing.assert_allclose(new, old, atol=1e-6)


def test_all_laue_groups_and_lattices_come_back(tmp_path: Path) -> None:
    cubic, hexagonal = (0.4, 0.4, 0.4, 90, 90, 90), (0.3, 0.3, 0.5, 90, 90, 120)
    lattices = {
        "-1": (0.3, 0.4, 0.5, 80, 95, 102),
        "2/m": (0.3, 0.4, 0.5, 90, 100, 90),
        "mmm": (0.3, 0.4, 0.5, 90, 90, 90),
    }
    for laue in ("-1", "2/m", "mmm", "4/m", "4/mmm", "-3", "-3m", "6/m", "6/mmm", "m-3", "m-3m"):
        lattice = lattices.get(laue, hexagonal if laue[0] in "-6" else cubic)
        for name, x_along, frame in (("a.ang", "a", "edax"), ("a.ctf", "a*", "oxford")):
            crystal = Crystal(laue, lattice, x_along)  # type: ignore[arg-type]
            fields = {key: ebsd_map()[key] for key in ("orientation",)}
            m = Microstructure(fields, (1, 1), ("only",), {}, {"euler_frame": frame}, {"only": crystal})
            write(tmp_path / name, m)
            assert one(tmp_path / name).crystals["only"] == crystal


def test_phases_without_a_name_for_points_not_indexed(tmp_path: Path) -> None:
    """Structures that microgen makes count phases from 0; in EBSD formats 0 is not indexed."""
    m = ebsd_map()
    phase = (np.arange(108).reshape(9, 12) % 2).astype(np.uint8)
    m = Microstructure({"phase": phase, "orientation": m["orientation"]}, (1, 1), ("a", "b"))
    write(tmp_path / "a.ang", m)
    back = one(tmp_path / "a.ang")
    assert back.phases == ("not indexed", "a", "b")
    np.testing.assert_array_equal(back["phase"], phase + 1)


def test_what_the_formats_cannot_hold(tmp_path: Path) -> None:
    m = ebsd_map()
    with pytest.raises(InputError, match="pictures with the field orientation"):
        write(tmp_path / "a.ang", Microstructure({"phase": m["phase"]}, (1, 1)))
    with pytest.raises(InputError, match="confidence index -1"):
        write(tmp_path / "a.ang", m.with_fields(confidence_index=np.full((9, 12), -1.0)))
    with pytest.raises(InputError, match="'iq' cannot be a column"):
        write(tmp_path / "a.ang", m.with_fields(iq=m["image_quality"]))
    with pytest.raises(InputError, match="'bands' has values that are not whole"):
        write(tmp_path / "a.ctf", m.with_fields(bands=m["image_quality"]))
    with pytest.warns(UserWarning, match="no place for the fields image_quality, confidence_index"):
        write(tmp_path / "a.ctf", m)
    assert not (tmp_path / "a.ang").exists()


# damage


def attempt(path: Path) -> Microstructure | None:
    try:
        return one(path)
    except InputError as error:
        if path.name not in str(error):
            pytest.fail(f"the error does not name the file: {error}")
        return None


MUTATED = {
    "square.ang": lambda path: path.write_text(ang_text(ROWS, (6, 7))),
    "hexagonal.ang": lambda path: path.write_text(hexagonal_text()),
    "own.ang": lambda path: write(path, ebsd_map()),
    "plain.ctf": lambda path: path.write_text(ctf_text()),
}


def fuzz(path: Path, count: int) -> int:
    """Read mutants; return how many were refused. Anything but one clear error, or a map, fails."""
    MUTATED[path.name](path)
    data, rng, refused = path.read_bytes(), random.Random(path.name), 0
    for _ in range(count):
        path.write_bytes(mutant(data, rng))
        found = attempt(path)
        refused += found is None
        if found is not None:
            assert found["phase"].size <= 4 * data.count(b"\n") + 100
            assert ((found["phase"] == 0) == (found["mask"] == 0)).all()
    return refused


@pytest.mark.parametrize("name", MUTATED)
def test_mutants(name: str, tmp_path: Path) -> None:
    assert fuzz(tmp_path / name, 200) > 50


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATED)
def test_two_thousand_mutants(name: str, tmp_path: Path) -> None:
    assert fuzz(tmp_path / name, 2000) > 500


# another program


def oracle(path: Path) -> dict[str, Any]:
    """What orix reads; it runs in an interpreter of its own, and nothing of it comes in here."""
    interpreter = os.environ.get("MICROGEN_ORACLE_PYTHON")
    if not interpreter:
        pytest.skip("MICROGEN_ORACLE_PYTHON names no interpreter with orix")
    code = """
import json, sys
from orix import io
m = io.load(sys.argv[1], **({"autogen_names": False} if sys.argv[1].endswith("ang") else {}))
phases = {int(i): [p.name, p.point_group.laue.name, list(p.structure.lattice.abcABG())] for i, p in m.phases if i >= 0}
g = m.rotations.to_matrix().reshape(-1, 9).tolist()
print(json.dumps({"shape": m.shape, "step": [m.dy, m.dx], "phases": phases, "phase": m.phase_id.tolist(), "g": g}))
"""
    run = subprocess.run(
        [interpreter, "-W", "ignore", "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", ["a.ang", "a.ctf"])
def test_orix_reads_what_we_write(name: str, tmp_path: Path) -> None:
    m = ebsd_map((40, 50), frame="edax" if name == "a.ang" else "oxford")
    if name == "a.ctf":
        fields = {key: m[key] for key in ("phase", "mask", "orientation")}
        m = m.replace(fields=fields, crystals={k: Crystal(c.laue, c.lattice, "a*") for k, c in m.crystals.items()})
    write(tmp_path / name, m)
    found = oracle(tmp_path / name)
    assert tuple(found["shape"]) == m.shape
    np.testing.assert_allclose(found["step"], m.spacing, rtol=1e-6)
    for k, phase in enumerate(m.phases[1:], 1):
        given, laue, lattice = found["phases"][str(k)]
        assert (given, laue) == (phase, m.crystals[phase].laue)
        np.testing.assert_allclose(np.array(lattice) / [10, 10, 10, 1, 1, 1], m.crystals[phase].lattice, rtol=1e-6)
    np.testing.assert_array_equal(np.maximum(found["phase"], 0), m["phase"].ravel())
    solved = m["mask"].ravel() > 0
    theirs = np.array(found["g"]).reshape(-1, 3, 3)[solved]  # sample to crystal, as Bunge has it
    ours = rotations(m["orientation"]).as_matrix()[solved].transpose(0, 2, 1)
    angle = np.arccos(np.clip((np.einsum("nij,nij->n", theirs, ours) - 1) / 2, -1, 1))
    chord = np.linalg.norm(theirs - ours, axis=(1, 2)) / np.sqrt(2)  # of small angles, which arccos rounds
    assert np.minimum(angle, chord).max() < 1e-4
    assert chord.max() < 1e-4


def test_disorientations_do_not_depend_on_the_frame(tmp_path: Path) -> None:
    """An .ang turned to .ctf and back has the disorientations it had."""
    m = ebsd_map()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(tmp_path / "a.ctf", m)
    back = one(tmp_path / "a.ctf")
    where = m["phase"] == 2
    a, b = m["orientation"][where], back["orientation"][where]
    crystal, other = m.crystals["Titanium (Alpha)"], back.crystals["Titanium (Alpha)"]
    np.testing.assert_allclose(
        disorientation_angle(b[1:], b[:-1], other), disorientation_angle(a[1:], a[:-1], crystal), atol=1e-5
    )
