"""``microgen plot``: what it draws, what it says about frames, and its errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from microgen.cli import main
from microgen.core import Crystal, Microstructure
from microgen.core.orientations import random_orientations
from microgen.io import write

GRAIN = np.kron(np.arange(1, 7).reshape(2, 3), np.ones((12, 10), int))


def ebsd(frame: str = "edax", **changes: Any) -> Microstructure:
    each = random_orientations(np.random.default_rng(0), 7).astype(np.float32)
    fields = {
        "phase": np.ones(GRAIN.shape, np.uint8),
        "orientation": each[GRAIN],
        "mask": np.ones(GRAIN.shape, np.uint8),
        "band_contrast": GRAIN.astype(np.float32),
    }
    return Microstructure(
        fields,
        (0.5, 0.5),
        ("not indexed", "iron"),
        source={"euler_frame": frame},
        crystals={"iron": Crystal("m-3m")},
    ).replace(**changes)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "map.h5"
    write(path, ebsd())
    return path


def plot(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any], str]:
    with pytest.raises(SystemExit) as leave:
        main(["plot", *map(str, words)])
    out, err = capsys.readouterr()
    code = leave.value.code
    assert isinstance(code, int)
    return code, json.loads(out) if out else {}, err


def test_everything_that_can_be_drawn_is(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result, err = plot(capsys, file, tmp_path / "out", "--dpi", 60)
    assert code == 0, err
    kinds = {Path(p).stem.removeprefix("map_") for p in result["pictures"]}
    assert kinds == {
        "ipf_z",
        "phase",
        "grain",
        "kam",
        "pole",
        "inverse_pole",
        "disorientation",
        "grain_size",
    }
    for picture in result["pictures"]:
        with Image.open(picture) as image:
            assert min(image.size) > 80
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(Path(p).name for p in result["pictures"])


def test_frame_is_said_and_can_be_changed(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, result, err = plot(capsys, file, tmp_path / "a", "--kind", "pole", "--dpi", 60)
    assert result["euler_frame"] == "edax"
    assert result["euler_axes"] == "up-left"
    assert result["euler_frame_origin"] == "file"
    assert "x up and y left" in err
    _, other, err = plot(capsys, file, tmp_path / "b", "--kind", "pole", "--euler-frame", "right-up", "--dpi", 60)
    assert other["euler_axes"] == "right-up"
    assert other["euler_frame_origin"] == "given"
    pictures = [Path(r["pictures"][0]).read_bytes() for r in (result, other)]
    assert pictures[0] != pictures[1]


def test_unknown_frame_is_not_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "map.h5"
    write(path, ebsd("unknown"))
    code, _, err = plot(capsys, path, tmp_path / "out", "--kind", "ipf")
    assert code == 3
    assert "frame" in err
    assert not (tmp_path / "out").exists()
    code, result, _ = plot(capsys, path, tmp_path / "out", "--kind", "phase", "--kind", "kam", "--dpi", 60)
    assert code == 0, "these do not depend on the frame"
    assert "euler_frame" not in result


def test_directions_fields_formats_and_planes(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--kind", "ipf", "--direction", "x", "--direction", "y", "--field", "band_contrast", "--format", "svg"]
    _, result, _ = plot(capsys, file, tmp_path / "out", *words, "--no-boundaries")
    assert {Path(p).name for p in result["pictures"]} == {"map_ipf_x.svg", "map_ipf_y.svg", "map_band_contrast.svg"}
    code, _, err = plot(capsys, file, tmp_path / "out", "--kind", "pole", "--plane", "11x")
    assert code == 3
    assert "11x" in err
    code, _, _ = plot(
        capsys, file, tmp_path / "out", "--kind", "pole", "--plane", "113", "--projection", "stereographic", "--dpi", 60
    )
    assert code == 0


def test_single_crystal_leaves_out_what_has_no_boundaries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "one.h5"
    m = ebsd()
    write(path, m.with_fields(orientation=np.tile(m["orientation"][0, 0], (*m.shape, 1))))
    code, result, err = plot(capsys, path, tmp_path / "out", "--dpi", 60)
    assert code == 0
    assert "left out disorientation" in err
    assert any("kam" in p for p in result["pictures"])
    assert plot(capsys, path, tmp_path / "out", "--kind", "disorientation")[0] == 3


def test_grain_numbers_alone_can_be_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "grains.h5"
    write(path, Microstructure({"grain": GRAIN.astype(np.int32)}, (2.0, 1.0)))
    _, result, _ = plot(capsys, path, tmp_path / "out", "--dpi", 60)
    assert {Path(p).name for p in result["pictures"]} == {"grains_grain.png", "grains_grain_size.png"}


def test_slice_of_a_volume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "volume.h5"
    write(path, Microstructure({"grain": np.stack([GRAIN, GRAIN + 1]).astype(np.int32)}, (1, 1, 1)))
    code, _, err = plot(capsys, path, tmp_path / "out", "--kind", "grain")
    assert code == 3
    assert "slice" in err
    assert plot(capsys, path, tmp_path / "out", "--kind", "grain", "--slice", 1, "--dpi", 60)[0] == 0
    assert plot(capsys, path, tmp_path / "out", "--kind", "grain", "--slice", 2)[0] == 3


def test_volumes_have_diameters_of_balls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from microgen.cli.plot import _diameters_um

    blocks = np.ones((8, 4, 4), np.int32)
    blocks[4:] = 2
    structure = Microstructure({"grain": blocks}, (0.5, 1, 2))
    np.testing.assert_allclose(_diameters_um(structure, blocks, known=True), (6 * 64 / np.pi) ** (1 / 3))
    path = tmp_path / "volume.h5"
    write(path, structure)
    code, result, err = plot(capsys, path, tmp_path / "out", "--dpi", 60)
    assert code == 0
    assert "--slice" in err  # maps need one
    assert [Path(p).name for p in result["pictures"]] == ["volume_grain_size.png"]
    write(tmp_path / "phase.h5", Microstructure({"phase": blocks}, (0.5, 1, 2), ("a", "b", "c")))
    assert plot(capsys, tmp_path / "phase.h5", tmp_path / "none")[0] == 3, "nothing could be drawn"
    assert not (tmp_path / "none").exists()


def test_wrong_frames_and_absent_orientations_are_told_apart(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = plot(capsys, file, tmp_path / "out", "--kind", "phase", "--euler-frame", "sideways")
    assert code == 3
    assert "sideways" in err
    path = tmp_path / "grains.h5"
    write(path, Microstructure({"grain": GRAIN.astype(np.int32)}, (2.0, 1.0)))
    code, _, err = plot(capsys, path, tmp_path / "out", "--kind", "ipf")
    assert code == 3
    assert "need orientations" in err


def test_a_kind_and_a_field_of_one_name_are_two_pictures(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, result, _ = plot(capsys, file, tmp_path / "out", "--kind", "phase", "--field", "phase", "--dpi", 60)
    assert {Path(p).name for p in result["pictures"]} == {"map_phase.png", "map_field_phase.png"}


def test_micrograph_has_nothing_to_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gray.h5"
    write(path, Microstructure({"intensity": GRAIN.astype(np.uint8)}, (1, 1)))
    code, _, err = plot(capsys, path, tmp_path / "out")
    assert code == 3
    assert "--field" in err
    assert plot(capsys, path, tmp_path / "out", "--kind", "grain")[0] == 3
    assert plot(capsys, path, tmp_path / "out", "--field", "intensity", "--dpi", 60)[0] == 0


@pytest.mark.parametrize(
    "name",
    [
        "orix/sdss_ferrite_austenite.ang",
        "pymicro/Ti64-200x200.ang",
        "defdap/testDataEBSD.cpr",
        "defdap/testDataEBSD_25x25.ctf",
        "pymicro/Ti_ebsd_demo.h5",
    ],
)
@pytest.mark.slow
def test_real_maps(name: str, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result, err = plot(capsys, shared_data / "ebsd_maps" / name, tmp_path, "--dpi", 60)
    assert code == 0, err
    assert len(result["pictures"]) == 8
