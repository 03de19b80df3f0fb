"""EBSD maps in text: ``.ang`` and ``.ctf`` of several programs, their contradictions, and the files written."""

from __future__ import annotations

import json
import random
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from microgen.core import Crystal, InputError
from microgen.core.orientations import from_euler
from microgen.io import find_inputs, inspect, read, write

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("ebsd_fakes.py"))))
ang_rows, ang_text, ctf_text, hexagonal_text = fakes.ang_rows, fakes.ang_text, fakes.ctf_text, fakes.hexagonal_text
one, same = fakes.one, fakes.same
ebsd_map, mutant, NICKEL, TITANIUM = fakes.ebsd_map, fakes.mutant, fakes.NICKEL, fakes.TITANIUM

ROWS = ang_rows(6, 7)


# real files


def test_ang_of_emsoft_with_two_phases(shared_data: Path) -> None:
    m = one(shared_data / "ebsd_maps/orix/sdss_ferrite_austenite.ang")
    assert (m.shape, m.spacing) == ((100, 117), (1.5, 1.5))
    assert m.phases == ("not indexed", "austenite/austenite", "ferrite/ferrite")
    assert m.crystals["austenite/austenite"] == Crystal("m-3m", (0.3595, 0.3595, 0.3595, 90, 90, 90))
    assert m.crystals["ferrite/ferrite"].lattice == (0.2867, 0.2867, 0.2867, 90, 90, 90)
    table = np.loadtxt(shared_data / "ebsd_maps/orix/sdss_ferrite_austenite.ang")
    np.testing.assert_array_equal(m["phase"].ravel(), table[:, 7])
    np.testing.assert_allclose(m["orientation"].reshape(-1, 4), from_euler(table[:, :3]), atol=1e-6)
    np.testing.assert_allclose(m["image_quality"][1, 2], table[117 + 2, 5])
    assert m["dot_product"][0, 0] == np.float32(0.799)
    assert m["mask"].all()
    assert m.source["euler_frame"] == "edax"
    assert m.source["pixel_size"] == {"um": [1.5, 1.5], "origin": "file header", "confidence": "high"}
    assert m.source["warnings"] == []


def test_ang_of_eight_columns(shared_data: Path) -> None:
    m = one(shared_data / "ebsd_maps/pymicro/Ti64-200x200.ang")
    assert (m.shape, m.spacing, m.phases) == ((200, 200), (0.4999, 0.4999), ("not indexed", "Titanium"))
    assert m.crystals["Titanium"] == Crystal("6/mmm", (0.295, 0.295, 0.4686, 90, 90, 120), "a")
    assert (m["image_quality"][0, 0], m["confidence_index"][0, 0]) == (126, np.float32(0.667))
    assert m["mask"].all()


def test_ctf_of_oxford(shared_data: Path) -> None:
    m = one(shared_data / "ebsd_maps/defdap/testDataEBSD_25x25.ctf")
    assert (m.shape, m.spacing, m.phases) == ((25, 25), (0.12, 0.12), ("not indexed", "Ni-superalloy"))
    assert m.crystals["Ni-superalloy"] == Crystal("m-3m", (0.357, 0.357, 0.357, 90, 90, 90), "a*")
    assert m.source["euler_frame"] == "oxford"
    np.testing.assert_allclose(m["orientation"][0, 0], from_euler(np.deg2rad([258.52, 42.65, 87.222])), atol=1e-6)
    found = [m[name][0, 1] for name in ("bands", "error", "band_contrast", "band_slope")]
    assert found == [0, 3, 71, 51]
    assert m["mean_angular_deviation_deg"][0, 0] == np.float32(0.3344)


# .ang


def test_square_ang(tmp_path: Path) -> None:
    m = one(tmp_path / "a.ang", ang_text(ROWS, (6, 7)))
    assert (m.shape, m.spacing) == ((6, 7), (0.5, 0.5))
    assert m.phases == ("not indexed", "Nickel", "Titanium (Alpha)")
    assert dict(m.crystals) == {"Nickel": NICKEL, "Titanium (Alpha)": TITANIUM}
    np.testing.assert_array_equal(m["image_quality"], np.arange(42).reshape(6, 7) + 0.5)
    np.testing.assert_array_equal(m["phase"], 1 + np.arange(42).reshape(6, 7) % 2)
    np.testing.assert_allclose(m["orientation"][2, 3], from_euler([0.17, 0.5, 1.5]), atol=1e-7)
    assert m.source["header"]["WorkingDistance"] == "15.2"


