"""Where the pixel size comes from: one small golden file per source, and the traps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from microgen.core import InputError
from microgen.io import inspect, read

PICTURE = np.random.default_rng(0).integers(0, 255, (96, 128), dtype=np.uint8)
FEI, ZEISS, TESCAN = 34682, 34118, 50431


def vendor(path: Path, code: int, text: str | bytes, picture: Any = PICTURE, **options: Any) -> Path:
    data = text.encode("latin-1") if isinstance(text, str) else text
    tifffile.imwrite(
        path, picture, metadata=None, extratags=[(code, 7 if code == TESCAN else 2, len(data), data, True)], **options
    )
    return path


def size(path: Path, **options: Any) -> tuple[tuple[float, ...], str, str]:
    m = read(path, **options)[0]
    found = m.source["pixel_size"]
    assert found["um"] == list(m.spacing)
    return m.spacing, found["origin"], found["confidence"]


def fei(scan: str, image: str = "") -> str:
    return f"[User]\r\nUser=a\r\n[{scan}]\r\n{image}"


def test_fei_scan(tmp_path: Path) -> None:
    text = fei("Scan", "PixelWidth=6.5e-08\r\nPixelHeight=1.3e-07\r\n")
    um, origin, confidence = size(vendor(tmp_path / "a.tif", FEI, text))
    assert um == pytest.approx((0.13, 0.065))
    assert (origin, confidence) == ("FEI/Thermo tag [Scan] PixelWidth", "high")


@pytest.mark.parametrize("code", [34680, 34682])
@pytest.mark.parametrize(
    ("text", "um"),
    [
        (fei("EScan", "PixelWidth=2e-07\r\nPixelHeight=2e-07\r\n"), 0.2),
        (fei("IRBeam", "HFW=6.4e-05\r\n"), 0.5),  # field width over 128 columns
        (fei("EBeam", "HFW=6.4e-05\r\n[Image]\r\nResolutionX=128\r\nResolutionY=96\r\n"), 0.5),
    ],
)
def test_fei_fallbacks(code: int, text: str, um: float, tmp_path: Path) -> None:
    assert size(vendor(tmp_path / "a.tif", code, text))[0] == pytest.approx((um, um))


def test_fei_data_bar_is_cropped_by_metadata(tmp_path: Path) -> None:
    text = fei("Scan", "PixelWidth=1e-07\r\n[Image]\r\nResolutionX=128\r\nResolutionY=80\r\n")
    path = vendor(tmp_path / "a.tif", FEI, text)
    (m,) = read(path)
    assert m.shape == (80, 128)
    assert np.array_equal(m["intensity"], PICTURE[:80])
    assert m.source["cropped_bottom"] == 16
    assert read(path, crop_bottom=0)[0].shape == (96, 128)
    assert read(path, crop_bottom=30)[0].shape == (66, 128)


def test_fei_picture_exported_at_half_width(tmp_path: Path) -> None:
    text = fei("Scan", "PixelWidth=1e-07\r\n[Image]\r\nResolutionX=256\r\nResolutionY=192\r\n")
    um, _, confidence = size(vendor(tmp_path / "a.tif", FEI, text))
    assert um == pytest.approx((0.2, 0.2))
    assert confidence == "medium"


def zeiss(lines: list[str], unnamed: str = "5.0e-07") -> str:
    return "\r\n".join(["0", "0", "0", unnamed, "0", *lines, ""])


def test_zeiss_named_and_unnamed_agree(tmp_path: Path) -> None:
    """The unnamed value is for 1024 columns: 5e-7 m there are 4 um in 128 columns; the named one is rounded."""
    lines = ["AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 4.003 µm"]
    um, origin, confidence = size(vendor(tmp_path / "a.tif", ZEISS, zeiss(lines)))
    assert um == pytest.approx((4.0, 4.0), rel=1e-12)
    assert (origin, confidence) == ("Zeiss tag ap_image_pixel_size", "high")


@pytest.mark.parametrize(
    ("text", "um"), [("558.2 nm", 0.5582), ("558.2 pm", 0.0005582), ("1.5 µm", 1.5), ("1.5 um", 1.5)]
)
@pytest.mark.parametrize("name", ["AP_IMAGE_PIXEL_SIZE", "AP_PIXEL_SIZE"])
def test_zeiss_named_units(text: str, um: float, name: str, tmp_path: Path) -> None:
    path = vendor(tmp_path / "a.tif", ZEISS, zeiss([name, f"Image Pixel Size = {text}"]))
    assert size(path)[0] == pytest.approx((um, um))


def test_zeiss_unnamed_alone(tmp_path: Path) -> None:
    um, origin, _ = size(vendor(tmp_path / "a.tif", ZEISS, zeiss(["AP_WD", "WD = 5 mm"])))
    assert um == pytest.approx((4.0, 4.0))
    assert "unnamed" in origin


TESCAN_TEXT = (
    "[MAIN]\nDevice=MIRA\nImageStripSize=16\nMagnification=1000\nPixelSizeX=2.5e-07\nPixelSizeY=2.6e-07\n[SEM]\n"
)


def test_tescan_tag_with_binary_before_the_text(tmp_path: Path) -> None:
    path = vendor(tmp_path / "a.tif", TESCAN, b"\x01\x00\xff\xfe\x00" + TESCAN_TEXT.encode())
    um, _, confidence = size(path)
    assert um == pytest.approx((0.26, 0.25))
    assert confidence == "high"
    assert read(path)[0].shape == (80, 128)


@pytest.mark.parametrize(("picture", "beside"), [("a.tif", "a-tif.hdr"), ("b.PNG", "b-png.hdr"), ("c.tif", "c.hdr")])
def test_tescan_file(picture: str, beside: str, tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / picture)
    (tmp_path / beside).write_text(TESCAN_TEXT)
    (m,) = read(tmp_path / picture)
    assert m.spacing == pytest.approx((0.26, 0.25))
    assert m.shape == (80, 128)


HITACHI = "[SemImageFile]\r\nInstructName=TM3000\r\nDataSize={}\r\nPixelSize=24.8\r\n"


@pytest.mark.parametrize("encoding", ["ascii", "utf-16", "utf-8-sig"])
@pytest.mark.parametrize("extension", ["tif", "bmp", "jpg"])
def test_hitachi_file(extension: str, encoding: str, tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / f"a.{extension}")
    (tmp_path / "a.txt").write_text(HITACHI.format("128x90"), encoding=encoding)
    (m,) = read(tmp_path / f"a.{extension}")
    assert m.spacing == pytest.approx((0.0248, 0.0248))
    assert m.source["pixel_size"]["confidence"] == "high"
    assert m.shape == (90, 128)


def test_hitachi_picture_resized_after_recording(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.bmp")
    (tmp_path / "a.txt").write_text(HITACHI.format("1280x960"))
    um, _, confidence = size(tmp_path / "a.bmp")
    assert um == pytest.approx((0.248, 0.248))
    assert confidence == "medium"


@pytest.mark.parametrize(
    ("marker", "um"), [("5um", 5 / 160), ("500nm", 0.5 / 160), ("1µm", 1 / 160), ("1.5 mm", 1500 / 160)]
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_jeol_file(marker: str, um: float, encoding: str, tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.tif")
    text = f"$CM_MAG 5000\r\n$CM_FULL_SIZE 128 80\r\n$$SM_MICRON_BAR 160\r\n$$SM_MICRON_MARKER {marker}\r\n"
    (tmp_path / "a.TXT").write_text(text, encoding=encoding)
    (m,) = read(tmp_path / "a.tif")
    assert m.spacing == pytest.approx((um, um))
    assert m.source["pixel_size"]["confidence"] == "medium"
    assert m.shape == (80, 128)


def test_an_unrelated_text_beside_says_nothing(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.tif")
    (tmp_path / "a.txt").write_text("PixelSize was not noted\n")
    with pytest.raises(InputError, match="no pixel size found"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("unit", ["um", "micron", "\\u00B5m", "microns"])
def test_imagej_micrometres(unit: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, imagej=True, resolution=(20, 10), metadata={"unit": unit})
    um, _, confidence = size(tmp_path / "a.tif")
    assert um == pytest.approx((0.1, 0.05))
    assert confidence == "medium"


@pytest.mark.parametrize(("unit", "um"), [("nm", 0.05e-3), ("mm", 50.0)])
def test_imagej_other_lengths(unit: str, um: float, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, imagej=True, resolution=(20, 20), metadata={"unit": unit})
    assert size(tmp_path / "a.tif")[0] == pytest.approx((um, um))


def test_imagej_volume(tmp_path: Path) -> None:
    stack = np.stack([PICTURE] * 3)
    meta = {"unit": "um", "spacing": 0.4, "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, resolution=(20, 10), metadata=meta)
    (m,) = read(tmp_path / "a.tif", volume=True)
    assert m.spacing == pytest.approx((0.4, 0.1, 0.05))
    assert [page.spacing for page in read(tmp_path / "a.tif")] == [pytest.approx((0.1, 0.05))] * 3


def test_volume_without_distance_of_slices_is_refused(tmp_path: Path) -> None:
    meta = {"unit": "um", "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "a.tif", np.stack([PICTURE] * 3), imagej=True, resolution=(20, 10), metadata=meta)
    with pytest.raises(InputError, match=r"no distance between slices.*pixel_size_um=\(z, 0\.1, 0\.05\)"):
        read(tmp_path / "a.tif", volume=True)
    assert read(tmp_path / "a.tif", volume=True, pixel_size_um=(1, 0.1, 0.05))[0].spacing == (1, 0.1, 0.05)


@pytest.mark.parametrize("unit", ["inch", "cm"])
def test_imagej_inches_are_print_resolution(unit: str, tmp_path: Path) -> None:
    """ImageJ shows a 96 dpi file in inches and writes that unit when it saves."""
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, imagej=True, resolution=(96, 96), metadata={"unit": unit})
    with pytest.raises(InputError, match="--pixel-size-um"):
        read(tmp_path / "a.tif")


def test_imagej_without_unit_says_nothing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, imagej=True, resolution=(96, 96))
    with pytest.raises(InputError, match="no pixel size found in the file"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize(("unit", "um"), [(None, 0.25), ("nm", 0.00025), ("µm", 0.25), ("mm", 250)])
def test_ome(unit: str | None, um: float, tmp_path: Path) -> None:
    meta = {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
    if unit:
        meta |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    tifffile.imwrite(tmp_path / "a.ome.tif", PICTURE, ome=True, metadata=meta)
    found, origin, confidence = size(tmp_path / "a.ome.tif")
    assert found == pytest.approx((2 * um, um))
    assert (origin, confidence) == ("OME-XML PhysicalSizeX", "high")


def test_ome_volume(tmp_path: Path) -> None:
    meta = {"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2}
    tifffile.imwrite(tmp_path / "a.ome.tif", np.stack([PICTURE] * 3), ome=True, metadata=meta)
    assert size(tmp_path / "a.ome.tif", volume=True)[0] == pytest.approx((2, 0.25, 0.25))


def test_ome_with_entities_is_not_parsed(tmp_path: Path) -> None:
    text = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "1">]><OME><Pixels PhysicalSizeX="1" PhysicalSizeY="1"/></OME>'
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, metadata=None, description=text)
    with pytest.raises(InputError, match="no pixel size"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("dpi", [72, 96, 150, 300, 600])
@pytest.mark.parametrize("extension", ["tif", "png", "jpg", "bmp"])
def test_print_resolution_is_never_a_scale(dpi: int, extension: str, tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / f"a.{extension}", dpi=(dpi, dpi))
    with pytest.raises(InputError, match=f"only a print resolution of {dpi} dpi; pass --pixel-size-um F"):
        read(tmp_path / f"a.{extension}")


@pytest.mark.parametrize("unit", ["CENTIMETER", "INCH"])
def test_plain_resolution_is_offered_but_not_taken(unit: str, tmp_path: Path) -> None:
    per_unit = 40_000 if unit == "CENTIMETER" else 40_000 * 2.54
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, metadata=None, resolution=(per_unit, per_unit), resolutionunit=unit)
    with pytest.raises(InputError, match=r"if it is right pass --pixel-size-um 0\.25"):
        read(tmp_path / "a.tif")
    assert inspect(tmp_path / "a.tif")["pixel_sizes"][0]["confidence"] == "low"


def test_nothing_found_says_how_to_give_it(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: no pixel size found.*--pixel-size-um F.*pixel_size_um=F"):
        read(tmp_path / "a.png")


def test_given_wins_and_a_contradiction_is_recorded(tmp_path: Path) -> None:
    path = vendor(tmp_path / "a.tif", FEI, fei("Scan", "PixelWidth=1e-07\r\n"))
    for given, warned in ((0.1, 0), (0.1015, 0), (0.103, 1), (0.05, 1)):
        (m,) = read(path, pixel_size_um=given)
        assert m.spacing == (given, given)
        assert m.source["pixel_size"]["confidence"] == "given"
        assert len(m.source["warnings"]) == warned, given
    assert "contradicts 0.1 um" in read(path, pixel_size_um=0.05)[0].source["warnings"][0]


def test_two_sources_that_disagree_are_reported(tmp_path: Path) -> None:
    """A picture recorded by FEI and saved again by ImageJ with another scale: the microscope is believed."""
    data = fei("Scan", "PixelWidth=1e-07\r\n").encode()
    tifffile.imwrite(
        tmp_path / "a.tif", PICTURE, imagej=True, resolution=(5, 5), metadata={"unit": "um"},
        extratags=[(FEI, 2, len(data), data, True)],
    )  # fmt: skip
    (m,) = read(tmp_path / "a.tif")
    assert m.spacing == pytest.approx((0.1, 0.1))
    assert "0.2 um found in ImageJ" in m.source["warnings"][0]


@pytest.mark.parametrize("given", [0, -1, float("nan"), float("inf"), (1, 2, 3), ()])
def test_unusable_given_size(given: Any, tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="pixel size must be"):
        read(tmp_path / "a.png", pixel_size_um=given)


def test_given_size_per_axis(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", pixel_size_um=(0.5, 0.25))[0].spacing == (0.5, 0.25)


@pytest.mark.parametrize(
    "text", ["PixelWidth=0", "PixelWidth=-1e-7", "PixelWidth=nan", "PixelWidth=", "PixelWidth=abc"]
)
def test_nonsense_in_a_vendor_tag_counts_as_absent(text: str, tmp_path: Path) -> None:
    path = vendor(tmp_path / "a.tif", FEI, fei("Scan", f"{text}\r\n"))
    with pytest.raises(InputError, match="no pixel size"):
        read(path)
