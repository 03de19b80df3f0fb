"""microgen synth: files with scale and recipe, kept on the second run, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from microgen import io
from microgen.cli.synth import command, make
from microgen.core.frames import to_map_frame
from microgen.synth import KINDS, polycrystal, render_micrograph

COMMON = ["--size", "48x64", "--pixel-size-um", "0.5"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def test_the_command_offers_every_kind() -> None:
    kinds = next(p for p in command.params if p.name == "kind").type
    assert list(kinds.choices) == list(KINDS)  # type: ignore[attr-defined]


def test_micrographs_with_scale_and_recipe(tmp_path: Path) -> None:
    result = run("polycrystal", str(tmp_path), "-n", "2", *COMMON, "--grain-size-um", "6")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) | {"out": ""} == {
        "out": "",
        "count": 2,
        "made": 2,
        "files": ["seed_000000.png", "seed_000001.png"],
    }
    (picture,) = io.read(tmp_path / "seed_000001.png")
    assert picture.spacing == (0.5, 0.5)
    twin = render_micrograph(1, polycrystal(1, (48, 64), (0.5, 0.5), 6.0))
    np.testing.assert_array_equal(picture["intensity"], twin["intensity"])
    recipe = io.read_recipe(tmp_path / "seed_000001.png")
    assert recipe is not None
    np.testing.assert_array_equal(make(recipe)["intensity"], twin["intensity"])


def test_what_is_there_is_kept_and_what_changed_is_made_again(tmp_path: Path) -> None:
    arguments = ["polycrystal", str(tmp_path), *COMMON, "--grain-size-um"]
    run(*arguments, "6", "--seeds", "4-5")
    assert json.loads(run(*arguments, "6", "--seeds", "4-6").stdout)["made"] == 1
    assert json.loads(run(*arguments, "7", "--seeds", "4-6").stdout)["made"] == 3


@pytest.mark.parametrize("ending", ["png", "ctf", "inp", "damask.vti"])
def test_files_of_others_are_never_lost(tmp_path: Path, ending: str) -> None:
    arguments = ["polycrystal", str(tmp_path), *COMMON, "--grain-size-um", "6", "--texture", "random"]
    arguments += ["--format", ending, "-n", "2"]
    mine = tmp_path / f"seed_000001.{ending}"
    mine.write_text("mine")
    result = run(*arguments)
    assert result.exit_code != 0
    assert f"seed_000001.{ending} is there and was not made by microgen synth" in str(result.exception)
    assert mine.read_text() == "mine"
    assert json.loads(run(*arguments, "--overwrite").stdout)["made"] >= 1
    assert mine.read_text(errors="replace") != "mine"
    assert json.loads(run(*arguments).stdout)["made"] == 0  # the same command again keeps what it made


def test_what_lies_beside_a_file_is_not_lost_either(tmp_path: Path) -> None:
    (tmp_path / "seed_000000.material.yaml").write_text("mine")
    result = run("polycrystal", str(tmp_path), *COMMON, "--grain-size-um", "6", "--format", "damask.vti")
    assert "material.yaml is there and was not made" in str(result.exception)
    assert not (tmp_path / "seed_000000.damask.vti").exists()


def test_another_kind_does_not_replace_what_is_there(tmp_path: Path) -> None:
    run("polycrystal", str(tmp_path), *COMMON, "--grain-size-um", "6")
    before = (tmp_path / "seed_000000.png").read_bytes()
    other = ["two-phase", str(tmp_path), *COMMON, "--fraction", "0.3", "--length-um", "3"]
    assert "was not made by microgen synth two-phase" in str(run(*other).exception)
    assert (tmp_path / "seed_000000.png").read_bytes() == before
    assert json.loads(run(*other, "--overwrite").stdout)["made"] == 1


def test_a_range_gives_every_seed_its_own_value(tmp_path: Path) -> None:
    run("polycrystal", str(tmp_path), "-n", "12", *COMMON, "--grain-size-um", "4:16")
    sizes = [io.read_recipe(path)["parameters"]["grain_size_um"] for path in io.find_inputs([tmp_path])]  # type: ignore[index]
    assert len(set(sizes)) == 12
    assert min(sizes) >= 4
    assert max(sizes) <= 16
    assert np.std(np.log(sizes)) > 0.2


def test_volumes_become_hdf5(tmp_path: Path) -> None:
    result = run(
        "two-phase",
        str(tmp_path),
        "--size",
        "8x12x16",
        "--pixel-size-um",
        "1",
        "--fraction",
        "0.25",
        "--length-um",
        "3",
    )
    assert result.exit_code == 0, result.output
    (volume,) = io.read(tmp_path / "seed_000000.h5")
    assert volume.shape == (8, 12, 16)
    assert volume["phase"].mean() == 0.25


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("polycrystal", str(out), "-n", "3", *COMMON, "--grain-size-um", "6", "--dry-run")
    assert json.loads(result.stdout)["count"] == 3
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["polycrystal", "OUT", *COMMON], "grain-size-um"),
        (
            ["two-phase", "OUT", *COMMON, "--fraction", "0.3", "--length-um", "3", "--grain-size-um", "4"],
            "grain-size-um",
        ),
        (["polycrystal", "OUT", *COMMON, "--grain-size-um", "9:3"], "backwards"),
        (["polycrystal", "OUT", *COMMON, "--grain-size-um", "small"], "LOW:HIGH"),
        (["polycrystal", "OUT", "--size", "64", "--pixel-size-um", "1", "--grain-size-um", "3"], "512x768"),
        (["polycrystal", "OUT", *COMMON, "--grain-size-um", "3", "-n", "2", "--seeds", "1"], "not both"),
        (["polycrystal", "OUT", "--size", "64x64", "--pixel-size-um", "-1", "--grain-size-um", "3"], "positive"),
    ],
)
def test_refusals_say_what_to_do(tmp_path: Path, arguments: list[str], says: str) -> None:
    out = tmp_path / "out"
    result = run(*[str(out) if a == "OUT" else a for a in arguments])
    assert result.exit_code != 0
    assert says in result.output + str(result.exception)
    assert not list(out.glob("*"))


TWINNED = ["--diameter-um", "8", "--diameter-std-um", "2", "--phases", "austenite=0.6,ferrite=0.4", "--texture"]
TWINNED += ["0.5*cube:8+0.5*random", "--twins", "0.3", "--twin-width-um", "1.2", "--twin-phase", "austenite"]


def test_formats_offered_can_be_written() -> None:
    from microgen.cli.synth import FORMATS

    assert all(hasattr(io.FORMATS[f".{ending}"], "write") for ending in FORMATS)


@pytest.mark.parametrize("ending", ["h5", "ang", "dream3d"])
def test_twinned_crystals_come_back_from_files(tmp_path: Path, ending: str) -> None:
    result = run("polycrystal", str(tmp_path), *COMMON, *TWINNED, "--format", ending)
    assert result.exit_code == 0, result.output
    (back,) = io.read(tmp_path / f"seed_000000.{ending}")
    recipe = io.read_recipe(tmp_path / f"seed_000000.{ending}")
    assert recipe is not None
    again = make(recipe)
    np.testing.assert_array_equal(back["phase"], again["phase"])
    in_map = to_map_frame(back["orientation"], back.source["euler_frame"])
    assert np.abs(np.abs((in_map * again["orientation"]).sum(axis=-1)) - 1).max() < 1e-4
    assert set(back.crystals) == {"austenite", "ferrite"}
    assert json.loads(run("polycrystal", str(tmp_path), *COMMON, *TWINNED, "--format", ending).stdout)["made"] == 0


def test_a_formula_makes_a_gradient(tmp_path: Path) -> None:
    arguments = ["--size", "128x128", "--pixel-size-um", "1", "--grain-size-um", "4 + 16*y", "--format", "h5"]
    assert run("polycrystal", str(tmp_path), *arguments).exit_code == 0
    (made,) = io.read(tmp_path / "seed_000000.h5")
    assert len(np.unique(made["grain"][:40])) > 3 * len(np.unique(made["grain"][-40:]))
    assert "intensity" in made


def test_rolled_grains_of_a_volume(tmp_path: Path) -> None:
    arguments = ["--size", "24x24x24", "--pixel-size-um", "1", "--diameter-um", "7", "--aspect-ratio", "1,2,4"]
    assert run("polycrystal", str(tmp_path), *arguments, "--direction-deg", "30,0,0").exit_code == 0
    assert io.read(tmp_path / "seed_000000.h5")[0]["grain"].max() > 20


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--grain-size-um", "3", "--diameter-um", "3"], "--diameter-um"),
        (["--grain-size-um", "3", "--twins", "0.2"], "go together"),
        (["--grain-size-um", "x.real"], "cannot use"),
        (["--diameter-um", "6", "--phases", "iron=much"], "NAME=SHARE"),
        (["--diameter-um", "6", "--phases", "kryptonite"], "known are"),
        (["--diameter-um", "6", "--texture", "cubic"], "components are"),
    ],
)
def test_wishes_for_polycrystals_that_do_not_fit(tmp_path: Path, arguments: list[str], says: str) -> None:
    result = run("polycrystal", str(tmp_path / "out"), *COMMON, *arguments)
    assert result.exit_code != 0
    assert says in result.output + str(result.exception)


@pytest.mark.parametrize("render", ["optical", "backscatter"])
def test_any_section_can_be_drawn(render: str, tmp_path: Path) -> None:
    size = ["--fraction", "0.3", "--diameter-um", "6", "--diameter-std-um", "1"]
    result = run("particles", str(tmp_path), *COMMON, *size, "--render", render)
    assert result.exit_code == 0, result.output
    (picture,) = io.read(tmp_path / "seed_000000.png")
    bright = picture["intensity"] > 128
    made = make({**io.read_recipe(tmp_path / "seed_000000.png")})
    agree = (bright == (made["phase"] == (0 if render == "optical" else 1))).mean()
    assert agree > 0.9


def test_a_scanned_map_is_an_ebsd_file(tmp_path: Path) -> None:
    result = run("polycrystal", str(tmp_path), *COMMON, "--grain-size-um", "8", "--render", "ebsd")
    assert result.exit_code == 0, result.output
    (found,) = io.read(tmp_path / "seed_000000.ang")
    assert 0 < (found["phase"] == 0).mean() < 0.5
    assert len(np.unique(found["orientation"].reshape(-1, 4), axis=0)) > 1000  # noise


def test_statistics_of_a_file_are_copied(tmp_path: Path) -> None:
    run(
        "two-phase",
        str(tmp_path / "a"),
        "--size",
        "200x200",
        "--pixel-size-um",
        "1",
        "--fraction",
        "0.3",
        "--length-um",
        "6",
    )
    source = tmp_path / "a" / "seed_000000.png"
    result = run(
        "two-phase-like",
        str(tmp_path / "b"),
        "-n",
        "4",
        "--size",
        "200x200",
        "--pixel-size-um",
        "1",
        "--like",
        str(source),
    )
    assert result.exit_code == 0, result.output
    from microgen.stats import measure

    names = ["phase_fraction", "correlation_length_um"]
    found = [measure(io.read(path)[0], names, intervals=False) for path in io.find_inputs([tmp_path / "b"])]
    assert np.mean([m["phase_fraction"].value for m in found]) == pytest.approx(0.3, abs=0.001)
    original = measure(io.read(source)[0], names, intervals=False)["correlation_length_um"].value
    assert np.mean([m["correlation_length_um"].value for m in found]) == pytest.approx(original, rel=0.1)
    assert run("two-phase-like", str(tmp_path / "c"), *COMMON).exit_code == 2


def test_the_structure_that_is_copied_keeps_its_own_scale(tmp_path: Path) -> None:
    made = run(
        *("two-phase", str(tmp_path / "a"), "--size", "256x256", "--pixel-size-um", "0.5"),
        *("--fraction", "0.4", "--length-um", "5"),
    )
    source = tmp_path / "a" / "seed_000000.png"
    coarse = run(
        *("two-phase-like", str(tmp_path / "b"), "--size", "256x256", "--pixel-size-um", "1", "--like", str(source))
    )
    assert made.exit_code == coarse.exit_code == 0, made.output + coarse.output
    from microgen.stats import measure

    lengths = [
        measure(io.read(tmp_path / name / "seed_000000.png")[0], ["correlation_length_um"], intervals=False)
        for name in "ab"
    ]
    one, other = (found["correlation_length_um"].value for found in lengths)
    assert other == pytest.approx(one, rel=0.15)  # 2 or 1/2 if the scale of the file were overlooked


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        (("particles", "--fraction", "0.3"), "particles: --diameter-um is missing"),
        (("two-phase", "--fraction", "0.3", "--length-um", "5", "--gap-um", "1"), "--gap-um does not go with the rest"),
        (("polycrystal", "--grain-size-um", "8+20*w"), "a formula of x, y and z"),
    ],
)
def test_options_that_do_not_fit_a_kind_are_wrong_usage(tmp_path: Path, wishes: tuple[str, ...], says: str) -> None:
    kind, *options = wishes
    result = run(kind, str(tmp_path / "out"), *COMMON, *options)
    assert result.exit_code == 2
    assert says in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_small_structures_of_every_other_kind(tmp_path: Path) -> None:
    wishes = {
        "grown-polycrystal": ["--grain-size-um", "7"],
        "phase-separated": ["--fraction", "0.4", "--length-um", "8"],
        "fibres": [
            "--fraction",
            "0.1",
            "--diameter-um",
            "2",
            "--length-um",
            "8",
            "--direction-deg",
            "0",
            "--direction-std-deg",
            "5",
        ],
    }
    for kind, options in wishes.items():
        result = run(kind, str(tmp_path / kind), *COMMON, *options, "--format", "h5")
        assert result.exit_code == 0, result.output
        assert io.read(tmp_path / kind / "seed_000000.h5")[0].shape == (48, 64)
