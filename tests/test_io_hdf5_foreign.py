"""HDF5 of other programs: any array by its path, folders, and damaged files of every kind."""

from __future__ import annotations

import random
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.orientations import from_euler
from microgen.io import dream3d, find_inputs, hdf5, inspect, read, read_recipe, scan_inputs, write

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("hdf5_fakes.py"))))


def only(path: Path, **options: Any) -> Microstructure:
    (found,) = read(path, **options)
    return found


@pytest.mark.parametrize(
    ("name", "dataset", "shape"),
    [
        ("Ti64-200x200_data.h5", "CellData/grain_map", (200, 200)),
        ("Ti_ebsd_demo_data.h5", "/CellData/dilated_grain_map", (101, 101)),
        ("t5_dct_slice_data.h5", "CellData/grain_map", (654, 654)),
    ],
)
def test_real_pymicro_arrays(name: str, dataset: str, shape: tuple[int, ...], shared_data: Path) -> None:
    path = shared_data / "ebsd_maps/pymicro" / name
    with pytest.raises(InputError, match=r"it holds \d arrays: .*CellData/grain_map \d+ x \d+.*; pass --dataset"):
        read(path, pixel_size_um=1)
    found = only(path, dataset=dataset, pixel_size_um=1)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(found["intensity"], file[dataset][()].reshape(shape))


