"""HDF5 of microscopes: .h5oina, EDAX and Bruker."""

from __future__ import annotations

import runpy
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.orientations import from_euler
from microgen.io import hdf5, inspect, read

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("hdf5_fakes.py"))))

UNINDEXED = np.resize([False, False, True], 24).reshape(fakes.SHAPE)
"""Where the fake .h5oina has phase 0, or no angles."""


@pytest.fixture
def oina(tmp_path: Path) -> Path:
    fakes.oina(tmp_path / "map.h5oina")
    return tmp_path / "map.h5oina"


@pytest.fixture
def edax(tmp_path: Path) -> Path:
    fakes.edax(tmp_path / "map.h5")
    return tmp_path / "map.h5"


def only(path: Path, **options: Any) -> Microstructure:
    (found,) = read(path, **options)
    return found


def test_oina_map(oina: Path) -> None:
    found = only(oina)
    assert (found.shape, found.spacing) == ((4, 6), (0.3, 0.2))
    assert found.phases == ("not indexed", "Iron bcc (old)", "Titanium")
    assert found.crystals == {
        "Iron bcc (old)": Crystal("m-3m", (0.2866, 0.2866, 0.2866, 90, 90, 90), "a*"),
        "Titanium": Crystal("6/mmm", (0.295, 0.295, 0.468, 90, 90, 120), "a*"),
    }
    np.testing.assert_array_equal(found["phase"], fakes.PHASE.reshape(4, 6))
    np.testing.assert_array_equal(found["mask"], ~UNINDEXED)
    expected = np.where(UNINDEXED[..., None], [1.0, 0, 0, 0], from_euler(fakes.EULER).reshape(4, 6, 4))
    np.testing.assert_allclose(found["orientation"], expected, atol=1e-7)
    np.testing.assert_array_equal(found["bands"].ravel(), np.arange(24))
    np.testing.assert_array_equal(found["band_contrast"].ravel(), np.arange(24) + 100)
    assert found["band_contrast"].dtype == np.uint8
    np.testing.assert_allclose(found["mean_angular_deviation_deg"], np.where(UNINDEXED, 0, np.rad2deg(0.01)), rtol=1e-6)
    assert found.source["euler_frame"] == "oxford"
    assert found.source["beam_voltage"] == 20
    assert "scanning_rotation_angle" not in found.source, "NaN means that it is unknown"
    assert found.source["warnings"] == []


def test_oina_by_another_extension(oina: Path) -> None:
    oina.rename(oina.with_suffix(".h5"))
    assert only(oina.with_suffix(".h5")).phases[1] == "Iron bcc (old)"


def test_oina_processed_data_by_name(tmp_path: Path) -> None:
    fakes.oina(tmp_path / "a.h5oina", processed=True)
    recorded = only(tmp_path / "a.h5oina")
    assert recorded["phase"].min() == 0
    assert "dataset='1/Data Processing'" in recorded.source["warnings"][0]
    processed = only(tmp_path / "a.h5oina", dataset="1/Data Processing")
    assert set(np.unique(processed["phase"])) == {0, 2}, "0 where its angles are NaN"
    assert processed["mask"].sum() == 23
    assert processed.source["dataset"] == "1/Data Processing"
    np.testing.assert_array_equal(processed["band_contrast"], recorded["band_contrast"])


def test_oina_with_several_slices_asks_which(tmp_path: Path) -> None:
    path = tmp_path / "a.h5oina"
    fakes.oina(path, slices=("1", "2", "10"))
    with pytest.raises(InputError, match=r"it holds 1/EBSD, 10/EBSD, 2/EBSD; pass --dataset"):
        read(path)
    with h5py.File(path, "a") as file:
        file["2/EBSD/Data/Phase"][...] = 1
    assert only(path, dataset="2")["phase"].max() == 1
    assert only(path, dataset="10/EBSD")["phase"].max() == 2
    with pytest.raises(InputError, match="has no EBSD map '3'; it holds 1/EBSD"):
        read(path, dataset="3")


def test_oina_image_has_the_grid_and_step_of_its_header(tmp_path: Path) -> None:
    fakes.oina(tmp_path / "a.h5oina", image=True)
    found = only(tmp_path / "a.h5oina", dataset="1/Electron Image/Data/SE/SE Image 1")
    assert (found.shape, found.spacing) == ((9, 8), (0.1, 0.1))
    np.testing.assert_array_equal(found["intensity"].ravel(), np.arange(72))


