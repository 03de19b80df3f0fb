"""What a user can do wrong, command by command: one clear line, the right exit code, nothing half written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from microgen import io
from microgen.cli import main
from microgen.core import Microstructure

Make = Callable[[Path], Path]


def texture(seed: int, side: int = 96) -> np.ndarray:
    """Smooth gray noise: enough structure for every command."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), 3)
    return np.asarray(128 + 40 * noise / noise.std(), dtype=np.float64).clip(0, 255).astype(np.uint8)


def good(path: Path, seed: int = 0, side: int = 96) -> Path:
    io.write(path, Microstructure({"intensity": texture(seed, side)}, (0.5, 0.5)))
    return path


def garbage(folder: Path) -> Path:
    path = folder / "garbage.png"
    path.write_bytes(b"this is no picture" * 20)
    return path


def empty(folder: Path) -> Path:
    path = folder / "empty.tif"
    path.write_bytes(b"")
    return path


def truncated_png(folder: Path) -> Path:
    path = good(folder / "truncated.png")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def truncated_tiff(folder: Path) -> Path:
    path = folder / "truncated.tif"
    tifffile.imwrite(path, texture(1), metadata={"unit": "um"}, resolution=(2, 2), imagej=True)
    path.write_bytes(path.read_bytes()[:4000])
    return path


def with_nan(folder: Path) -> Path:
    path = folder / "nan.tif"
    values = texture(1).astype(np.float32)
    values[5, 5] = np.nan
    tifffile.imwrite(path, values)
    return path


def nan_array(folder: Path) -> Path:
    path = folder / "nan.npy"
    values = texture(1).astype(np.float64)
    values[3, 3] = np.inf
    np.save(path, values)
    return path


def pickled(folder: Path) -> Path:
    path = folder / "objects.npy"
    np.save(path, np.array([{"run": "me"}], dtype=object), allow_pickle=True)
    return path


def five_channels(folder: Path) -> Path:
    path = folder / "channels.tif"
    tifffile.imwrite(path, np.zeros((64, 64, 5), np.uint8), photometric="minisblack", planarconfig="contig")
    return path


def coloured(folder: Path) -> Path:
    path = folder / "coloured.png"
    Image.fromarray(np.dstack([texture(1), texture(2), texture(3)])).save(path)
    return path


def unknown_kind(folder: Path) -> Path:
    path = folder / "notes.txt"
    path.write_text("not a picture")
    return path


def only_text(folder: Path) -> Path:
    path = folder / "texts"
    path.mkdir()
    (path / "notes.txt").write_text("not a picture")
    return path


def no_scale(folder: Path) -> Path:
    path = folder / "no_scale.png"
    Image.fromarray(texture(1)).save(path)
    return path


def print_resolution(folder: Path) -> Path:
    path = folder / "dpi.png"
    Image.fromarray(texture(1)).save(path, dpi=(300, 300))
    return path


UNREADABLE: list[Make] = [
    garbage,
    empty,
    truncated_png,
    truncated_tiff,
    with_nan,
    nan_array,
    pickled,
    five_channels,
    coloured,
    unknown_kind,
    only_text,
]
NO_SCALE: list[Make] = [no_scale, print_resolution]


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as leave:
        main([str(argument) for argument in arguments])
    assert isinstance(leave.value.code, int)
    out, err = capsys.readouterr()
    return leave.value.code, out, err


def last_line(err: str) -> str:
    """The sentence of the error; lines above it may be progress."""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("microgen: ")]
    assert len(lines) == 1, err
    assert err.strip().splitlines()[-1] == lines[0]
    return lines[0]


COMMANDS = {
    "prepare": lambda path, out: ["prepare", path, out / "set.h5"],
    "measure": lambda path, out: ["measure", path],
    "evaluate": lambda path, out: ["evaluate", path, path, "--report", out / "report.html"],
    "fit": lambda path, out: ["fit", path, out / "fit"],
}


