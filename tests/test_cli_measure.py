"""``microgen measure``: what it prints, writes and refuses, and the known truths of real data."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image
from scipy import ndimage

from microgen.cli import cli
from microgen.core import InputError, Microstructure
from microgen.io import write


def run(*args: Any, code: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["measure", *map(str, args)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return dict(json.loads(result.stdout)) if code == 0 else {"error": result.stderr}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures of two gray levels with noise, and a file that is no picture."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        bright = ndimage.gaussian_filter(rng.normal(size=(96, 96)), 3) > 0.03
        gray = np.where(bright, 190, 60) + rng.normal(0, 5, bright.shape)
        Image.fromarray(np.clip(gray, 0, 255).astype(np.uint8)).save(tmp_path / f"{seed}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


@pytest.mark.filterwarnings("ignore:1 files cannot be read")
def test_pictures_and_their_pool(folder: Path) -> None:
    found = run(folder, "--pixel-size-um", 0.5, "--threshold", "otsu")
    assert [Path(p["file"]).name for p in found["pictures"]] == ["0.png", "1.png", "2.png"]
    fractions = [p["descriptors"]["phase_fraction"] for p in found["pictures"]]
    assert all(0.35 < f["value"] < 0.65 and f["ci95"][0] < f["value"] < f["ci95"][1] for f in fractions)
    assert all(60 < p["threshold"] < 190 for p in found["pictures"])
    pooled = found["pooled"]["phase_fraction"]
    assert pooled["n"] == 3
    assert pooled["value"] == pytest.approx(np.mean([f["value"] for f in fractions]))
    assert found["pictures"][0]["pixel_size"]["um"] == [0.5, 0.5]


def test_only_what_is_asked_with_its_curve(folder: Path) -> None:
    found = run(folder / "0.png", "--pixel-size-um", 1, "--threshold", 120, "--only", "s2", "--only", "phase_fraction")
    table = found["pictures"][0]["descriptors"]
    assert list(table) == ["s2", "phase_fraction"]
    assert table["s2"]["y"][0] == pytest.approx(table["phase_fraction"]["value"], rel=1e-12)
    assert len(table["s2"]["x"]) == len(table["s2"]["y"])
    assert "pooled" not in found


def test_curves_are_long_and_printed_only_on_demand(folder: Path) -> None:
    how = (folder / "0.png", "--pixel-size-um", 1, "--threshold", 120)
    assert "y" not in run(*how)["pictures"][0]["descriptors"]["lineal_path"]
    assert "y" in run(*how, "--curves")["pictures"][0]["descriptors"]["lineal_path"]


def test_pixels_instead_of_micrometres(folder: Path) -> None:
    in_um = run(folder / "0.png", "--pixel-size-um", 0.5, "--threshold", 120)["pictures"][0]["descriptors"]
    in_px = run(folder / "0.png", "--pixels", "--threshold", 120)["pictures"][0]["descriptors"]
    named = run(folder / "0.png", "--pixels", "--threshold", 120, "--only", "chord_length_px")["pictures"][0][
        "descriptors"
    ]
    assert list(named) == ["chord_length_px"]
    assert in_px["chord_length_px"]["value"] == pytest.approx(in_um["chord_length_um"]["value"] / 0.5)
    assert in_px["specific_surface_per_px"]["unit"] == "1/px"
    assert not [name for name in in_px if name.endswith("_um")]
    gray = run(folder / "0.png", "--pixels")["pictures"][0]
    assert not {"astm_g", "astm_g_planimetric"} & set(gray["descriptors"])
    assert "pixel_size" not in gray


def test_pixel_size_by_pattern(folder: Path) -> None:
    found = run(
        folder / "0.png", folder / "1.png", "--pixel-size-um", 1, "--pixel-size-um", "1.png=0.5", "--threshold", 99
    )
    assert [p["pixel_size"]["um"] for p in found["pictures"]] == [[1, 1], [0.5, 0.5]]


def test_stacks_are_pictures_unless_they_are_said_to_be_a_volume(tmp_path: Path) -> None:
    pages = (np.random.default_rng(0).random((20, 32, 32)) < 0.3).astype(np.uint8) * 255
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    how = (tmp_path / "stack.tif", "--pixel-size-um", 0.5, "--labels", "phase", "--only", "phase_fraction")
    apart, whole = run(*how), run(*how, "--volume")
    assert [p["page"] for p in apart["pictures"]] == list(range(20))
    assert whole["pictures"][0]["shape"] == [20, 32, 32]
    assert whole["pictures"][0]["descriptors"]["phase_fraction"]["value"] == pytest.approx(np.mean(pages > 0))


def test_labels_are_phases_or_grains(tmp_path: Path) -> None:
    values = np.repeat(np.repeat(np.arange(1, 17, dtype=np.uint8).reshape(4, 4), 24, 0), 24, 1)
    np.save(tmp_path / "grains.npy", values)
    path = tmp_path / "grains.npy"
    grains = run(path, "--pixel-size-um", 0.5, "--labels", "grain")["pictures"][0]["descriptors"]
    assert grains["mean_intercept_um"]["value"] == pytest.approx(95 * 0.5 / 3)  # 3 lines crossed between 96 points
    phases = run(path, "--pixel-size-um", 0.5, "--labels", "phase")["pictures"][0]["descriptors"]
    assert phases["phase_fraction:5"]["value"] == 1 / 16


@pytest.mark.filterwarnings("ignore:1 files cannot be read")
def test_the_table_has_one_row_per_picture(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    found = run(folder, "--pixel-size-um", 0.5, "--threshold", "otsu", "--csv", out)
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3
    expected = found["pictures"][1]["descriptors"]["chord_length_um"]
    assert float(rows[1]["chord_length_um"]) == expected["value"]
    assert float(rows[1]["chord_length_um low"]) == expected["ci95"][0]
    assert found["csv"] == str(out)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--threshold", "bright"),
        ("--threshold", "otsu", "--labels", "phase"),
        ("--pixels", "--pixel-size-um", "1"),
        ("--labels", "colour"),
    ],
)
def test_wrong_usage_is_code_2(folder: Path, wrong: tuple[str, ...]) -> None:
    assert run(folder / "0.png", *wrong, code=2)["error"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ((), "pixel size"),
        (("--pixel-size-um", 0), "positive number of micrometres"),
        (("--pixel-size-um", 1, "--pixel-size-um", "*.tif=0.5"), "matches none"),
        (("--pixel-size-um", 1, "--only", "s3x"), "no descriptor"),
        (("--pixel-size-um", 1, "--only", "phase_fraction"), "phase_fraction is measured on phases"),
        (("--pixel-size-um", 1, "--threshold", 999), "0.png: .*one phase empty"),
    ],
)
def test_bad_input_is_one_sentence(folder: Path, how: tuple[Any, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        run(folder / "0.png", *how)


def test_nist_mean_segment_in_pixels(shared_data: Path) -> None:
    """NIST measures the stretches between boundaries, so the number to compare is that of chords inside grains."""
    folder = shared_data / "nist_gsat_steel"
    truth = np.loadtxt(folder / "grains_steel_highlighted_distances_e112.csv", delimiter=",", skiprows=1)[:, 1].mean()
    found = run(folder / "grains_steel_highlighted_segmented.tif", "--pixels")["pictures"][0]["descriptors"]
    assert found["chord_length_px"]["value"] == pytest.approx(truth, rel=0.05)


@pytest.mark.slow
def test_known_grain_size_number_of_real_steel(shared_data: Path) -> None:
    folder = shared_data / "steel_optical_grains" / "1-200_G9.40"
    found = run(folder, "--pixel-size-um", 0.3698, "--only", "astm_g")
    assert found["pooled"]["astm_g"]["value"] == pytest.approx(9.40, abs=0.3)


@pytest.mark.slow
@pytest.mark.parametrize(("low", "high"), [("304-200", "304-500"), ("435Q-500", "435Q-1000")])
def test_two_magnifications_of_one_steel_agree(shared_data: Path, low: str, high: str) -> None:
    pixel = {"200": 0.3698, "500": 0.1479, "1000": 0.0740}
    folder = shared_data / "steel_optical_grains"
    size = [
        run(folder / name, "--pixel-size-um", pixel[name.split("-")[1]], "--only", "astm_g")["pooled"]["astm_g"][
            "value"
        ]
        for name in (low, high)
    ]
    assert size[0] == pytest.approx(size[1], abs=0.3)


@pytest.fixture
def sponge() -> Any:
    noise = ndimage.gaussian_filter(np.random.default_rng(4).normal(size=(20, 24, 28)), 2)
    return np.digitize(noise, np.quantile(noise, [0.5, 0.9])).astype(np.uint8)


def test_volumes_with_named_phases_and_flat_voxels(tmp_path: Path, sponge: Any) -> None:
    """The same volume as numpy file, raw numbers, pages and slices: the same numbers."""
    np.save(tmp_path / "v.npy", sponge)
    (tmp_path / "v.raw").write_bytes(sponge.tobytes())
    tifffile.imwrite(tmp_path / "v.tif", sponge, photometric="minisblack")
    (tmp_path / "slices").mkdir()
    for number, page in enumerate(sponge):
        Image.fromarray(page).save(tmp_path / "slices" / f"s{number}.png")
    how = ("--pixel-size-um", "1,0.5,0.5", "--labels", "phase", "--phase-names", "pore, grain,binder")
    tables = [
        run(tmp_path / "v.npy", *how),
        run(tmp_path / "v.raw", *how, "--raw-shape", "20x24x28", "--raw-dtype", "uint8"),
        run(tmp_path / "v.tif", *how, "--volume"),
        run(tmp_path / "slices", *how, "--slices"),
    ]
    pictures = [table["pictures"][0] for table in tables]
    assert all(p["shape"] == [20, 24, 28] and p["pixel_size"]["um"] == [1, 0.5, 0.5] for p in pictures)
    assert all(p["descriptors"] == pictures[0]["descriptors"] for p in pictures)
    found = pictures[0]["descriptors"]
    assert found["phase_fraction:grain"]["value"] == np.mean(sponge == 1)
    assert not [name for name in found if name.startswith("tortuosity")]
    assert {"euler_number_density:pore", "local_thickness_um:binder", "percolating_share_z:pore"} <= set(found)


def test_a_phase_that_does_not_percolate_has_no_tortuosity(tmp_path: Path) -> None:
    layers = np.repeat(np.array([0, 1, 0, 1, 0], np.uint8), 4)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    np.save(tmp_path / "layers.npy", layers)
    how = ("--pixels", "--labels", "phase", "--only", "tortuosity_z", "--only", "tortuosity_x")
    found = run(tmp_path / "layers.npy", *how)["pictures"][0]["descriptors"]
    assert found["tortuosity_z"]["value"] is None
    assert found["tortuosity_z"]["note"] == "infinite: the phase does not percolate along z"
    assert found["tortuosity_x"]["value"] == pytest.approx(1)


def test_slices_and_names_that_do_not_fit_are_refused(tmp_path: Path, sponge: Any) -> None:
    np.save(tmp_path / "v.npy", sponge)
    assert run(tmp_path / "v.npy", "--pixels", "--phase-names", "a,b", code=2)["error"]
    assert run(tmp_path / "v.npy", "--pixels", "--labels", "phase", "--phase-names", "a,,b", code=2)["error"]
    assert run(tmp_path, tmp_path / "v.npy", "--slices", "--pixels", code=2)["error"]
    with pytest.raises(InputError, match="2 names are given for 3 phases"):
        run(tmp_path / "v.npy", "--pixels", "--labels", "phase", "--phase-names", "a,b")
    with pytest.raises(InputError, match="do not know their distance"):
        run(tmp_path, "--slices")


def test_pictures_that_lack_a_phase_keep_the_numbers_of_the_others(tmp_path: Path) -> None:
    every, two, one = np.arange(3).repeat(300).reshape(30, 30), np.ones((30, 30)), np.ones((30, 30))
    two[:10] = 2
    for name, labels in (("a", every), ("b", two), ("c", one)):
        Image.fromarray(labels.astype(np.uint8)).save(tmp_path / f"{name}.png")
    result = run(tmp_path, "--pixels", "--labels", "phase", "--phase-names", "x,y,z", "--only", "phase_fraction")
    found = [{k: v["value"] for k, v in picture["descriptors"].items()} for picture in result["pictures"]]
    names = [f"phase_fraction:{phase}" for phase in "xyz"]
    third = 1 / 3
    expected = [[third, third, third], [0, 2 * third, third], [0, 1, 0]]
    np.testing.assert_allclose([[picture[name] for name in names] for picture in found], expected)
    np.testing.assert_allclose([result["pooled"][name]["value"] for name in names], np.mean(expected, axis=0))


def test_a_picture_of_one_label_is_all_of_that_phase(tmp_path: Path) -> None:
    Image.fromarray(np.full((30, 30), 7, np.uint8)).save(tmp_path / "one.png")
    result = run(tmp_path / "one.png", "--pixels", "--labels", "phase", "--only", "phase_fraction")
    assert result["pictures"][0]["descriptors"]["phase_fraction"]["value"] == 1


def test_gray_volumes_say_how_to_get_phases(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.random.default_rng(0).integers(0, 255, (12, 12, 12), dtype=np.uint8))
    with pytest.raises(InputError, match=r"phase_fraction is measured on phases.*--threshold or --labels"):
        run(tmp_path / "v.npy", "--pixels", "--only", "phase_fraction")
    with pytest.raises(InputError, match="orientation_deg is not defined for volumes"):
        run(tmp_path / "v.npy", "--pixels", "--only", "orientation_deg")


def test_a_phase_that_a_map_lacks_counts_as_none_of_it(tmp_path: Path) -> None:
    """Three maps list two phases; one shows both, half and half, the others one each, none the third."""
    halves = np.repeat([[1, 2]], 24, axis=0).repeat(12, axis=1)
    for name, phase in (("a", halves), ("b", np.ones_like(halves)), ("c", np.full_like(halves, 2))):
        fields = {"phase": phase, "grain": np.arange(6).repeat(4)[:, None] * 6 + np.arange(6).repeat(4) + 1}
        names = ("not indexed", "ferrite", "austenite", "carbide")
        write(tmp_path / f"{name}.h5", Microstructure(fields, (1.0, 1.0), names))
    result = run(tmp_path)
    found = [{name: entry.get("value") for name, entry in p["descriptors"].items()} for p in result["pictures"]]
    assert [table["phase_fraction:ferrite"] for table in found] == [0.5, 1, 0]
    assert [table["phase_fraction:austenite"] for table in found] == [0.5, 0, 1]
    assert result["pooled"]["phase_fraction:ferrite"]["value"] == 0.5
    assert [table["specific_surface_per_um:ferrite"] > 0 for table in found] == [True, False, False]
    absent = result["pictures"][2]["descriptors"]
    assert {absent[f"{name}:ferrite"]["note"] for name in ("grain_size_um", "anisotropy", "orientation_deg")} == {
        "the phase is absent here"
    }
    assert not [name for name in found[0] if "carbide" in name]
    assert found[1]["mean_intercept_um"] is not None
    alone = run(tmp_path / "b.h5")["pictures"][0]["descriptors"]
    assert not [name for name in alone if ":" in name]  # by itself it is a map of one phase


@pytest.mark.filterwarnings("ignore:1 files cannot be read")
def test_bad_files_stop_at_once_or_are_left_out(folder: Path) -> None:
    (folder / "1.png").write_bytes(b"no picture")
    Image.fromarray(np.full((96, 96), 7, np.uint8)).save(folder / "2.png")
    how = ("--pixel-size-um", 0.5, "--threshold", "otsu", "--only", "phase_fraction")
    result = CliRunner().invoke(cli, ["measure", str(folder), *map(str, how)])
    assert isinstance(result.exception, InputError)
    assert "1.png" in str(result.exception)
    assert "1/3" not in result.stderr  # before anything is measured
    found = run(folder, *how, "--skip-bad")
    assert [Path(p["file"]).name for p in found["pictures"]] == ["0.png"]
    assert {Path(name).name: "nothing to split" in why for name, why in found["left_out"].items()} == {
        "1.png": False,
        "2.png": True,
    }
    assert run(folder / "0.png", *how, "--skip-bad")["left_out"] == {}
    with pytest.raises(InputError, match=r"none of the 2 files can be used; the first: .*1\.png"):
        run(folder / "1.png", folder / "2.png", *how, "--skip-bad")


def test_what_no_file_allows_is_known_before_measuring(folder: Path) -> None:
    write(folder / "z.h5", Microstructure({"phase": np.eye(20, dtype=int)}, (1.0, 1.0)))
    how = ("--pixel-size-um", 0.5, "--only", "intensity_mean")
    result = CliRunner().invoke(cli, ["measure", str(folder / "0.png"), str(folder / "z.h5"), *map(str, how)])
    assert "z.h5: intensity_mean is measured on intensity" in str(result.exception)
    assert "1/2" not in result.stderr
    result = CliRunner().invoke(
        cli, ["measure", str(folder / "0.png"), str(folder / "z.h5"), "--phase", "7", *map(str, how[:2])]
    )
    assert "z.h5: there is no phase 7" in str(result.exception)
    assert "1/2" not in result.stderr


def test_what_is_solved_for_is_said(tmp_path: Path) -> None:
    pillars = np.tile([0, 1, 2, 1], (8, 8, 2)).astype(np.uint8)
    np.save(tmp_path / "v.npy", pillars)
    how = ("--pixels", "--labels", "phase", "--phase-names", "a,b,c", "--only", "tortuosity_z")
    result = CliRunner().invoke(cli, ["measure", str(tmp_path / "v.npy"), *how])
    assert [line.strip() for line in result.stderr.splitlines() if "solving" in line] == [
        f"solving for tortuosity_z:{phase}" for phase in "abc"
    ]
