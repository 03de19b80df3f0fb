"""Cards: every one in the tree is complete, and wrong ones are named."""

from __future__ import annotations

import hashlib
import json

import pytest
from click.testing import CliRunner

from microgen.cli.datasets import command
from microgen.core import InputError
from microgen.data.cards import cards, cards_folder, read_card

GOOD = 'title = "t"\nlicence = "MIT"\n[pixel_size_um]\n"*" = 1.0\n'
FILE = '[[files]]\npath = "{path}"\nsha256 = "{digest}"\n'


def test_all_cards_are_valid_and_shipped_files_match_their_hash():
    for name, card in cards().items():
        assert card.title
        assert card.licence
        for file in card.files:
            shipped = cards_folder() / name / file.path
            if shipped.is_file():
                assert hashlib.sha256(shipped.read_bytes()).hexdigest() == file.sha256
            else:
                assert file.url, f"{name}: {file.path} neither ships nor has an address"


def test_the_steel_card_describes_the_real_files(shared_data):
    card = cards()["steel_optical_grains"]
    folder = shared_data / "steel_optical_grains"
    if not folder.is_dir():
        pytest.skip("no steels")
    found = {
        f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.glob("*/*.jpg")
    }
    assert found == {file.path: file.sha256 for file in card.files}
    assert {path.partition("/")[0] for path in found} == set(card.pixel_size_um)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("licence", "license"), "licence"),
        (GOOD.replace("1.0", "0"), "pixel_size_um"),
        ('title = "t"\nlicence = "MIT"\npixel_size_um = {}\n', "pixel_size_um"),
        (GOOD + FILE.format(path="../a", digest="0" * 64), "relative path"),
        (GOOD + FILE.format(path="/a", digest="0" * 64), "relative path"),
        (GOOD + FILE.format(path="a", digest="xyz"), "sha256"),
        ('source = "http://example.org"\n' + GOOD, "source"),
    ],
)
def test_wrong_cards_are_named(tmp_path, text, says):
    (tmp_path / "card.toml").write_text(text)
    with pytest.raises(InputError, match=says):
        read_card(tmp_path / "card.toml")


def test_list_and_show_print_json():
    listed = json.loads(CliRunner().invoke(command, ["list"]).stdout)
    assert listed["steel_optical_grains"]["licence"] == "MIT"
    shown = json.loads(CliRunner().invoke(command, ["show", "steel_optical_grains"]).stdout)
    assert len(shown["files"]) == 24
    assert shown["pixel_size_um"]["304-200"] == 0.3698
    result = CliRunner().invoke(command, ["show", "nothing"])
    assert isinstance(result.exception, InputError)
    assert "steel_optical_grains" in str(result.exception)