def test_ang_of_other_places(tmp_path: Path) -> None:
    """A byte order mark, lines that end in CR LF, and decimal commas change nothing."""
    text = ang_text(ang_rows(6, 7, dy=0.25), (6, 7), dy=0.25)
    whole = one(tmp_path / "a.ang", text)
    head, _, table = text.rpartition("#")
    line, _, table = table.partition("\n")
    other = f"{head}#{line}\n{table.replace('.', ',')}".replace("\n", "\r\n")
    (tmp_path / "b.ang").write_bytes("\ufeff".encode() + other.encode())
    same(whole, one(tmp_path / "b.ang"))
    assert one(tmp_path / "b.ang").spacing == whole.spacing == (0.25, 0.5)


def test_coordinates_place_the_points(tmp_path: Path) -> None:
    """Points in another order, or begun somewhere else on the specimen, make the same map."""
    whole = one(tmp_path / "a.ang", ang_text(ROWS, (6, 7)))
    shuffled = list(ROWS)
    random.Random(0).shuffle(shuffled)
    same(whole, one(tmp_path / "b.ang", ang_text(shuffled, (6, 7))))
    moved = [f"{r[:29]} {float(r[30:42]) + 12.5:12.5f} {float(r[43:55]) - 3.25:12.5f}{r[55:]}" for r in ROWS]
    same(whole, one(tmp_path / "c.ang", ang_text(moved, (6, 7))))


def test_grid_without_a_header(tmp_path: Path) -> None:
    """The oldest files are bare tables: grid and step come from the coordinates, the phases are unknown."""
    m = one(tmp_path / "a.ang", "\n".join(ROWS))
    assert (m.shape, m.spacing, dict(m.crystals)) == ((6, 7), (0.5, 0.5), {})
    assert m.source["euler_frame"] == "unknown"
    assert m.source["pixel_size"]["origin"] == "coordinates of the points"
    assert one(tmp_path / "a.ang", euler_frame="edax").source["euler_frame"] == "edax"
    m = one(tmp_path / "b.ang", "\n".join(ang_rows(6, 7, dy=0.25)))
    assert m.spacing == (0.25, 0.5)


def test_points_that_edax_marks_are_not_indexed(tmp_path: Path) -> None:
    rows = list(ROWS)
    rows[3] = rows[3].replace(" 0.4 ", " -1.000 ")
    rows[4] = f"12.56637 12.56637 12.56637{rows[4][29:]}"
    rows[5] = rows[5][:-1] + "0"
    m = one(tmp_path / "a.ang", ang_text(rows, (6, 7)))
    lost = np.flatnonzero(m["mask"].ravel() == 0)
    assert lost.tolist() == [3, 4, 5]
    assert (m["phase"].ravel()[lost] == 0).all()
    assert (m["orientation"].reshape(-1, 4)[lost] == (1, 0, 0, 0)).all()


@pytest.mark.parametrize(("numbers", "indexed"), [("00", 42), ("11", 42), ("01", 21)])
def test_phase_zero_with_a_single_phase(numbers: str, indexed: int, tmp_path: Path) -> None:
    """EDAX writes 0 for the only phase; where others are 1, 0 is no phase."""
    text = ang_text([r[:-1] + numbers[k % 2] for k, r in enumerate(ROWS)], (6, 7))
    head, _, tail = text.partition("# Phase 2")
    m = one(tmp_path / "a.ang", head + tail[tail.index("# GRID") :])
    assert m.phases == ("not indexed", "Nickel")
    assert int(m["mask"].sum()) == indexed


def test_names_of_columns(tmp_path: Path) -> None:
    more = [f"{row} 7 1.25 1 2 3" for row in ROWS]
    plain = one(tmp_path / "a.ang", ang_text(more, (6, 7)))
    assert list(plain.fields)[5:] == ["sem_signal", "fit_deg", "column_11", "column_12", "column_13"]
    stated = "# COLUMN_HEADERS: phi1, PHI, phi2, x, y, IQ, CI, Phase index, SEM, Fit, PRIAS Bottom Strip, Mask, x\n"
    named = one(tmp_path / "a.ang", ang_text(more, (6, 7)).replace("# HEADER: End\n", stated))
    assert list(named.fields)[5:] == ["sem_signal", "fit_deg", "PRIAS_Bottom_Strip", "Mask", "column_13"]
    assert float(named["fit_deg"][0, 0]) == 1.25
    fewer = one(tmp_path / "a.ang", ang_text(ROWS, (6, 7)).replace("# HEADER: End\n", stated))
    assert any("names 13 columns but it has 8" in w for w in fewer.source["warnings"])
    with pytest.raises(InputError, match="has 6 columns"):
        one(tmp_path / "a.ang", ang_text([" ".join(row.split()[:6]) for row in ROWS], (6, 7)))