def test_the_only_array_needs_no_name(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 1000, (30, 40), dtype=np.uint16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["deep/inside/image"] = image
        file["deep/stiffness"] = np.eye(6)
        file["deep/names"] = ["a", "b"]
        file["axis"] = np.arange(100)
    found = only(tmp_path / "a.h5", pixel_size_um=0.5)
    np.testing.assert_array_equal(found["intensity"], image)
    assert (found["intensity"].dtype, found.source["bit_depth"]) == (np.uint16, 16)
    with pytest.raises(InputError, match="pixel size"):
        read(tmp_path / "a.h5")
    assert read_recipe(tmp_path / "a.h5") is None
    assert inspect(tmp_path / "a.h5")["shape"] == [30, 40]
    np.testing.assert_array_equal(
        only(tmp_path / "a.h5", dataset="deep/stiffness", pixel_size_um=1)["intensity"], np.eye(6)
    )
    for name, message in {
        "axis": r"axis has the shape \(100,\); a 2-D or 3-D array is needed",
        "deep": r"has no data set 'deep'; it holds 1 arrays: deep/inside/image 30 x 40 uint16",
        "deep/names": "holds no numbers in /deep/names",
        "no": "has no data set 'no'",
    }.items():
        with pytest.raises(InputError, match=message):
            read(tmp_path / "a.h5", dataset=name, pixel_size_um=1)


def test_volumes_colours_and_stacks(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).random((9, 10, 11)).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("volume", data=volume, chunks=True)
        file["colour"] = np.repeat(np.arange(200, dtype=np.uint8).reshape(10, 20, 1), 3, axis=2)
        file["three"] = volume[:, :, :3]
        file["thin"] = volume[..., None, None]
    found = only(tmp_path / "a.h5", dataset="volume", pixel_size_um=(3, 2, 1))
    np.testing.assert_array_equal(found["intensity"], volume)
    assert found.spacing == (3, 2, 1)
    assert len(read(tmp_path / "a.h5", dataset="volume", pixel_size_um=1, volume=False)) == 9
    np.testing.assert_array_equal(only(tmp_path / "a.h5", dataset="thin", pixel_size_um=1)["intensity"], volume)
    assert only(tmp_path / "a.h5", dataset="colour", pixel_size_um=1).shape == (10, 20)
    with pytest.raises(InputError, match="a colour picture or a thin volume"):
        read(tmp_path / "a.h5", dataset="three", pixel_size_um=1)
    assert only(tmp_path / "a.h5", dataset="three", pixel_size_um=1, volume=True).shape == (9, 10, 3)


def test_nothing_that_could_be_a_picture(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["table"] = np.zeros(3, [("x", "f4")])
    with pytest.raises(InputError, match=r"a\.h5: it holds no array of numbers that could be a picture or volume"):
        read(tmp_path / "a.h5", pixel_size_um=1)


def test_data_sets_of_microgen_are_no_pictures(tmp_path: Path) -> None:
    from microgen.data import Item, write_dataset

    picture = Microstructure({"intensity": np.zeros((16, 16), np.uint8)}, (1, 1))
    write_dataset(tmp_path / "steel.h5", [Item("a", picture, "a", "train")], {})
    with pytest.raises(InputError, match=r"steel\.h5 is a data set of microgen"):
        read(tmp_path / "steel.h5")
    assert hdf5.kind(tmp_path / "steel.h5") == "dataset"


def test_folders_take_maps_and_samples_but_no_arrays(tmp_path: Path) -> None:
    fakes.edax(tmp_path / "map.h5")
    fakes.oina(tmp_path / "map.h5oina")
    write(tmp_path / "own.h5", Microstructure({"phase": np.zeros((8, 8), int)}, (1, 1)))
    with h5py.File(tmp_path / "array.h5", "w") as file:
        file["image"] = np.zeros((20, 20))
    (tmp_path / "broken.h5").write_bytes(b"x" * 100)
    readable, stray = scan_inputs([tmp_path])
    assert [path.name for path in readable] == ["map.h5", "map.h5oina", "own.h5"]
    assert {path.name for path in stray} == {"array.h5", "broken.h5"}
    assert find_inputs([tmp_path / "array.h5"]) == [tmp_path / "array.h5"], "given by name it is taken"


def _generic(path: Path) -> None:
    with h5py.File(path, "w") as file:
        image = np.random.default_rng(0).integers(0, 255, (40, 30), dtype=np.uint8)
        file.create_dataset("g/image", data=image, compression="gzip", chunks=(16, 16), shuffle=True)
        file["g"].attrs["a"] = np.arange(5)
        file["names"] = ["x", "y"]


def _dream3d(version: str) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        orientation = from_euler(np.random.default_rng(0).random((3, 5, 4, 3))).astype(np.float32)
        fields = {"phase": np.ones((3, 5, 4), np.uint8), "orientation": orientation, "grain": np.ones((3, 5, 4), int)}
        structure = Microstructure(fields, (1, 1, 1), ("not indexed", "a"), crystals={"a": Crystal("m-3m")})
        dream3d.write(path, structure, None, version=version)  # type: ignore[arg-type]

    return build


FILES: dict[str, Callable[[Path], None]] = {
    "map.h5oina": lambda path: fakes.oina(path, processed=True, image=True),
    "edax.h5": fakes.edax,
    "bruker.h5": lambda path: fakes.bruker(path, places="Scan 0/SEM/IX,IY"),
    "seven.dream3d": _dream3d("7.0"),
    "eight.dream3d": _dream3d("8.0"),
    "array.h5": _generic,
}


def mutant(data: bytes, rng: random.Random) -> bytes:
    """Overwrite, delete or insert a few bytes, half of them near the start."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(len(changed) if rng.random() < 0.5 else min(len(changed), 2048))
        kind = rng.random()
        if kind < 0.8:
            changed[at] = rng.choice([rng.randrange(256), 0, 127, 128, 255])
        elif kind < 0.9:
            del changed[at : at + rng.randrange(1, 16)]
        else:
            changed[at:at] = rng.randbytes(rng.randrange(1, 8))
    return bytes(changed)


def fuzz(path: Path, seed: int, count: int) -> int:
    """Read mutants; only the one error that names the file is allowed. Return how many were refused."""
    FILES[path.name](path)
    data, rng, refused = path.read_bytes(), random.Random(seed), 0
    for _ in range(count):
        path.write_bytes(mutant(data, rng))
        refused += is_refused(path)
    return refused


def is_refused(path: Path) -> bool:
    try:
        read(path, pixel_size_um=1)
    except InputError as error:
        if str(path) not in str(error):
            pytest.fail(f"the error does not name the file: {error}")
        return True
    return False


@pytest.mark.parametrize("name", FILES)
def test_mutants_give_an_error_or_a_structure(name: str, tmp_path: Path) -> None:
    assert fuzz(tmp_path / name, 0, 40) > 10


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_many_mutants(name: str, tmp_path: Path) -> None:
    assert fuzz(tmp_path / name, 1, 500) > 100


@pytest.mark.parametrize("name", FILES)
def test_truncated_anywhere_is_an_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    FILES[name](path)
    data = path.read_bytes()
    for percent in range(0, 100, 10):
        path.write_bytes(data[: len(data) * percent // 100])
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            read(path, pixel_size_um=1)
