"""fit end to end on tiny pictures, going on after an interruption, and reproduce on what it made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgen import io
from microgen.cli import main
from microgen.cli.fit_samples import LEVELS, quantiles, shared, spread
from microgen.core import Microstructure
from microgen.core.seeds import rng

TINY = [
    "samples_per_value=2",
    "samples_like_held_out=12",
    "windows=16",
    "values=[6.0,8.0]",
    "sample.preset=fast",
    'plan=["model.channels=[8,8]","model.blocks=1","train.images=32","train.batch=8","train.warmup=8"]',
]


def etched(seed: int, side: int, grain_px: float) -> np.ndarray:
    """Dark lines between the cells of random points: the look of an etched section."""
    from scipy.spatial import cKDTree

    random = rng(seed)
    points = random.uniform(-side, 2 * side, (int(9 * (side / grain_px) ** 2), 2))
    grid = np.stack(np.mgrid[:side, :side], axis=-1).reshape(-1, 2)
    near = cKDTree(points).query(grid, k=2)[0]
    groove = np.exp(-(((near[:, 1] - near[:, 0]) / 1.5) ** 2)).reshape(side, side)
    noise = random.normal(0, 4, (side, side))
    return np.asarray(np.clip(200 - 150 * groove + noise, 0, 255), dtype=np.uint8)


@pytest.fixture(scope="module")
def micrographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("micrographs")
    for seed in range(5):
        picture = Microstructure({"intensity": etched(seed, 160, 14 + 4 * (seed % 2))}, (0.5, 0.5))
        io.write(folder / f"{seed}.png", picture)
    return folder


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as leave:
        main([str(argument) for argument in arguments])
    assert isinstance(leave.value.code, int)
    return leave.value.code


def fit(folder: Path, out: Path) -> int:
    return run("fit", folder, out, *(word for setting in TINY for word in ("--set", setting)))


@pytest.fixture(scope="module")
def fitted(micrographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished tiny fit."""
    out = tmp_path_factory.mktemp("fit")
    assert fit(micrographs, out) == 0
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_fit_leaves_everything_in_one_folder(fitted: Path) -> None:
    names = {"data.h5", "data.plan.toml", "run", "samples", "samples.png", "report.html", "report.json", "summary.json"}
    assert names <= {path.name for path in fitted.iterdir()}
    summary: dict[str, Any] = json.loads((fitted / "summary.json").read_text())
    assert [row["requested"] for row in summary["requested"]] == [6.0, 8.0]
    assert all(row["n"] == 2 for row in summary["requested"])
    assert summary["images"] == 5
    assert summary["training_crops_seen"] == 32
    assert len(list((fitted / "samples" / "at_values").rglob("*.png"))) == 4


def test_samples_like_held_out_have_different_seeds_and_the_sizes_of_held_out_crops(fitted: Path) -> None:
    recipes = [io.read_recipe(path) for path in (fitted / "samples" / "like_held_out").rglob("*.png")]
    assert len(recipes) == 12
    seeds = [recipe["seed"] for recipe in recipes if recipe]
    assert len(set(seeds)) == len(seeds)
    assert len({recipe["condition"]["grain_size_um"] for recipe in recipes if recipe}) > 1