def test_other_writers(tmp_path: Path) -> None:
    text = ang_text(ROWS, (6, 7))
    emsoft = one(tmp_path / "a.ang", text.replace("Info\t\t", "Info patterns indexed using EMsoft::EMEBSDDI"))
    assert "dot_product" in emsoft
    assert "confidence_index" not in emsoft
    astar = one(tmp_path / "a.ang", "# File created from ACOM RES results\n" + text)
    assert "reliability" in astar
    assert astar.spacing == (0.0005, 0.0005)  # nanometres
    assert astar.source["euler_frame"] == "unknown"
    assert any("--euler-frame" in w for w in astar.source["warnings"])
    giacomo = one(tmp_path / "a.ang", text.replace("somebody", "Giacomo"))
    assert (giacomo.spacing, giacomo.source["writer"]) == ((0.5, 0.5), "EDAX")
    orix = one(tmp_path / "a.ang", text.replace("somebody", "orix_v0.15.0"))
    assert (orix.source["writer"], orix.source["euler_frame"]) == ("orix", "unknown")


@pytest.mark.parametrize(
    ("code", "laue"),
    [("43", "m-3m"), ("23", "m-3"), ("62", "6/mmm"), ("6", "6/m"), ("42", "4/mmm"), ("4", "4/m"), ("32", "-3m"),
     ("3", "-3"), ("22", "mmm"), ("20", "2/m"), ("1", "-1"), ("m-3m", "m-3m"), ("6/mmm", "6/mmm")],
)  # fmt: skip
def test_symmetry_codes(code: str, laue: str, tmp_path: Path) -> None:
    text = ang_text(ROWS, (6, 7)).replace("Symmetry              43", f"Symmetry              {code}")
    assert one(tmp_path / "a.ang", text).crystals["Nickel"].laue == laue


def test_unknown_symmetry_is_said(tmp_path: Path) -> None:
    """EDAX's code 2 is monoclinic about c, which our 2/m (about b) is not."""
    m = one(tmp_path / "a.ang", ang_text(ROWS, (6, 7)).replace("Symmetry              43", "Symmetry              2"))
    assert list(m.crystals) == ["Titanium (Alpha)"]
    assert any("symmetry '2'" in w for w in m.source["warnings"])


