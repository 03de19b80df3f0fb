"""Volumes from bare numbers, text, folders of slices and TIFF stacks: axes, spacing, and what is refused."""

from __future__ import annotations

import runpy
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from microgen.core import InputError, Microstructure
from microgen.io import find_inputs, inspect, read, read_recipe, read_slices, write

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("volume_fakes.py"))))

RNG = np.random.default_rng(0)
VOLUME = RNG.integers(0, 200, (4, 5, 6), dtype=np.uint8)
RECIPE = {"command": "sample", "model": "a.safetensors", "seed": 1}


# bare numbers


@pytest.mark.parametrize("dtype", ["uint8", "<u2", ">u2", ">i4", "float32", ">f8", "bool"])
@pytest.mark.parametrize("shape", [(5, 6), (4, 5, 6)])
def test_bare_numbers(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    values = (RNG.random(shape) * 2).astype(dtype)
    values.tofile(tmp_path / "a.raw")
    spacing = (3, 2, 1)[-len(shape) :]
    (m,) = read(tmp_path / "a.raw", raw_shape=shape, raw_dtype=dtype, pixel_size_um=spacing)
    assert m.spacing == spacing
    assert m["intensity"].dtype == np.dtype(dtype).newbyteorder("=")
    assert np.array_equal(m["intensity"], values)


def test_bare_numbers_as_pictures(tmp_path: Path) -> None:
    VOLUME.tofile(tmp_path / "a.bin")
    how: dict[str, Any] = {"raw_shape": (4, 5, 6), "raw_dtype": "u1", "pixel_size_um": 1}
    pages = read(tmp_path / "a.bin", volume=False, **how)
    assert [page.shape for page in pages] == [(5, 6)] * 4
    assert np.array_equal(pages[3]["intensity"], VOLUME[3])
    with pytest.raises(InputError, match="no pixel size"):
        read(tmp_path / "a.bin", raw_shape=(4, 5, 6), raw_dtype="u1")


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        (None, None, "is 120 bare bytes; say what they are"),
        ((4, 5, 6), None, "is 120 bare bytes"),
        ((3, 5, 6), "u1", r"120 bytes, and 3 x 5 x 6 .* are 90 bytes \(\+30\); what would fit: 4 x 5 x 6"),
        ((4, 5, 6), "u2", "are 240 bytes .*: 2 x 5 x 6 values of uint16, or 4 x 5 x 6 values of 8 bits"),
        ((2, 5, 6), "u1", "4 x 5 x 6 values of uint8, or 2 x 5 x 6 values of 16 bits"),
        ((7, 17), "u1", "a header of 1 bytes"),
        ((7, 7, 7), "u1", "no grid with this slice fits"),
        ((4, 5, 6), "O", "raw_dtype is a type of numbers"),
        ((4, 5, 6), "u1,u1", "raw_dtype is a type of numbers"),
        ((4, 5, 6), "banana", "got 'banana'"),
        ((4, -5, 6), "u1", "raw_shape"),
    ],
)
def test_bare_numbers_that_do_not_fit(
    shape: tuple[int, ...] | None, dtype: str | None, message: str, tmp_path: Path
) -> None:
    VOLUME.tofile(tmp_path / "a.raw")
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.raw", raw_shape=shape, raw_dtype=dtype, pixel_size_um=1)


def test_tomography_of_sand(shared_data: Path) -> None:
    """The file of one grain holds 122 slices where its name says 121."""
    folder = shared_data / "volume_sand_xct"
    sand = folder / "sand_200x200x100_uint8.raw"
    (m,) = read(sand, raw_shape=(100, 200, 200), raw_dtype="uint8", pixel_size_um=1)
    assert np.array_equal(m["intensity"], np.fromfile(sand, np.uint8).reshape(100, 200, 200))
    grain = folder / "grain1_112x112x121_uint8.raw"
    with pytest.raises(InputError, match=r"has 1530368 bytes.*1517824 bytes \(\+12544\).*122 x 112 x 112"):
        read(grain, raw_shape=(121, 112, 112), raw_dtype="uint8", pixel_size_um=1)
    (m,) = read(grain, raw_shape=(122, 112, 112), raw_dtype="uint8", pixel_size_um=1)
    assert set(np.unique(m["intensity"])) == {0, 1}