CHANGES: dict[str, tuple[Callable[[h5py.Group], Any], str]] = {
    "line scan": (lambda g: g["Header/Y Cells"].__setitem__(0, 1), "holds a line scan of 6 points"),
    "no step": (lambda g: g["Header"].pop("X Step"), "does not say how many rows and columns"),
    "step of zero": (lambda g: g["Header/X Step"].__setitem__(0, 0), "grid of 4 x 6 points 0 um apart"),
    "other grid": (lambda g: g["Header/X Cells"].__setitem__(0, 7), r"has the shape \(24, 1\), the header promises 28"),
    "two angles": (lambda g: replace(g, "Data/Euler", np.zeros((24, 2))), "three columns are needed"),
    "degrees": (lambda g: replace(g, "Data/Euler", np.full((24, 3), 90.0)), "look like degrees"),
    "texts": (lambda g: replace(g, "Data/Phase", ["a"] * 24), "holds no numbers in /1/EBSD/Data/Phase"),
    "no map": (lambda g: g["Data"].pop("Euler"), "it holds no EBSD map"),
}


def replace(group: h5py.Group, name: str, values: Any) -> None:
    del group[name]
    group[name] = values


@pytest.mark.parametrize("name", CHANGES)
def test_oina_that_contradicts_itself(name: str, oina: Path) -> None:
    change, message = CHANGES[name]
    with h5py.File(oina, "a") as file:
        change(file["1/EBSD"])
    with pytest.raises(InputError, match=message) as caught:
        read(oina)
    assert str(oina) in str(caught.value)


def test_oina_phases_that_contradict_themselves_or_are_missing(oina: Path) -> None:
    with h5py.File(oina, "a") as file:
        phases = file["1/EBSD/Header/Phases"]
        phases["1/Space Group"][...] = 194
        del phases["2/Laue Group"], phases["2/Lattice Angles"]
    found = only(oina)
    assert "Laue group 11 (m-3m) but the space group 194 (6/mmm)" in found.source["warnings"][0]
    assert found.crystals["Titanium"] == Crystal("6/mmm", None, "a*"), "by its space group"
    with h5py.File(oina, "a") as file:
        del file["1/EBSD/Header/Phases"]
    assert only(oina).phases == ("not indexed", "phase 1", "phase 2")


def test_oina_phases_stored_as_floats(oina: Path) -> None:
    """Outside an irregular area all columns are NaN, where their type has it."""
    before = only(oina)
    with h5py.File(oina, "a") as file:
        phase = file["1/EBSD/Data/Phase"][()].astype(np.float32)
        phase[phase == 0] = np.nan
        del file["1/EBSD/Data/Phase"]
        file["1/EBSD/Data/Phase"] = phase
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = only(oina)
    np.testing.assert_array_equal(found["phase"], before["phase"])


def test_oina_rotations_that_are_not_applied_are_said(oina: Path) -> None:
    before = only(oina)
    with h5py.File(oina, "a") as file:
        file["1/EBSD/Header/Specimen Orientation Euler"][...] = np.deg2rad([[90, 0, 0]])
        file["1/EBSD/Header/Scanning Rotation Angle"][...] = np.pi
    found = only(oina)
    surface, scan = found.source["warnings"]
    assert "acquisition surface is turned by Euler angles of 90, 0, 0 degrees" in surface
    assert "scanning rotation angle of 180 degrees is not applied" in scan
    np.testing.assert_array_equal(found["orientation"], before["orientation"])


def test_not_an_oina_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5oina", "w") as file:
        file["image"] = np.zeros((20, 20))
    with pytest.raises(InputError, match=r"a\.h5oina is not an \.h5oina file"):
        read(tmp_path / "a.h5oina")