def test_same_command_again_changes_nothing(
    micrographs: Path, fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(fitted)
    assert fit(micrographs, fitted) == 0
    after = contents(fitted)
    assert {name for name in before if before[name] != after.get(name)} <= {"summary.json"}
    assert set(before) == set(after)
    assert "done already" in capsys.readouterr().err


def test_lost_sample_is_made_again_with_the_same_bytes(
    micrographs: Path, fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = min((fitted / "samples" / "at_values").rglob("*.png"))
    before = lost.read_bytes()
    lost.unlink()
    assert fit(micrographs, fitted) == 0
    assert lost.read_bytes() == before


def test_second_fit_in_the_same_folder_is_locked_out(fitted: Path, micrographs: Path) -> None:
    import subprocess
    import sys

    path = str(fitted / ".lock")
    hold = f"from microgen.core.files import lock\nwith lock({path!r}): print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        assert fit(micrographs, fitted) == 4
        holder.communicate(b"\n")


def test_sample_is_reproduced_byte_for_byte(fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = min((fitted / "samples" / "at_values").rglob("*.png"))
    assert run("reproduce", path, tmp_path / "again.png") == 0
    assert json.loads(capsys.readouterr().out)["identical"] is True
    assert (tmp_path / "again.png").read_bytes() == path.read_bytes()


def test_sample_that_was_changed_is_found_out(fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = min((fitted / "samples" / "at_values").rglob("*.png"))
    sample = io.read(path)[0]
    values = sample["intensity"].copy()
    values[0, 0] ^= 1
    changed = tmp_path / "changed.png"
    io.write(changed, sample.with_fields(intensity=values), io.read_recipe(path))
    assert run("reproduce", changed, "--model", fitted / "run") == 3
    result = json.loads(capsys.readouterr().out)
    assert result["identical"] is False
    assert "intensity differs" in result["differences"][0]


def test_sample_of_other_versions_is_reported_as_such(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = min((fitted / "samples" / "at_values").rglob("*.png"))
    recipe = io.read_recipe(path)
    assert recipe is not None
    other = tmp_path / "other.png"
    io.write(other, io.read(path)[0], {**recipe, "versions": {"numpy": "0.1"}})
    assert run("reproduce", other, "--model", fitted / "run") == 3
    assert json.loads(capsys.readouterr().out)["differences"][0].startswith("versions was {'numpy': '0.1'}")


def test_wrong_and_missing_model_are_refused(fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = min((fitted / "samples" / "at_values").rglob("*.png"))
    recipe = io.read_recipe(path)
    moved = tmp_path / "moved.png"
    moved.write_bytes(path.read_bytes())
    assert run("reproduce", moved) == 3
    assert "--model" in capsys.readouterr().err
    io.write(moved, io.read(path)[0], {**(recipe or {}), "model_sha256": "0" * 64})
    assert run("reproduce", moved, "--model", fitted / "run") == 3
    assert "is not the model" in capsys.readouterr().err


def test_values_are_spread_over_the_range() -> None:
    assert spread(0.1, 0.9, log=False) == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    values = spread(4, 64, log=True)
    assert (values[0], values[-1]) == (4, 64)
    assert np.allclose(np.diff(np.log(values)), np.log(16) / 4, atol=0.01)
    assert spread(5, 5, log=True) == [5]


def test_levels_are_even_over_pictures_however_many_windows_each_has() -> None:
    values = np.concatenate([np.linspace(4, 5, 900), np.linspace(8, 10, 100)])
    owners = np.repeat(["fine", "coarse"], [900, 100])
    levels = quantiles((values, owners), (np.arange(LEVELS) + 0.5) / LEVELS, 192)
    assert (levels < 6).sum() == LEVELS / 2
    assert levels[levels < 6] == pytest.approx(4 + (np.arange(12) + 0.5) / 12, abs=0.01)


def test_more_samples_keep_those_that_were_there() -> None:
    levels = [float(k) for k in range(LEVELS)]
    few, many = shared(levels, 24), shared(levels, 96)
    assert all(set(few[value]) < set(many[value]) and len(many[value]) == 4 for value in levels)
    assert sorted(seed for seeds in many.values() for seed in seeds) == list(range(96))


def test_only_samples_of_this_run_are_evaluated(micrographs: Path, fitted: Path, tmp_path: Path) -> None:
    import shutil

    out = tmp_path / "fit"
    shutil.copytree(fitted, out)
    for group in ("at_values", "like_held_out"):
        some = min((out / "samples" / group).rglob("*.png")).parent
        shutil.copytree(some, out / "samples" / group / "grain_size_um_99")  # left by an earlier model
    assert fit(micrographs, out) == 0
    assert (out / "report.json").read_bytes() == (fitted / "report.json").read_bytes()
    assert (out / "samples.png").read_bytes() == (fitted / "samples.png").read_bytes()


def test_dry_run_plans_and_writes_nothing(
    micrographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fit", micrographs, tmp_path / "out", "--dry-run", "--minutes", "3") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["settings"]["minutes"] == 3
    assert result["prepare"]["images"] == 5
    assert list(tmp_path.iterdir()) == []


def test_unknown_setting_is_refused(micrographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fit", micrographs, tmp_path / "out", "--set", "minuts=3") == 3
    assert "minuts" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_several_devices_are_refused_before_anything_is_done(
    micrographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fit", micrographs, tmp_path / "out", "--set", 'plan=["train.devices=2"]') == 3
    assert "fit trains in one process" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
