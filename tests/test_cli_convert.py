"""microgen convert: what becomes of what, what is lost is said, and nothing is replaced unasked."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from microgen.cli.convert import command
from microgen.core import Crystal, InputError, Microstructure
from microgen.core.frames import to_map_frame
from microgen.core.orientations import from_euler
from microgen.io import read, read_recipe, write
from microgen.stats.views import Views

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("volume_fakes.py"))))

VOLUME = np.random.default_rng(0).integers(0, 200, (4, 5, 6), dtype=np.uint8)


def convert(*arguments: Any) -> list[dict[str, Any]]:
    """Run the command and return what it says it wrote."""
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    written: list[dict[str, Any]] = json.loads(result.stdout)["written"]
    return written


def usage(*arguments: Any) -> str:
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    assert result.exit_code == 2
    return result.stderr


@pytest.fixture
def ebsd(tmp_path: Path) -> tuple[Path, Microstructure]:
    """A map whose angles are in EDAX's frame, without grains."""
    m = fakes.polycrystal((6, 7), voids=True)
    fields = {name: m[name] for name in ("phase", "mask", "orientation")} | {"confidence_index": m["mask"] / 2}
    m = m.replace(fields=fields, source={"euler_frame": "edax"})
    write(tmp_path / "map.h5", m)
    return tmp_path / "map.h5", m


def test_a_raw_volume_goes_through_every_volume_format_unchanged(tmp_path: Path) -> None:
    VOLUME.tofile(tmp_path / "a.raw")
    how = ("--raw-shape", "4x5x6", "--raw-dtype", "uint8", "--pixel-size-um", "3,2,1")
    (written,) = convert(tmp_path / "a.raw", tmp_path / "0.tif", *how)
    assert written["shape"] == [4, 5, 6]
    assert written["spacing_um"] == [3, 2, 1]
    before = tmp_path / "0.tif"
    for number, name in enumerate(("vti", "ome.tif", "npy", "h5", "tif"), 1):
        after = tmp_path / f"{number}.{name}"
        (written,) = convert(before, after)
        assert (written["left_out"], written["warnings"]) == ([], [])
        before = after
    (m,) = read(before)
    assert m.spacing == (3, 2, 1)
    assert np.array_equal(m["intensity"], VOLUME)
    recipe, depth = read_recipe(before), 0
    while recipe is not None:
        assert recipe["command"] == "convert"
        first, recipe, depth = recipe["input"], recipe.get("of"), depth + 1
    assert (first, depth) == ("a.raw", 6)


def test_the_same_conversion_gives_the_same_bytes(tmp_path: Path, ebsd: tuple[Path, Microstructure]) -> None:
    for name in ("a.damask.vti", "a.inp", "a.tesr", "a.vti", "a.dream3d"):
        for folder in ("one", "two"):
            convert(ebsd[0], tmp_path / folder / name, "--segment-deg", 5, "--smallest", 1, "--map-frame")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_a_map_becomes_grains_for_a_simulation(tmp_path: Path, ebsd: tuple[Path, Microstructure]) -> None:
    path, m = ebsd
    (written,) = convert(path, tmp_path / "a.tesr", "--segment-deg", 5, "--smallest", 1, "--map-frame")
    assert written["left_out"] == ["confidence_index"]
    assert any("no place for the fields confidence_index" in note for note in written["warnings"])
    assert written["beside"] == [str(tmp_path / "a.tesr.json")]
    (back,) = read(tmp_path / "a.tesr")
    inside = m["mask"] > 0
    assert np.array_equal(back["grain"] > 0, inside)
    expected = to_map_frame(m["orientation"][inside], "edax")
    assert np.abs((back["orientation"][inside] * expected).sum(-1)).min() > 1 - 1e-6
    (written,) = convert(path, tmp_path / "b.tesr", "--segment-deg", 5, "--smallest", 1)
    assert any("frame 'edax'" in note for note in written["warnings"])