def test_hexagonal_grid_keeps_every_point_and_its_neighbours(tmp_path: Path) -> None:
    m = one(tmp_path / "a.ang", hexagonal_text(rows=5, odd=6, even=5))
    assert m.shape == (5, 12)
    np.testing.assert_allclose(m.spacing, (np.sqrt(0.75), 0.5), rtol=1e-5)
    points = m["image_quality"].astype(int)
    assert points[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert points[1].tolist() == [6, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 10]
    inside = 14  # the third point of the third row
    rows, columns = np.nonzero(points == inside)
    assert list(zip(rows, columns, strict=True)) == [(2, 6), (2, 7)]
    touching = {int(points[r + a, c + b]) for r, c in zip(rows, columns, strict=True) for a, b in
                ((-1, 0), (1, 0), (0, -1), (0, 1))} - {inside}  # fmt: skip
    assert touching == {13, 15, 8, 9, 19, 20}  # the six nearest points on a hexagonal grid
    assert any("resampled by nearest neighbour" in w for w in m.source["warnings"])
    assert m.source["grid"] == "hexagonal"


def test_hexagonal_grid_is_the_nearest_point(tmp_path: Path) -> None:
    """Against a search among all points, apart from the left and right edge."""
    m = one(tmp_path / "a.ang", hexagonal_text(rows=6, odd=7, even=7))
    table = np.array([line.split()[3:6] for line in (tmp_path / "a.ang").read_text().splitlines() if line[0] != "#"])
    x, y, count = table.astype(float).T
    rows, columns = np.mgrid[:6, 1:13]
    centre_x = 0.5 * columns - 0.25  # the two pixels of a point lie on both sides of it
    distance = np.hypot(centre_x[..., None] - x, rows[..., None] * np.sqrt(0.75) - y)
    nearest = count[distance.argmin(axis=-1)]
    agrees = m["image_quality"][:, 1:13] == nearest
    assert agrees.all()


ANG_CONTRADICTIONS = {
    "promises a grid of 7 x 6 in its header, but its coordinates make one of 6 x 7": ang_text(ROWS, (7, 6)),
    r"promises a grid of 6 x 7 = 42 points in its header but holds 39: it is truncated": ang_text(ROWS[:-3], (6, 7)),
    "promises a grid of 6 x 7 = 42 points in its header but holds 44": ang_text(ROWS + ROWS[:2], (6, 7)),
    "several points at one place": ang_text([*ROWS[:10], ROWS[9], *ROWS[11:]], (6, 7)),
    "no radian: the angles look like degrees": ang_text([r.replace("1.50000 ", "86.5000 ", 1) for r in ROWS], (6, 7)),
    "says that its grid is square, but its rows have 6 and 5 points": hexagonal_text().replace("HexGrid", "SqrGrid"),
    "grid is hexagonal, but its coordinates are not": ang_text(ROWS, (6, 7)).replace("SqrGrid", "HexGrid"),
    "6 rows of 6 and 5 = 33 points but holds 28": hexagonal_text().replace("NROWS: 5", "NROWS: 6"),
    "do not lie on a regular grid": ang_text([*ROWS[:-1], ROWS[-1].replace("2.50000", "2.30000")], (6, 7)),
    "number of columns changed from 8 to 9": ang_text([*ROWS[:4], ROWS[4] + " 1", *ROWS[5:]], (6, 7)),
    "not whole": ang_text([ROWS[0][:-1] + "1.5", *ROWS[1:]], (6, 7)),
    "no points": ang_text([], (6, 7)),
}


@pytest.mark.parametrize("message", ANG_CONTRADICTIONS)
def test_ang_contradictions_are_refused(message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as error:
        one(tmp_path / "a.ang", ANG_CONTRADICTIONS[message])
    assert str(tmp_path / "a.ang") in str(error.value)


def test_a_step_that_contradicts_the_coordinates_is_reported(tmp_path: Path) -> None:
    for text in (ang_text(ROWS, (6, 7), dx=1, dy=1), hexagonal_text().replace("XSTEP: 1.0", "XSTEP: 2.0")):
        m = one(tmp_path / "a.ang", text)
        assert any("contradicts" in w and "coordinates of the points" in w for w in m.source["warnings"])
    given = one(tmp_path / "a.ang", ang_text(ROWS, (6, 7)), pixel_size_um=(2, 3))
    assert given.spacing == (2, 3)
    assert any("contradicts" in w for w in given.source["warnings"])


def test_points_of_a_phase_that_is_not_listed(tmp_path: Path) -> None:
    m = one(tmp_path / "a.ang", ang_text([ROWS[0][:-1] + "7", *ROWS[1:]], (6, 7)))
    assert m.phases[-1] == "phase 7"
    assert (m["phase"] == 3).sum() == 1
    assert any("does not list" in w for w in m.source["warnings"])


# .ctf


def test_ctf(tmp_path: Path) -> None:
    m = one(tmp_path / "a.ctf", ctf_text())
    assert (m.shape, m.spacing, m.phases) == ((4, 5), (0.12, 0.12), ("not indexed", "Nickel", "Ti"))
    assert (m.crystals["Ti"].laue, m.crystals["Ti"].x_along) == ("6/mmm", "a*")
    np.testing.assert_array_equal(m["phase"].ravel(), np.arange(20) % 3)
    np.testing.assert_array_equal(m["mask"], m["phase"] > 0)
    np.testing.assert_allclose(m["orientation"][0, 1], from_euler(np.deg2rad([11, 42.65, 87.222])), atol=1e-7)
    assert (m["band_contrast"].dtype, m["band_slope"].dtype) == (np.uint8, np.int32)
    assert m.source["header"]["TiltAngle"] == "70"


@pytest.mark.parametrize("change", [("\n", "\r\n"), (".", ","), ("Å", "Å")])
def test_ctf_of_other_places(change: tuple[str, str], tmp_path: Path) -> None:
    """Line ends of Windows, decimal commas; Latin-1 is read as well."""
    whole = one(tmp_path / "a.ctf", ctf_text())
    (tmp_path / "b.ctf").write_bytes(ctf_text().replace("Prj\tmap", "Prj\tÅ").replace(*change).encode("latin-1"))
    other = one(tmp_path / "b.ctf")
    same(whole, other)
    assert (other.crystals, other.spacing) == (whole.crystals, whole.spacing)


def test_ctf_without_coordinates_or_grid(tmp_path: Path) -> None:
    whole = one(tmp_path / "a.ctf", ctf_text(dy=0.06))
    head, _, rows = ctf_text(dy=0.06).partition("BC\tBS\n")
    without = "\n".join("\t".join([r.split("\t")[0], "0", "0", *r.split("\t")[3:]]) for r in rows.splitlines())
    same(whole, one(tmp_path / "b.ctf", head + "BC\tBS\n" + without))
    assert one(tmp_path / "b.ctf").source["warnings"] == []
    bare = ctf_text(dy=0.06).replace("XCells\t5\n", "").replace("YCells\t4\n", "")
    same(whole, one(tmp_path / "c.ctf", bare))
    assert one(tmp_path / "c.ctf").spacing == one(tmp_path / "b.ctf").spacing == whole.spacing == (0.06, 0.12)


CTF_WARNINGS = {
    "Laue group 9 .6/mmm. but the space group 225": ("Nickel\t11\t225", "Nickel\t9\t225"),
    "Laue group 12, which does not exist": ("Nickel\t11\t225", "Nickel\t12\t0"),
    "promises 3 phases but lists 2": ("Phases\t2", "Phases\t3"),
    "surface is turned by Euler angles of 90, 0, 0": ("AcqE1\t0", "AcqE1\t90"),
    "0.24 um .file header., contradicts 0.12 um": ("XStep\t0.12", "XStep\t0.24"),
}


@pytest.mark.parametrize("message", CTF_WARNINGS)
def test_ctf_contradictions_are_reported(message: str, tmp_path: Path) -> None:
    m = one(tmp_path / "a.ctf", ctf_text().replace(*CTF_WARNINGS[message]))
    assert re.search(message, " | ".join(m.source["warnings"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("XCells\t5", "XCells\t10"), "4 x 10 = 40 points in its header but holds 20"),
        (("MAD\tBC\tBS", "MAD\tBC"), "names 10 columns but has 11"),
        (("Euler2", "Angle2"), "has no column of Phi"),
        (("Phase\tX\tY", "Phase\tU\tV"), "no line of column names"),
        (("Channel Text", "Another Text"), "does not begin with"),
    ],
)
def test_ctf_refusals(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        one(tmp_path / "a.ctf", ctf_text().replace(*change))


def test_radians_in_ctf_are_suspected(tmp_path: Path) -> None:
    text = ctf_text((12, 15)).replace("\t42.65\t87.222", "\t0.65\t1.222")
    head, _, rows = text.partition("BC\tBS\n")
    small = "\n".join("\t".join([*r.split("\t")[:5], "3.1", *r.split("\t")[6:]]) for r in rows.splitlines())
    assert any("look like radians" in w for w in one(tmp_path / "a.ctf", head + "BC\tBS\n" + small).source["warnings"])
    assert one(tmp_path / "a.ctf", text).source["warnings"] == []


# the front door


def test_frame_that_the_caller_knows_better(tmp_path: Path) -> None:
    path = tmp_path / "a.ang"
    m = one(path, ang_text(ROWS, (6, 7)), euler_frame="map")
    assert m.source["euler_frame"] == "map"
    assert any("taken as 'map', the file says 'edax'" in w for w in m.source["warnings"])
    np.testing.assert_array_equal(m["orientation"], one(path)["orientation"])
    with pytest.raises(InputError, match="no Euler frame 'elsewhere'"):
        read(path, euler_frame="elsewhere")


def test_frame_survives_our_own_file(tmp_path: Path) -> None:
    m = one(tmp_path / "a.ang", ang_text(ROWS, (6, 7)))
    write(tmp_path / "a.h5", m)
    back = one(tmp_path / "a.h5")
    assert back.source["euler_frame"] == "edax"
    same(m, back)
    assert dict(back.crystals) == dict(m.crystals)


def test_inspect_and_folders(tmp_path: Path) -> None:
    one(tmp_path / "a.ang", ang_text(ROWS, (6, 7)))
    about = inspect(tmp_path / "a.ang", euler_frame="bruker")
    json.dumps(about)
    assert (about["kind"], about["format"], about["shape"], about["euler_frame"]) == ("ebsd", "ang", [6, 7], "bruker")
    assert about["phase_shares"] == {"not indexed": 0.0, "Nickel": 0.5, "Titanium (Alpha)": 0.5}
    assert about["crystals"]["Nickel"]["laue"] == "m-3m"
    assert [size["origin"] for size in about["pixel_sizes"]] == ["file header", "coordinates of the points"]
    assert find_inputs([tmp_path]) == [tmp_path / "a.ang"]