def test_edax_map(edax: Path) -> None:
    found = only(edax)
    assert (found.shape, found.spacing) == ((4, 6), (0.5, 0.5))
    assert found.phases == ("not indexed", "Iron (Alpha)")
    assert found.crystals == {"Iron (Alpha)": Crystal("m-3m", (0.287, 0.287, 0.287, 90, 90, 90))}
    solved = np.ones(24, bool)
    solved[[3, 5]] = False  # marked as without solution; 4 pi
    np.testing.assert_array_equal(found["mask"].ravel(), solved)
    np.testing.assert_array_equal(found["phase"], found["mask"])
    expected = np.where(solved[:, None], from_euler(fakes.EULER), [1, 0, 0, 0])
    np.testing.assert_allclose(found["orientation"].reshape(-1, 4), expected, atol=1e-7)
    np.testing.assert_allclose(found["confidence_index"].ravel(), np.linspace(0, 1, 24), atol=1e-7)
    assert (found.source["euler_frame"], found.source["format"]) == ("edax", "edax_hdf5")


@pytest.mark.parametrize(
    ("setting", "frame"), [(1, "down-right"), (2, "edax"), (3, "right-up"), (4, "left-down"), (5, "unknown")]
)
def test_edax_setting_of_the_frame(setting: int, frame: str, edax: Path) -> None:
    with h5py.File(edax, "a") as file:
        file["Scan 1/EBSD/Header/Coordinate System/ID"] = np.array([setting], ">i4")
    assert only(edax).source["euler_frame"] == frame


def test_edax_steps_and_marks(edax: Path) -> None:
    with h5py.File(edax, "a") as file:
        file["Scan 1/EBSD/Header/Step Y"][...] = 0.25
        file["Scan 1/EBSD/Data/Y Position"][...] /= 2
        file["Scan 1/EBSD/Data/CI"][7] = -1
    found = only(edax)
    assert (found.spacing, found.source["warnings"]) == ((0.25, 0.5), [])
    assert np.flatnonzero(found["mask"].ravel() == 0).tolist() == [3, 5, 7]


@pytest.mark.parametrize(
    ("text", "x_along", "warned"), [("a || x, b* || y, c* || z", "a", 0), ("a* || x", "a*", 0), ("b || x", "a", 1)]
)
def test_edax_alignment_of_crystals(text: str, x_along: str, warned: int, edax: Path) -> None:
    with h5py.File(edax, "a") as file:
        file["Scan 1/EBSD/Header/Cartesian Alignment"] = np.array([text.encode()])
    found = only(edax)
    assert found.crystals["Iron (Alpha)"].x_along == x_along
    assert len(found.source["warnings"]) == warned


def test_edax_of_newer_programs(edax: Path) -> None:
    """Files named .oh5 may give the space group instead of a point group."""
    with h5py.File(edax, "a") as file:
        phase = file["Scan 1/EBSD/Header/Phase/1"]
        del phase["Point Group"], phase["Symmetry"]
        phase["SpaceGroupNumber"] = np.array([229], ">i4")
    newer = edax.rename(edax.with_suffix(".oh5"))
    assert only(newer).crystals["Iron (Alpha)"].laue == "m-3m"
    assert inspect(newer)["format"] == "edax_hdf5"
    fakes.oina(newer)
    with pytest.raises(InputError, match=r"map\.oh5 is no HDF5 file of EDAX"):
        read(newer)