def test_grains_are_those_that_measure_sees(tmp_path: Path) -> None:
    angles = np.zeros((12, 12, 3))
    angles[:, 6:, 1], angles[2:5, 2:5, 1] = 0.6, 0.3  # two halves, and nine points in one of them
    fields = {"phase": np.ones((12, 12), np.uint8), "orientation": from_euler(angles).astype(np.float32)}
    m = Microstructure(fields, (1.0, 1.0), ("not indexed", "iron"), crystals={"iron": Crystal("m-3m")})
    write(tmp_path / "map.h5", m)
    convert(tmp_path / "map.h5", tmp_path / "a.h5", "--segment-deg", 5)
    grain = read(tmp_path / "a.h5")[0]["grain"]
    np.testing.assert_array_equal(grain, Views(m, 1).labels)
    assert (grain == 0).sum() == 9
    convert(tmp_path / "map.h5", tmp_path / "b.h5", "--segment-deg", 5, "--smallest", 9)
    assert read(tmp_path / "b.h5")[0]["grain"].max() == 3
    assert read_recipe(tmp_path / "b.h5")["options"]["smallest"] == 9
    with pytest.raises(InputError, match=r"map\.h5: it has no grain of 100 points; see --smallest"):
        convert(tmp_path / "map.h5", tmp_path / "c.tesr", "--segment-deg", 5, "--smallest", 100)


@pytest.mark.parametrize("name", ["a.inp", "a.damask.vti", "a.tesr", "a.vti", "a.dream3d", "a.h5", "a.tif", "a.npy"])
def test_no_file_tells_the_folders_of_this_machine(tmp_path: Path, name: str) -> None:
    gray = np.array([[1, 1, 2, 2]] * 4, np.uint8)
    Image.fromarray(gray).save(tmp_path / "seen.png", dpi=(72, 72))
    convert(tmp_path / "seen.png", tmp_path / "again.h5", "--labels", "grain", "--pixel-size-um", 1)
    (m,) = read(tmp_path / "again.h5", pixel_size_um=2.0)
    assert str(tmp_path) in m.source["warnings"][0]
    assert m.source["source"]["file"] == "seen.png"
    convert(tmp_path / "again.h5", tmp_path / "out" / name, "--pixel-size-um", 2)
    for file in (tmp_path / "out").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()
    assert m.source["file"] == str(tmp_path / "again.h5")  # the structure in memory is as it was


def test_every_point_its_own_grain(tmp_path: Path, ebsd: tuple[Path, Microstructure]) -> None:
    path, m = ebsd
    convert(path, tmp_path / "a.vti", "--segment-deg", 0)
    grain = read(tmp_path / "a.vti")[0]["grain"]
    assert grain[m["mask"] > 0].tolist() == list(range(1, int(m["mask"].sum()) + 1))
    assert not grain[m["mask"] == 0].any()


def test_one_field_of_many(tmp_path: Path, ebsd: tuple[Path, Microstructure]) -> None:
    path, m = ebsd
    with pytest.raises(InputError, match="holds one field of phase, mask"):
        convert(path, tmp_path / "a.tif")
    (written,) = convert(path, tmp_path / "a.tif", "--field", "phase")
    assert written["fields"] == ["phase"]
    assert written["left_out"] == ["mask", "orientation", "confidence_index"]
    assert "left out: mask, orientation, confidence_index" in written["warnings"][0]
    assert np.array_equal(read(tmp_path / "a.tif")[0]["phase"], m["phase"])


def test_labels_thresholds_and_crops(tmp_path: Path) -> None:
    gray = np.array([[0, 0, 200, 200], [0, 10, 200, 210], [0, 0, 255, 255]], np.uint8)
    Image.fromarray(gray).save(tmp_path / "a.png")
    how = ("--pixel-size-um", 0.5)
    convert(tmp_path / "a.png", tmp_path / "a.inp", "--threshold", "otsu", *how)
    assert "ELSET=PHASE_BRIGHT\n3, 4, 7, 8, 11, 12\n" in (tmp_path / "a.inp").read_text()
    convert(tmp_path / "a.png", tmp_path / "b.h5", "--labels", "grain", "--crop", "1:,0:2", *how)
    (m,) = read(tmp_path / "b.h5")
    assert m["grain"].tolist() == [[0, 10], [0, 0]]
    convert(tmp_path / "a.png", tmp_path / "c.vti", "--threshold", 100, *how)
    assert read(tmp_path / "c.vti")[0]["phase"].sum() == 6
    with pytest.raises(InputError, match=r"a\.png: has neither grains nor phases"):
        convert(tmp_path / "a.png", tmp_path / "d.inp", *how)
    assert not (tmp_path / "d.inp").exists()