# text


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("0 1 1\n1 0 0\n", "u1"),
        ("  0\t1\t1\n1\t0\t0", "u1"),
        ("0,1,1\n1,0,0\n", "u1"),
        ("0;1;1;\r\n1;0;0;\r\n", "u1"),
        ("# a comment\n0 1 1 # more\n\n1 0 0\n", "u1"),
        ("\ufeff0 1 1\n1 0 0", "u1"),
        ("0.0 1.0 1.0\n1e0 0 0\n", "f8"),
        ("0,0;1,0;1,0\n1,0;0,0;0,0\n", "f8"),
    ],
)
def test_matrices_of_text(text: str, dtype: str, tmp_path: Path) -> None:
    for name in ("a.txt", "a.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (m,) = read(tmp_path / name, pixel_size_um=1)
        assert m["intensity"].dtype == dtype
        assert m["intensity"].tolist() == [[0, 1, 1], [1, 0, 0]]


@given(
    values=hnp.arrays("i8", hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6)),
    mark=st.sampled_from(" ,;\t"),
)
@settings(max_examples=40, deadline=None)
def test_whole_numbers_of_any_size(values: Any, mark: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("t") / "a.txt"
    np.savetxt(path, values, fmt="%d", delimiter=mark)
    assert np.array_equal(read(path, pixel_size_um=1)[0]["intensity"], values)


@given(values=hnp.arrays("f8", (3, 4), elements=st.floats(allow_nan=False, allow_infinity=False)))
@settings(max_examples=40, deadline=None)
def test_floats_come_back_exactly(values: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("t") / "a.csv"
    np.savetxt(path, values, fmt="%.17g", delimiter=",")
    assert np.array_equal(read(path, pixel_size_um=1)[0]["intensity"], values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3\n4 5\n", "no matrix of numbers"),
        ("grain area\n1 2\n", "no matrix of numbers"),
        ("# only a comment\n", "no numbers"),
        ("1 2 3\n", "1 x 3 numbers"),
        ("1 2\n3 nan\n", "NaN"),
        ("1 2\n3 99999999999999999999\n", "no matrix of numbers"),
        ("1 \u00e4\n", "no table of plain numbers"),
    ],
)
def test_other_text_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.txt", pixel_size_um=1)


def test_only_matrices_count_as_pictures_in_a_folder(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a.txt", np.eye(12), fmt="%d")
    (tmp_path / "notes.txt").write_text("Pressure 3 bar\nvoltage 20\n")
    np.savetxt(tmp_path / "profile.csv", np.ones((50, 2)), delimiter=",")
    VOLUME.tofile(tmp_path / "a.raw")
    with pytest.warns(UserWarning, match=r"3 files .* a\.raw, notes\.txt, profile\.csv"):
        assert find_inputs([tmp_path]) == [tmp_path / "a.txt"]


def test_a_simulated_polymer_blend(shared_data: Path) -> None:
    path = next((shared_data / "two_phase_2d" / "pymks").glob("data_*.txt"))
    (m,) = read(path, pixel_size_um=1)
    expected = np.loadtxt(path)
    assert m["intensity"].dtype == np.uint8
    assert np.array_equal(m["intensity"], expected)


# slices


def _save(folder: Path, values: Any = VOLUME, name: str = "slice_{}.png") -> Path:
    folder.mkdir()
    for z, page in enumerate(values):
        Image.fromarray(page).save(folder / name.format(z))
    return folder


def test_a_folder_of_slices_is_a_volume(tmp_path: Path) -> None:
    values = RNG.integers(0, 200, (12, 5, 6), dtype=np.uint8)
    folder = _save(tmp_path / "in", values)
    m = read_slices(folder, pixel_size_um=(3, 2, 1))
    assert m.spacing == (3, 2, 1)
    assert np.array_equal(m["intensity"], values)  # slice_10 comes after slice_9
    assert m.source["slices"][10] == "slice_10.png"
    files = [folder / f"slice_{z}.png" for z in (4, 2, 9)]
    assert np.array_equal(read_slices(files, pixel_size_um=1)["intensity"], values[[4, 2, 9]])


def test_slices_keep_the_field_that_microgen_wrote(tmp_path: Path) -> None:
    for z in range(3):
        m = Microstructure({"phase": VOLUME[z].astype(np.int64)}, (2, 1), ("a", "b"))
        write(tmp_path / f"{z}.png", m, RECIPE)
    back = read_slices(tmp_path, pixel_size_um=(3, 2, 1))
    assert (list(back.fields), back["phase"].dtype, back.phases) == (["phase"], np.int64, ("a", "b"))


def test_a_pixel_size_that_contradicts_the_slices_is_said_once(tmp_path: Path) -> None:
    for z in range(3):
        write(tmp_path / f"{z}.png", Microstructure({"intensity": VOLUME[z]}, (2, 1)))
    assert read_slices(tmp_path, pixel_size_um=(3, 2, 1)).source["warnings"] == []
    (warning,) = read_slices(tmp_path, pixel_size_um=(3, 1, 1)).source["warnings"] or ("",)
    assert "contradicts" in warning


def test_a_missing_slice_is_noticed(tmp_path: Path) -> None:
    folder = _save(tmp_path / "in", RNG.integers(0, 9, (8, 3, 3), dtype=np.uint8), name="scan1_z{:04d}.tif")
    read_slices(folder, pixel_size_um=1)
    (folder / "scan1_z0005.tif").unlink()
    with pytest.raises(InputError, match=r"after scan1_z0004.tif comes scan1_z0006.tif"):
        read_slices(folder, pixel_size_um=1)
    for z in (1, 3, 7):
        (folder / f"scan1_z000{z}.tif").unlink()
    assert read_slices(folder, pixel_size_um=1).shape == (4, 3, 3)  # every second one is a choice, not a gap


def test_slices_that_differ_are_refused(tmp_path: Path) -> None:
    folder = _save(tmp_path / "in")
    Image.fromarray(VOLUME[0, :4]).save(folder / "slice_2.png")
    with pytest.raises(InputError, match=r"slice_2.png has the size \(4, 6\), and slice_0.png has \(5, 6\)"):
        read_slices(folder, pixel_size_um=1)
    Image.fromarray(VOLUME[0].astype(np.uint16)).save(folder / "slice_2.png")
    with pytest.raises(InputError, match=r"slice_2.png has the type uint16"):
        read_slices(folder, pixel_size_um=1)
    (folder / "slice_2.png").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"slice_2.png"):
        read_slices(folder, pixel_size_um=1)
    (folder / "slice_2.png").unlink()
    tifffile.imwrite(folder / "slice_2.tif", VOLUME[:2])
    with pytest.raises(InputError, match="a stack or a volume, not one slice"):
        read_slices(folder, pixel_size_um=1)


def test_slices_need_two_pictures_and_a_voxel_size(tmp_path: Path) -> None:
    folder = _save(tmp_path / "in", VOLUME[:1])
    with pytest.raises(InputError, match="two slices at least"):
        read_slices(folder, pixel_size_um=1)
    with pytest.raises(InputError, match="no folder"):
        read_slices(folder / "slice_0.png", pixel_size_um=1)
    with pytest.raises(InputError, match="one positive number or 3"):
        read_slices(_save(tmp_path / "two"), pixel_size_um=(2, 1))


# TIFF


def test_three_phases_of_an_electrode(shared_data: Path) -> None:
    path = next((shared_data / "volume_nmc_electrode").glob("*.tif"))
    (m,) = read(path, volume=True, pixel_size_um=(0.8, 0.4, 0.4))
    assert (m.shape, m.spacing) == ((251, 301, 301), (0.8, 0.4, 0.4))
    assert np.unique(m["intensity"]).tolist() == [0, 1, 2]
    assert np.array_equal(m["intensity"], tifffile.imread(path))


def test_stacks_of_imagej_and_ome_keep_their_distance_of_slices(tmp_path: Path) -> None:
    meta = {"unit": "um", "spacing": 0.4, "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, imagej=True, resolution=(4, 2), metadata=meta)
    sizes = {f"PhysicalSize{axis}": um for axis, um in zip("ZYX", (400.0, 500.0, 250.0), strict=True)}
    units = {f"PhysicalSize{axis}Unit": "nm" for axis in "ZYX"}
    tifffile.imwrite(tmp_path / "b.ome.tif", VOLUME, ome=True, metadata={"axes": "ZYX", **sizes, **units})
    for name in ("a.tif", "b.ome.tif"):
        (m,) = read(tmp_path / name, volume=True)
        assert m.spacing == pytest.approx((0.4, 0.5, 0.25))
        assert np.array_equal(m["intensity"], VOLUME)
        assert [page.spacing for page in read(tmp_path / name)] == [pytest.approx((0.5, 0.25))] * 4


def test_hyperstacks_are_no_volume(tmp_path: Path) -> None:
    """Their pages go through channels or frames too, which would become slices."""
    stack = RNG.integers(0, 255, (4, 3, 5, 6), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "ZCYX"})
    tifffile.imwrite(tmp_path / "b.ome.tif", stack, ome=True, metadata={"axes": "TZYX"}, photometric="minisblack")
    for name, held in (("a.tif", "3 channels and 4 slices"), ("b.ome.tif", "3 slices and 4 frames")):
        with pytest.raises(InputError, match=f"has {held}, which are not the slices of one volume"):
            read(tmp_path / name, volume=True, pixel_size_um=1)
        assert len(read(tmp_path / name, pixel_size_um=1)) == 12
    tifffile.imwrite(tmp_path / "c.tif", VOLUME, imagej=True, metadata={"axes": "TYX"})
    assert read(tmp_path / "c.tif", volume=True, pixel_size_um=1)[0].shape == VOLUME.shape, "one axis is enough"


def test_one_page_and_coloured_stacks(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", VOLUME[0])
    (m,) = read(tmp_path / "a.tif", volume=True, pixel_size_um=(3, 2, 1))
    assert m.shape == (1, 5, 6)
    assert read(tmp_path / "a.tif", pixel_size_um=1)[0].shape == (5, 6)
    tifffile.imwrite(tmp_path / "b.tif", RNG.integers(0, 200, (4, 5, 6, 3), dtype=np.uint8), photometric="rgb")
    with pytest.raises(InputError, match="colour pages, which make no volume"):
        read(tmp_path / "b.tif", volume=True, pixel_size_um=1)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "uint32", "float32", "float64", "bool"])
