"""Prepare: from files to a data set, and one clear sentence for everything that cannot work."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from microgen.core import InputError
from microgen.data import Dataset, Patches, fingerprint_path, overlap, plan_path, prepare, read_plan
from microgen.data.overlap import Overlap
from microgen.data.pixel_sizes import SIDECAR
from microgen.data.preparing import specimens

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("data_fakes.py"))))


@pytest.fixture(scope="module")
def pictures():
    """Six micrographs, the first three finer than the others."""
    return [fakes.etched(k, (160, 170), grain_px=14.0 if k < 3 else 20.0) for k in range(6)]


@pytest.fixture
def folder(tmp_path, pictures):
    for k, values in enumerate(pictures):
        fakes.save(tmp_path / "in", f"{'ab'[k // 3]}/{k}.png", values)
    (tmp_path / "in" / "notes.txt").write_text("stray")
    return tmp_path / "in"


def files_in(path):
    return sorted(p.name for p in path.iterdir() if p.is_file())


def test_a_folder_becomes_a_data_set(folder, tmp_path, pictures):
    said = []
    out = tmp_path / "set.h5"
    result = prepare([folder], out, pixel_size_um=0.5, say=said.append)
    assert files_in(tmp_path) == ["set.fingerprint.json", "set.h5", "set.plan.toml"]
    data = Dataset.open(out)
    assert data.names == [f"{'ab'[k // 3]}/{k}.png" for k in range(6)]
    for k, name in enumerate(data.names):
        np.testing.assert_array_equal(data.read(name)["intensity"], pictures[k])
        assert data.read(name)["intensity"].dtype == np.uint8
        assert data.read(name).spacing == (0.5, 0.5)
        assert len(data.read(name).source["sha256"]) == 64
    assert {n.partition("/")[0] for n in result["held_out"]} == {"a", "b"}
    assert (result["images"], result["train"], result["specimens"], result["overlaps"]) == (6, 4, 6, 0)
    assert json.loads(fingerprint_path(out).read_text()) == dict(data.fingerprint)
    assert any("notes.txt" in line for line in said)
    json.dumps(result, allow_nan=False)

    plan = read_plan(plan_path(out))
    assert set(plan.data.augment) == {"flip_x", "flip_y", "quarter_turns"}
    low, high = result["conditions"]["grain_size_um"]
    assert low < 14 * 0.5 < 20 * 0.5 < high
    batch = Patches(data, plan, "train").batch(np.random.default_rng(0), 8)
    assert batch["field"].shape == (8, 1, plan.data.patch_px, plan.data.patch_px)


def test_the_same_again_is_skipped_and_changes_are_seen(folder, tmp_path, pictures):
    out = tmp_path / "set.h5"
    first = prepare([folder], out, pixel_size_um=0.5)
    before = out.stat().st_mtime_ns
    said = []
    again = prepare([folder], out, pixel_size_um=0.5, say=said.append)
    assert out.stat().st_mtime_ns == before
    assert again == {**first, "skipped": True}
    assert any("already" in line for line in said)
    assert not prepare([folder], out, pixel_size_um=0.4)["skipped"]
    assert Dataset.open(out).read("a/0.png").spacing == (0.4, 0.4)
    fakes.save(folder, "a/0.png", pictures[5])
    changed = prepare([folder], out, pixel_size_um=0.4)
    assert not changed["skipped"]
    assert changed["overlaps"] == 1
    plan_path(out).unlink()
    assert not prepare([folder], out, pixel_size_um=0.4)["skipped"]
    assert plan_path(out).is_file()


def test_an_edited_plan_is_kept(folder, tmp_path):
    out = tmp_path / "set.h5"
    prepare([folder], out, pixel_size_um=0.5)
    text = plan_path(out).read_text()
    plan_path(out).write_text(text.replace("# ", "#  "))
    prepare([folder], out, pixel_size_um=0.5, seed=1)
    assert "#  " not in plan_path(out).read_text()  # only comments differed: ours to renew
    mine = text.replace("batch = 16", "batch = 4")
    plan_path(out).write_text(mine)
    said = []
    prepare([folder], out, pixel_size_um=0.5, seed=2, say=said.append)
    assert plan_path(out).read_text() == mine
    assert any("was edited and is kept" in line for line in said)


def other_images(folder):
    for path in folder.rglob("*.png"):
        fakes.save(path.parent, path.name, fakes.etched(50 + int(path.stem), (160, 170)))


def test_a_plan_left_without_its_data_set_is_renewed_unless_edited(folder, tmp_path):
    out = tmp_path / "set.h5"
    prepare([folder], out, pixel_size_um=0.5)
    first = plan_path(out).read_text()
    out.unlink()
    prepare([folder], out, pixel_size_um=1.0)
    assert read_plan(plan_path(out)).data.spacing_um > read_plan_of(first, tmp_path).data.spacing_um
    edited = plan_path(out).read_text().replace("batch = 16", "batch = 4")
    plan_path(out).write_text(edited)
    out.unlink()
    prepare([folder], out, pixel_size_um=1.0)
    assert plan_path(out).read_text() == edited  # of the same images: kept


def read_plan_of(text, tmp_path):
    (tmp_path / "before.toml").write_text(text)
    return read_plan(tmp_path / "before.toml")


@pytest.mark.parametrize("data_set_left", [True, False])
@pytest.mark.parametrize("line_left", [True, False])
def test_an_edited_plan_of_other_images_is_refused(folder, tmp_path, data_set_left, line_left):
    out = tmp_path / "set.h5"
    prepare([folder], out, pixel_size_um=0.5)
    lines = plan_path(out).read_text().replace("batch = 16", "batch = 4").splitlines()
    mine = "\n".join(line for line in lines if line_left or "Made for" not in line)
    plan_path(out).write_text(mine)
    if not data_set_left:
        out.unlink()
    before = files_in(tmp_path)
    other_images(folder)
    with pytest.raises(InputError, match=r"set\.plan\.toml was edited, and not for these images; delete it"):
        prepare([folder], out, pixel_size_um=0.5)
    assert plan_path(out).read_text() == mine
    assert files_in(tmp_path) == before
    assert prepare([folder], out, pixel_size_um=0.5, dry_run=True)["images"] == 6


def test_a_plan_without_its_line_is_kept_beside_its_data_set(folder, tmp_path):
    out = tmp_path / "set.h5"
    prepare([folder], out, pixel_size_um=0.5)
    mine = "\n".join(plan_path(out).read_text().splitlines()[2:])
    plan_path(out).write_text(mine)
    prepare([folder], out, pixel_size_um=0.5, seed=1)
    assert plan_path(out).read_text() == mine


def test_files_beside_the_images_count_as_inputs(folder, tmp_path):
    """The pixel size lies in a text file of the microscope: another size there is another data set."""
    out = tmp_path / "set.h5"

    def describe(nanometres):
        for path in folder.rglob("*.png"):
            path.with_suffix(".txt").write_text(f"[SemImageFile]\nPixelSize={nanometres}\nDataSize=170x160\n")

    describe(500)
    prepare([folder], out)
    assert prepare([folder], out)["skipped"]
    describe(250)
    assert not prepare([folder], out)["skipped"]
    assert Dataset.open(out).read("a/0.png").spacing == (0.25, 0.25)


def test_exact_copies_are_joined_however_many_images(folder, tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(overlap, "MAX_PAIRS", 0)
    fakes.save(folder, "z/copy.png", pictures[0])
    result = prepare([folder], tmp_path / "set.h5", pixel_size_um=0.5)
    data = Dataset.open(tmp_path / "set.h5")
    assert data.specimen_of("z/copy.png") == data.specimen_of("a/0.png")
    assert data.split_of("z/copy.png") == data.split_of("a/0.png")
    assert result["overlaps"] == 1
    assert any("too many to compare" in w for w in result["warnings"])


def test_copies_of_a_volume_are_joined(tmp_path):
    (tmp_path / "in").mkdir()
    for k in (0, 1, 2, 3, 1):
        values = ndimage.gaussian_filter(np.random.default_rng(k).normal(size=(34, 34, 34)), 1.5).astype(np.float32)
        name = f"{k}.npy" if not (tmp_path / "in" / f"{k}.npy").exists() else "copy.npy"
        np.save(tmp_path / "in" / name, values)
    result = prepare([tmp_path / "in"], tmp_path / "set.h5", pixel_size_um=1.0, held_out=0.5)
    data = Dataset.open(tmp_path / "set.h5")
    assert result["specimens"] == 4
    assert data.specimen_of("copy.npy") == data.specimen_of("1.npy")
    assert data.split_of("copy.npy") == data.split_of("1.npy")


def save_stack(folder, name, seeds):
    folder.mkdir(exist_ok=True)
    pages = [Image.fromarray(fakes.etched(seed, (160, 170))) for seed in seeds]
    pages[0].save(folder / name, save_all=True, append_images=pages[1:])


def test_pages_of_one_file_are_one_specimen(tmp_path):
    for k in range(3):
        save_stack(tmp_path / "in", f"{k}.tif", [10 * k, 10 * k + 1])
    result = prepare([tmp_path / "in"], tmp_path / "set.h5", pixel_size_um=0.5)
    data = Dataset.open(tmp_path / "set.h5")
    assert [data.specimen_of(n) for n in data.names] == ["0.tif"] * 2 + ["1.tif"] * 2 + ["2.tif"] * 2
    assert len({data.specimen_of(n) for n in result["held_out"]}) == 1
    assert len(result["held_out"]) == 2
    assert result["warnings"] == []


def test_pages_of_a_single_file_are_specimens_with_a_warning(tmp_path):
    save_stack(tmp_path / "in", "stack.tif", range(5))
    result = prepare([tmp_path / "in"], tmp_path / "set.h5", pixel_size_um=0.5)
    assert (result["specimens"], result["train"], len(result["held_out"])) == (5, 4, 1)
    assert any("neighbouring pages may be alike" in w for w in result["warnings"])
    by_rule = prepare([tmp_path / "in"], tmp_path / "set.h5", pixel_size_um=0.5, specimen=r"#(\d\d\d\d)")
    assert by_rule["warnings"] == []


def test_overlapping_images_stay_on_one_side(tmp_path):
    field = fakes.etched(7, (160, 640))
    for k in range(4):
        fakes.save(tmp_path / "in", f"step{k}.png", field[:, 140 * k : 140 * k + 180])
    for k in range(3):
        fakes.save(tmp_path / "in", f"x{k}.png", fakes.etched(20 + k, (160, 180)))
    for seed in range(2):
        result = prepare([tmp_path / "in"], tmp_path / "set.h5", pixel_size_um=0.5, seed=seed)
        data = Dataset.open(tmp_path / "set.h5")
        assert {data.specimen_of(f"step{k}.png") for k in range(4)} == {"step0.png"}
        assert len({data.split_of(f"step{k}.png") for k in range(4)}) == 1
        assert (result["overlaps"], result["specimens"]) == (3, 4)


def test_one_micrograph_is_divided_with_a_warning(tmp_path, pictures):
    fakes.save(tmp_path / "in", "only.png", fakes.etched(1, (300, 520), grain_px=14.0))
    result = prepare([tmp_path / "in"], tmp_path / "set.h5", pixel_size_um=0.5)
    data = Dataset.open(tmp_path / "set.h5")
    assert data.names == ["only.png#train", "only.png#held_out"]
    train, held = (data.read(n) for n in data.names)
    gap = held.source["part"]["start"] - train.source["part"]["stop"]
    assert gap * 0.5 >= 2 * result["grain_size_um"]["median"]
    assert held.source["part"]["stop"] == 520
    assert any("only 1 independent image:" in w for w in result["warnings"])
    assert result["held_out"] == ["only.png#held_out"]
    for split in ("train", "held_out"):
        Patches(data, read_plan(plan_path(tmp_path / "set.h5")), split)


def test_the_patch_fits_into_both_parts_of_a_small_image(tmp_path):
    fakes.save(tmp_path / "in", "only.png", fakes.etched(1, (400, 420), grain_px=30.0, line_px=3.0))
    prepare([tmp_path / "in"], tmp_path / "set.h5", pixel_size_um=0.5)
    data, plan = Dataset.open(tmp_path / "set.h5"), read_plan(plan_path(tmp_path / "set.h5"))
    assert plan.data.skip == ()
    side = plan.data.patch_px * plan.data.spacing_um
    assert all(min(data.read(name).extent_um) >= side for name in data.names)


def test_duplicates_of_a_divided_image_are_left_out(tmp_path, pictures):
    values = fakes.etched(1, (200, 400))
    fakes.save(tmp_path / "in", "one.png", values)
    fakes.save(tmp_path / "in", "two.png", (values * 0.9).astype(np.uint8))
    result = prepare([tmp_path / "in"], tmp_path / "set.h5", pixel_size_um=0.5)
    assert list(result["left_out"]) == ["two.png"]
    assert Dataset.open(tmp_path / "set.h5").names == ["one.png#train", "one.png#held_out"]


def test_nothing_is_held_out_on_request(folder, tmp_path):
    result = prepare([folder], tmp_path / "set.h5", pixel_size_um=0.5, held_out=0)
    assert result["held_out"] == []
    assert Dataset.open(tmp_path / "set.h5").names_in("held_out") == []


def test_specimens_by_folder_and_by_pattern(folder, tmp_path, pictures):
    out = tmp_path / "set.h5"
    with pytest.raises(InputError, match="gives 2 specimens"):
        prepare([folder], out, pixel_size_um=0.5, specimen="folder")
    fakes.save(folder, "c/9.png", fakes.etched(30, (160, 170)))
    prepare([folder], out, pixel_size_um=0.5, specimen="folder")
    data = Dataset.open(out)
    held = {data.specimen_of(n) for n in data.names_in("held_out")}
    assert len(held) == 1
    assert held <= {"a", "b", "c"}
    prepare([folder], out, pixel_size_um=0.5, specimen=r"/(\d)")
    assert Dataset.open(out).specimen_of("b/3.png") == "3"


def test_specimen_rules():
    names = ["a/x_1", "a/x_2", "b/y_1", "z"]
    files = {name: name for name in names}
    assert list(specimens(files, [], "image").values()) == names
    assert list(specimens(files, [], "folder").values()) == ["a", "a", "b", "."]
    assert list(specimens(files, [], r"/(\w)_").values()) == ["x", "x", "y", "z"]
    joined = specimens(files, [Overlap("a/x_2", "b/y_1", (0, 0), 0.5, 0.9)], "folder")
    assert list(joined.values()) == ["a", "a", "a", "."]
    for rule in ("(", "a"):
        with pytest.raises(InputError, match="specimen rule"):
            specimens(files, [], rule)


def test_pixel_sizes_per_folder(folder, tmp_path):
    out = tmp_path / "set.h5"
    prepare([folder], out, pixel_size_um=["a=0.5", "b/*=0.25"])
    assert {n: Dataset.open(out).read(n).spacing[0] for n in ("a/1.png", "b/4.png")} == {
        "a/1.png": 0.5,
        "b/4.png": 0.25,
    }
    assert Dataset.open(out).read("a/1.png").source["pixel_size"]["confidence"] == "given"
    (folder / SIDECAR).write_text("[pixel_size_um]\na = 0.5\nb = 0.3\n")
    prepare([folder], out)
    assert Dataset.open(out).read("b/4.png").spacing == (0.3, 0.3)
    (folder / SIDECAR).write_text("[pixel_size_um]\na = 0.5\n")
    with pytest.raises(InputError, match=r"b/3\.png: no pixel size found"):
        prepare([folder], out)


def test_a_dry_run_writes_nothing(folder, tmp_path):
    result = prepare([folder], tmp_path / "set.h5", pixel_size_um=0.5, dry_run=True)
    assert result["images"] == 6
    assert files_in(tmp_path) == []


def write_bad(folder, kind):
    path = folder / "z.png"
    if kind == "truncated":
        whole = fakes.save(folder, "z.png", fakes.etched(1)).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "not an image":
        path.write_bytes(b"hello")
    elif kind == "flat":
        fakes.save(folder, "z.png", np.full((100, 100), 7, np.uint8))
    elif kind == "small":
        fakes.save(folder, "z.png", fakes.etched(1, (63, 200)))
    elif kind == "colour":
        fakes.save(folder, "z.png", np.random.default_rng(0).integers(0, 255, (99, 99, 3), dtype=np.uint8))
    elif kind == "nan":
        np.save(folder / "z.npy", np.where(np.eye(100) > 0, np.nan, 1.0))
    elif kind == "complex":
        np.save(folder / "z.npy", np.ones((100, 100), complex))
    return folder


@pytest.mark.parametrize("kind", ["truncated", "empty", "not an image", "flat", "small", "colour", "nan", "complex"])
def test_bad_files_are_refused_or_left_out(folder, tmp_path, kind):
    write_bad(folder, kind)
    with pytest.raises(InputError, match=r"z\.(png|npy)") as caught:
        prepare([folder], tmp_path / "set.h5", pixel_size_um=0.5)
    assert "\n" not in str(caught.value)
    assert files_in(tmp_path) == []
    result = prepare([folder], tmp_path / "set.h5", pixel_size_um=0.5, skip_bad=True)
    assert [name[:2] for name in result["left_out"]] == ["z."]
    assert result["images"] == 6


def test_nothing_usable_is_said(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="nothing that can be read"):
        prepare([tmp_path / "in"], tmp_path / "set.h5", pixel_size_um=0.5)
    write_bad(tmp_path / "in", "flat")
    with pytest.raises(InputError, match="none of the 1 files can be used"):
        prepare([tmp_path / "in"], tmp_path / "set.h5", pixel_size_um=0.5, skip_bad=True)


def test_pictures_and_volumes_are_not_mixed(folder, tmp_path):
    np.save(folder / "v.npy", np.random.default_rng(0).random((40, 40, 40)))
    with pytest.raises(InputError, match="cannot be mixed"):
        prepare([folder], tmp_path / "set.h5", pixel_size_um=0.5)


def test_one_volume_is_divided(tmp_path):
    (tmp_path / "in").mkdir()
    volume = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(50, 60, 240)), 2)
    np.save(tmp_path / "in" / "v.npy", volume.astype(np.float32))
    prepare([tmp_path / "in"], tmp_path / "set.h5", pixel_size_um=1.0)
    data, plan = Dataset.open(tmp_path / "set.h5"), read_plan(plan_path(tmp_path / "set.h5"))
    assert data.read("v.npy#train").shape[:2] == (50, 60)
    batch = Patches(data, plan, "train").batch(np.random.default_rng(0), 3)
    assert batch["field"].shape == (3, 1, *[plan.data.patch_px] * 3)


def microgen(*args):
    command = [sys.executable, "-m", "microgen.cli", *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )


def test_the_command_prints_one_object_and_the_right_codes(folder, tmp_path):
    done = microgen("prepare", folder, tmp_path / "set.h5", "--pixel-size-um", "a=0.5", "--pixel-size-um", "0.25")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["dataset"] == str(tmp_path / "set.h5")
    assert Dataset.open(result["dataset"]).read("b/4.png").spacing == (0.25, 0.25)
    refused = microgen("prepare", folder, tmp_path / "two.h5")
    assert refused.returncode == 3
    assert refused.stdout == ""
    assert "--pixel-size-um" in refused.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "two.h5").exists()


def test_prepare_needs_no_torch():
    code = "import sys, microgen.data, microgen.cli.prepare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_real_steels(shared_data, tmp_path):
    """Five folders, three magnifications: overlaps found, folders covered, one steel alike at two magnifications."""
    steels = shared_data / "steel_optical_grains"
    if not steels.is_dir():
        pytest.skip("no steels")
    sizes = ["304-200=0.3698", "1-200_G9.40=0.3698", "*-500=0.1479", "435Q-1000=0.0740"]
    result = prepare([steels], tmp_path / "set.h5", pixel_size_um=sizes)
    data = Dataset.open(tmp_path / "set.h5")
    folders = {n.partition("/")[0] for n in result["held_out"]}
    assert folders == {"304-200", "304-500", "435Q-500", "435Q-1000"}
    assert result["overlaps"] == 4
    assert data.specimen_of("1-200_G9.40/1-200_(3).jpg") == "1-200_G9.40/1-200_(1).jpg"
    assert result["augment"] == ["flip_x", "flip_y", "quarter_turns"]
    mean: dict[str, list[float]] = {}
    for image in data.fingerprint["images"]:
        mean.setdefault(image["name"].partition("/")[0], []).append(image["grains"]["mean_intercept_um"])
    sizes_um = {name: float(np.mean(values)) for name, values in mean.items()}
    assert abs(6.64 * np.log10(sizes_um["435Q-500"] / sizes_um["435Q-1000"])) < 0.4
    assert sizes_um["1-200_G9.40"] < sizes_um["435Q-500"] < sizes_um["304-200"] < sizes_um["304-500"]
