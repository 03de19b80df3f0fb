"""Values are kept as recorded: bit depth, colour, polarity, orientation, stacks; what cannot be kept is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from microgen.core import InputError, Microstructure
from microgen.io import read, suggest_crop_bottom, write

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (40, 60), dtype=np.uint8)
GRAY16 = RNG.integers(0, 65536, (40, 60), dtype=np.uint16)


def first(path: Path, **options: Any) -> Microstructure:
    return read(path, **{"pixel_size_um": 0.5, **options})[0]


@pytest.mark.parametrize("values", [GRAY, GRAY16], ids=["8", "16"])
@pytest.mark.parametrize("extension", ["png", "tif"])
def test_bit_depth_is_kept(values: Any, extension: str, tmp_path: Path) -> None:
    Image.fromarray(values).save(tmp_path / f"a.{extension}")
    m = first(tmp_path / f"a.{extension}")
    assert m["intensity"].dtype == values.dtype
    assert np.array_equal(m["intensity"], values)
    assert m.source["bit_depth"] == 8 * values.itemsize
    top = float(np.mean(values == 2 ** (8 * values.itemsize) - 1))
    assert m.source["saturation"] == {"low": float(np.mean(values == 0)), "high": top}


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint32", "float16", "float32", "float64"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_other_tiff_types_are_kept(dtype: str, order: str, tmp_path: Path) -> None:
    values = (RNG.random((9, 8)) * 100).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, byteorder=order)
    m = first(tmp_path / "a.tif")
    assert m["intensity"].dtype == np.dtype(dtype)
    assert m["intensity"].dtype.isnative
    assert np.array_equal(m["intensity"], values)


def png(path: Path, width: int, bits: int, colour_type: int, rows: list[bytes]) -> None:
    """Write a PNG by hand, for kinds that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("extension", ["png", "tif"])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_few_bits_keep_their_values(bits: int, extension: str, white_is_zero: bool, tmp_path: Path) -> None:
    values = RNG.integers(0, 2**bits, (5, 8), dtype=np.uint8)
    packed = np.packbits(np.unpackbits(values[..., None], axis=-1)[..., 8 - bits :].reshape(5, -1), axis=-1)
    path = tmp_path / f"a.{extension}"
    if extension == "png":
        png(path, 8, bits, 0, [row.tobytes() for row in packed])
    else:
        tifffile.imwrite(path, packed, metadata=None, photometric="miniswhite" if white_is_zero else "minisblack")
        with tifffile.TiffFile(path, mode="r+") as tif:
            tif.pages[0].tags[256].overwrite(8)
            tif.pages[0].tags[258].overwrite(bits)
    m = first(path)
    turned = white_is_zero and extension == "tif"
    assert np.array_equal(m["intensity"], 2**bits - 1 - values if turned else values)
    assert m.source["bit_depth"] == bits


def test_12_bit_camera_in_tiff_reports_its_depth(tmp_path: Path) -> None:
    """A 12-bit strip is packed; the values reach 4095 and that is their saturation."""
    values = np.array([[0, 4095], [17, 4095]], np.uint16)
    packed = np.array([0x00, 0x0F, 0xFF, 0x01, 0x1F, 0xFF], np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((2, 3), np.uint8), metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tags = tif.pages[0].tags
        tags[256].overwrite(2)
        tags[258].overwrite(12)
        offset = tif.pages[0].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + 6] = packed.tobytes()
    path.write_bytes(data)
    m = first(path)
    assert np.array_equal(m["intensity"], values)
    assert m.source["bit_depth"] == 12
    assert m.source["saturation"]["high"] == 0.5


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", None])
@pytest.mark.parametrize("values", [GRAY, GRAY16], ids=["8", "16"])
def test_tiff_compressions(compression: str | None, values: Any, tmp_path: Path) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif", compression=compression)
    assert np.array_equal(first(tmp_path / "a.tif")["intensity"], values)


