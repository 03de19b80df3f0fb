"""Volumes as training data: read as said, segmented as said, planned in three dimensions."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from scipy import ndimage

from microgen import io
from microgen.core import InputError, Microstructure
from microgen.data import Dataset, Patches, plan_path, prepare, read_plan
from microgen.data.planning import VOLUME_MODEL, estimate_memory_gb, estimate_minutes
from microgen.data.scale import plan_spacing
from microgen.data.windows import intercepts
from microgen.stats.grains import mean_intercept_um

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("data_fakes.py"))))
maps = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("test_data_prepare_maps.py"))))


def gray(seed: int, shape: tuple[int, ...] = (48, 48, 112), blur: Any = 2.0) -> np.ndarray:
    """Smooth random values, uint8."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), blur)
    return np.asarray(np.clip(128 + 50 * field / field.std(), 0, 255), dtype=np.uint8)


def save_pages(path: Path, volume: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, volume, photometric="minisblack")
    return path


def save_slices(folder: Path, volume: np.ndarray) -> Path:
    for z, values in enumerate(volume):
        fakes.save(folder, f"slice{z}.png", values)
    return folder


def run(name: str, *arguments: Any, ok: bool = True) -> Result:
    from microgen.cli import cli

    result = CliRunner().invoke(cli, [name, *map(str, arguments)], catch_exceptions=False)
    assert (result.exit_code == 0) is ok, result.output
    return result


