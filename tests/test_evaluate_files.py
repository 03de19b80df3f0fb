"""Evaluation from files and on the command line, with requested grain sizes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import ndimage, spatial

from microgen import io
from microgen.cli.evaluate import command
from microgen.core import InputError, Microstructure
from microgen.data.dataset import Item, write_dataset
from microgen.evaluate.files import evaluate_files

FINE, COARSE = 0.25, 0.5
"""Micrometres per pixel of real pictures and of samples."""


def micrograph(seed: int, side_um: float, spacing: float, intercept_um: float) -> Microstructure:
    """Etched Voronoi grains of a mean intercept (pi/4 of the root of their mean area), drawn at any spacing."""
    rng = np.random.default_rng(seed)
    step_um = intercept_um * 4 / np.pi
    margin = 3 * step_um
    whole = side_um + 2 * margin
    points = rng.random((int((whole / step_um) ** 2), 2)) * whole - margin
    axis = (np.arange(round(side_um / spacing)) + 0.5) * spacing
    where = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    distance = spatial.cKDTree(points).query(where.reshape(-1, 2), 2)[0].reshape(*where.shape[:2], 2)
    line = np.exp(-(((distance[..., 1] - distance[..., 0]) / 1.2) ** 2))
    image = ndimage.gaussian_filter(180 - 100 * line, 0.25 / spacing) + rng.normal(0, 3, line.shape)
    values = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return Microstructure({"intensity": values}, (spacing, spacing))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("real") / "steel.h5"
    sizes = np.tile([4.0, 4.5, 5.5, 6.5], 3)
    items = [
        Item(f"{k}.png", micrograph(k, 97, FINE, size), f"specimen {k}", "held_out" if k < 4 else "train")
        for k, size in enumerate(sizes)
    ]
    write_dataset(path, items, meta={})
    return path


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    for k in range(40):
        drawn, asked = ((4.5, 5.0), (6.5, 7.0))[k % 2]  # the smallest grains are not resolved: pictures show more
        recipe = {"command": "sample", "model_sha256": "f" * 64, "seed": k, "condition": {"grain_size_um": asked}}
        io.write(folder / f"{k:03d}.png", micrograph(900 + k, 24, COARSE, drawn), recipe)
    return folder


def test_command_writes_page_and_numbers(dataset: Path, samples: Path, tmp_path: Path) -> None:
    out, numbers = tmp_path / "report.html", tmp_path / "report.json"
    arguments = [str(dataset), str(samples), "--report", str(out), "--json", str(numbers), "--max-windows", "100"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    printed = json.loads(done.stdout)
    stored = json.loads(numbers.read_text(encoding="utf-8"))
    assert printed["headline"] == stored["headline"]
    assert printed["headline"] in done.stderr
    assert set(printed["rows"]) == {row["descriptor"] for row in stored["rows"]}
    assert "Requested against measured" in out.read_text(encoding="utf-8")

    assert [row["requested"] for row in stored["obeyed"]] == [5.0, 7.0]
    for row in stored["obeyed"]:
        assert abs(row["error_real"]) < 0.05
        assert row["real"] > row["requested"]  # small windows measured alone show more than whole pictures
        assert row["n_real"] > 30
    assert any("0.25 um per pixel were brought to 0.5" in note for note in stored["notes"])
    assert any("within 15% of a requested value" in note for note in stored["notes"])
    about = stored["provenance"]
    assert about["generated"]["recipe"] == {"command": "sample", "model_sha256": "f" * 64}
    assert about["real"]["held_out"] == 4
    assert len(about["real"]["sha256"]) == 64
    row = next(row for row in stored["rows"] if row["descriptor"] == "mean_intercept_um")
    assert row["ratio"] < 1.5
    assert row["n"]["pictures"] == 4
    assert 30 <= row["n"]["compared"] <= 40


def test_samples_of_the_wrong_size_are_seen(dataset: Path, tmp_path: Path) -> None:
    for k in range(24):
        recipe = {"command": "sample", "seed": k, "condition": {"grain_size_um": 4.5}}
        io.write(tmp_path / f"{k:03d}.png", micrograph(700 + k, 24, COARSE, 6.0), recipe)
    found = evaluate_files(dataset, tmp_path, max_windows=100)
    (row,) = found.obeyed
    assert 0.25 < row.error < 0.7  # 6.0 for 4.5, and the smallest Poisson grains are not resolved
    assert row.interval[0] > 1.2 * 4.5
    assert abs(row.real / 4.5 - 1) < 0.15
    assert found["mean_intercept_um"].ratio > 2.2
    assert found["mean_intercept_um"].verdict == "differs"


def test_samples_of_two_models_are_refused(dataset: Path, tmp_path: Path) -> None:
    for k in range(2):
        recipe = {"command": "sample", "seed": k, "model_sha256": str(k) * 64}
        io.write(tmp_path / str(k) / "a.png", micrograph(k, 24, COARSE, 5.0), recipe)
    with pytest.raises(InputError, match="2 different models"):
        evaluate_files(dataset, tmp_path)
    with pytest.raises(InputError, match="2 different models"):
        evaluate_files(dataset, tmp_path / "0", conditioned=tmp_path / "1")


def test_a_folder_of_pictures_has_no_training_part(tmp_path: Path) -> None:
    for k in range(4):
        io.write(tmp_path / "real" / f"{k}.png", micrograph(k, 72, COARSE, 5.0))
    for k in range(18):
        io.write(tmp_path / "made" / f"{k}.png", micrograph(50 + k, 24, COARSE, 5.0))
    found = evaluate_files(tmp_path / "real", tmp_path / "made", max_windows=36)
    assert found.memorisation.checked == (0, 0)
    assert "not checked" in found.memorisation.sentence
    assert np.isfinite(found["s2"].ratio)
    assert found.provenance["real"]["pictures"] == 4


def test_a_data_set_without_held_out_pictures_is_refused(samples: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "t.h5", [Item("a", micrograph(0, 60, FINE, 5.0), "a", "train")], meta={})
    with pytest.raises(InputError, match="no held-out pictures"):
        evaluate_files(tmp_path / "t.h5", samples)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="nothing that can be read"):
        evaluate_files(tmp_path / "t.h5", tmp_path / "empty")
