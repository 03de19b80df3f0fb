"""Cards of models: what they say is what the file holds, and only about this very model."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from microgen.cli import cli
from microgen.core import InputError
from microgen.data.cards import cards_beside
from microgen.models.card import as_markdown, read_card, write_card

fakes = runpy.run_path(str(Path(__file__).with_name("model_fakes.py")))


def report_of(digest: str | None) -> dict[str, Any]:
    obeyed = [{"name": "grain_size_um", "requested": 8.0, "measured": 8.25, "real": 8.1}]
    return {
        "headline": "1 of 2 descriptors lie near.",
        "verdict": "unsure",
        "rows": [{"descriptor": "s2", "ratio": 1.25}, {"descriptor": "mmd", "ratio": None}],
        "obeyed": obeyed,
        "two_sample": {"sentence": "A classifier is right in 0.6."},
        "provenance": {
            "generated": {"recipe": {"model_sha256": digest} if digest else None},
            "windows": {"generated": 4},
        },
    }


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(fakes["save_tiny"](tmp_path / "steel.safetensors"))


def test_a_card_says_what_the_file_holds(model: Path) -> None:
    card = read_card(model)
    tiny = fakes["tiny_model"]()
    assert card["model"]["sha256"] == tiny.sha256
    assert card["model"]["parameters"] == sum(t.numel() for t in tiny.net.state_dict().values())
    assert card["makes"]["spacing_um"] == [0.8, 0.8]
    assert card["makes"]["patch"] == [16, 16]
    assert [c["name"] for c in card["conditions"]] == ["grain_size_um", "orientation_deg"]
    assert card["evaluation"] is card["licence"] is card["notes"] is None


def test_what_is_said_stays_until_it_is_said_again(model: Path) -> None:
    digest = read_card(model)["model"]["sha256"]
    write_card(model, report=report_of(digest))
    write_card(model, licence="CC-BY-4.0")
    write_card(model, notes="Etched with nital.")
    card = read_card(model)
    assert card["evaluation"]["ratios"] == {"s2": 1.25, "mmd": None}
    assert (card["licence"], card["notes"]) == ("CC-BY-4.0", "Etched with nital.")
    page = (model.parent / "steel.card.md").read_text(encoding="utf-8")
    assert page == as_markdown(card)
    for part in (digest, "5 to 20 (log)", "1.25", "8.25", "CC-BY-4.0", "nital", "1 of 2 descriptors"):
        assert part in page


def test_a_report_about_another_model_is_refused(model: Path) -> None:
    for digest in ("0" * 64, None):
        with pytest.raises(InputError, match="another model"):
            write_card(model, report=report_of(digest))
    with pytest.raises(InputError, match="no report"):
        write_card(model, report={"rows": []})
    assert not list(model.parent.glob("*.card.*"))


def test_a_card_of_a_file_that_was_replaced_no_longer_holds(model: Path) -> None:
    write_card(model, licence="MIT")
    fakes["save_tiny"](model, seed=1)
    assert read_card(model)["licence"] is None


def test_a_damaged_card_is_one_sentence(model: Path) -> None:
    model.with_name("steel.card.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"steel\.card\.json is damaged"):
        read_card(model)


def test_the_commands(model: Path, tmp_path: Path) -> None:
    digest = read_card(model)["model"]["sha256"]
    numbers = tmp_path / "report.json"
    numbers.write_text(json.dumps(report_of(digest)), encoding="utf-8")

    def run(*words: str) -> Any:
        result = CliRunner().invoke(cli, ["models", *words])
        assert result.exit_code == 0, result.output
        return result.stdout

    added = json.loads(run("card", str(model), "--report", str(numbers), "--licence", "MIT"))
    assert added == json.loads(run("show", str(model)))
    assert run("show", str(model), "--markdown") == as_markdown(added)
    (row,) = json.loads(run("list", str(tmp_path)))["models"]
    assert row["sha256"] == digest
    assert row["conditions"]["grain_size_um"] == [5, 20]
    assert row["evaluation"].startswith("1 of 2")


def test_the_data_sets_that_files_belong_to_are_found(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "datasets" / "etched_polycrystal" / "card.toml").read_text(encoding="utf-8")
    (tmp_path / "set" / "pictures").mkdir(parents=True)
    (tmp_path / "set" / "card.toml").write_text(text, encoding="utf-8")
    picture = tmp_path / "set" / "pictures" / "a.png"
    for path in (tmp_path / "set", picture):
        assert [s["licence"] for s in cards_beside([path])] == ["MIT"]
    assert cards_beside([tmp_path]) == []
