"""The recipe of the demonstration and what may be laid over it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from microgen.cli import main
from microgen.cli.embedded import read_recipe
from microgen.core import InputError


def test_settings_change_what_they_name_and_nothing_else() -> None:
    plain, changed = read_recipe([]), read_recipe(["pictures.count=3", "fit.sample.preset=fast"])
    assert (changed.pictures.count, changed.fit.sample["preset"]) == (3, "fast")
    back = changed.model_copy(
        update={
            "pictures": changed.pictures.model_copy(update={"count": plain.pictures.count}),
            "fit": changed.fit.model_copy(update={"sample": plain.fit.sample}),
        }
    )
    assert back == plain


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("count=3", "count: Extra inputs"),
        ("fit=1", "fit: "),
        ("fit.minuts=1", "minuts"),
        ("pictures.count=0", "greater than 0"),
        ("pictures.count.more=1", "a value, not a table"),
        ('fit.plan=["train.devices=2"]', "fit trains in one process"),
    ],
)
def test_settings_that_cannot_be_are_refused(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_recipe([setting])


def test_a_file_of_values_is_laid_over_value_by_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.toml").write_text("[pictures]\nsize = [64, 64]\n[fit]\nminutes = 0.5\n")
    words = ["demo", str(tmp_path / "out"), "--dry-run", "--config", str(tmp_path / "mine.toml")]
    with pytest.raises(SystemExit) as leave:
        main([*words, "--set", "fit.minutes=0.25"])
    assert leave.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["pictures"]["size"], found["fit"]["minutes"]) == ([64, 64], 0.25)
    assert found["pictures"]["count"] == read_recipe([]).pictures.count
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("setting", ["count=3", "fit=1"])
def test_a_wrong_setting_ends_with_one_sentence(setting: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leave:
        main(["demo", "out", "--dry-run", "--set", setting])
    assert leave.value.code == 3
    assert "bug" not in capsys.readouterr().err