def test_labels_keep_their_numbers_over_all_pages_and_files(tmp_path: Path) -> None:
    pages = [np.full((5, 6), 128, np.uint8), np.array([[0, 255]] * 3, np.uint8).repeat(3, axis=1)]
    pages[0][0] = 255
    (tmp_path / "in").mkdir()
    for name, page in zip("ab", pages, strict=True):
        Image.fromarray(page).save(tmp_path / "in" / f"{name}.png")
    how = ("--labels", "phase", "--pixel-size-um", 1)
    convert(tmp_path / "in", tmp_path / "out", "--to", "h5", *how)
    found = [read(tmp_path / "out" / f"{name}.h5")[0] for name in "ab"]
    assert [m.phases for m in found] == [("0", "128", "255")] * 2
    for m, page in zip(found, pages, strict=True):
        np.testing.assert_array_equal(m["phase"], np.searchsorted([0, 128, 255], page))
    first, second = (Image.fromarray(page[:3]) for page in pages)
    first.save(tmp_path / "stack.tif", save_all=True, append_images=[second])
    convert(tmp_path / "stack.tif", tmp_path / "page.h5", *how, "--crop", "1:,:")
    assert read(tmp_path / "page_0000.h5")[0]["phase"].tolist() == [[1] * 6] * 2