def printed(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_pages_are_a_volume_only_where_that_is_said(tmp_path: Path) -> None:
    path = save_pages(tmp_path / "ct.tif", gray(0, (70, 72, 180)))
    said: list[str] = []
    pictures = prepare([path], tmp_path / "set.h5", pixel_size_um=1.0, dry_run=True, say=said.append)
    assert pictures["images"] == 70
    assert any("pass --volume" in line for line in said)
    done = printed(run("prepare", path, tmp_path / "set.h5", "--volume", "--pixel-size-um", "1"))
    assert done["images"] == 1
    data = Dataset.open(tmp_path / "set.h5")
    assert data.read("ct.tif#train").shape[:2] == (70, 72)
    assert data.fingerprint["ndim"] == 3


def test_folders_of_slices_are_volumes(tmp_path: Path) -> None:
    volumes = {name: gray(k) for k, name in enumerate("abcd")}
    for name, volume in volumes.items():
        save_slices(tmp_path / "in" / name, volume)
    size = "1,0.5,0.5"
    done = printed(run("prepare", tmp_path / "in", tmp_path / "set.h5", "--slices", "--pixel-size-um", size))
    data = Dataset.open(tmp_path / "set.h5")
    assert (data.names, len(done["held_out"])) == (list("abcd"), 1)
    for name, volume in volumes.items():
        np.testing.assert_array_equal(data.read(name)["intensity"], volume)
        assert data.read(name).spacing == (1.0, 0.5, 0.5)
    again = {"pixel_size_um": size, "slices": True}
    assert prepare([tmp_path / "in"], tmp_path / "set.h5", **again)["skipped"]
    fakes.save(tmp_path / "in" / "a", "slice7.png", volumes["b"][0])
    assert not prepare([tmp_path / "in"], tmp_path / "set.h5", **again)["skipped"]


def test_slices_need_folders_and_a_distance(tmp_path: Path) -> None:
    folder = save_slices(tmp_path / "in", gray(0, (40, 40, 40)))
    with pytest.raises(InputError, match=r"slice0\.png is a file; --slices takes folders"):
        prepare([folder / "slice0.png"], tmp_path / "set.h5", slices=True, pixel_size_um=1.0)
    with pytest.raises(InputError, match="pass --pixel-size-um Z,Y,X"):
        prepare([folder], tmp_path / "set.h5", slices=True)
    (folder / "slice20.png").unlink()
    with pytest.raises(InputError, match="a slice is missing"):
        prepare([folder], tmp_path / "set.h5", slices=True, pixel_size_um=1.0)


def test_bare_numbers_with_their_grid(tmp_path: Path) -> None:
    volume = gray(1)
    volume.tofile(tmp_path / "v.raw")
    raw = ("--raw-shape", "48,48,112", "--raw-dtype", "uint8", "--pixel-size-um", "2")
    run("prepare", tmp_path / "v.raw", tmp_path / "set.h5", *raw, "--held-out", 0)
    np.testing.assert_array_equal(Dataset.open(tmp_path / "set.h5").read("v.raw")["intensity"], volume)


def test_a_threshold_makes_phases(tmp_path: Path) -> None:
    for k in range(3):
        np.save(tmp_path / f"{k}.npy", gray(k, (40, 44, 48)) + np.uint8(10 * k))
    out, files = tmp_path / "set.h5", sorted(tmp_path.glob("*.npy"))
    result = prepare(files, out, pixel_size_um=1.0, threshold=130)
    data, plan = Dataset.open(out), read_plan(plan_path(out))
    for k, name in enumerate(data.names):
        m = data.read(name)
        np.testing.assert_array_equal(m["phase"], gray(k, (40, 44, 48)) + np.uint8(10 * k) > 130)
        assert (m.phases, list(m.fields), dict(m.scalars)) == (("dark", "bright"), ["phase"], {})
        assert m.source["threshold"] == 130
    assert plan.data.field == "phase"
    assert list(result["conditions"]) == ["phase_fraction"]
    other = prepare(files, out, pixel_size_um=1.0, threshold="otsu")
    assert not other["skipped"]
    assert len({Dataset.open(out).read(name).source["threshold"] for name in data.names}) > 1
    assert list(other["conditions"]) == ["phase_fraction"]  # levels of the recordings are nothing to ask for


def test_labels_keep_their_names_and_must_mean_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    blocks = [np.kron(rng.integers(0, 3, (10, 10, 10)), np.ones((4, 4, 4))).astype(np.uint8) * 5 for _ in range(2)]
    for k, volume in enumerate(blocks):
        np.save(tmp_path / f"{k}.npy", volume)
    named = ("--labels", "phase", "--phase-names", "pore,grain,binder", "--pixel-size-um", 1, "--held-out", 0)
    told = run("prepare", tmp_path / "0.npy", tmp_path / "1.npy", tmp_path / "set.h5", *named)
    assert "thin seam" in told.stderr
    m = Dataset.open(tmp_path / "set.h5").read("1.npy")
    assert m.phases == ("pore", "grain", "binder")
    np.testing.assert_array_equal(m["phase"], blocks[1] // 5)
    np.save(tmp_path / "1.npy", np.where(blocks[1] == 5, 0, blocks[1]))
    prepare(sorted(tmp_path.glob("*.npy")), tmp_path / "other.h5", labels="phase", pixel_size_um=1.0, held_out=0)
    m = Dataset.open(tmp_path / "other.h5").read("1.npy")
    assert m.phases == ("0", "5", "10")  # 5 keeps its number where it does not occur
    np.testing.assert_array_equal(m["phase"], np.where(blocks[1] == 10, 2, 0))
    with pytest.raises(InputError, match=r"0\.npy: .*different values|0\.npy: 3 names|0\.npy: 2 names"):
        prepare([tmp_path / "0.npy"], tmp_path / "x.h5", labels="phase", phase_names=("a", "b"), pixel_size_um=1.0)


def test_files_that_hold_no_labels_do_not_count_as_phases(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.kron(rng.integers(0, 2, (12, 12)), np.ones((8, 8), np.uint8)) * 7)
    np.save(tmp_path / "gray.npy", rng.integers(0, 255, (96, 96), dtype=np.uint8))
    np.save(tmp_path / "fractions.npy", rng.integers(0, 3, (96, 96)) / 2)
    files, how = sorted(tmp_path.glob("*.npy")), {"labels": "phase", "pixel_size_um": 1.0, "held_out": 0}
    result = prepare(files, tmp_path / "set.h5", skip_bad=True, **how)
    assert result["left_out"].keys() == {"gray.npy", "fractions.npy"}
    assert Dataset.open(tmp_path / "set.h5").read("a.npy").phases == ("0", "7")
    with pytest.raises(InputError, match=r"gray\.npy: .*different values are gray values"):
        prepare([files[0], files[-1]], tmp_path / "other.h5", **how)


def test_meanings_that_exclude_each_other(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", gray(0))
    with pytest.raises(InputError, match="exclude each other"):
        prepare([tmp_path / "v.npy"], tmp_path / "set.h5", pixel_size_um=1.0, threshold=3, labels="phase")
    result = run("prepare", tmp_path / "v.npy", tmp_path / "set.h5", "--threshold", 3, "--labels", "phase", ok=False)
    assert result.exit_code == 2


def test_pictures_and_volumes_are_named_when_mixed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", gray(0))
    fakes.save(tmp_path, "b.png", fakes.etched(0))
    with pytest.raises(InputError, match=r"a\.npy is a volume and .*b\.png a picture: they cannot be mixed"):
        prepare([tmp_path], tmp_path / "set.h5", pixel_size_um=1.0)


def test_one_volume_is_divided_into_blocks_that_hold_a_patch(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", gray(0, (96, 96, 96), 1.0))
    result = prepare([tmp_path / "v.npy"], tmp_path / "set.h5", pixel_size_um=1.0)
    data, plan = Dataset.open(tmp_path / "set.h5"), read_plan(plan_path(tmp_path / "set.h5"))
    train, held = (data.read(name).source["part"] for name in data.names)
    assert held["start"] - train["stop"] >= 4 * result["correlation_length_um"] - 1
    assert held["stop"] - held["start"] >= 32
    for split in ("train", "held_out"):
        assert Patches(data, plan, split).grid()["field"].shape[1:] == (1, 32, 32, 32)
    np.save(tmp_path / "v.npy", gray(0, (60, 60, 60), 1.0))
    with pytest.raises(InputError, match="too small to hold a part of it out"):
        prepare([tmp_path / "v.npy"], tmp_path / "set.h5", pixel_size_um=1.0)


def of_volumes(*spacings: tuple[float, ...], xi: float | None, grains: float | None = None) -> dict[str, Any]:
    size = {"low": grains, "median": grains, "high": grains} if grains else None
    images = [{"name": str(k), "spacing_um": list(s), "extent_um": [99 * s[0]] * 3} for k, s in enumerate(spacings)]
    return {"ndim": 3, "grain_size_um": size, "correlation_length_um": xi, "images": images, "spacing_um": {}}


@pytest.mark.parametrize(
    ("fingerprint", "spacing"),
    [
        (of_volumes((1, 1, 1), xi=4.0), 1.0),  # never finer than recorded
        (of_volumes((1, 1, 1), xi=12.0), 2.0),  # six voxels a length
        (of_volumes((1, 1, 1), xi=17.0), 2.0),  # whole steps only
        (of_volumes((2, 0.5, 0.5), xi=12.0), 2.0),  # the coarsest axis rules where that is fine enough
        (of_volumes((2, 0.5, 0.5), xi=3.0), 1.0),  # but never with fewer than three voxels a length
        (of_volumes((2, 0.5, 0.5), xi=None), 2.0),
        (of_volumes((1, 1, 1), xi=1.0, grains=16.0), 2.0),  # eight voxels a mean intercept
    ],
)
def test_voxels_of_the_plan(fingerprint: dict[str, Any], spacing: float) -> None:
    found, why = plan_spacing(fingerprint)
    assert found == pytest.approx(spacing)
    coarsest = max(max(image["spacing_um"]) for image in fingerprint["images"])
    assert ("interpolated" in why) is (coarsest > spacing)


def test_voxels_of_unequal_sides_become_cubes(tmp_path: Path) -> None:
    """Every second slice is lost: crops are cubes of the same structure, and the length is found all the same."""
    whole = gray(0, (128, 64, 64), 3.0)
    np.save(tmp_path / "v.npy", whole[::2])
    result = prepare([tmp_path / "v.npy"], tmp_path / "set.h5", pixel_size_um="1,0.5,0.5", held_out=0)
    assert result["correlation_length_um"] == pytest.approx(0.5 * 2 * 3.0, rel=0.15)  # exp(-x^2 / 4 s^2)
    plan = read_plan(plan_path(tmp_path / "set.h5"))
    image = Patches(Dataset.open(tmp_path / "set.h5"), plan, "train").images[0]
    edge = plan.data.spacing_um
    assert image.field.shape == (1, *(int(32 * k / edge) for k in (2, 1, 1)))


def test_the_plan_of_a_volume_is_small_and_says_what_it_takes(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", gray(0, (64, 64, 160), 2.0))
    result = prepare([tmp_path / "v.npy"], tmp_path / "set.h5", pixel_size_um=1.0)
    plan = read_plan(plan_path(tmp_path / "set.h5"))
    assert (plan.model, plan.data.patch_px) == (VOLUME_MODEL, 32)
    assert result["minutes"] == plan.train.minutes == estimate_minutes(plan.model, plan.train, plan.data, 3)
    larger = plan.data.model_copy(update={"patch_px": 64})
    assert estimate_minutes(plan.model, plan.train, larger, 3) == pytest.approx(8 * result["minutes"], rel=0.05)
    images = Dataset.open(tmp_path / "set.h5").fingerprint["images"]
    memory = estimate_memory_gb(plan.model, plan.train, plan.data, images)
    assert 0.6 < memory < 1.0
    assert result["memory_gb"] == pytest.approx(memory, rel=0.05)
    assert f"about {memory:.2g} GB of memory" in plan_path(tmp_path / "set.h5").read_text()
    more = plan.train.model_copy(update={"batch": 4 * plan.train.batch})
    assert estimate_memory_gb(plan.model, more, larger, images) > 2 * memory


def test_only_symmetries_that_the_volume_shows(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", gray(0, (80, 80, 80), 1.5))
    assert prepare([tmp_path / "v.npy"], tmp_path / "set.h5", pixel_size_um=1.0, held_out=0)["augment"] == [
        "flip_x",
        "flip_y",
        "flip_z",
        "quarter_turns",
    ]
    z = np.arange(80.0)[:, None, None]
    sawtooth = (z % 12) * 15 + 0.2 * gray(0, (80, 80, 80), 1.5)  # rises slowly, falls at once
    np.save(tmp_path / "v.npy", sawtooth.astype(np.uint8))
    lying = prepare([tmp_path / "v.npy"], tmp_path / "set.h5", pixel_size_um=1.0, held_out=0)["augment"]
    assert "flip_z" not in lying
    assert {"flip_x", "flip_y"} <= set(lying)


def test_grains_of_a_volume(tmp_path: Path) -> None:
    grain = maps.cells(0, (64, 64, 64), 10.0)
    np.save(tmp_path / "v.npy", grain.astype(np.int32))
    result = prepare([tmp_path / "v.npy"], tmp_path / "set.h5", pixel_size_um=1.0, labels="grain", held_out=0)
    plan = read_plan(plan_path(tmp_path / "set.h5"))
    assert (plan.data.field, plan.data.spacing_um) == ("boundary", 1.0)
    assert result["grain_size_um"]["median"] == pytest.approx(mean_intercept_um(grain, spacing=1.0))
    patches = Patches(Dataset.open(tmp_path / "set.h5"), plan, "train")
    low, high = result["conditions"]["grain_size_um"]
    crop = mean_intercept_um(grain[:32, :32, :32], spacing=1.0)
    found = patches.images[0].scalar("grain_size_um", np.zeros((1, 3), int), (32, 32, 32))[0]
    assert found == pytest.approx(crop, rel=0.02)
    assert 0.98 * low <= found <= 1.02 * high


@pytest.mark.parametrize("shape", [(8, 9, 10), (1, 7, 7), (5, 5, 5)])
def test_intercepts_in_boxes_of_a_volume(shape: tuple[int, int, int]) -> None:
    grain = maps.cells(1, (24, 26, 28), 6.0)
    corners = np.random.default_rng(0).integers(0, np.array(grain.shape) - shape, size=(20, 3))
    crops = [grain[tuple(slice(c, c + n) for c, n in zip(corner, shape, strict=True))] for corner in corners]
    crossings = [sum(int((np.diff(c, axis=a) != 0).sum()) for a in range(3)) for c in crops]
    pairs = sum(int(np.prod(shape)) // n * (n - 1) for n in shape)
    expected = [0.7 * pairs / n if n else 0.7 * 2 * np.mean(shape) for n in crossings]
    np.testing.assert_allclose(intercepts(grain, 0.7)(corners, shape), expected, rtol=1e-9)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of two phases in 3-D; its quality is no matter."""
    folder = tmp_path_factory.mktemp("volume")
    np.save(folder / "v.npy", gray(0, (48, 48, 128), 1.2))
    size = ("--pixel-size-um", 2)
    run("prepare", folder / "v.npy", folder / "set.h5", "--threshold", "otsu", *size)
    settings = ["model.channels=[8,8]", "train.warmup=8", "train.precision=fp32", "train.previews=1"]
    run("train", folder / "set.h5", folder / "run", "--images", 8, "--batch", 4,
        *(word for setting in settings for word in ("--set", setting)))  # fmt: skip
    return folder


@pytest.mark.parametrize("suffix", [None, "tif", "npy", "vti"])
def test_a_model_of_volumes_makes_volumes(trained: Path, tmp_path: Path, suffix: str | None) -> None:
    how = ("--format", suffix) if suffix else ()
    request = ("--seeds", "0", "--preset", "fast", "--size", "24x32x40", *how)
    done = printed(run("sample", trained / "run", tmp_path / "out", *request))
    assert done["made"] == 1
    path = tmp_path / "out" / f"seed_000000.{suffix or 'h5'}"
    (made,) = io.read(path)
    assert (made.shape, made.spacing, made.phases) == ((24, 32, 40), (2.0, 2.0, 2.0), ("dark", "bright"))
    assert set(np.unique(made["phase"])) <= {0, 1}
    assert printed(run("sample", trained / "run", tmp_path / "out", *request))["made"] == 0


@pytest.mark.parametrize("suffix", ["h5", "npy"])
def test_a_damaged_volume_is_made_again(trained: Path, tmp_path: Path, suffix: str) -> None:
    request = ("--seeds", "0", "--preset", "fast", "--size", "16x16x16", "--format", suffix)
    run("sample", trained / "run", tmp_path / "out", *request)
    path = tmp_path / "out" / f"seed_000000.{suffix}"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert printed(run("sample", trained / "run", tmp_path / "out", *request))["made"] == 1
    assert path.read_bytes() == whole


def test_pictures_cannot_hold_volumes(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="makes volumes, which PNG cannot hold; use h5"):
        run("sample", trained / "run", tmp_path / "out", "--seeds", "0", "--format", "png")
    with pytest.raises(InputError, match="makes fields of 3 axes"):
        run("sample", trained / "run", tmp_path / "out", "--seeds", "0", "--size", "64x64")
    assert not list(tmp_path.rglob("seed*"))


@pytest.mark.slow
def test_volumes_are_evaluated(trained: Path, tmp_path: Path) -> None:
    run("sample", trained / "run", tmp_path / "out", "--seeds", "0-3", "--preset", "fast", "--size", "16x16x16")
    found = printed(run("evaluate", trained / "set.h5", tmp_path / "out", "--report", tmp_path / "r.html"))
    assert {"phase_fraction", "s2", "correlation_length_um"} <= set(found["rows"])
    assert (tmp_path / "r.html").stat().st_size > 10_000


@pytest.mark.slow
def test_fit_takes_volumes(tmp_path: Path) -> None:
    for k in range(4):
        save_pages(tmp_path / "in" / f"{k}.tif", gray(k, (40, 70, 70), 1.2))
    settings = ["samples_like_held_out=4", "samples_per_value=2", "windows=8", "values=[0.5]", "sample.preset=fast",
                'plan=["model.channels=[8,8]","train.images=8","train.batch=4","train.warmup=4"]']  # fmt: skip
    done = printed(run("fit", tmp_path / "in", tmp_path / "out", "--volume", "--threshold", "otsu", "--pixel-size-um",
                       1, *(word for setting in settings for word in ("--set", setting))))  # fmt: skip
    assert done["samples_made"] == 6
    made = io.read(next((tmp_path / "out").rglob("seed*.h5")))[0]
    assert (made.ndim, made.phases) == (3, ("dark", "bright"))
    assert (tmp_path / "out" / "samples.png").is_file()


def test_real_sand(shared_data: Path, tmp_path: Path) -> None:
    raw = shared_data / "volume_sand_xct" / "sand_200x200x100_uint8.raw"
    if not raw.is_file():
        pytest.skip("no sand")
    how: dict[str, Any] = {"raw_shape": (100, 200, 200), "raw_dtype": "uint8", "pixel_size_um": 1.0}
    result = prepare([raw], tmp_path / "set.h5", threshold="otsu", **how)
    data = Dataset.open(tmp_path / "set.h5")
    assert sorted(data.read("sand_200x200x100_uint8.raw#train").shape)[0] == 100
    low, high = result["conditions"]["phase_fraction"]
    assert 0.4 < low < high < 0.75
    assert (result["spacing_um"], result["patch_px"]) == (1.0, 32)
    with pytest.raises(InputError, match="raw"):
        prepare([raw], tmp_path / "other.h5", pixel_size_um=1.0)


@pytest.mark.slow
def test_real_electrode(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "volume_nmc_electrode"
    if not folder.is_dir():
        pytest.skip("no electrode")
    names = ("pore", "nmc", "binder")
    result = prepare(
        folder.glob("*.tif"), tmp_path / "set.h5", volume=True, labels="phase", phase_names=names, pixel_size_um=0.4
    )
    m = Microstructure({"phase": Dataset.open(tmp_path / "set.h5").read(result["held_out"][0])["phase"]}, (0.4,) * 3)
    assert set(np.unique(m["phase"])) == {0, 1, 2}
    assert (result["patch_px"], result["spacing_um"]) == (48, 0.4)
