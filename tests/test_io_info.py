"""``microgen info`` says what a file is, as JSON, and never runs anything in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.numpy import save_file

from microgen.core import InputError, Microstructure
from microgen.core.errors import MicrogenError
from microgen.io import read_recipe, write

SAMPLE = Microstructure({"phase": np.eye(8, dtype=np.uint8)}, (0.5, 0.25), phases=("a", "b"))
RECIPE = {"command": "sample", "seed": 3}


def info(path: Path) -> dict[str, Any]:
    from microgen.cli.info import command

    result = CliRunner().invoke(command, [str(path)], catch_exceptions=False)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("extension", [".png", ".tif", ".npy", ".h5"])
def test_sample(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{extension}"
    write(path, SAMPLE, RECIPE)
    found = info(path)
    assert (found["kind"], found["shape"], found["spacing_um"]) == ("sample", [8, 8], [0.5, 0.25])
    assert found["recipe"] == RECIPE == read_recipe(path)
    assert found["phases"] == ["a", "b"]


def test_foreign_picture(tmp_path: Path) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "a.bmp")
    (tmp_path / "a.txt").write_text("[SemImageFile]\nDataSize=8x6\nPixelSize=24.8\n")
    found = info(tmp_path / "a.bmp")
    assert found["kind"] == "image"
    assert found["data_bar_rows"] == {"stated": 2, "suggested": 0}
    assert found["beside"] == ["a.txt"]
    (size,) = (s for s in found["pixel_sizes"] if s["confidence"] != "low")
    assert size["um"] == pytest.approx([0.0248, 0.0248])
    assert size["confidence"] == "high"


def test_model(tmp_path: Path) -> None:
    header = {"version": 1, "family": "diffusion", "config": {"channels": [8]}, "conditions": [], "sha256": "0" * 64}
    meta = {"microgen-model": json.dumps(header)}
    save_file({"a": np.zeros((3, 4), np.float32), "b": np.zeros(5, np.float32)}, tmp_path / "m.safetensors", meta)
    found = info(tmp_path / "m.safetensors")
    assert (found["kind"], found["family"], found["tensors"], found["parameters"]) == ("model", "diffusion", 2, 17)
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "w.safetensors")
    assert info(tmp_path / "w.safetensors")["kind"] == "weights"


@pytest.mark.parametrize(
    "content",
    [b"", b"\2\0", b"\xff" * 8 + b"{}", (2**40).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]",
     (9).to_bytes(8, "little") + b'{"a":"b"}', (5).to_bytes(8, "little") + b"{{{{{"],
)  # fmt: skip
def test_damaged_model(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"m\.safetensors"):
        info(tmp_path / "m.safetensors")


def test_run_folder(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "000100").mkdir()
    (tmp_path / "log.jsonl").write_text('{"images": 100, "loss": 0.5}\n{"images": 200, "lo')
    found = info(tmp_path)
    assert (found["kind"], found["checkpoints"], found["last"]) == ("run", ["000100"], {"images": 100, "loss": 0.5})


def test_folder_plan_job_report_and_others(tmp_path: Path) -> None:
    write(tmp_path / "set" / "a2.png", SAMPLE)
    write(tmp_path / "set" / "a10.png", SAMPLE)
    (tmp_path / "set" / "manifest.json").write_text('{"format": "microgen-samples"}')
    found = info(tmp_path / "set")
    assert found["manifest"] == {"format": "microgen-samples"}
    assert (found["kind"], found["readable"], found["first"]) == ("folder", 2, "a2.png")
    texts = {
        "plan.toml": "[data]\nspacing_um = 0.5\n[model]\n[train]\n",
        "job.toml": '[[step]]\nname = "one"\ncommand = "demo"\n',
        "other.toml": "a = 1\n",
        "report.json": '{"headline": "good", "rows": [], "two_sample": {}}',
        "other.json": '{"a": 1}',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    kinds = {name: info(tmp_path / name)["kind"] for name in texts}
    assert list(kinds.values()) == ["plan", "job", "config", "report", "json"]
    assert info(tmp_path / "plan.toml")["data"] == {"spacing_um": 0.5}
    assert info(tmp_path / "job.toml")["steps"] == ["one"]


def test_dataset(tmp_path: Path) -> None:
    dataset = pytest.importorskip("microgen.data.dataset")
    items = [dataset.Item(name=f"i{k}", microstructure=SAMPLE, specimen=f"s{k % 2}", split="train") for k in range(3)]
    dataset.write_dataset(tmp_path / "d.h5", items, {"title": "steel"})
    found = info(tmp_path / "d.h5")
    assert (found["kind"], found["items"], found["specimens"]) == ("dataset", 3, ["s0", "s1"])
    assert found["splits"] == {"train": 3, "held_out": 0}


@pytest.mark.parametrize("name", ["absent.png", "a.xyz", "a.json", "a.toml", "a.h5"])
def test_what_cannot_be_said_is_one_error(name: str, tmp_path: Path) -> None:
    if name != "absent.png":
        (tmp_path / name).write_bytes(b"\xff\0[")
    with pytest.raises(MicrogenError, match=name.replace(".", r"\.")):
        info(tmp_path / name)


def test_torch_is_not_imported(tmp_path: Path) -> None:
    write(tmp_path / "a.png", SAMPLE, RECIPE)
    code = "import sys; from microgen.cli import cli; cli(sys.argv[1:], standalone_mode=False); "
    command = [sys.executable, "-c", code + "print('torch' in sys.modules)", "info", str(tmp_path / "a.png")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.endswith("False\n")


@pytest.mark.parametrize(("shape", "says"), [((3, 16, 16), "3 pictures, or with --volume"), ((16, 16), "a picture")])
def test_stacks_are_told_from_pictures(shape: tuple[int, ...], says: str, tmp_path: Path) -> None:
    import tifffile

    from microgen.cli.info import command

    pages = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    assert says in CliRunner().invoke(command, [str(tmp_path / "a.tif")]).stderr