@pytest.mark.parametrize("shape", [(5, 6), (4, 5, 6), (1, 5, 6)])
def test_ome_tiff(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    m = Microstructure(
        {"n": RNG.integers(0, 2, shape).astype(dtype)}, (0.1, 2e-5, 3.5)[-len(shape) :], ("a<b>",), {"T": 1.5}
    )
    write(tmp_path / "a.ome.tif", m, RECIPE)
    (back,) = read(tmp_path / "a.ome.tif")
    assert fakes.same_fields(back, m)
    assert read_recipe(tmp_path / "a.ome.tif") == RECIPE
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        assert tif.is_ome
        (series,) = tif.series
        assert np.array_equal(series.asarray().reshape(shape), m["n"])
        assert len(tif.pages) == (shape[0] if len(shape) == 3 else 1)
        pixels = next(node for node in ElementTree.fromstring(tif.ome_metadata).iter() if node.tag.endswith("Pixels"))
        assert b"trainedAlgorithmicMedia" in tif.pages[0].tags[700].value
    found = [float(pixels.attrib[f"PhysicalSize{axis}"]) for axis in "XYZ"[: len(shape)]]
    assert tuple(found[::-1]) == m.spacing
    assert pixels.attrib["PhysicalSizeXUnit"] == "\u00b5m"


def test_an_ome_tiff_without_our_header_keeps_its_scale(tmp_path: Path) -> None:
    write(tmp_path / "a.ome.tif", Microstructure({"intensity": VOLUME}, (0.4, 0.5, 0.25)))
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        text = tif.ome_metadata
    tifffile.imwrite(
        tmp_path / "b.tif", VOLUME[:, :4], description=text.encode(), metadata=None, photometric="minisblack"
    )
    (m,) = read(tmp_path / "b.tif", volume=True)
    assert (list(m.fields), m.spacing) == (["intensity"], (0.4, 0.5, 0.25))


def test_what_ome_tiff_cannot_hold(tmp_path: Path) -> None:
    big = Microstructure({"grain": np.full((4, 4), 1 << 40)}, (1, 1))
    with pytest.raises(InputError, match="without loss"):
        write(tmp_path / "a.ome.tif", big)
    turned = Microstructure({"orientation": np.zeros((4, 4, 4))}, (1, 1))
    with pytest.raises(InputError, match="has channels"):
        write(tmp_path / "a.ome.tif", turned)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_files_over_four_gigabytes_become_bigtiff(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library decides by size; here it is told that the limit is passed."""
    original = tifffile.TiffWriter.__init__

    def big(self: Any, file: Any, *, bigtiff: Any = None, **rest: Any) -> None:
        seen.append(bigtiff)
        original(self, file, bigtiff=True, **rest)

    seen: list[Any] = []
    monkeypatch.setattr(tifffile.TiffWriter, "__init__", big)
    m = Microstructure({"intensity": VOLUME}, (0.4, 0.5, 0.25))
    write(tmp_path / name, m, RECIPE)
    assert seen == [False] or seen == [None]
    assert (tmp_path / name).read_bytes()[:4] == b"II\x2b\0"
    assert fakes.same_fields(read(tmp_path / name)[0], m)


def test_inspect_knows_the_new_formats(tmp_path: Path) -> None:
    VOLUME.tofile(tmp_path / "a.raw")
    assert inspect(tmp_path / "a.raw", raw_shape=(4, 5, 6), raw_dtype="u1")["shape"] == [4, 5, 6]
    write(tmp_path / "a.ome.tif", Microstructure({"intensity": VOLUME}, (1, 1, 1)))
    assert inspect(tmp_path / "a.ome.tif")["kind"] == "sample"


# damage


def _raw(path: Path) -> None:
    VOLUME.tofile(path)


def _text(path: Path) -> None:
    np.savetxt(path, RNG.random((9, 8)), fmt="%.3f")


def _integers(path: Path) -> None:
    np.savetxt(path, RNG.integers(0, 300, (9, 8)), fmt="%d", delimiter=";")


def _ome(path: Path) -> None:
    write(path, Microstructure({"phase": VOLUME}, (0.4, 0.5, 0.25)), RECIPE)


RAW = {"raw_shape": (4, 5, 6), "raw_dtype": "u1"}
BUILDERS: dict[str, tuple[Callable[[Path], None], dict[str, Any]]] = {
    "a.raw": (_raw, RAW),
    "a.txt": (_text, {}),
    "a.csv": (_integers, {}),
    "a.ome.tif": (_ome, {}),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_mutants(name: str, tmp_path: Path) -> None:
    build, how = BUILDERS[name]
    fakes.check_mutants(build, tmp_path / name, 150, pixel_size_um=1, **how)


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILDERS)
def test_many_mutants(name: str, tmp_path: Path) -> None:
    build, how = BUILDERS[name]
    fakes.check_mutants(build, tmp_path / name, 2000, pixel_size_um=1, **how)


def test_a_long_line_is_looked_at_in_no_time(tmp_path: Path) -> None:
    """Every comma might be a decimal point: a careless pattern would try all 2^20000 ways."""
    (tmp_path / "a.csv").write_text("1," * 20_000 + "x\n" + "1 2\n")
    np.savetxt(tmp_path / "b.txt", np.eye(9), fmt="%d")
    with pytest.warns(UserWarning, match=r"a\.csv"):
        assert find_inputs([tmp_path]) == [tmp_path / "b.txt"]
