"""What a person says about files of other programs reaches the reader from measure, prepare and info."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from microgen.core import InputError
from microgen.data import Dataset, prepare
from microgen.data.pixel_sizes import PixelSizes

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("ebsd_fakes.py"))))


def run(name: str, *arguments: Any, ok: bool = True) -> Result:
    from microgen.cli import cli

    result = CliRunner().invoke(cli, [name, *map(str, arguments)], catch_exceptions=False)
    assert (result.exit_code == 0) is ok, result.output
    return result


def printed(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def ang(path: Path, shape: tuple[int, int] = (70, 80)) -> Path:
    path.write_text(fakes.ang_text(fakes.ang_rows(*shape), shape))
    return path


def test_info_of_an_ebsd_map(tmp_path: Path) -> None:
    path = ang(tmp_path / "a.ang", (6, 7))
    result = run("info", path)
    assert "an EBSD map" in result.stderr
    assert printed(result)["euler_frame"] == "edax"
    assert printed(run("info", path, "--euler-frame", "up-left"))["euler_frame"] == "up-left"


def test_measure_says_which_frame_contradicts(tmp_path: Path) -> None:
    path = ang(tmp_path / "a.ang")
    result = run("measure", path, "--only", "phase_fraction", "--euler-frame", "oxford")
    assert "warning" in result.stderr
    assert "taken as 'oxford'" in result.stderr
    assert printed(result)["pictures"][0]["descriptors"]["phase_fraction:Nickel"]["value"] == 0.5
    assert "taken as" not in run("measure", path, "--only", "phase_fraction").stderr


def test_wrong_words_are_refused_before_work(tmp_path: Path) -> None:
    path = ang(tmp_path / "a.ang")
    with pytest.raises(InputError, match="no Euler frame 'sideways'"):
        run("measure", path, "--euler-frame", "sideways")
    for shape in ("12", "1,2,3,4", "4,x", "0,5"):
        result = run("measure", path, "--raw-shape", shape, ok=False)
        assert result.exit_code == 2
        assert "sizes are written like 512x768" in result.output


def test_pixel_size_of_each_axis(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.random.default_rng(0).integers(0, 2, (8, 10, 12), dtype=np.uint8))
    found = printed(run("measure", tmp_path / "v.npy", "--labels", "phase", "--pixel-size-um", "0.5,0.4,0.3",
                        "--only", "phase_fraction"))  # fmt: skip
    assert found["pictures"][0]["pixel_size"] == {
        "um": [0.5, 0.4, 0.3],
        "origin": "pixel_size_um",
        "confidence": "given",
    }
    sizes = PixelSizes.parse(["0.5,0.4", "b/*=1"])
    assert (sizes.of(tmp_path / "v.npy"), sizes.of(tmp_path / "b/v.npy")) == ((0.5, 0.4), 1.0)
    for wrong in ("0.5,,0.4", "1,2,3,4", "0.5,-1", "0.5,x"):
        with pytest.raises(InputError, match="positive number of micrometres, or one per axis"):
            PixelSizes.parse([wrong])


def test_pixel_size_of_each_axis_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "pixel_sizes.toml").write_text('[pixel_size_um]\n"a" = [0.5, 0.4, 0.3]\n"b" = 2\n')
    assert PixelSizes.parse([]).of(tmp_path / "a/v.npy") == (0.5, 0.4, 0.3)
    assert PixelSizes.parse([]).of(tmp_path / "b/v.npy") == 2


def test_prepare_keeps_phases_crystals_and_frame(tmp_path: Path) -> None:
    folder = tmp_path / "maps"
    folder.mkdir()
    for k in range(3):
        lines = fakes.ang_rows(80, 90)
        phases = np.random.default_rng(k).integers(1, 3, len(lines))
        text = fakes.ang_text([line[:-1] + str(p) for line, p in zip(lines, phases, strict=True)], (80, 90))
        (folder / f"{k}.ang").write_text(text)
    out = tmp_path / "set.h5"
    assert prepare([folder], out, field="phase")["skipped"] is False
    m = Dataset.open(out).read("0.ang")
    assert m.phases == ("not indexed", "Nickel", "Titanium (Alpha)")
    assert m.crystals["Nickel"] == fakes.NICKEL
    assert m.source["euler_frame"] == "edax"
    assert prepare([folder], out, field="phase")["skipped"] is True
    again = prepare([folder], out, field="phase", euler_frame="map")
    assert again["skipped"] is False
    assert Dataset.open(out).read("0.ang").source["euler_frame"] == "map"
    assert any("taken as 'map'" in warning for warning in again["warnings"])


def test_prepare_notices_that_the_other_half_of_a_pair_changed(tmp_path: Path) -> None:
    helpers = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("test_io_cpr.py"))))
    header = helpers.HEADER.replace("xCells=7", "xCells=90").replace("yCells=6", "yCells=80")
    table = helpers.records(7200)
    path = helpers.pair(tmp_path, header, table)
    out = tmp_path / "set.h5"
    assert prepare([path], out, field="phase", held_out=0)["skipped"] is False
    assert prepare([path], out, field="phase", held_out=0)["skipped"] is True
    table["phase"][:50] = 2
    path.with_suffix(".crc").write_bytes(table.tobytes())
    assert prepare([path], out, field="phase", held_out=0)["skipped"] is False