def test_lzw_stack_reads_every_page(tmp_path: Path) -> None:
    pages = [Image.fromarray(GRAY16 // k) for k in (1, 2, 3)]
    pages[0].save(tmp_path / "a.tif", compression="tiff_lzw", save_all=True, append_images=pages[1:])
    found = read(tmp_path / "a.tif", pixel_size_um=1)
    assert [np.array_equal(m["intensity"], GRAY16 // k) for m, k in zip(found, (1, 2, 3), strict=True)] == [True] * 3
    assert [(m.source["page"], m.source["pages"]) for m in found] == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_white_is_zero_is_turned_round(dtype: Any, top: int, tmp_path: Path) -> None:
    values = GRAY.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    assert np.array_equal(first(tmp_path / "a.tif")["intensity"], top - values)


def test_white_is_zero_through_pillow_has_the_same_polarity(tmp_path: Path) -> None:
    """CCITT pictures are white-is-zero and need Pillow: bright must be high there too."""
    Image.fromarray((GRAY >> 7) * 255).convert("1").save(tmp_path / "a.tif", compression="group4")
    assert np.array_equal(first(tmp_path / "a.tif")["intensity"], GRAY >> 7)


@pytest.mark.parametrize("factor", [257, 256])
def test_gray_palette(factor: int, tmp_path: Path) -> None:
    ramp = (np.arange(256, dtype=np.uint16)[::-1] * factor).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", GRAY, photometric="palette", colormap=np.stack([ramp] * 3))
    m = first(tmp_path / "a.tif")
    assert m["intensity"].dtype == np.uint8
    assert np.array_equal(m["intensity"], 255 - GRAY)


def test_png_palette(tmp_path: Path) -> None:
    image = Image.fromarray(GRAY)
    image.putpalette([v for v in range(255, -1, -1) for _ in range(3)])
    image.save(tmp_path / "a.png")
    m = first(tmp_path / "a.png")
    assert np.array_equal(m["intensity"], 255 - GRAY)
    assert m.source["bit_depth"] == 8


@pytest.mark.parametrize("extension", ["png", "tif", "bmp"])
def test_gray_rgb_is_one_channel(extension: str, tmp_path: Path) -> None:
    Image.fromarray(np.stack([GRAY] * 3, axis=-1)).save(tmp_path / f"a.{extension}")
    m = first(tmp_path / f"a.{extension}")
    assert np.array_equal(m["intensity"], GRAY)
    assert m.source["colour"] == "equal channels"


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_16_bit_rgb_tiff_stays_16_bit(planar: str, tmp_path: Path) -> None:
    rgb = np.stack([GRAY16] * 3, axis=-1 if planar == "contig" else 0)
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", planarconfig=planar)
    assert np.array_equal(first(tmp_path / "a.tif")["intensity"], GRAY16)


def test_jpeg_colour_noise_is_gray(tmp_path: Path) -> None:
    """A faint cast of one or two steps, as JPEG and scanners leave it."""
    rgb = np.stack([GRAY // 2 + 20, GRAY // 2 + 21, GRAY // 2 + 19], axis=-1).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.jpg", quality=95)
    m = first(tmp_path / "a.jpg")
    assert m.source["colour"] == "nearly equal channels"
    assert np.abs(m["intensity"].astype(int) - (GRAY // 2 + 20)).mean() < 5


def test_colour_is_refused_or_taken_as_luminance(tmp_path: Path) -> None:
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[:, :2, 0], rgb[:, 2:4, 1], rgb[:, 4:, 2] = 255, 255, 255
    Image.fromarray(rgb).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r'a\.png: is a coloured picture.*colour="luminance"'):
        first(tmp_path / "a.png")
    values = first(tmp_path / "a.png", colour="luminance")["intensity"]
    assert values[0, ::2].tolist() == [76, 150, 29]  # 255 times 0.299, 0.587, 0.114


def test_16_bit_colour_png_is_not_cut_to_8_bits(tmp_path: Path) -> None:
    png(tmp_path / "a.png", 2, 16, 2, [bytes(12)] * 2)
    with pytest.raises(InputError, match="16 bits per colour"):
        first(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("extension", ["png", "tif"])
def test_alpha(mode: str, extension: str, tmp_path: Path) -> None:
    image = Image.fromarray(GRAY).convert(mode)
    image.save(tmp_path / f"a.{extension}")
    assert np.array_equal(first(tmp_path / f"a.{extension}")["intensity"], GRAY)
    image.putalpha(Image.fromarray(GRAY))
    image.save(tmp_path / f"b.{extension}")
    with pytest.raises(InputError, match="transparent"):
        first(tmp_path / f"b.{extension}")


def test_cmyk_is_refused(tmp_path: Path) -> None:
    Image.fromarray(GRAY).convert("CMYK").save(tmp_path / "a.tif")
    Image.fromarray(GRAY).convert("CMYK").save(tmp_path / "a.jpg")
    for name, model in (("a.tif", "SEPARATED"), ("a.jpg", "CMYK")):
        with pytest.raises(InputError, match=f"colour model {model}"):
            first(tmp_path / name)


@pytest.mark.parametrize("code", range(1, 9))
@pytest.mark.parametrize("extension", ["jpg", "png", "tif"])
def test_orientation_tag_is_applied(code: int, extension: str, tmp_path: Path) -> None:
    """Against Pillow's own reading of the tag, over smooth values that JPEG keeps."""
    from PIL import ImageOps

    y, x = np.mgrid[:32, :48]
    image = Image.fromarray((2 * x + 3 * y).astype(np.uint8))
    exif = Image.Exif()
    exif[274] = code
    path = tmp_path / f"a.{extension}"
    if extension == "tif":
        data = (274, 3, 1, code, True)
        tifffile.imwrite(path, np.asarray(image), metadata=None, extratags=[data])
    else:
        image.save(path, exif=exif, quality=100)
    image.getexif()[274] = code
    expected = np.asarray(ImageOps.exif_transpose(image)).astype(int)
    found = first(path)["intensity"].astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= (2 if extension == "jpg" else 0)


@pytest.mark.parametrize("code", [1, 3, 6])
def test_orientation_is_the_same_through_pillow(code: int, tmp_path: Path) -> None:
    for name, compression in (("a.tif", "raw"), ("b.tif", "tiff_lzw")):
        Image.fromarray(GRAY).save(tmp_path / name, compression=compression, tiffinfo={274: code})
    assert np.array_equal(first(tmp_path / "a.tif")["intensity"], first(tmp_path / "b.tif")["intensity"])


def test_turned_picture_keeps_its_axes_of_scale(tmp_path: Path) -> None:
    """A picture stored on its side: the tag for columns becomes the scale of rows."""
    data = (274, 3, 1, 6, True)
    text = b"[Scan]\r\nPixelWidth=1e-07\r\nPixelHeight=2e-07\r\n"
    tifffile.imwrite(tmp_path / "a.tif", GRAY, metadata=None, extratags=[data, (34682, 2, len(text), text, True)])
    (m,) = read(tmp_path / "a.tif")
    assert m.shape == (60, 40)
    assert m.spacing == pytest.approx((0.1, 0.2))


def test_thumbnails_are_not_pictures(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(GRAY, metadata=None)
        tif.write(GRAY[::4, ::4], metadata=None, subfiletype=1)
    assert [m.shape for m in read(tmp_path / "a.tif", pixel_size_um=1)] == [(40, 60)]


def test_pages_of_different_size_are_pictures_but_no_volume(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(GRAY, metadata=None)
        tif.write(GRAY[:20], metadata=None)
    assert [m.shape for m in read(tmp_path / "a.tif", pixel_size_um=1)] == [(40, 60), (20, 60)]
    with pytest.raises(InputError, match="make no volume"):
        read(tmp_path / "a.tif", pixel_size_um=1, volume=True)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "bool", ">i4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(dtype: str, order: str, tmp_path: Path) -> None:
    values = np.asarray(GRAY > 90 if dtype == "bool" else GRAY, dtype=dtype, order=order)
    np.save(tmp_path / "a.npy", values)
    m = first(tmp_path / "a.npy")
    assert np.array_equal(m["intensity"], values)
    assert m["intensity"].dtype == np.dtype(dtype).newbyteorder("=")


def test_npy_of_three_axes_is_a_volume_or_pictures(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.stack([GRAY, GRAY // 2]))
    assert first(tmp_path / "a.npy").shape == (2, 40, 60)
    pages = read(tmp_path / "a.npy", pixel_size_um=1, volume=False)
    assert [np.array_equal(m["intensity"], GRAY // k) for m, k in zip(pages, (1, 2), strict=True)] == [True, True]


def test_npy_that_may_be_colour_is_asked_about(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((9, 8, 3)))
    with pytest.raises(InputError, match="volume=True"):
        first(tmp_path / "a.npy")
    assert first(tmp_path / "a.npy", volume=True).shape == (9, 8, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("extension", ["npy", "tif"])
def test_nan_is_refused(bad: float, extension: str, tmp_path: Path) -> None:
    values = np.ones((4, 4), np.float32)
    values[1, 2] = bad
    np.save(tmp_path / "a.npy", values)
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(InputError, match=rf"a\.{extension}.*1 NaN or infinite"):
        first(tmp_path / f"a.{extension}")


@pytest.mark.parametrize("values", [np.zeros((0, 4)), np.zeros(4), np.zeros((2, 2), complex), np.array([["a"]])])
def test_arrays_that_are_no_picture(values: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match=r"a\.npy"):
        first(tmp_path / "a.npy")


def test_constant_picture_is_flagged(tmp_path: Path) -> None:
    Image.new("L", (9, 9), 7).save(tmp_path / "a.png")
    assert "all pixels have the same value 7" in first(tmp_path / "a.png").source["warnings"][0]


@pytest.mark.parametrize("rows", [-1, 40, 1000])
def test_crop_outside_the_picture(rows: int, tmp_path: Path) -> None:
    Image.fromarray(GRAY).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="between 0 and 39"):
        first(tmp_path / "a.png", crop_bottom=rows)


def test_crop_of_a_sample(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", Microstructure({"intensity": GRAY, "mask": GRAY > 0}, (1, 1)))
    m = first(tmp_path / "a.h5", crop_bottom=10)
    assert m.shape == (30, 60)
    assert np.array_equal(m["intensity"], GRAY[:30])


def micrograph(height: int = 300, width: int = 400, seed: int = 0) -> Any:
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.standard_normal((height, width)), 6)
    return np.clip(120 + 400 * smooth + rng.normal(0, 4, (height, width)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("background", [0, 255, 40])
@pytest.mark.parametrize("rows", [16, 24, 60])
def test_data_bar_is_noticed_to_the_row_but_not_cut(background: int, rows: int, tmp_path: Path) -> None:
    picture = micrograph()
    picture[-rows:] = background
    picture[-rows + 4 : -4, 30:120:3] = 255 - background
    assert suggest_crop_bottom(picture) == rows
    Image.fromarray(picture).save(tmp_path / "a.png")
    m = first(tmp_path / "a.png")
    assert m.shape == (300, 400)
    assert f"pass --crop-bottom {rows}" in m.source["warnings"][0]
    assert not first(tmp_path / "a.png", crop_bottom=rows).source["warnings"]
    assert not first(tmp_path / "a.png", crop_bottom=0).source["warnings"]


def test_data_bar_under_a_drawn_line(tmp_path: Path) -> None:
    picture = micrograph()
    picture[-40:] = 0
    picture[-40:-38] = 255
    picture[-30:-10, 30:120:3] = 255
    assert suggest_crop_bottom(picture) == 40


@pytest.mark.parametrize("seed", range(5))
def test_no_data_bar_where_there_is_none(seed: int) -> None:
    picture = micrograph(seed=seed)
    dark_edge = picture.copy()
    dark_edge[-30:] //= 3
    for harmless in (
        picture,
        dark_edge,
        np.where(picture > 120, 255, 0).astype(np.uint8),
        picture * 0,
        picture[:4, :4],
    ):
        assert suggest_crop_bottom(harmless) == 0