@pytest.mark.parametrize("make", [*UNREADABLE, *NO_SCALE], ids=lambda make: make.__name__)
@pytest.mark.parametrize("command", COMMANDS)
def test_bad_picture_is_refused_by_name(
    command: str, make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    path = make(folder)
    scale = [] if make in NO_SCALE else ["--pixel-size-um", "0.5"]
    code, stdout, err = run(capsys, *COMMANDS[command](path, out), *scale)
    assert code == 3, err
    assert stdout == ""
    assert path.name in last_line(err)
    assert [p for p in out.rglob("*") if p.is_file() and not p.name.startswith(".")] == []


@pytest.mark.parametrize("make", NO_SCALE, ids=lambda make: make.__name__)
def test_missing_scale_says_how_to_give_it(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "prepare", make(tmp_path), tmp_path / "set.h5")
    assert code == 3
    assert "pixel" in last_line(err)


@pytest.mark.parametrize("make", [garbage, truncated_png, empty], ids=lambda make: make.__name__)
def test_one_bad_file_among_good_ones_is_named(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in range(4):
        good(folder / f"good{seed}.png", seed)
    bad = make(folder)
    code, _, err = run(capsys, "prepare", folder, tmp_path / "set.h5", "--pixel-size-um", "0.5")
    assert code == 3
    assert bad.name in last_line(err)
    assert not (tmp_path / "set.h5").exists()
    code, out, err = run(capsys, "prepare", folder, tmp_path / "set.h5", "--pixel-size-um", "0.5", "--skip-bad")
    assert code == 0, err
    assert json.loads(out)["images"] == 4


def test_stray_text_file_is_mentioned_and_harmless(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(4):
        good(tmp_path / f"{seed}.png", seed)
    unknown_kind(tmp_path)
    code, out, err = run(capsys, "prepare", tmp_path, tmp_path / "set.h5")
    assert code == 0, err
    assert "notes.txt" in err
    assert json.loads(out)["images"] == 4


def constant(folder: Path) -> None:
    for seed in range(4):
        io.write(folder / f"{seed}.png", Microstructure({"intensity": np.full((96, 96), 7, np.uint8)}, (0.5, 0.5)))


def too_small(folder: Path) -> None:
    for seed in range(4):
        good(folder / f"{seed}.png", seed, side=24)


def mixed_kinds(folder: Path) -> None:
    good(folder / "picture.png")
    np.save(folder / "volume.npy", np.stack([texture(seed, 40) for seed in range(40)]))


@pytest.mark.parametrize("fill", [constant, too_small, mixed_kinds], ids=lambda fill: fill.__name__)
def test_folder_that_cannot_be_learned_from_is_refused(
    fill: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    fill(folder)
    code, _, err = run(capsys, "prepare", folder, tmp_path / "set.h5", "--pixel-size-um", "0.5")
    assert code == 3, err
    last_line(err)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_mixed_pixel_sizes_are_kept_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Different scales in one folder are the normal case: each image keeps its own."""
    from microgen.data import Dataset

    for seed in range(4):
        step = 0.5 if seed % 2 else 0.4
        io.write(tmp_path / f"{seed}.png", Microstructure({"intensity": texture(seed, 128)}, (step, step)))
    code, _, err = run(capsys, "prepare", tmp_path, tmp_path / "set.h5")
    assert code == 0, err
    data = Dataset.open(tmp_path / "set.h5")
    assert {data.read(name).spacing for name in data.names} == {(0.5, 0.5), (0.4, 0.4)}


def test_mixed_pixel_sizes_of_samples_cannot_be_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real, made = tmp_path / "real", tmp_path / "made"
    for seed in range(3):
        good(real / f"{seed}.png", seed)
        step = 0.5 if seed else 0.4
        io.write(made / f"{seed}.png", Microstructure({"intensity": texture(seed, 64)}, (step, step)))
    code, _, err = run(capsys, "evaluate", real, made, "--report", tmp_path / "report.html")
    assert code == 3
    last_line(err)
    assert not (tmp_path / "report.html").exists()


def damaged_h5(path: Path) -> Path:
    path.with_suffix(".plan.toml").write_text("[data]\nspacing_um = 0.5\n")
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\x00" * 300)
    return path


def damaged_model(path: Path) -> Path:
    path.write_bytes((50).to_bytes(8, "little") + b'{"__metadata__": {"format": "microgen-model"}}   ')
    return path


@pytest.mark.parametrize(
    ("name", "make", "arguments"),
    [
        ("set.h5", damaged_h5, ["train", "{}", "{out}/run"]),
        ("set.h5", damaged_h5, ["info", "{}"]),
        ("set.h5", damaged_h5, ["evaluate", "{}", "{}", "--report", "{out}/r.html"]),
        ("m.safetensors", damaged_model, ["sample", "{}", "{out}/samples"]),
        ("m.safetensors", damaged_model, ["info", "{}"]),
        ("m.png", garbage, ["reproduce", "{}"]),
        ("plan.toml", garbage, ["info", "{}"]),
        ("job.toml", garbage, ["run", "{}"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0] if isinstance(value, list) else value.__name__,
)
def test_damaged_file_of_ours_is_refused_by_name(
    name: str, make: Make, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make(tmp_path / name) if make is not garbage else garbage(tmp_path).rename(tmp_path / name)
    before = sorted(tmp_path.iterdir())
    filled = [text.format(path, out=tmp_path / "out") for text in arguments]
    code, stdout, err = run(capsys, *filled)
    assert code == 3, err
    assert stdout == ""
    assert name in last_line(err)
    left = [p for p in sorted(tmp_path.rglob("*")) if p not in before and p.is_file() and not p.name.startswith(".")]
    assert left == []


def test_picture_without_recipe_cannot_be_reproduced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "reproduce", good(tmp_path / "a.png"))
    assert code == 3
    assert "no recipe" in last_line(err)


def limited(arguments: list[str], size: int) -> subprocess.CompletedProcess[str]:
    """Run a command that may write no file longer than `size` bytes: the kernel refuses as on a full disk."""
    program = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        "from microgen.cli import main\nmain(sys.argv[1:])"
    )
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot limit the size of files")
def test_disk_that_refuses_to_write_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for seed in range(4):
        good(folder / f"{seed}.png", seed)
    done = limited(["prepare", str(folder), str(tmp_path / "out" / "set.h5")], 10_000)
    assert done.returncode == 5, done.stderr
    assert "set.h5" in last_line(done.stderr)
    assert not (tmp_path / "out" / "set.h5").exists()
    assert [p for p in (tmp_path / "out").iterdir() if p.name.startswith(".set")] == []


def test_disk_full_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import errno

    from microgen.core import files

    for seed in range(4):
        good(tmp_path / "in" / f"{seed}.png", seed)

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(files, "_sync", full)
    code, _, err = run(capsys, "prepare", tmp_path / "in", tmp_path / "set.h5")
    assert code == 5
    assert "no space left" in last_line(err)
    assert "free some space" in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_output_that_cannot_be_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file stands where a folder is needed."""
    (tmp_path / "file").write_text("")
    for seed in range(4):
        good(tmp_path / "in" / f"{seed}.png", seed)
    code, _, err = run(capsys, "prepare", tmp_path / "in", tmp_path / "file" / "set.h5")
    assert code == 5
    assert "file" in last_line(err)
