"""VTK images: what we write VTK reads, what VTK writes we read, and hostile files are refused."""

from __future__ import annotations

import base64
import re
import runpy
import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from microgen.core import InputError, Microstructure
from microgen.io import inspect, read, read_recipe, write

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("volume_fakes.py"))))

RECIPE = {"command": "synth", "kind": "polycrystal", "note": "a < b & 'c' \u00e4"}
TYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "?"]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_field_comes_back(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    dims = data.draw(st.sampled_from([2, 3]))
    shape = data.draw(hnp.array_shapes(min_dims=dims, max_dims=dims, max_side=7))
    finite = {"allow_nan": False, "allow_infinity": False}
    fields = {
        f"f\u00fcld <{i}> & \"co'": data.draw(hnp.arrays(t, shape, elements=finite if "f" in t else None))
        for i, t in enumerate(data.draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=4)))
    }
    spacing = tuple(data.draw(st.floats(1e-5, 1e4)) for _ in shape)
    m = Microstructure(fields, spacing, ("\u03b1", "b"), {"T_K": data.draw(st.floats(-1e9, 1e9))})
    path = tmp_path_factory.mktemp("v") / "a.vti"
    write(path, m, RECIPE)
    (back,) = read(path)
    assert fakes.same_fields(back, m)
    assert back.source["recipe"] == RECIPE == read_recipe(path)


@pytest.mark.parametrize("shape", [(5, 6), (4, 5, 6)])
def test_a_polycrystal_comes_back_with_phases_and_crystals(shape: tuple[int, ...], tmp_path: Path) -> None:
    m = fakes.polycrystal(shape, voids=True, scatter=True)
    write(tmp_path / "a.vti", m)
    (back,) = read(tmp_path / "a.vti")
    assert fakes.same_fields(back, m)
    assert inspect(tmp_path / "a.vti")["kind"] == "sample"
    write(tmp_path / "b.vti", m, field="grain")
    assert list(read(tmp_path / "b.vti")[0].fields) == ["grain"]


def test_a_large_array_has_many_blocks(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 9, (70, 80, 90)).astype(np.int64)
    m = Microstructure({"grain": values, "b": values > 3}, (1, 1, 1))
    write(tmp_path / "a.vti", m)
    assert fakes.same_fields(read(tmp_path / "a.vti")[0], m)


def _vtk() -> Any:
    pytest.importorskip("vtk")
    import vtk

    return vtk


def _read_by_vtk(path: Path) -> Any:
    reader = _vtk().vtkXMLImageDataReader()
    reader.SetFileName(str(path))
    reader.Update()
    return reader.GetOutput()


@pytest.mark.parametrize("shape", [(5, 6), (4, 5, 6)])
def test_vtk_reads_what_we_write(shape: tuple[int, ...], tmp_path: Path) -> None:
    _vtk()
    from vtk.util.numpy_support import vtk_to_numpy

    m = fakes.polycrystal(shape)
    write(tmp_path / "a.vti", m, RECIPE)
    image = _read_by_vtk(tmp_path / "a.vti")
    assert image.GetNumberOfCells() == np.prod(shape)
    assert image.GetSpacing()[: len(shape)] == m.spacing[::-1]
    assert image.GetOrigin() == (0, 0, 0)
    for name, values in m.fields.items():
        array = image.GetCellData().GetArray(name)
        assert np.array_equal(vtk_to_numpy(array).reshape(values.shape), values)
    assert image.GetCellData().GetArray("orientation").GetComponentName(3) == "z"
    corner = [0, 0, 0]
    image.GetPoint(1, corner)
    assert corner == [m.spacing[-1], 0, 0]  # the second point lies along x, the last axis


def _image(points: bool = False) -> tuple[Any, dict[str, np.ndarray[Any, Any]]]:
    """An image made by VTK with one array of every type it has."""
    vtk = _vtk()
    from vtk.util.numpy_support import numpy_to_vtk

    rng = np.random.default_rng(1)
    arrays = {f"a_{t}": rng.integers(0, 100, (4, 5, 6)).astype(t) for t in TYPES if t not in ("?", "f2")}
    arrays["v"] = rng.integers(0, 99, (4, 5, 6, 3)) / 16  # few digits: VTK writes six as text
    image = vtk.vtkImageData()
    image.SetDimensions(*((6, 5, 4) if points else (7, 6, 5)))
    image.SetSpacing(0.5, 0.25, 2)
    image.SetOrigin(1, 2, 3)
    for name, values in arrays.items():
        array = numpy_to_vtk(values.reshape(120, -1).squeeze(), deep=True)
        array.SetName(name)
        (image.GetPointData() if points else image.GetCellData()).AddArray(array)
    return image, arrays


