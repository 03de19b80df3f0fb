"""Cards: every one in the tree is complete and describes the real files, and wrong ones are named."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from microgen.cli.datasets import command
from microgen.core import InputError
from microgen.core.files import sha256
from microgen.data.cards import RECIPE, CardFile, card_folder, cards, cards_folder, read_card
from microgen.data.pixel_sizes import SIDECAR, PixelSizes

HEAD = 'title = "t"\nkind = "image"\nlicence = "MIT"\n'
FILE = 'files = [{{ path = "{path}", bytes = 1, sha256 = "{digest}" }}]\n'
ZEROS = "0" * 64
SIZE = '[pixel_size_um]\n"*" = 1.0\n'
GOOD = HEAD + FILE.format(path="a", digest=ZEROS) + SIZE
CARDS = cards()
DOWNLOADED = [name for name, card in CARDS.items() if card.kind != "generated"]


@pytest.mark.parametrize("name", CARDS)
def test_every_card_says_what_a_user_must_know(name):
    card = CARDS[name]
    assert card.title
    assert card.description
    assert card.licence
    assert not card.title.endswith(".")
    if card.kind == "generated":
        assert card.synthetic
        assert (cards_folder() / name / RECIPE).is_file()
    else:
        assert card.source
        assert card.citation


@pytest.mark.parametrize("name", DOWNLOADED)
def test_files_are_published_at_a_fixed_commit_or_the_card_says_that_only_a_mirror_has_them(name):
    card = CARDS[name]
    for file in card.files:
        for url in file.urls:
            site, commit, path = unquote(url).removeprefix("https://raw.githubusercontent.com/").split("/", 3)[1:]
            assert site
            assert len(commit) == 40
            assert set(commit) <= set("0123456789abcdef")
            assert path
            assert PurePosixPath(path).suffix.lower() == PurePosixPath(file.path).suffix.lower()
    if not all(file.urls for file in card.files):
        assert "mirror only" in card.traps


@pytest.mark.parametrize("name", DOWNLOADED)
def test_notices_of_licences_belong_to_the_sets(name):
    if name != "wire_cell_octagon":  # its repository has none beside the file
        assert any(file.is_notice for file in CARDS[name].files)


@pytest.mark.parametrize("name", DOWNLOADED)
def test_cards_describe_the_real_files(name, shared_data):
    card = CARDS[name]
    folder = shared_data / (card.mirror_folder or name)
    if not folder.is_dir():
        pytest.skip(f"no {folder.name}")
    for file in card.files:
        assert (folder / file.path).stat().st_size == file.bytes
        assert sha256(folder / file.path) == file.sha256


def test_every_file_of_the_real_data_is_on_a_card(shared_data):
    known = {f"{c.mirror_folder or name}/{file.path}" for name, c in CARDS.items() for file in c.files}
    there = {p.relative_to(shared_data).as_posix() for p in shared_data.rglob("*") if p.is_file()}
    assert {
        path for path in there - known if Path(path).name not in ("SOURCE.md", "README.md", "MANIFEST.tsv")
    } == set()


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.pixel_size_um and card.files])
def test_pixel_sizes_beside_the_files_give_the_size_of_every_picture(name, tmp_path):
    card = CARDS[name]
    (tmp_path / SIDECAR).write_text(card.sidecar(), encoding="utf-8")
    pictures = [f.path for f in card.files if PurePosixPath(f.path).suffix in (".jpg", ".png", ".tif")]
    for path in pictures:
        folder = path.partition("/")[0]
        assert PixelSizes().of(tmp_path / path) == card.pixel_size_um.get(folder, card.pixel_size_um.get("*"))
    for pattern in card.pixel_size_um:
        assert any(PurePosixPath(path).match(f"{pattern}/*") or pattern == "*" for path in pictures)


def test_sidecar_is_toml_also_with_sizes_per_axis_and_odd_names(tmp_path):
    (tmp_path / "card.toml").write_text(
        HEAD
        + 'pixel_size_note = "two\\nlines"\n'
        + FILE.format(path="a", digest=ZEROS)
        + "[pixel_size_um]\n'ä \"b\"/*' = [2.0, 0.5, 0.5]\n",
        encoding="utf-8",
    )
    text = read_card(tmp_path / "card.toml").sidecar()
    assert tomllib.loads(text) == {"pixel_size_um": {'ä "b"/*': [2.0, 0.5, 0.5]}}


def test_sets_without_a_known_size_have_no_sidecar():
    assert CARDS["tbm_grain_boundaries"].sidecar() is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("licence", "license"), "licence"),
        (GOOD.replace("1.0", "0"), "pixel_size_um"),
        (GOOD.replace('"image"', '"picture"'), "kind"),
        (GOOD.replace(SIZE, ""), "say why in pixel_size_note"),
        (GOOD.replace('"image"', '"generated"'), "generated sets have a recipe and no files"),
        (HEAD + SIZE, "all others have files"),
        (GOOD.replace('"a"', '"../a"'), "relative path"),
        (GOOD.replace('"a"', '"/a"'), "relative path"),
        (GOOD.replace('"a"', '"card.toml"'), "two files would be called card.toml"),
        (GOOD.replace(ZEROS, "xyz"), "sha256"),
        (GOOD.replace("bytes = 1", "bytes = 0"), "bytes"),
        ('source = "http://example.org"\n' + GOOD, "source"),
        ('mirror_folder = "../elsewhere"\n' + GOOD, "mirror_folder"),
        (GOOD.replace("bytes = 1", 'bytes = 1, urls = ["http://example.org/a"]'), "urls"),
        (GOOD.replace("files = [", f'files = [{{ path = "A", bytes = 1, sha256 = "{ZEROS}" }}, '), "two files"),
    ],
)
def test_wrong_cards_are_named(tmp_path, text, says):
    (tmp_path / "card.toml").write_text(text)
    with pytest.raises(InputError, match=says):
        read_card(tmp_path / "card.toml")


def test_the_card_that_the_wrong_ones_are_made_from_is_right(tmp_path):
    (tmp_path / "card.toml").write_text(GOOD)
    assert read_card(tmp_path / "card.toml").bytes == 1


@given(
    st.one_of(
        st.text(max_size=20),
        st.lists(st.sampled_from(["..", ".", "a", "", "b c", "C:", "\\", "~", "con."]), max_size=4).map("/".join),
    )
)
def test_paths_that_are_accepted_stay_inside_their_folder(path):
    try:
        kept = CardFile(path=path, bytes=1, sha256=ZEROS).path
    except ValidationError:
        return
    root = Path("/data/set")
    inside = (root / kept).relative_to(root)
    assert ".." not in inside.parts
    assert inside.as_posix() == kept == path
    assert not PurePosixPath(kept).is_absolute()
    assert not set(kept) & set('\\:*?"<>|\n\x00')


def test_the_page_has_a_row_for_every_card():
    page = (Path(__file__).resolve().parents[1] / "docs" / "datasets.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert set(rows) == set(CARDS)
    for name in DOWNLOADED:
        assert rows[name].split(" | ")[1] == CARDS[name].kind
        assert rows[name].rstrip(" |").endswith(f"{CARDS[name].bytes / 1e6:.1f}")


def test_list_and_show_print_json():
    listed = json.loads(CliRunner().invoke(command, ["list"]).stdout)
    assert listed["steel_optical_grains"] == {
        "title": "Etched steels with clear grain boundaries",
        "kind": "image",
        "licence": "MIT",
        "megabytes": 16.54,
        "files": 29,
    }
    assert set(listed["etched_polycrystal"]) == {"title", "kind", "licence"}
    shown = json.loads(CliRunner().invoke(command, ["show", "steel_optical_grains"]).stdout)
    assert len(shown["files"]) == 29
    assert shown["pixel_size_um"]["304-200"] == 0.3698
    made = json.loads(CliRunner().invoke(command, ["show", "particles_and_fibres"]).stdout)
    assert [row["folder"] for row in made["recipe"]["make"]] == ["discs", "ellipses", "fibres", "spheres"]


def test_unknown_names_are_answered_with_what_was_meant():
    with pytest.raises(InputError, match="did you mean ebsd_ti64"):
        card_folder("ebsd_ti46")
    with pytest.raises(InputError, match=r"known are .*steel_optical_grains"):
        card_folder("../core")
    result = CliRunner().invoke(command, ["show", "nothing"])
    assert isinstance(result.exception, InputError)
