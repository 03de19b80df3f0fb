"""Folders of samples: exactly once, whatever is killed, started twice or damaged."""

from __future__ import annotations

import hashlib
import json
import os
import random
import runpy
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from microgen import io
from microgen.core import Condition, InputError, Microstructure, StorageError, files
from microgen.generate import launch, preview_request, remake, sample_to_folder, workers
from microgen.generate.claims import Claims
from microgen.generate.folder import SampleFolder
from microgen.generate.watch import Watch, count_samples
from microgen.models import Model, load_model

fakes = runpy.run_path(str(Path(__file__).with_name("model_fakes.py")))
GRAINS = Condition({"grain_size_um": 10.0})
FAST = {"preset": "fast", "steps": 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = fakes["save_tiny"](tmp_path_factory.mktemp("model") / "model.safetensors")
    return path


def fill(model: Path, out: Path, count: int = 6, **options: Any) -> dict[str, Any]:
    return sample_to_folder(model, out, range(count), **{**FAST, **options})


def hashes(folder: Path) -> dict[str, str]:
    """Visible files by name, with the hash of their bytes."""
    found = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def unfinished(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.startswith(".") and p.name != ".claims"]


def started(model: Path, out: Path, count: int) -> subprocess.Popen[bytes]:
    """A process of its own that fills the folder."""
    call = f"fill({str(model)!r}, {str(out)!r}, range({count}), **{FAST})"
    code = f"from microgen.generate import sample_to_folder as fill; {call}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE)


def wait_for(out: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    while count_samples([out], "png") < count and process.poll() is None:
        time.sleep(0.005)


def test_files_carry_scale_and_recipe(model: Path, tmp_path: Path) -> None:
    result = fill(model, tmp_path / "out", 3, conditions=[GRAINS], shape=(24, 16))
    assert (result["count"], result["made"]) == (3, 3)
    made = io.read(tmp_path / "out" / "seed_000002.png")[0]
    assert made.shape == (24, 16)
    assert made.spacing == (0.8, 0.8)
    assert made.scalars["grain_size_um"] == 10.0
    recipe = io.read_recipe(tmp_path / "out" / "seed_000002.png")
    assert recipe is not None
    assert (recipe["command"], recipe["seed"], recipe["model_sha256"]) == ("sample", 2, result["model_sha256"])
    direct = next(load_model(model).sample([2], GRAINS, (24, 16), **FAST))
    assert np.array_equal(made["intensity"], direct["intensity"])


@pytest.mark.parametrize("file_format", ["png", "tif", "h5"])
def test_sample_is_made_again_from_its_file(model: Path, tmp_path: Path, file_format: str) -> None:
    fill(model, tmp_path / "out", 2, conditions=[GRAINS], file_format=file_format, guidance=2.0, periodic=True)
    path = tmp_path / "out" / f"seed_000001.{file_format}"
    recipe = io.read_recipe(path)
    assert recipe is not None
    again = remake(recipe, path.parent)
    io.write(tmp_path / f"again.{file_format}", again, recipe)
    assert (tmp_path / f"again.{file_format}").read_bytes() == path.read_bytes()


def test_remaking_refuses_another_model(model: Path, tmp_path: Path) -> None:
    fill(model, tmp_path / "out", 1)
    recipe = io.read_recipe(tmp_path / "out" / "seed_000000.png")
    assert recipe is not None
    other = fakes["save_tiny"](tmp_path / "other.safetensors", seed=1)
    with pytest.raises(InputError, match="is not the model"):
        remake({**recipe, "model": str(other)}, tmp_path / "out")
    with pytest.raises(InputError, match="no model"):
        remake({**recipe, "model": "gone.safetensors"}, tmp_path / "out")
    assert remake({**recipe, "model": "gone.safetensors"}, tmp_path / "out", model=model).shape == (16, 16)


def test_remaking_uses_the_batch_of_the_recipe(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU it decides about the last bits; here it only has to arrive."""
    fill(model, tmp_path / "out", 1)
    recipe = io.read_recipe(tmp_path / "out" / "seed_000000.png")
    assert recipe is not None
    seen: list[Any] = []
    sample = Model.sample
    monkeypatch.setattr(Model, "sample", lambda *a, **k: seen.append(k["batch"]) or sample(*a, **k))
    remake({**recipe, "batch": 5}, tmp_path / "out")
    remake(recipe, tmp_path / "out")
    assert seen == [5, None]


def test_maps_are_named_in_recipes_and_needed_to_make_a_sample_again(model: Path, tmp_path: Path) -> None:
    painted = np.linspace(0, 90, 256).reshape(16, 16)
    drawn = Condition({"grain_size_um": 10.0}, {"orientation_deg": painted})
    fill(model, tmp_path / "out", 1, conditions=[drawn])
    path = tmp_path / "out" / "seed_000000.png"
    recipe = io.read_recipe(path)
    assert recipe is not None
    digest = hashlib.sha256(painted.tobytes()).hexdigest()
    assert recipe["maps"] == {"orientation_deg": {"sha256": digest, "shape": [16, 16]}}
    again = remake(recipe, path.parent, maps=drawn.maps)
    assert np.array_equal(again["intensity"], io.read(path)[0]["intensity"])
    for wrong in (None, {"orientation_deg": painted + 1}):
        with pytest.raises(InputError, match=r"other condition maps.*orientation_deg"):
            remake(recipe, path.parent, maps=wrong)
    for other in (Condition({"grain_size_um": 10.0}, {"orientation_deg": painted.T}), GRAINS):
        with pytest.raises(InputError, match="another maps"):
            fill(model, tmp_path / "out", 2, conditions=[other])
    fill(model, tmp_path / "plain", 1, conditions=[GRAINS])
    (tmp_path / "plain" / "seed_000000.png").write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="not made with these settings"):
        fill(model, tmp_path / "plain", 1, conditions=[GRAINS])


def test_running_again_makes_what_is_missing_and_nothing_else(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(model, out, 4)
    before = hashes(out)
    stamps = {p: p.stat().st_mtime_ns for p in out.iterdir()}
    assert fill(model, out, 4)["made"] == 0
    assert {p: p.stat().st_mtime_ns for p in out.iterdir()} == stamps
    (out / "seed_000001.png").unlink()
    assert fill(model, out, 6)["made"] == 3
    after = hashes(out)
    assert {name: after[name] for name in before} == before
    assert len(after) == 7


def test_damaged_and_left_over_files_are_replaced(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(model, out, 4)
    before = hashes(out)
    whole = (out / "seed_000002.png").read_bytes()
    (out / "seed_000002.png").write_bytes(whole[: len(whole) // 2])
    (out / "seed_000003.png").write_bytes(b"")
    (out / ".seed_000001.abc123.png").write_bytes(whole[:100])
    assert fill(model, out, 4)["made"] == 2
    assert hashes(out) == before
    assert unfinished(out) == []


@pytest.mark.parametrize("kind", ["picture without scale", "picture with scale", "text", "directory"])
def test_files_of_others_are_reported_and_kept(model: Path, tmp_path: Path, kind: str) -> None:
    from PIL import Image

    path = tmp_path / "out" / "seed_000001.png"
    path.parent.mkdir()
    if kind == "picture without scale":
        Image.new("L", (16, 16)).save(path)
    elif kind == "picture with scale":
        io.write(path, Microstructure({"intensity": np.zeros((16, 16), np.uint8)}, (0.8, 0.8)))
    elif kind == "text":
        path.write_text("my notes")
    else:
        path.mkdir()
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises((InputError, IsADirectoryError)):
        fill(model, tmp_path / "out", 3)
    assert path.is_dir() if kind == "directory" else path.read_bytes() == before


def test_a_sample_that_cannot_be_opened_just_now_is_kept(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(model, tmp_path / "out", 2)
    before = hashes(tmp_path / "out")

    def refused(path: Path, **options: Any) -> None:
        raise InputError(f"{path} cannot be opened") from PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(io, "read", refused)
        with pytest.raises(PermissionError):
            fill(model, tmp_path / "out", 2)
    assert hashes(tmp_path / "out") == before


def test_a_good_sample_beyond_the_pixel_limit_is_kept(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    read = io.read
    fill(model, tmp_path / "out", 1)
    monkeypatch.setattr(io, "read", lambda path, *, max_pixels: seen.append(max_pixels) or read(path))
    fill(model, tmp_path / "out", 1)
    assert min(seen) >= 2**40


def test_a_full_disk_is_said_and_the_same_call_goes_on(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, sync = tmp_path / "out", files._sync

    def full(path: Path) -> None:
        if count_samples([out], "png") == 2:
            raise OSError(28, "No space left on device")
        sync(path)

    with monkeypatch.context() as patched:
        patched.setattr(files, "_sync", full)
        with pytest.raises(StorageError, match="no space left"):
            fill(model, out, 5)
    assert unfinished(out) == []
    assert fill(model, out, 5)["made"] == 5 - 2
    fill(model, tmp_path / "whole", 5)
    assert hashes(out) == hashes(tmp_path / "whole")


def test_settings_of_a_folder_that_never_got_a_sample_are_replaced(model: Path, tmp_path: Path) -> None:
    SampleFolder(tmp_path, {"shape": [99]}, suffix="tif", model_path="")
    assert fill(model, tmp_path, 1)["made"] == 1
    assert json.loads((tmp_path / "manifest.json").read_text())["shape"] == [16, 16]


@pytest.mark.parametrize("text", ["no json", "[]", '{"name": "my page"}'])
def test_a_manifest_of_somebody_else_is_kept(model: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="choose another folder"):
        fill(model, tmp_path, 1)
    assert (tmp_path / "manifest.json").read_text() == text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": (24, 24)}, "another shape"),
        ({"conditions": [Condition({"grain_size_um": 12.0})]}, "another condition"),
        ({"steps": 4}, "another options"),
        ({"file_format": "tif"}, "another file format"),
    ],
)
def test_a_folder_is_never_mixed(model: Path, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    fill(model, tmp_path / "out", 2, conditions=[GRAINS])
    before = hashes(tmp_path / "out")
    with pytest.raises(InputError, match=words):
        fill(model, tmp_path / "out", 3, **{"conditions": [GRAINS], **change})
    assert hashes(tmp_path / "out") == before


def test_a_folder_of_another_model_is_refused(model: Path, tmp_path: Path) -> None:
    fill(model, tmp_path / "out", 1)
    other = fakes["save_tiny"](tmp_path / "other.safetensors", seed=1)
    with pytest.raises(InputError, match="another model sha256"):
        fill(other, tmp_path / "out", 2)


def test_a_foreign_sample_in_the_folder_is_reported_and_kept(model: Path, tmp_path: Path) -> None:
    fill(model, tmp_path / "a", 1)
    fill(model, tmp_path / "b", 1, conditions=[GRAINS])
    foreign = (tmp_path / "b" / "seed_000000.png").read_bytes()
    (tmp_path / "a" / "seed_000000.png").write_bytes(foreign)
    with pytest.raises(InputError, match="not made with these settings"):
        fill(model, tmp_path / "a", 2)
    assert (tmp_path / "a" / "seed_000000.png").read_bytes() == foreign


def test_unusable_requests_leave_nothing_behind(model: Path, tmp_path: Path) -> None:
    for bad in (
        {"conditions": [GRAINS, Condition({"grain_size_um": 99.0})]},
        {"preset": "x"},
        {"steps": 1},
        {"schedule": "discrete", "steps": 2000},
        {"guidance_interval": (3.0, 1.0)},
        {"worker": (2, 2)},
        {"file_format": "gif"},
        {"conditions": [GRAINS, GRAINS]},
    ):
        with pytest.raises(InputError):
            fill(model, tmp_path / "out", **bad)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="training run"):
        fill(tmp_path / "gone.safetensors", tmp_path / "out")
    with pytest.raises(InputError, match="train has not finished"):
        fill(tmp_path, tmp_path / "out")


def test_several_conditions_get_a_folder_each(model: Path, tmp_path: Path) -> None:
    conditions = [Condition({"grain_size_um": d}) for d in (8.0, 12.5)]
    result = fill(model, tmp_path / "out", 2, conditions=conditions)
    assert result["count"] == 4
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["grain_size_um_12.5", "grain_size_um_8"]
    fill(model, tmp_path / "one", 2, conditions=conditions[1:])
    alone, among = (io.read(p / "seed_000001.png")[0] for p in (tmp_path / "one", tmp_path / "out/grain_size_um_12.5"))
    assert np.array_equal(alone["intensity"], among["intensity"])


def test_run_folder_stands_for_its_model(model: Path, tmp_path: Path) -> None:
    assert sample_to_folder(model.parent, tmp_path / "out", [0], **FAST)["made"] == 1


def test_workers_start_apart_and_each_finishes_the_rest(model: Path, tmp_path: Path) -> None:
    fill(model, tmp_path / "whole", 5)
    for rank in (0, 1):
        assert fill(model, tmp_path / f"rank{rank}", 5, worker=(rank, 2))["made"] == 5
        assert hashes(tmp_path / f"rank{rank}") == hashes(tmp_path / "whole")


def test_claims_exclude_other_processes_and_end_with_them(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from microgen.generate.claims import Claims\n"
        f"claims = Claims(Path({str(tmp_path / 'claims')!r})).__enter__()\n"
        "print(claims.take(5), claims.take(2**63 + 1), flush=True); time.sleep(600)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline().split() == [b"True", b"True"]
        with Claims(tmp_path / "claims") as claims:
            assert [claims.take(seed) for seed in (4, 5, 6, 2**63 + 1)] == [True, False, True, False]
            assert claims.others()
            other.kill()
            other.wait()
            assert claims.take(5)
            claims.release(5)
            assert not claims.others()
    finally:
        other.kill()
        other.wait()


def test_seeds_of_others_stay_claimed_when_ours_are_done(model: Path, tmp_path: Path) -> None:
    """Who comes later must meet the file that the others hold their locks on."""
    out = tmp_path / "out"
    fill(model, out, 1)
    before = (out / ".claims").stat().st_ino
    with (out / ".claims").open() as held:  # of a process that works on other seeds
        sample_to_folder(model, out, range(5, 7), **FAST)
        assert (out / ".claims").stat().st_ino == before == os.fstat(held.fileno()).st_ino


def test_two_processes_one_killed_and_started_again(model: Path, tmp_path: Path) -> None:
    check_killing(model, tmp_path, count=40, kills=1)


@pytest.mark.slow
def test_two_hundred_seeds_survive_many_kills(model: Path, tmp_path: Path) -> None:
    check_killing(model, tmp_path, count=200, kills=12)


def check_killing(model: Path, tmp_path: Path, *, count: int, kills: int) -> None:
    """Two processes share a folder; one is killed again and again at random moments, and started again."""
    fill(model, tmp_path / "whole", count)
    out = tmp_path / "out"
    moment = random.Random(count)
    steady = started(model, out, count)
    for kill in range(kills):
        victim = started(model, out, count)
        wait_for(out, 1 + kill * count // (kills + 1), victim)
        time.sleep(moment.uniform(0, 0.05))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        for path in out.glob("seed_*.png"):  # what is visible is whole at any moment
            io.read(path)
    steady.kill()
    steady.wait()
    fill(model, out, count)
    assert hashes(out) == hashes(tmp_path / "whole")
    assert len(hashes(out)) == count + 1
    assert unfinished(out) == []


def test_a_process_waits_for_the_other_and_takes_its_work_over(model: Path, tmp_path: Path) -> None:
    """A holder of a claim that dies without delivering: the one that waits makes the sample."""
    out = tmp_path / "out"
    out.mkdir()
    code = (
        "import sys, time; from pathlib import Path; from microgen.generate.claims import Claims\n"
        f"claims = Claims(Path({str(out / '.claims')!r})).__enter__()\n"
        "print(claims.take(1), flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    worker = threading.Thread(target=fill, args=(model, out, 3), daemon=True)
    worker.start()
    try:
        while count_samples([out], "png") < 2 and worker.is_alive():
            time.sleep(0.005)
        time.sleep(0.5)
        assert worker.is_alive()
        assert not (out / "seed_000001.png").exists()
        for name in ("seed_000000.png", "seed_000002.png"):
            (out / name).unlink()
        with pytest.raises(InputError, match="another options"):  # the folder is in use, so its settings stay
            fill(model, out, 3, steps=4)
    finally:
        holder.kill()
        holder.wait()
    worker.join(timeout=60)
    assert not worker.is_alive()
    assert (out / "seed_000001.png").exists()


def test_launched_processes_fill_a_folder_together(model: Path, tmp_path: Path) -> None:
    arguments = {"model": model, "out": tmp_path / "out", "seeds": list(range(8)), "conditions": [GRAINS], **FAST}
    result = launch(2, arguments)
    assert (result["count"], result["made"]) == (8, 8)
    fill(model, tmp_path / "whole", 8, conditions=[GRAINS])
    assert hashes(tmp_path / "out") == hashes(tmp_path / "whole")


def test_errors_of_launched_processes_arrive_as_they_are(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(arguments: dict[str, Any]) -> tuple[Any, Connection]:
        receiver, sender = workers.multiprocessing.Pipe(duplex=False)
        workers._work(sender, arguments)
        return SimpleNamespace(terminate=lambda: None, join=lambda: None), receiver

    monkeypatch.setattr(workers, "_start", start)
    with pytest.raises(InputError, match="grain_size_um = 99 is outside"):
        launch(1, {"model": model, "out": tmp_path, "seeds": [0], "conditions": [Condition({"grain_size_um": 99.0})]})


def test_preview_says_what_would_be_made(model: Path, tmp_path: Path) -> None:
    fill(model, tmp_path / "out", 2, conditions=[GRAINS])
    before = hashes(tmp_path)
    look = preview_request(model, tmp_path / "out", range(1, 6), conditions=[GRAINS], **FAST)
    assert (look["count"], look["present"]) == (5, 1)
    assert look["requests"][0]["options"]["steps"] == 3
    assert hashes(tmp_path) == before


def test_watch_counts_what_others_make(tmp_path: Path) -> None:
    seen: list[tuple[int, int, float]] = []
    (tmp_path / "seed_000000.png").touch()
    with Watch([tmp_path, tmp_path / "absent"], "png", 3, lambda *a: seen.append(a), every=0.01):
        (tmp_path / "seed_000001.png").touch()
        (tmp_path / ".seed_000002.x.png").touch()
        (tmp_path / "seed_000002.tif").touch()
    assert seen[-1][:2] == (2, 3)
    assert seen[-1][2] > 0


def test_manifest_says_what_the_folder_holds(model: Path, tmp_path: Path) -> None:
    fill(model, tmp_path / "out", 1, conditions=[GRAINS])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["format"] == "microgen-samples"
    assert manifest["model_sha256"] == load_model(model).sha256
    assert manifest["condition"] == {"grain_size_um": 10.0}
    (tmp_path / "out" / "manifest.json").write_text("no json")
    with pytest.raises(InputError, match="cannot be read"):
        fill(model, tmp_path / "out", 1, conditions=[GRAINS])
