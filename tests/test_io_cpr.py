"""``.cpr`` with ``.crc``: records of bytes whose layout the header gives."""

from __future__ import annotations

import random
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.orientations import from_euler
from microgen.io import find_inputs, inspect, read, scan_inputs

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("ebsd_fakes.py"))))

HEADER = """[General]
Version=5.0
Author=AZtec
JobMode=RegularGrid
[Job]
kV=20.00
TiltAngle=70.00
GridDistX=0.1200
GridDistY=0.1500
xCells=7
yCells=6
[Acquisition Surface]
Euler1=0.0
Euler2=0.0
Euler3=0.0
[Fields]
Count=7
Field1=3
Field2=4
Field3=5
Field4=6
Field5=7
Field6=11
Field7=101
[Phases]
Count=2
[Phase1]
StructureName=Ni-superalloy
a=3.5700
b=3.5700
c=3.5700
alpha=90.00
beta=90.00
gamma=90.00
LaueGroup=11
SpaceGroup=225
[Phase2]
StructureName=Ti-Hex
a=2.9500
b=2.9500
c=4.6800
alpha=90.00
beta=90.00
gamma=120.00
LaueGroup=9
SpaceGroup=194
[EDX Windows]
Count=1
Window1=Ni Ka1
"""

RECORD = np.dtype(
    [("phase", "u1"), ("euler", "<f4", 3), ("mad", "<f4"), ("contrast", "u1"), ("error", "u1"), ("nickel", "<f4")]
)


def records(count: int = 42) -> Any:
    """Packed as the header says: 23 bytes each."""
    rng = np.random.default_rng(0)
    table = np.zeros(count, RECORD)
    table["phase"] = np.arange(count) % 3
    table["euler"] = rng.random((count, 3)) * [2 * np.pi, np.pi, 2 * np.pi]
    table["mad"], table["contrast"] = rng.random(count), rng.integers(0, 256, count)
    table["error"], table["nickel"] = rng.integers(0, 6, count), rng.random(count) * 100
    return table


def pair(folder: Path, header: str = HEADER, table: Any = None, *, name: str = "a") -> Path:
    (folder / f"{name}.cpr").write_text(header)
    (folder / f"{name}.crc").write_bytes((records() if table is None else table).tobytes())
    return folder / f"{name}.cpr"


def one(path: Path, **how: Any) -> Microstructure:
    (found,) = read(path, **how)
    return found


def test_real_pair(shared_data: Path) -> None:
    m = one(shared_data / "ebsd_maps/defdap/testDataEBSD.cpr")
    assert (m.shape, m.spacing, m.phases) == ((243, 359), (0.12, 0.12), ("not indexed", "Ni-superalloy"))
    assert m.crystals["Ni-superalloy"] == Crystal("m-3m", (0.357, 0.357, 0.357, 90, 90, 90), "a*")
    assert m.source["euler_frame"] == "oxford"
    assert m.source["warnings"] == []
    expected = np.load(shared_data / "ebsd_maps/defdap/expected/ebsd_grains_5deg_10.npz")
    assert next(iter(expected.values())).shape == m.shape


def test_real_pair_is_its_own_text_export(shared_data: Path) -> None:
    """The .ctf beside it was cut from it by Oxford's program: radians and degrees, bytes and text agree.

    The text has four decimals of the deviation, cut and not rounded.
    """
    whole = one(shared_data / "ebsd_maps/defdap/testDataEBSD.cpr").crop(slice(25), slice(25))
    part = one(shared_data / "ebsd_maps/defdap/testDataEBSD_25x25.ctf")
    for name in ("phase", "bands", "error", "band_contrast", "band_slope"):
        np.testing.assert_array_equal(whole[name], part[name])
    np.testing.assert_allclose(whole["mean_angular_deviation_deg"], part["mean_angular_deviation_deg"], atol=1e-4)
    aligned = np.abs((whole["orientation"].astype(float) * part["orientation"]).sum(axis=-1))
    assert 2 * np.degrees(np.sqrt(2 * (1 - aligned.min()))) < 0.05  # the export has five digits of degrees


def test_records_follow_the_field_list(tmp_path: Path) -> None:
    table = records()
    m = one(pair(tmp_path))
    assert (m.shape, m.spacing) == ((6, 7), (0.15, 0.12))
    assert m.phases == ("not indexed", "Ni-superalloy", "Ti-Hex")
    assert m.crystals["Ti-Hex"] == Crystal("6/mmm", (0.295, 0.295, 0.468, 90, 90, 120), "a*")
    np.testing.assert_array_equal(m["phase"].ravel(), table["phase"])
    np.testing.assert_array_equal(m["mask"].ravel(), table["phase"] > 0)
    solved = table["phase"] > 0
    expected = np.where(solved[:, None], from_euler(table["euler"].astype(float)), [1, 0, 0, 0])
    np.testing.assert_allclose(m["orientation"].reshape(-1, 4), expected, atol=1e-6)
    names = {"mean_angular_deviation_deg": "mad", "band_contrast": "contrast", "error": "error", "edx_ni_ka1": "nickel"}
    assert set(m.fields) == {"phase", "mask", "orientation", *names}
    for ours, theirs in names.items():
        np.testing.assert_array_equal(m[ours].ravel(), table[theirs])
        assert m[ours].dtype == table[theirs].dtype


