"""DREAM.3D files: round trips, the layout that other programs look for, and what they themselves read."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.orientations import from_euler, quaternions, random_orientations, rotations, to_euler
from microgen.io import dream3d, dream3d_write, read, read_recipe, write

VERSIONS = ("7.0", "8.0")
CELLS = {"7.0": "DataContainers/ImageDataContainer/CellData", "8.0": "DataStructure/ImageDataContainer/CellData"}
ENSEMBLES = {version: path.replace("CellData", "CellEnsembleData") for version, path in CELLS.items()}
RECIPE = {"command": "synth", "seed": 3}
SUPPORTED = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


def polycrystal(shape: tuple[int, ...] = (3, 5, 4), seed: int = 0) -> Microstructure:
    """Grains with one orientation each in two phases, some of them not indexed."""
    random = np.random.default_rng(seed)
    grain = random.integers(0, 9, shape)
    phase = random.integers(0, 3, 9).astype(np.uint8)[grain]
    orientation = random_orientations(random, 9)[grain].astype(np.float32)
    orientation[phase == 0] = [1, 0, 0, 0]
    fields = {
        "phase": phase,
        "mask": (phase > 0).astype(np.uint8),
        "orientation": orientation,
        "band_contrast": random.integers(0, 255, shape).astype(np.uint8),
        "grain": grain,
        "confidence_index": random.random(shape).astype(np.float32),
    }
    crystals = {"ferrite": Crystal("m-3m", (0.287,) * 3 + (90.0,) * 3), "Ti": Crystal("6/mmm")}
    spacing = (0.1, 0.3, 0.7)[-len(shape) :]
    source = {"euler_frame": "map", "origin_um": [0.5, 0.25, 2.0][-len(shape) :]}
    return Microstructure(fields, spacing, ("not indexed", "ferrite", "Ti"), {"anneal_K": 900.5}, source, crystals)


def save(path: Path, structure: Microstructure, version: str = "7.0", recipe: Any = None) -> Path:
    dream3d.write(path, structure, recipe, version=version)  # type: ignore[arg-type]
    return path


def only(path: Path, **options: Any) -> Microstructure:
    (found,) = read(path, **options)
    return found


def foreign(path: Path) -> Path:
    """Take our header away, so that the file is as another program would write it."""
    with h5py.File(path, "a") as file:
        del file["microgen"]
    return path


def same(found: Microstructure, given: Microstructure) -> None:
    assert list(found.fields) == list(given.fields)
    for name, values in given.fields.items():
        assert found[name].dtype == values.dtype, name
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    assert (found.spacing, found.phases, dict(found.scalars)) == (given.spacing, given.phases, dict(given.scalars))
    assert dict(found.crystals) == dict(given.crystals)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shape", [(3, 5, 4), (6, 7), (1, 4, 5), (1, 1, 1)])
def test_round_trip_is_exact(version: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    structure = polycrystal(shape)
    path = save(tmp_path / "a.dream3d", structure, version, RECIPE)
    found = only(path)
    same(found, structure)
    assert found.source["recipe"] == read_recipe(path) == RECIPE
    assert found.source["euler_frame"] == "map"
    again = save(tmp_path / "b.dream3d", structure.replace(fields=found.fields), version, RECIPE)
    assert again.read_bytes() == path.read_bytes()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), version=st.sampled_from(VERSIONS))
def test_any_field_of_numbers_comes_back(tmp_path: Path, data: st.DataObject, version: str) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=3, max_side=4))
    dtype = data.draw(st.sampled_from([*SUPPORTED, "float16", ">f4", ">i8"]))
    finite = {"allow_nan": False, "allow_infinity": False} if np.dtype(dtype).kind == "f" else {}
    values = data.draw(hnp.arrays(dtype, shape, elements=finite or None))
    spacing = data.draw(st.tuples(*[st.floats(1e-6, 1e4)] * len(shape)))
    structure = Microstructure({"strain": values}, spacing)
    found = only(save(tmp_path / "a.dream3d", structure, version))
    assert found.spacing == structure.spacing
    assert found["strain"].dtype.name == values.dtype.name
    np.testing.assert_array_equal(found["strain"], values)


def test_io_write_takes_version_7(tmp_path: Path) -> None:
    write(tmp_path / "a.dream3d", polycrystal(), RECIPE)
    assert (tmp_path / "a.dream3d").read_bytes() == save(
        tmp_path / "b.dream3d", polycrystal(), "7.0", RECIPE
    ).read_bytes()
    write(tmp_path / "c.dream3d", polycrystal(), field="grain")
    assert list(only(tmp_path / "c.dream3d").fields) == ["grain"]


def test_mask_takes_points_away(tmp_path: Path) -> None:
    structure = polycrystal()
    good = structure["phase"] == 1
    found = only(foreign(save(tmp_path / "a.dream3d", structure.with_fields(mask=good.astype(np.uint8)))))
    np.testing.assert_array_equal(found["mask"], good)
    np.testing.assert_array_equal(found["phase"], good)
    assert (found["orientation"][~good] == [1, 0, 0, 0]).all()


@pytest.mark.parametrize("version", VERSIONS)
def test_without_our_header_it_reads_as_any_other_file(version: str, tmp_path: Path) -> None:
    structure = polycrystal()
    found = only(foreign(save(tmp_path / "a.dream3d", structure, version)))
    for name in ("phase", "mask", "orientation", "grain", "band_contrast", "confidence_index"):
        np.testing.assert_array_equal(found[name], structure[name], err_msg=name)
    assert found.spacing == (0.1, 0.3, 0.7), "the shortest decimals of single precision"
    assert found.phases == structure.phases
    assert found.crystals == structure.crystals
    assert found.source["euler_frame"] == "unknown"
    assert "pass --euler-frame" in found.source["warnings"][0]
    assert found.source["origin_um"] == [0.5, 0.25, 2.0]
    assert found.source["version"] == version
    assert only(tmp_path / "a.dream3d", euler_frame="edax").source["euler_frame"] == "edax"


@pytest.mark.parametrize("version", VERSIONS)
def test_edited_angles_win_over_old_quaternions(version: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.dream3d", polycrystal(), version)
    angles = np.random.default_rng(5).random((3, 5, 4, 3)).astype(np.float32)
    with h5py.File(path, "a") as file:
        file[CELLS[version]]["EulerAngles"][...] = angles
    expected = from_euler(angles)
    np.testing.assert_allclose(only(path)["orientation"], expected, atol=1e-6)
    foreign(path)
    indexed = polycrystal()["phase"] > 0
    np.testing.assert_allclose(only(path)["orientation"][indexed], expected[indexed], atol=1e-6)
    with h5py.File(path, "a") as file:
        del file[CELLS[version]]["Quats"]
    np.testing.assert_allclose(only(path)["orientation"][indexed], expected[indexed], atol=1e-6)


def test_angles_and_quaternions_say_the_same() -> None:
    """Bunge's angles, and DREAM.3D's passive quaternions (x, y, z, w) by Rowenhorst et al. (2015), eq. A.6, P = +1."""
    orientation = random_orientations(np.random.default_rng(0), 1000)
    phi1, tilt, phi2 = dream3d_write._euler(orientation).astype(float).T
    c, s = np.cos(tilt / 2), np.sin(tilt / 2)
    half_sum, half_difference = (phi1 + phi2) / 2, (phi1 - phi2) / 2
    w, x = c * np.cos(half_sum), -s * np.cos(half_difference)
    y, z = -s * np.sin(half_difference), -c * np.sin(half_sum)
    expected = np.stack([x, y, z, w], axis=-1) * np.where(w < 0, -1, 1)[:, None]
    np.testing.assert_allclose(dream3d_write._passive(orientation), expected, atol=1e-6)


def test_angles_stay_inside_their_ranges_in_single_precision() -> None:
    edge = from_euler([[2 * np.pi - 1e-9, np.pi, 0], [2 * np.pi - 1e-9, 1.0, 2 * np.pi - 1e-9], [0, np.pi - 1e-9, 0]])
    angles = dream3d_write._euler(edge)
    assert angles.dtype == np.float32
    assert (angles.astype(float) <= [2 * np.pi, np.pi, 2 * np.pi]).all()
    np.testing.assert_allclose(to_euler(edge), angles, atol=1e-6)


def test_layout_of_version_7(tmp_path: Path) -> None:
    with h5py.File(save(tmp_path / "a.dream3d", polycrystal())) as file:
        assert file.attrs["FileVersion"] == b"7.0"
        geometry = file["DataContainers/ImageDataContainer/_SIMPL_GEOMETRY"]
        assert geometry.attrs["GeometryTypeName"] == b"ImageGeometry"
        assert geometry["DIMENSIONS"][()].tolist() == [4, 5, 3]
        assert geometry["DIMENSIONS"].dtype == np.int64
        np.testing.assert_array_equal(geometry["SPACING"], np.float32([0.7, 0.3, 0.1]))
        np.testing.assert_array_equal(geometry["ORIGIN"], np.float32([2.0, 0.25, 0.5]))
        cells = file[CELLS["7.0"]]
        assert cells.attrs["AttributeMatrixType"].tolist() == [3]
        assert cells.attrs["TupleDimensions"].tolist() == [4, 5, 3]
        kinds = {name: (data.shape, data.dtype.name, data.attrs["ObjectType"]) for name, data in cells.items()}
        assert kinds["EulerAngles"] == ((3, 5, 4, 3), "float32", b"DataArray<float>")
        assert kinds["Quats"] == ((3, 5, 4, 4), "float32", b"DataArray<float>")
        assert kinds["FeatureIds"] == ((3, 5, 4, 1), "int32", b"DataArray<int32_t>")
        assert kinds["Phases"] == ((3, 5, 4, 1), "int32", b"DataArray<int32_t>")
        assert kinds["Mask"] == ((3, 5, 4, 1), "uint8", b"DataArray<bool>")
        assert {"BC", "Confidence Index"} <= set(kinds)
        assert cells["EulerAngles"].attrs["ComponentDimensions"].tolist() == [3]
        assert cells["EulerAngles"].attrs["Tuple Axis Dimensions"] == b"x=4,y=5,z=3"
        ensembles = file[ENSEMBLES["7.0"]]
        assert ensembles.attrs["AttributeMatrixType"].tolist() == [11]
        assert ensembles["CrystalStructures"][()].tolist() == [[999], [1], [0]]
        assert list(ensembles["PhaseName"][()]) == [b"Unknown Phase Type", b"ferrite", b"Ti"]
        np.testing.assert_allclose(ensembles["LatticeConstants"][1], [2.87] * 3 + [90] * 3, rtol=1e-6)
        assert json.loads(file["Pipeline/Pipeline"][()])["PipelineBuilder"]["Number_Filters"] == 0


def test_layout_of_version_8(tmp_path: Path) -> None:
    with h5py.File(save(tmp_path / "a.dream3d", polycrystal(), "8.0")) as file:
        assert file.attrs["FileVersion"] == b"8.0"
        geometry = file["DataStructure/ImageDataContainer"]
        assert geometry.attrs["_DIMENSIONS"].tolist() == [4, 5, 3]
        np.testing.assert_array_equal(geometry.attrs["_SPACING"], np.float32([0.7, 0.3, 0.1]))
        assert geometry.attrs["ObjectType"] == b"ImageGeom"
        assert geometry.attrs["Cell Data ID"] == geometry["CellData"].attrs["ObjectId"]
        assert geometry["CellData"].attrs["TupleDims"].tolist() == [3, 5, 4]
        assert geometry["CellData/EulerAngles"].attrs["ObjectType"] == b"DataArray<float32>"
        assert geometry["CellData/EulerAngles"].attrs["TupleDimensions"].tolist() == [3, 5, 4]
        assert geometry["CellEnsembleData/PhaseName"].attrs["ObjectType"] == b"StringArray"
        numbers: list[int] = []
        geometry.visititems(lambda name, thing: numbers.append(int(thing.attrs["ObjectId"])))
        numbers.append(int(geometry.attrs["ObjectId"]))
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), "every object has a number of its own"
        assert file["DataStructure"].attrs["NextObjectId"] == len(numbers) + 1
        assert json.loads(file["Pipeline/Pipeline"][()])["pipeline"] == []


@pytest.mark.parametrize("laue", dream3d_write.STRUCTURES)
def test_every_laue_group(laue: str, tmp_path: Path) -> None:
    fields = {"phase": np.ones((2, 2), int), "orientation": from_euler(np.zeros((2, 2, 3)))}
    structure = Microstructure(fields, (1, 1), ("not indexed", "a"), crystals={"a": Crystal(laue)})
    assert only(foreign(save(tmp_path / "a.dream3d", structure))).crystals == {"a": Crystal(laue)}


@pytest.mark.parametrize("version", VERSIONS)
def test_phases_that_count_from_zero_are_written_from_one(version: str, tmp_path: Path) -> None:
    structure = Microstructure({"phase": np.array([[0, 1], [1, 0]])}, (1, 1), ("matrix", "carbide"))
    path = save(tmp_path / "a.dream3d", structure, version)
    with h5py.File(path) as file:
        assert file[CELLS[version]]["Phases"][0, ..., 0].tolist() == [[1, 2], [2, 1]]
        assert list(file[ENSEMBLES[version]]["PhaseName"])[1:] == [b"matrix", b"carbide"]
    same(only(path), structure)
    assert only(foreign(path)).phases == ("not indexed", "matrix", "carbide")


def test_without_phases_all_cells_get_one(tmp_path: Path) -> None:
    structure = Microstructure({"grain": np.arange(6).reshape(2, 3)}, (1, 1))
    path = save(tmp_path / "a.dream3d", structure)
    with h5py.File(path) as file:
        assert (file[CELLS["7.0"]]["Phases"][()] == 1).all()
    same(only(path), structure)
    found = only(foreign(path))
    assert found.phases == ("not indexed", "phase 1")


def test_crystals_are_written_with_x_along_a(tmp_path: Path) -> None:
    """As DREAM.3D and DAMASK have them: 30 degrees about c from where Oxford's x lies, in hexagonal crystals only."""
    structure = polycrystal()
    oxford = structure.replace(crystals={name: replace(c, x_along="a*") for name, c in structure.crystals.items()})
    path = save(tmp_path / "a.dream3d", oxford)
    found = only(path)
    assert {crystal.x_along for crystal in found.crystals.values()} == {"a"}
    titanium = structure["phase"] == 2
    np.testing.assert_array_equal(found["orientation"][~titanium], structure["orientation"][~titanium])
    turn = Rotation.from_euler("Z", -30, degrees=True)
    expected = quaternions(rotations(structure["orientation"][titanium]) * turn)
    np.testing.assert_allclose(found["orientation"][titanium], expected, atol=1e-6)
    again = save(tmp_path / "b.dream3d", oxford.replace(fields=found.fields, crystals=found.crystals))
    assert again.read_bytes() == path.read_bytes()


