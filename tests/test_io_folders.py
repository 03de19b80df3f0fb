"""From files and folders to the list of what can be read."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from microgen.core import InputError, Microstructure
from microgen.io import find_inputs, scan_inputs, write


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path, format="PNG")
    return path


def names(folder: Path, paths: list[Path]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_natural_order_subfolders_and_case(tmp_path: Path) -> None:
    for name in ("img10.png", "img2.PNG", "Img1.Tif", "b/x.jpeg", "b/a 2.bmp", "a/z.TIFF", "ünïcode.png"):
        picture(tmp_path / name)
    expected = ["a/z.TIFF", "b/a 2.bmp", "b/x.jpeg", "Img1.Tif", "img2.PNG", "img10.png", "ünïcode.png"]
    assert names(tmp_path, find_inputs([tmp_path])) == expected


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    for name in ("a.png", ".b.png", "._a.png", ".git/c.png", "__MACOSX/d.png"):
        picture(tmp_path / name)
    assert scan_inputs([tmp_path]) == ([tmp_path / "a.png"], [])


def test_stray_files_are_reported_not_fatal(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for name in ("notes.txt", "Thumbs.db", "sub/table.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert names(tmp_path, scan_inputs([tmp_path])[1]) == ["notes.txt", "sub/table.csv", "Thumbs.db"]
    with pytest.warns(UserWarning, match=r"3 files cannot be read and were left out: notes\.txt"):
        assert find_inputs([tmp_path]) == [tmp_path / "a.png"]


def test_files_that_describe_a_picture_are_not_stray(tmp_path: Path) -> None:
    picture(tmp_path / "a.tif")
    for name in ("a.txt", "a-tif.hdr"):
        (tmp_path / name).write_text("x")
    write(tmp_path / "b.npy", Microstructure({"phase": np.eye(3, dtype=np.uint8)}, (1, 1)))
    assert scan_inputs([tmp_path]) == ([tmp_path / "a.tif", tmp_path / "b.npy"], [])


def test_hdf5_counts_only_if_it_is_a_sample(tmp_path: Path) -> None:
    write(tmp_path / "sample.h5", Microstructure({"phase": np.eye(3, dtype=np.uint8)}, (1, 1)))
    with h5py.File(tmp_path / "dataset.h5", "w") as file:
        file.attrs["format"] = "microgen-dataset"
    (tmp_path / "broken.h5").write_bytes(b"")
    found, stray = scan_inputs([tmp_path])
    assert names(tmp_path, found) == ["sample.h5"]
    assert names(tmp_path, stray) == ["broken.h5", "dataset.h5"]


def test_arrays_in_hdf5_are_read_where_they_are_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["a"], file["b"] = np.eye(20), np.ones((20, 20))
    with pytest.raises(InputError, match=r"nothing that can be read; arrays .*scan\.h5\) is given by name.*--dataset"):
        find_inputs([tmp_path])
    picture(tmp_path / "a.png")
    with pytest.warns(UserWarning, match=r"left out: scan\.h5; arrays .* by name, of several the --dataset PATH"):
        assert find_inputs([tmp_path]) == [tmp_path / "a.png"]
    assert find_inputs([tmp_path / "scan.h5"]) == [tmp_path / "scan.h5"]


def test_files_that_are_only_written_are_not_offered_for_reading(tmp_path: Path) -> None:
    (tmp_path / "mesh.inp").write_text("*HEADING")
    for path in (tmp_path, tmp_path / "mesh.inp"):
        with pytest.raises(InputError, match=r"known are \.png") as refusal:
            find_inputs([path])
        assert ".inp" not in str(refusal.value).partition("known are")[2]
    picture(tmp_path / "a.png")
    assert scan_inputs([tmp_path]) == ([tmp_path / "a.png"], [tmp_path / "mesh.inp"])


def test_nothing_appears_twice_and_order_of_arguments_is_kept(tmp_path: Path) -> None:
    a, b = picture(tmp_path / "x/a.png"), picture(tmp_path / "b.png")
    assert find_inputs([b, tmp_path, a]) == [b, a]


def test_folder_with_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="holds nothing that can be read; known are"):
        find_inputs([tmp_path])
    (tmp_path / "scan.raw").write_bytes(bytes(64))
    with pytest.raises(
        InputError, match=r"only bare numbers, whose grid no file tells: give the file .*scan\.raw by name"
    ):
        find_inputs([tmp_path])


def test_named_files_must_exist_and_be_readable(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png does not exist"):
        find_inputs([tmp_path / "a.png"])
    (tmp_path / "notes.doc").write_text("x")
    with pytest.raises(InputError, match=r"notes\.doc is not a file that can be read"):
        find_inputs([tmp_path / "notes.doc"])
    with pytest.raises(InputError, match="no input files"):
        find_inputs([])