@pytest.mark.parametrize("ending", [".crc", ".CRC"])
def test_either_name_opens_the_pair(ending: str, tmp_path: Path) -> None:
    header = pair(tmp_path)
    (tmp_path / "a.crc").rename(tmp_path / f"a{ending}")
    a, b = one(header), one(tmp_path / f"a{ending}")
    for name in a.fields:
        np.testing.assert_array_equal(a[name], b[name])
    assert inspect(tmp_path / f"a{ending}")["kind"] == "ebsd"


def test_folder_lists_a_pair_once(tmp_path: Path) -> None:
    header = pair(tmp_path)
    assert scan_inputs([tmp_path]) == ([header], [])
    assert find_inputs([tmp_path / "a.crc", header]) == [header]


def test_half_a_pair(tmp_path: Path) -> None:
    header = pair(tmp_path)
    shutil.move(tmp_path / "a.crc", tmp_path / "elsewhere.crc")
    with pytest.raises(InputError, match=r"a\.cpr is only a header; its data file a\.crc is not beside it"):
        read(header)
    with pytest.raises(InputError, match=r"holds bare records; its header elsewhere\.cpr is not beside it"):
        read(tmp_path / "elsewhere.crc")
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "absent.cpr")


REFUSED = {
    r"promises a grid of 6 x 7 = 42 points, but a\.crc has 943 bytes, 41 records of 23": (HEADER, records(41)),
    "43 records of 23": (HEADER, records(43)),
    r"966 bytes, 50\.8421": (HEADER.replace("Field7=101\n", "").replace("Count=7", "Count=6"), records()),
    "is a sparse map": (HEADER.replace("RegularGrid", "InteractivePoints"), records(30)),
    "holds 30 points at places of their own and no grid": (
        HEADER.replace("xCells=7\nyCells=6", "NoOfPoints=30"),
        records(30),
    ),
    "states no step": (HEADER.replace("0.1200", "0").replace("0.1500", "0"), None),
    "holds no orientations: Phi": (HEADER.replace("Field2=4", "Field2=12"), None),
    "no sections .Job. and .Fields.": ("nothing at all\n", None),
    "'many' for count in .Fields.": (HEADER.replace("Count=7", "Count=many"), None),
    "states a grid of 0 x 7": (HEADER.replace("yCells=6", "yCells=0"), None),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals(message: str, tmp_path: Path) -> None:
    header, table = REFUSED[message]
    with pytest.raises(InputError, match=message):
        read(pair(tmp_path, header, table))


def test_degrees_in_records_are_noticed(tmp_path: Path) -> None:
    table = records()
    table["euler"] = np.rad2deg(table["euler"])
    with pytest.raises(InputError, match="look like degrees"):
        read(pair(tmp_path, table=table))


def test_coordinates_in_records_are_compared_with_the_grid(tmp_path: Path) -> None:
    """Fields 1 and 2 are x and y; points in another order are put in place, points elsewhere are refused."""
    header = HEADER.replace("Count=7", "Count=9").replace("Field7=101", "Field7=101\nField8=1\nField9=2")
    table = records()
    wide = np.zeros(42, np.dtype([*((n, RECORD[n]) for n in RECORD.names or ()), ("x", "<f4"), ("y", "<f4")]))
    for name in RECORD.names or ():
        wide[name] = table[name]
    wide["y"], wide["x"] = (np.arange(42) // 7) * 0.15, (np.arange(42) % 7) * 0.12
    plain = one(pair(tmp_path))
    shuffled = wide[np.random.default_rng(1).permutation(42)]
    found = one(pair(tmp_path, header, shuffled, name="b"))
    for name in plain.fields:
        np.testing.assert_array_equal(found[name], plain[name])
    wide["x"] = wide["y"] = np.random.default_rng(2).random(42)
    with pytest.raises(InputError, match=r"regular grid|coordinates"):
        read(pair(tmp_path, header, wide, name="c"))


def test_contradictions_are_reported(tmp_path: Path) -> None:
    text = HEADER.replace("SpaceGroup=225", "SpaceGroup=194").replace("Euler1=0.0", "Euler1=90.0")
    text = text.replace("[Phases]\nCount=2", "[Phases]\nCount=3")
    warnings = " | ".join(one(pair(tmp_path, text)).source["warnings"])
    for part in ("but the space group 194", "surface is turned by Euler angles of 90, 0, 0", "has no section [Phase3]"):
        assert part in warnings


def fuzz(folder: Path, count: int, *, of_header: bool) -> int:
    path = pair(folder)
    target = path if of_header else path.with_suffix(".crc")
    data, rng, refused = target.read_bytes(), random.Random(str(of_header)), 0
    for _ in range(count):
        target.write_bytes(fakes.mutant(data, rng))
        try:
            assert one(path).shape[0] <= 100
        except InputError as error:
            refused += 1
            if str(path) not in str(error):
                pytest.fail(f"the error does not name the file: {error}")
    return refused


@pytest.mark.parametrize("of_header", [True, False])
def test_mutants(of_header: bool, tmp_path: Path) -> None:
    assert fuzz(tmp_path, 200, of_header=of_header) > 50


@pytest.mark.slow
@pytest.mark.parametrize("of_header", [True, False])
def test_two_thousand_mutants(of_header: bool, tmp_path: Path) -> None:
    assert fuzz(tmp_path, 2000, of_header=of_header) > 500
