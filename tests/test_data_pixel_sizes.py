"""Pixel sizes given by a person: all files, patterns, sidecar."""

from __future__ import annotations

from pathlib import Path

import pytest

from microgen.core import InputError
from microgen.data.pixel_sizes import SIDECAR, PixelSizes


def test_patterns_win_over_the_value_for_all_and_the_last_match_counts():
    sizes = PixelSizes.parse(["0.5", "*.tif=0.1", "a/*=0.2"])
    found = [sizes.of(Path(p)) for p in ("x/b/1.png", "x/b/1.tif", "x/a/1.tif", "x/a/c/1.png")]
    assert found == [0.5, 0.1, 0.2, 0.2]


def test_a_folder_name_stands_for_its_files():
    sizes = PixelSizes.parse(["304-200=0.37"])
    assert sizes.of(Path("data/304-200/a.jpg")) == 0.37
    assert sizes.of(Path("data/304-200/deeper/a.jpg")) == 0.37
    assert sizes.of(Path("data/304-2000/a.jpg")) is None
    assert sizes.of(Path("data/304-200.jpg")) is None


def test_numbers_may_be_numbers():
    assert PixelSizes.parse([0.25]).of(Path("a.png")) == 0.25


@pytest.mark.parametrize("given", [["0"], ["-1"], ["a"], ["*=x"], ["inf"], ["nan"], ["0.5", "0.6"], [""]])
def test_nonsense_is_refused(given):
    with pytest.raises(InputError):
        PixelSizes.parse(given)


def test_patterns_without_a_file_are_typing_mistakes():
    sizes = PixelSizes.parse(["304-2OO/*=0.37"])
    with pytest.raises(InputError, match=r"304-2OO.*none of the 1 files"):
        sizes.check_used([Path("304-200/a.jpg")])


def test_the_nearest_sidecar_counts_and_the_command_line_wins(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / SIDECAR).write_text('[pixel_size_um]\n"*" = 9.0\n"a" = 0.5\n"a/x*.png" = 0.25\n')
    nothing = PixelSizes.parse([])
    assert nothing.of(tmp_path / "a" / "b.png") == 0.5
    assert nothing.of(tmp_path / "a" / "x1.png") == 0.25
    assert nothing.of(tmp_path / "c.png") == 9.0
    (tmp_path / "a" / SIDECAR).write_text("pixel_size_um = 2\n")
    assert nothing.of(tmp_path / "a" / "b.png") == 2.0
    assert PixelSizes.parse(["b.png=7"]).of(tmp_path / "a" / "b.png") == 7.0
    assert PixelSizes.parse(["8"]).of(tmp_path / "a" / "b.png") == 8.0


@pytest.mark.parametrize(
    "text", ["[pixel_size_um]\na = 'x'\n", "[pixel]\na = 1\n", "[pixel_size_um\n", "pixel_size_um = -1"]
)
def test_wrong_sidecars_are_named(tmp_path, text):
    (tmp_path / SIDECAR).write_text(text)
    with pytest.raises(InputError, match=SIDECAR):
        PixelSizes.parse([]).of(tmp_path / "a.png")