def test_frame_that_is_not_that_of_the_grid_is_warned_of(tmp_path: Path) -> None:
    structure = polycrystal().replace(source={"euler_frame": "edax"})
    with pytest.warns(UserWarning, match="orientations are in the frame 'edax'"):
        save(tmp_path / "a.dream3d", structure)
    assert only(tmp_path / "a.dream3d").source["euler_frame"] == "edax"


def test_slice_is_as_thick_as_a_pixel_is_wide(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dream3d", polycrystal((6, 7)))
    with h5py.File(path) as file:
        geometry = file["DataContainers/ImageDataContainer/_SIMPL_GEOMETRY"]
        assert geometry["DIMENSIONS"][()].tolist() == [7, 6, 1]
        np.testing.assert_array_equal(geometry["SPACING"], np.float32([0.7, 0.3, 0.7]))
    foreign(path)
    assert only(path).shape == (6, 7)
    assert only(path, volume=True).shape == (1, 6, 7)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "a.dream3d"
    for fields, message in (
        ({"grain": np.array([[1 << 40, 0]])}, "renumber"),
        ({"Phases": np.zeros((2, 2)), "phase": np.zeros((2, 2), int)}, "rename"),
        ({"a/b": np.zeros((2, 2))}, "rename"),
    ):
        with pytest.raises(InputError, match=message):
            write(path, Microstructure(fields, (1, 1)))
        assert not path.exists()


def test_real_file_without_voxels_says_what_it_holds(shared_data: Path) -> None:
    path = shared_data / "ebsd_maps/simplnx/LegacyData.dream3d"
    with pytest.raises(InputError, match=r"holds no voxel image.* there is only NeighborList \(27914\)") as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("version", VERSIONS)
def test_several_geometries_ask_for_a_name(version: str, tmp_path: Path) -> None:
    path = foreign(save(tmp_path / "a.dream3d", polycrystal(), version))
    with h5py.File(path, "a") as file:
        top = file["DataContainers" if version == "7.0" else "DataStructure"]
        file.copy(top["ImageDataContainer"], top, "Second")
        top["Second/CellData/FeatureIds"][...] = 77
    with pytest.raises(InputError, match=r"ImageDataContainer \(3 x 5 x 4 cells\), Second \(3 x 5 x 4 cells\); pass"):
        read(path)
    assert (only(path, dataset="Second")["grain"] == 77).all()
    assert (only(path, dataset=f"{top_name(version)}/ImageDataContainer")["grain"] < 9).all()
    with pytest.raises(InputError, match="has no image geometry 'Fourth'"):
        read(path, dataset="Fourth")
    with h5py.File(path, "a") as file:
        top = file[top_name(version)]
        top["Second/CellEnsembleData/CrystalStructures"][1] = 0
        file.copy(top["Second"], top, "Third")
        del top["Third/CellEnsembleData"]
    assert only(path, dataset="Second").crystals["ferrite"].laue == "6/mmm", "each has phases of its own"
    assert not only(path, dataset="Third").crystals, "nobody knows whose phases it has"
    array = f"{CELLS[version]}/FeatureIds"
    found = only(path, dataset=array)
    np.testing.assert_array_equal(found["intensity"], polycrystal()["grain"])
    assert found.spacing == (0.1, 0.3, 0.7)


def top_name(version: str) -> str:
    return "DataContainers" if version == "7.0" else "DataStructure"


def test_arrays_of_other_kinds(tmp_path: Path) -> None:
    """Vectors become one field per component, known names of another shape are passed over."""
    path = foreign(save(tmp_path / "a.dream3d", polycrystal()))
    colours = np.random.default_rng(0).integers(0, 255, (3, 5, 4, 3), dtype=np.uint8)
    with h5py.File(path, "a") as file:
        cells = file[CELLS["7.0"]]
        cells["IPFColor"] = colours
        del cells["FeatureIds"]
        cells["FeatureIds"] = np.zeros((3, 5, 4, 2), np.int32)
        file[ENSEMBLES["7.0"]].move("PhaseName", "MaterialName")
    found = only(path)
    np.testing.assert_array_equal(found["IPFColor_1"], colours[..., 1])
    assert "grain" not in found
    assert found.phases == ("not indexed", "ferrite", "Ti")


def test_damaged_geometry_and_header(tmp_path: Path) -> None:
    path = foreign(save(tmp_path / "a.dream3d", polycrystal()))
    with h5py.File(path, "a") as file:
        file["DataContainers/ImageDataContainer/_SIMPL_GEOMETRY/SPACING"][0] = -1
    with pytest.raises(InputError, match="image geometry of 3 x 5 x 4 cells"):
        read(path)
    path = save(tmp_path / "b.dream3d", polycrystal())
    with h5py.File(path, "a") as file:
        file["microgen"][...] = b"[1]"
    with pytest.raises(InputError, match="header of microgen is damaged"):
        read(path)
    with h5py.File(tmp_path / "c.dream3d", "w") as file:
        file["image"] = np.zeros((20, 20))
    with pytest.raises(InputError, match=r"is no DREAM\.3D file"):
        read(tmp_path / "c.dream3d")


ORACLE = """
import json, sys
import damask, numpy as np
path = sys.argv[1]
cellwise = damask.GeomGrid.load_DREAM3D(path)
grains = damask.GeomGrid.load_DREAM3D(path, "FeatureIds")
material = damask.ConfigMaterial.load_DREAM3D(path)
parts = [m["constituents"][0] for m in material["material"]]
print(json.dumps({
    "cells": grains.cells.tolist(), "size": grains.size.tolist(), "origin": grains.origin.tolist(),
    "grain": grains.material.tolist(), "material": cellwise.material.tolist(),
    "O": [np.asarray(p["O"]).tolist() for p in parts], "phase": [str(p["phase"]) for p in parts],
}))
"""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shape", [(3, 5, 4), (6, 7)])
def test_damask_reads_what_was_written(version: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    oracle = os.environ.get("MICROGEN_ORACLE_PYTHON")
    if not oracle:
        pytest.skip("set MICROGEN_ORACLE_PYTHON to a Python that has damask")
    structure = polycrystal(shape)
    path = save(tmp_path / "a.dream3d", structure, version)
    done = subprocess.run([oracle, "-c", ORACLE, path], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    cells = (1,) * (3 - len(shape)) + shape
    spacing = (structure.spacing[-1],) * (3 - len(shape)) + structure.spacing
    assert found["cells"] == list(cells[::-1])
    np.testing.assert_allclose(found["size"], (np.multiply(cells, spacing))[::-1], rtol=1e-6)
    np.testing.assert_allclose(found["origin"], [2.0, 0.25, 0.5 * (len(shape) == 3)])
    np.testing.assert_array_equal(np.transpose(found["grain"]), structure["grain"].reshape(cells))
    material = np.transpose(found["material"])
    given = structure["orientation"].reshape(*cells, 4)
    np.testing.assert_allclose(np.abs((np.array(found["O"])[material] * given).sum(axis=-1)), 1, atol=1e-6)
    names = np.array(found["phase"])[material]
    expected = np.array(["Unknown Phase Type", *structure.phases[1:]])[structure["phase"]].reshape(cells)
    np.testing.assert_array_equal(names, expected)
