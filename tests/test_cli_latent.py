"""``microgen interpolate`` and ``microgen explore``: what a person types, and what comes back."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from microgen import io
from microgen.cli import cli
from microgen.core import Microstructure
from microgen.models import save_model

cases: Any = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("family_cases.py"))))
QUICK = ["--steps", "3", "--references", "8"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, cases.make_model("vae"))
    return path


def run(*words: Any) -> Result:
    return CliRunner().invoke(cli, [*map(str, words)])


def picture(path: Path, side: int, spacing: float) -> Path:
    values = np.random.default_rng(side).integers(0, 255, (side, side)).astype(np.uint8)
    io.write(path, Microstructure({"intensity": values}, (spacing, spacing)))
    return path


def test_a_walk_between_seeds_is_made_and_its_frames_can_be_made_again(model: Path, tmp_path: Path) -> None:
    done = run("interpolate", model, tmp_path / "w", "--seeds", "2,5", *QUICK, "--set-condition", "grain_size_um=9")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["frames"] == 3
    assert "3 of 3 frames made" in done.stderr
    frames = sorted((tmp_path / "w" / "frames").iterdir())
    assert [p.name for p in frames] == [f"seeds_000002-000005_frame_{k:03d}.png" for k in range(3)]
    for frame in frames:
        again = run("reproduce", frame)
        assert again.exit_code == 0, again.output
        assert json.loads(again.stdout)["identical"]
    run("sample", model, tmp_path / "s", "--seeds", "5", "--set-condition", "grain_size_um=9")
    sample = io.read(tmp_path / "s" / "seed_000005.png")[0]
    assert np.array_equal(io.read(frames[2])[0]["intensity"], sample["intensity"])


def test_a_walk_between_pictures_needs_their_scale_and_size(model: Path, tmp_path: Path) -> None:
    fine = [picture(tmp_path / f"{name}.png", side, 0.4) for name, side in (("a", 48), ("b", 40))]
    words = ["interpolate", model, tmp_path / "w", *QUICK]
    words += [word for path in fine for word in ("--between", path)]
    refused = run(*words)
    assert "add --resample" in str(refused.exception)
    assert "add --crop" in str(run(*words, "--resample").exception)
    assert not (tmp_path / "w").exists()
    done = run(*words, "--resample", "--crop")
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "w" / "path.json").read_text())
    assert len(report["rows"][0]["frames"]) == 3
    last = tmp_path / "w" / "frames" / "between_frame_002.png"
    assert json.loads(run("reproduce", last).stdout)["identical"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--along", "grain_size_um"], "name=first:last"),
        (["--along", "grain_size_um=7"], "name=first:last"),
        (["--code", "z.0=1:1"], "two different ends"),
        (["--set-condition", "grain_size_um"], "name=value"),
        (["--set-condition", "grain_size_um=coarse"], "grain_size_um"),
        (["--along", "grain_size_um=6:90"], "outside 5 .. 20"),
        (["--seeds", "3"], "at least two"),
        (["--preset", "fine", "--sampling-steps", "4"], "one pass"),
    ],
)
def test_wrong_words_are_one_sentence(model: Path, tmp_path: Path, words: list[str], message: str) -> None:
    done = run("interpolate", model, tmp_path / "w", *words)
    assert done.exit_code != 0
    assert message in str(done.exception)
    assert not (tmp_path / "w").exists()


def test_explore_reports_directions_and_codes(model: Path, tmp_path: Path) -> None:
    words = [
        "-n",
        "16",
        "--top",
        "2",
        "--rows",
        "1",
        "--steps",
        "3",
        "--only",
        "intensity_mean",
        "--only",
        "intensity_std",
    ]
    done = run("explore", model, tmp_path / "x", *words)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert [d["direction"] for d in result["directions"]] == [1, 2]
    assert set(result["parts"]) == {"z"}
    assert (tmp_path / "x" / "directions.png").is_file()
    assert (tmp_path / "x" / "codes_z.png").is_file()