def test_a_folder_of_slices(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for z, page in enumerate(VOLUME):
        Image.fromarray(page).save(tmp_path / "in" / f"{z}.png")
    convert(tmp_path / "in", tmp_path / "a.vti", "--slices", "--pixel-size-um", "3,2,1")
    (m,) = read(tmp_path / "a.vti")
    assert (m.spacing, np.array_equal(m["intensity"], VOLUME)) == ((3, 2, 1), True)
    files = [tmp_path / "in" / f"{z}.png" for z in (3, 0)]
    convert(*files, tmp_path / "b.npy", "--slices", "--pixel-size-um", 1)
    assert np.array_equal(read(tmp_path / "b.npy")[0]["intensity"], VOLUME[[3, 0]])
    with pytest.raises(InputError, match="pass the voxel size"):
        convert(tmp_path / "in", tmp_path / "c.vti", "--slices")
    assert "--slices takes one folder" in usage(tmp_path / "in", tmp_path / "in", tmp_path / "c.vti", "--slices")


def test_many_inputs_fill_a_folder(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write(tmp_path / "in" / name, Microstructure({"intensity": VOLUME[0]}, (2, 1)))
    written = convert(tmp_path / "in", tmp_path / "out", "--to", "ome.tif")
    assert [Path(w["file"]).name for w in written] == ["a.ome.tif", "b.ome.tif"]
    assert read(tmp_path / "out" / "b.ome.tif")[0].spacing == (2, 1)
    assert "say --to EXT" in usage(tmp_path / "in", tmp_path / "x.tif")
    write(tmp_path / "in" / "a.tif", Microstructure({"intensity": VOLUME[0]}, (2, 1)))
    with pytest.raises(InputError, match=r"two inputs would both become .*a\.vti"):
        convert(tmp_path / "in", tmp_path / "more", "--to", "vti")
    assert not (tmp_path / "more").exists()


def test_a_stack_of_pictures_becomes_numbered_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VOLUME)
    convert(tmp_path / "a.npy", tmp_path / "v.tif", "--pixel-size-um", 1)
    assert read(tmp_path / "v.tif")[0].shape == (4, 5, 6)
    Image.fromarray(VOLUME[0]).save(
        tmp_path / "s.tif", save_all=True, append_images=[Image.fromarray(page) for page in VOLUME[1:]]
    )
    written = convert(tmp_path / "s.tif", tmp_path / "p.png", "--pixel-size-um", 1)
    assert [Path(w["file"]).name for w in written] == [f"p_{z:04d}.png" for z in range(4)]
    (written_volume,) = convert(tmp_path / "s.tif", tmp_path / "p.vti", "--pixel-size-um", 1, "--volume")
    assert written_volume["shape"] == [4, 5, 6]


def test_a_volume_becomes_slices_and_a_volume_again(tmp_path: Path) -> None:
    write(tmp_path / "sand.tif", Microstructure({"intensity": VOLUME}, (3, 2, 1)))
    written = convert(tmp_path / "sand.tif", tmp_path / "slices", "--to", "png")
    assert [Path(w["file"]).name for w in written] == [f"sand_{z:04d}.png" for z in range(4)]
    assert all(w["spacing_um"] == [2, 1] for w in written)
    assert [read_recipe(tmp_path / "slices" / f"sand_{z:04d}.png")["page"] for z in range(4)] == [0, 1, 2, 3]
    convert(tmp_path / "slices", tmp_path / "again.tif", "--slices", "--pixel-size-um", "3,2,1")
    (m,) = read(tmp_path / "again.tif")
    assert (m.spacing, np.array_equal(m["intensity"], VOLUME)) == ((3, 2, 1), True)


def test_a_conversion_that_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    write(tmp_path / "sand.tif", Microstructure({"intensity": VOLUME / 3}, (3, 2, 1)))
    with pytest.raises(InputError, match=r"does not fit this format without loss"):
        convert(tmp_path / "sand.tif", tmp_path / "new" / "slices", "--to", "png")
    assert [file.name for file in tmp_path.iterdir()] == ["sand.tif"]


def test_files_that_are_there_are_kept(tmp_path: Path, ebsd: tuple[Path, Microstructure]) -> None:
    grains = ("--segment-deg", 5, "--smallest", 1)
    (tmp_path / "a.material.yaml").write_text("mine")
    with pytest.raises(InputError, match=r"a\.material\.yaml is there already"):
        convert(ebsd[0], tmp_path / "a.damask.vti", *grains)
    assert not (tmp_path / "a.damask.vti").exists()
    convert(ebsd[0], tmp_path / "a.damask.vti", *grains, "--overwrite")
    assert "material:" in (tmp_path / "a.material.yaml").read_text()
    with pytest.raises(InputError, match=r"a\.damask\.vti is there already"):
        convert(ebsd[0], tmp_path / "a.damask.vti", *grains)


def test_wrong_usage_is_noticed_before_any_work(tmp_path: Path) -> None:
    Image.fromarray(VOLUME[0]).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"\.jpg are not written"):
        convert(tmp_path / "a.png", tmp_path / "a.jpg", "--pixel-size-um", 1)
    with pytest.raises(InputError, match=r"\.bmp are not written"):
        convert(tmp_path / "a.png", tmp_path / "out", "--to", "bmp", "--pixel-size-um", 1)
    assert "exclude each other" in usage(tmp_path / "a.png", tmp_path / "b.h5", "--labels", "grain", "--threshold", 3)
    assert "order (z,) y, x" in usage(tmp_path / "a.png", tmp_path / "b.h5", "--crop", "1:2")
    with pytest.raises(InputError, match=r"ends at 9, and the grid is \(5, 6\)"):
        convert(tmp_path / "a.png", tmp_path / "b.h5", "--crop", ":,2:9", "--pixel-size-um", 1)
    with pytest.raises(InputError, match="crop needs 2 slices"):
        convert(tmp_path / "a.png", tmp_path / "b.h5", "--crop", ":,:,:", "--pixel-size-um", 1)


def test_a_real_map_becomes_a_grid_for_damask(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "ebsd_maps" / "defdap" / "testDataEBSD_25x25.ctf"
    (written,) = convert(path, tmp_path / "a.damask.vti", "--segment-deg", 5, "--map-frame")
    assert written["spacing_um"] == [0.12, 0.12]
    assert "lattice: cP" in (tmp_path / "a.material.yaml").read_text()
    (grid,) = read(tmp_path / "a.damask.vti")
    assert grid.shape == (25, 25)