def test_edax_phases_scans_and_grids(tmp_path: Path) -> None:
    fakes.edax(tmp_path / "a.h5", scans=("one", "deep/two"), phases=2)
    with pytest.raises(InputError, match=r"it holds one, deep/two; pass --dataset"):
        read(tmp_path / "a.h5")
    found = only(tmp_path / "a.h5", dataset="deep/two")
    assert found.phases == ("not indexed", "Iron (Alpha)", "Cementite")
    assert found.crystals["Cementite"].laue == "mmm"
    assert sorted(np.unique(found["phase"])) == [0, 1, 2]
    fakes.edax(tmp_path / "hex.h5", grid="HexGrid")
    found = only(tmp_path / "hex.h5")
    assert (found.shape, found.spacing) == ((4, 12), (0.433013, 0.25))
    assert "hexagonal grid of 4 rows of 6 and 5 points" in found.source["warnings"][0]
    signal = found["sem_signal"]
    assert signal[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert signal[1].tolist() == [6, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 10], "odd rows lie half a step further right"


def test_edax_that_contradicts_itself(edax: Path) -> None:
    with h5py.File(edax, "a") as file:
        file["Scan 1/EBSD/Data/X Position"][...] *= 2
    assert "X Position contradicts the grid of 4 x 6" in only(edax).source["warnings"][0]
    with h5py.File(edax, "a") as file:
        file["Scan 1/EBSD/Header/nRows"][...] = 5
    with pytest.raises(InputError, match=r"map\.h5 promises a grid of 5 x 6 points but holds 24"):
        read(edax)


@pytest.mark.parametrize("places", [None, "Scan 0/SEM/SEM IX,SEM IY", "Scan 0/EBSD/SEM/IX,IY"])
def test_bruker_map(places: str | None, tmp_path: Path) -> None:
    """Points come in their places by IX and IY, in whatever order they are stored."""
    fakes.bruker(tmp_path / "map.h5", places=places)
    found = only(tmp_path / "map.h5")
    assert (found.shape, found.spacing, found.phases) == ((4, 6), (0.3, 0.2), ("not indexed", "Iron", "Ti"))
    assert found.crystals["Ti"] == Crystal("6/mmm", (0.295, 0.295, 0.468, 90, 90, 120), "a*")
    assert (found.source["euler_frame"], found.source["warnings"]) == ("bruker", [])
    np.testing.assert_array_equal(found["phase"].ravel(), fakes.PHASE)
    expected = np.where(fakes.PHASE[:, None] > 0, from_euler(fakes.EULER), [1, 0, 0, 0])
    np.testing.assert_allclose(found["orientation"].reshape(-1, 4), expected, atol=1e-6)
    np.testing.assert_array_equal(found["bands"].ravel(), np.arange(24))
    assert hdf5.kind(tmp_path / "map.h5") == "bruker"
    with h5py.File(tmp_path / "map.h5", "a") as file:
        file["Scan 0/EBSD/Header/Coordinate Systems/ID"] = 3
    assert only(tmp_path / "map.h5").source["euler_frame"] == "unknown", "only system 5 is known"


def test_bruker_that_contradicts_itself(tmp_path: Path) -> None:
    changes = {
        "NROWS": (5, "promises a grid of 5 x 6 points but holds 24"),
        "XSTEP": (0, "does not say how far apart"),
        "Grid Type": ("hexagonal", "grid of the type 'hexagonal'"),
    }
    for name, (value, message) in changes.items():
        fakes.bruker(tmp_path / "map.h5")
        with h5py.File(tmp_path / "map.h5", "a") as file:
            del file[f"Scan 0/EBSD/Header/{name}"]
            file[f"Scan 0/EBSD/Header/{name}"] = value
        with pytest.raises(InputError, match=message):
            read(tmp_path / "map.h5")
    fakes.bruker(tmp_path / "map.h5", places="Scan 0/SEM/IX,IY")
    with h5py.File(tmp_path / "map.h5", "a") as file:
        file["Scan 0/SEM/IX"][0] += 1
    with pytest.raises(InputError, match="grid"):
        read(tmp_path / "map.h5")


def test_real_edax_file(shared_data: Path) -> None:
    """Known: 101 x 101 points 2 um apart; the last row holds invalid points only."""
    path = shared_data / "ebsd_maps/pymicro/Ti_ebsd_demo.h5"
    found = only(path)
    assert (found.shape, found.spacing, found.source["euler_frame"]) == ((101, 101), (2.0, 2.0), "edax")
    assert found.crystals == {"Titanium (Alpha)": Crystal("6/mmm", (0.295, 0.295, 0.468, 90, 90, 120))}
    with h5py.File(path) as file:
        data = file["Pattern cropped cleaned-Dil/EBSD/Data"]
        valid = data["Valid"][()].reshape(101, 101) == 0
        np.testing.assert_array_equal(found["image_quality"], data["IQ"][()].reshape(101, 101))
        angles = np.stack([data[n][()] for n in ("Phi1", "Phi", "Phi2")], axis=-1).reshape(101, 101, 3)
        image = file["Pattern cropped cleaned-Dil/SEM-PRIAS Images/Data/SEM Image"][()]
    np.testing.assert_array_equal(found["mask"], valid)
    np.testing.assert_allclose(found["orientation"][valid], from_euler(angles[valid]), atol=1e-6)
    sem = only(path, dataset="Pattern cropped cleaned-Dil/SEM-PRIAS Images/Data/SEM Image")
    np.testing.assert_array_equal(sem["intensity"], image)
    assert sem.spacing == pytest.approx((0.66271564, 0.66271564))
