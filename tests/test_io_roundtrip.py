"""What microgen writes it reads back exactly, with its scale, and other programs open it calibrated."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from microgen.core import Crystal, InputError, Microstructure
from microgen.io import FORMATS, read, read_recipe, write

RECIPE = {"command": "sample", "model": "steel.safetensors", "seed": 7, "condition": {"grain_size_um": 12.5}}

spacings = st.floats(1e-4, 50, allow_nan=False)
numbers = st.sampled_from(["u1", "u2", "i2", "i4", "u4", "f4", "f8"])
labels = st.sampled_from(["u1", "u2", "i4", "i8", "?"])


def grids(dtype: str, dims: int) -> st.SearchStrategy[Any]:
    elements = {"allow_nan": False, "allow_infinity": False} if dtype.startswith("f") else {}
    if dtype in ("i4", "i8"):
        elements = {"min_value": -5, "max_value": 60_000}
    return hnp.arrays(dtype, hnp.array_shapes(min_dims=dims, max_dims=dims, max_side=9), elements=elements)


@st.composite
def structures(draw: st.DrawFn, dtypes: st.SearchStrategy[str], dims: int, name: str) -> Microstructure:
    values = draw(grids(draw(dtypes), dims))
    spacing = tuple(draw(spacings) for _ in range(dims))
    return Microstructure({name: values}, spacing, phases=("α", "b"), scalars={"anneal_K": draw(spacings)})


def same(one: Microstructure, other: Microstructure) -> bool:
    return (
        list(one.fields) == list(other.fields)
        and all(one[n].dtype == other[n].dtype and np.array_equal(one[n], other[n]) for n in one.fields)
        and (one.spacing, one.phases, dict(one.scalars)) == (other.spacing, other.phases, dict(other.scalars))
    )


def roundtrip(tmp: Path, m: Microstructure, extension: str) -> Microstructure:
    path = tmp / f"a{extension}"
    assert write(path, m, RECIPE)
    (back,) = read(path)
    assert back.source["pixel_size"] == {"um": list(m.spacing), "origin": "microgen", "confidence": "high"}
    assert back.source["recipe"] == RECIPE == read_recipe(path)
    return back


@pytest.mark.parametrize("extension", [".tif", ".npy", ".h5"])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_numbers_come_back_exactly(
    extension: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    m = data.draw(structures(numbers, data.draw(st.sampled_from([2, 3])), "intensity"))
    assert same(roundtrip(tmp_path_factory.mktemp("r"), m, extension), m)


@given(m=structures(st.sampled_from(["u1", "u2"]), 2, "intensity"))
@settings(max_examples=30, deadline=None)
def test_png_comes_back_exactly(m: Microstructure, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert same(roundtrip(tmp_path_factory.mktemp("r"), m, ".png"), m)


@pytest.mark.parametrize("extension", [".png", ".tif", ".npy", ".h5"])
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_labels_come_back_in_their_own_type(
    extension: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    m = data.draw(structures(labels, 2, "phase"))
    if extension == ".png" and m["phase"].min() < 0:
        with pytest.raises(InputError, match="without loss"):
            write(tmp_path_factory.mktemp("r") / "a.png", m)
        return
    assert same(roundtrip(tmp_path_factory.mktemp("r"), m, extension), m)


def test_hdf5_keeps_every_field_and_the_source(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    m = Microstructure(
        {
            "grain": rng.integers(0, 9, (4, 5, 6)),
            "orientation": rng.random((4, 5, 6, 4)),
            "mine": rng.random((4, 5, 6)),
        },
        (3.0, 2.0, 1.0),
        phases=("iron",),
        source={"file": "steel.tif", "nested": {"list": [1, 2.5, None]}},
        crystals={"iron": Crystal("m-3m", (0.287, 0.287, 0.287, 90, 90, 90))},
    )
    back = roundtrip(tmp_path, m, ".h5")
    assert same(back, m)
    assert back.crystals == m.crystals
    assert back.source["source"] == dict(m.source)


@pytest.mark.parametrize("extension", [e for e, module in FORMATS.items() if hasattr(module, "write")])
def test_same_input_gives_same_bytes(extension: str, tmp_path: Path) -> None:
    values = np.arange(600, dtype=np.uint16).reshape(20, 30)
    m = Microstructure({"intensity": values}, (0.5, 0.25))
    if getattr(FORMATS[extension], "WHOLE", False):
        turned = np.tile(np.float32([0.6, 0.8, 0, 0]), (20, 30, 1))
        maps = {"phase": np.ones_like(values), "orientation": turned, "mask": np.ones_like(values), "grain": values + 1}
        iron = {"iron": Crystal("m-3m", (0.287, 0.287, 0.287, 90, 90, 90))}
        m = m.replace(fields=maps, phases=("not indexed", "iron"), crystals=iron, source={"euler_frame": "map"})
    for name in ("a", "b"):
        write(tmp_path / f"{name}{extension}", m, RECIPE)
    assert (tmp_path / f"a{extension}").read_bytes() == (tmp_path / f"b{extension}").read_bytes()
    assert not list(tmp_path.glob(".*")), "a temporary file was left"


@pytest.mark.parametrize("extension", [".png", ".tif", ".npy", ".h5"])
def test_exclusive_keeps_the_first(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{extension}"
    first, second = (Microstructure({"intensity": np.full((4, 4), v, np.uint8)}, (1, 1)) for v in (1, 2))
    assert write(path, first, exclusive=True)
    assert not write(path, second, exclusive=True)
    assert same(read(path)[0], first)
    assert write(path, second)
    assert same(read(path)[0], second)


def test_float_intensity_is_no_png(tmp_path: Path) -> None:
    m = Microstructure({"intensity": np.zeros((4, 4), np.float32)}, (1, 1))
    with pytest.raises(InputError, match=r"write \.tif or \.h5"):
        write(tmp_path / "a.png", m)
    assert not list(tmp_path.iterdir())


def test_a_picture_format_needs_one_field(tmp_path: Path) -> None:
    m = Microstructure({"phase": np.zeros((4, 4), np.uint8), "grain": np.ones((4, 4), np.uint8)}, (1, 1))
    with pytest.raises(InputError, match="phase, grain"):
        write(tmp_path / "a.png", m)
    assert write(tmp_path / "a.png", m, field="grain")
    assert list(read(tmp_path / "a.png")[0].fields) == ["grain"]


def test_orientation_does_not_fit_a_gray_picture(tmp_path: Path) -> None:
    m = Microstructure({"orientation": np.zeros((4, 4, 4))}, (1, 1))
    for extension in (".png", ".tif"):
        with pytest.raises(InputError, match=r"\.h5"):
            write(tmp_path / f"a{extension}", m)


def test_unknown_extension_lists_the_known(tmp_path: Path) -> None:
    m = Microstructure({"intensity": np.zeros((4, 4), np.uint8)}, (1, 1))
    for name in ("a.jpg", "a.gif", "a"):
        with pytest.raises(InputError, match=r"\.png, \.tif"):
            write(tmp_path / name, m)


def test_png_says_it_is_synthetic_and_how_large_its_pixels_are(tmp_path: Path) -> None:
    m = Microstructure({"intensity": np.zeros((4, 4), np.uint8)}, (0.5, 0.25))
    write(tmp_path / "a.png", m, RECIPE)
    with Image.open(tmp_path / "a.png") as image:
        assert "trainedAlgorithmicMedia" in image.text["XML:com.adobe.xmp"]
        assert json.loads(image.text["microgen:spacing_um"]) == [0.5, 0.25]
        assert image.info["dpi"] == pytest.approx((25400 / 0.25, 25400 / 0.5), rel=1e-6)
    write(tmp_path / "b.png", m, {"command": "measure"})
    with Image.open(tmp_path / "b.png") as image:
        assert "XML:com.adobe.xmp" not in image.text


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "int32"])
def test_tiff_is_calibrated_for_imagej(dtype: str, tmp_path: Path) -> None:
    values = np.arange(5 * 6 * 7).reshape(5, 6, 7).astype(dtype)
    write(tmp_path / "a.tif", Microstructure({"intensity": values}, (0.4, 0.5, 0.25)), RECIPE)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        about, tags = tif.imagej_metadata, tif.pages[0].tags
        assert (about["unit"], about["spacing"], about["slices"], about["images"]) == ("um", 0.4, 5, 5)
        x, y = (tags[code].value[0] / tags[code].value[1] for code in (282, 283))
        assert (x, y, tags[296].value) == (pytest.approx(4), pytest.approx(2), 1)
        assert np.array_equal(tif.asarray(), values)
        assert json.loads(about["Info"])["microgen:recipe"] == RECIPE
        assert b"trainedAlgorithmicMedia" in tags[700].value


def test_a_tiff_cropped_in_fiji_takes_the_scale_of_imagej(tmp_path: Path) -> None:
    """Fiji keeps our text when it saves a crop; the text then speaks of another picture."""
    m = Microstructure({"intensity": np.arange(600, dtype=np.uint16).reshape(20, 30)}, (0.5, 0.5))
    write(tmp_path / "a.tif", m, RECIPE)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        info = tif.imagej_metadata["Info"]
    meta = {"unit": "um", "Info": info}
    tifffile.imwrite(tmp_path / "b.tif", m["intensity"][:10], imagej=True, resolution=(4, 4), metadata=meta)
    (back,) = read(tmp_path / "b.tif")
    assert back.spacing == (0.25, 0.25)
    assert back.source["pixel_size"]["confidence"] == "medium"
    assert read_recipe(tmp_path / "b.tif") == RECIPE


def test_a_resized_png_has_lost_its_scale(tmp_path: Path) -> None:
    write(tmp_path / "a.png", Microstructure({"intensity": np.arange(64, dtype=np.uint8).reshape(8, 8)}, (0.5, 0.5)))
    with Image.open(tmp_path / "a.png") as image:
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        for key, text in image.text.items():
            info.add_itxt(key, text)
        image.resize((4, 4)).save(tmp_path / "b.png", pnginfo=info)
    with pytest.raises(InputError, match="no pixel size found"):
        read(tmp_path / "b.png")


def test_a_changed_array_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    write(path, Microstructure({"phase": np.zeros((4, 4), np.uint8)}, (1, 1)))
    np.save(path, np.ones((4, 4), np.uint8))
    with pytest.raises(InputError, match="was changed after"):
        read(path)


def test_hdf5_opens_in_the_plain_library(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", Microstructure({"phase": np.eye(4, dtype=np.uint8)}, (1, 2)), RECIPE)
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.array_equal(file["fields/phase"][()], np.eye(4))
        assert json.loads(file.attrs["microgen:spacing_um"]) == [1, 2]


def test_given_pixel_size_wins_over_ours_with_a_warning(tmp_path: Path) -> None:
    m = Microstructure({"intensity": np.arange(16, dtype=np.uint8).reshape(4, 4)}, (0.5, 0.5))
    for extension, given_um in itertools.product((".png", ".h5"), (0.5, 0.6)):
        write(tmp_path / f"a{extension}", m)
        (back,) = read(tmp_path / f"a{extension}", pixel_size_um=given_um)
        assert back.spacing == (given_um, given_um)
        assert len(back.source["warnings"]) == (given_um == 0.6)