def _check(found: Microstructure, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    for name, values in arrays.items():
        if name == "v":
            assert all(np.array_equal(found[f"v_{i}"], values[..., i]) for i in range(3))
        else:
            assert found[name].dtype == values.dtype
            assert np.array_equal(found[name], values), name


@pytest.mark.parametrize("points", [False, True], ids=["cells", "points"])
def test_everything_vtk_writes_is_read(points: bool, tmp_path: Path) -> None:
    image, arrays = _image(points)
    writer = _vtk().vtkXMLImageDataWriter()
    path = tmp_path / "b.vti"
    for mode, packed, encoded, order, width in product((0, 1, 2), (0, 1), (0, 1), (0, 1), (32, 64)):
        writer.SetInputData(image)
        writer.SetDataMode(mode)
        writer.SetCompressorTypeToZLib() if packed else writer.SetCompressorTypeToNone()
        writer.SetEncodeAppendedData(encoded)
        writer.SetByteOrder(order)
        writer.SetHeaderType(width)
        writer.SetBlockSize(64)
        writer.SetFileName(str(path))
        writer.Write()
        (found,) = read(path, pixel_size_um=(2, 0.25, 0.5))
        _check(found, arrays)
        assert found.source["origin"] == [3, 2, 1]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("points", [False, True], ids=["cells", "points"])
@pytest.mark.parametrize("version", [42, 51])
def test_legacy_files_of_vtk_are_read(binary: bool, points: bool, version: int, tmp_path: Path) -> None:
    image, arrays = _image(points)
    writer = _vtk().vtkStructuredPointsWriter()
    writer.SetInputData(image)
    writer.SetFileTypeToBinary() if binary else writer.SetFileTypeToASCII()
    writer.SetFileVersion(version)
    writer.SetFileName(str(tmp_path / "a.vtk"))
    writer.Write()
    (found,) = read(tmp_path / "a.vtk", pixel_size_um=(2, 0.25, 0.5))
    _check(found, arrays)
    with pytest.raises(InputError, match="VTK spacing, which has no unit"):
        read(tmp_path / "a.vtk")


def test_what_paraview_saves_again_keeps_our_header(tmp_path: Path) -> None:
    vtk = _vtk()
    m = fakes.polycrystal((4, 5, 6))
    write(tmp_path / "a.vti", m, RECIPE)
    writer = vtk.vtkXMLImageDataWriter()
    for mode, packed in product((0, 1, 2), (0, 1)):
        writer.SetInputData(_read_by_vtk(tmp_path / "a.vti"))
        writer.SetDataMode(mode)
        writer.SetCompressorTypeToZLib() if packed else writer.SetCompressorTypeToNone()
        writer.SetFileName(str(tmp_path / "b.vti"))
        writer.Write()
        (back,) = read(tmp_path / "b.vti")
        assert fakes.same_fields(back, m)
        assert back.source["recipe"] == RECIPE


ASCII = """<VTKFile type="ImageData" byte_order="LittleEndian">
<ImageData WholeExtent="{extent}" Origin="0 0 0" Spacing="0.5 0.25 2"{more}><Piece Extent="{extent}">
<{kind}><DataArray type="{type}" Name="{name}" format="ascii">{values}</DataArray></{kind}>
</Piece></ImageData></VTKFile>"""


def _ascii(path: Path, **changes: str) -> Path:
    usual = {"extent": "0 3 0 2 0 1", "kind": "CellData", "type": "Int32", "name": "id", "more": ""}
    path.write_text(ASCII.format(**{**usual, "values": "1 2 3 4 5 6", **changes}))
    return path


def test_one_array_is_an_intensity_and_its_spacing_only_a_hint(tmp_path: Path) -> None:
    path = _ascii(tmp_path / "a.vti")
    with pytest.raises(InputError, match=r"--pixel-size-um"):
        read(path)
    assert inspect(path)["pixel_sizes"][0]["um"] == [2.0, 0.25, 0.5]
    (m,) = read(path, pixel_size_um=(2, 0.25, 0.5))
    assert m["intensity"].tolist() == [[[1, 2, 3], [4, 5, 6]]]
    (flat,) = read(path, pixel_size_um=1, volume=False)
    assert flat["intensity"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert inspect(_ascii(path, extent="0 3 0 2 0 0"))["pixel_sizes"][0]["um"] == [0.25, 0.5]
    (m,) = read(path, pixel_size_um=(0.25, 0.5))
    assert m["intensity"].tolist() == [[1, 2, 3], [4, 5, 6]]
    (m,) = read(_ascii(path, extent="4 6 -1 0 5 5", kind="PointData"), pixel_size_um=1)
    assert m["intensity"].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_an_image_that_paraview_resampled(tmp_path: Path) -> None:
    """Its values stand on points; the only array of cells says which are blank."""
    ghosts = '<CellData><DataArray type="UInt8" Name="vtkGhostType" format="ascii">0 32</DataArray></CellData>'
    path = _ascii(tmp_path / "a.vti", extent="0 2 0 1 0 0", kind="PointData")
    path.write_text(path.read_text().replace("<PointData>", ghosts + "<PointData>"))
    (m,) = read(path, pixel_size_um=1)
    assert (m["intensity"].tolist(), m.source["warnings"]) == ([[1, 2, 3], [4, 5, 6]], [])
    legacy = [
        "# vtk DataFile Version 3.0", "resampled", "ASCII", "DATASET STRUCTURED_POINTS", "DIMENSIONS 3 2 1",
        "SPACING 1 1 1", "CELL_DATA 2", "SCALARS vtkGhostType unsigned_char", "LOOKUP_TABLE default", "0 32",
        "POINT_DATA 6", "SCALARS id int", "LOOKUP_TABLE default", "1 2 3 4 5 6", "",
    ]  # fmt: skip
    (tmp_path / "a.vtk").write_text("\n".join(legacy))
    (m,) = read(tmp_path / "a.vtk", pixel_size_um=1)
    assert (m["intensity"].tolist(), m.source["warnings"]) == ([[1, 2, 3], [4, 5, 6]], [])


def test_labels_stored_as_floats(tmp_path: Path) -> None:
    path = _ascii(tmp_path / "a.vti", type="Float32", name="grain")
    (m,) = read(path, pixel_size_um=1)
    assert (m["grain"].dtype, int(m["grain"].max())) == (np.int64, 6)
    with pytest.raises(InputError, match="should hold labels and holds fractions"):
        read(_ascii(path, type="Float32", name="grain", values="1 2 3 4 5 6.5"), pixel_size_um=1)


REFUSED = {
    "6 numbers are announced and 5": {"values": "1 2 3 4 5"},
    "announced and 7 are there": {"values": "1 2 3 4 5 6 7"},
    "no whole number stands": {"values": "1 2 x 4 5 6"},
    "do not fit the type uint8": {"type": "UInt8", "values": "1 2 3 4 5 256"},
    "a negative number": {"type": "UInt64", "values": "1 2 3 4 5 -1"},
    "turned in space": {"more": ' Direction="0 1 0 1 0 0 0 0 1"'},
    "holds nothing": {"extent": "0 3 0 -2 0 1"},
    "Extent should be 6 numbers": {"extent": "0 3 0 2"},
    "NaN or infinite": {"type": "Float64", "values": "1 2 3 4 5 nan"},
    "no arrays of numbers": {"type": "String"},
}


@pytest.mark.parametrize("message", REFUSED)
def test_contradictions_are_refused(message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(_ascii(tmp_path / "a.vti", **REFUSED[message]), pixel_size_um=1)
    assert "a.vti" in str(caught.value)


def _bomb(shape: tuple[int, int, int], data: bytes, announced: tuple[int, int, int]) -> str:
    head = np.array([*announced, len(data)], "<u4").tobytes()
    text = (base64.b64encode(head) + base64.b64encode(data)).decode()
    extent = " ".join(f"0 {n}" for n in shape)
    body = ASCII.format(extent=extent, kind="CellData", type="UInt8", name="a", values=text, more="")
    body = body.replace('format="ascii"', 'format="binary"')
    return body.replace('byte_order="LittleEndian"', 'compressor="vtkZLibDataCompressor"')


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.vti"
    packed = zlib.compress(bytes(1 << 24))
    path.write_text(_bomb((4096, 4096, 64), packed, (1, 1 << 30, 0)))
    with pytest.raises(InputError, match="max_pixels"):
        read(path, pixel_size_um=1)
    path.write_text(_bomb((10, 10, 10), packed, (1, 1000, 0)))
    with pytest.raises(InputError, match="block of another size"):
        read(path, pixel_size_um=1)
    path.write_text(_bomb((10, 10, 10), packed, (1, 1 << 24, 0)))
    with pytest.raises(InputError, match="needs 1000 bytes"):
        read(path, pixel_size_um=1)
    path.write_text(_bomb((10, 10, 10), packed, (4_000_000_000, 0, 1000)))
    with pytest.raises(InputError, match=r"truncated|hold"):
        read(path, pixel_size_um=1)


@pytest.mark.parametrize("declared", ['<!DOCTYPE x [<!ENTITY a "aaaa">]>', '<!DOCTYPE x SYSTEM "file:///etc/passwd">'])
def test_entities_are_refused(declared: str, tmp_path: Path) -> None:
    path = _ascii(tmp_path / "a.vti")
    path.write_text(f'<?xml version="1.0"?>{declared}' + path.read_text())
    with pytest.raises(InputError, match="declares XML entities"):
        read(path, pixel_size_um=1)


def test_other_vtk_files_say_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.vti"
    path.write_text('<VTKFile type="UnstructuredGrid"></VTKFile>')
    with pytest.raises(InputError, match="UnstructuredGrid"):
        read(path, pixel_size_um=1)
    (tmp_path / "a.vtk").write_text("# vtk DataFile Version 3.0\nx\nASCII\nDATASET POLYDATA\n")
    with pytest.raises(InputError, match="POLYDATA"):
        read(tmp_path / "a.vtk", pixel_size_um=1)


LEGACY = """# vtk DataFile Version 2.0
a title
ASCII
DATASET STRUCTURED_POINTS
DIMENSIONS 3 2 1
ASPECT_RATIO 0.5 0.25 1
ORIGIN 0 0 0
POINT_DATA 6
SCALARS grain int 1
LOOKUP_TABLE colours
1 2 3
4 5 6
LOOKUP_TABLE colours 2
0 0 0 1
1 1 1 1
VECTORS u double
1 0 0 2 0 0 3 0 0
4 0 0 5 0 0 6 0 7
"""


def test_an_old_legacy_file(tmp_path: Path) -> None:
    (tmp_path / "a.vtk").write_text(LEGACY)
    (m,) = read(tmp_path / "a.vtk", pixel_size_um=0.5)
    assert inspect(tmp_path / "a.vtk")["pixel_sizes"][0]["um"] == [0.25, 0.5]
    assert m["grain"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert m["u_0"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert m["u_2"][1, 2] == 7
    for wrong, message in (("DIMENSIONS 3 2 2", "its grid has 12"), ("SCALARS grain bit", "type 'bit'")):
        (tmp_path / "a.vtk").write_text(re.sub(wrong[:10] + r"\S* .*", wrong, LEGACY))
        with pytest.raises(InputError, match=message):
            read(tmp_path / "a.vtk", pixel_size_um=0.5)


def _own_vti(path: Path) -> None:
    write(path, fakes.polycrystal((3, 5, 4)), RECIPE)


def _legacy(path: Path) -> None:
    path.write_text(LEGACY)


def _legacy_binary(path: Path) -> None:
    head = LEGACY[: LEGACY.index("1 2 3")].replace("ASCII", "BINARY")
    path.write_bytes(head.encode() + np.arange(6, dtype=">i4").tobytes() + b"\n")


BUILDERS: dict[str, Callable[[Path], Any]] = {
    "own.vti": _own_vti,
    "ascii.vti": _ascii,
    "legacy.vtk": _legacy,
    "binary.vtk": _legacy_binary,
}


@pytest.mark.parametrize("name", BUILDERS)
def test_mutants(name: str, tmp_path: Path) -> None:
    fakes.check_mutants(BUILDERS[name], tmp_path / name, 150, pixel_size_um=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILDERS)
def test_many_mutants(name: str, tmp_path: Path) -> None:
    fakes.check_mutants(BUILDERS[name], tmp_path / name, 2000, pixel_size_um=1)


def test_a_header_names_types_of_numbers_only(tmp_path: Path) -> None:
    m = Microstructure({"phase": np.zeros((4, 5), np.uint8)}, (1, 1))
    write(tmp_path / "a.vti", m)
    text = (tmp_path / "a.vti").read_text()
    codes = re.search(r"<Array type=\"String\".*?>\n(.*)\n</Array>", text)
    assert codes is not None
    header = bytes(int(code) for code in codes[1].split()).replace(b'"uint8"', b'"S99999999"')
    (tmp_path / "a.vti").write_text(text.replace(codes[1], " ".join(map(str, header))))
    with pytest.raises(InputError, match="which is no number"):
        read(tmp_path / "a.vti")
