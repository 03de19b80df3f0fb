"""Conditions: what the network sees of numbers, directions and classes."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen.cli import cli
from microgen.core import Condition, ConditionSpec, InputError
from microgen.generate import condition_folders, remake
from microgen.io import read, read_recipe
from microgen.models import load_model, read_header
from microgen.models.conditions import encode_conditions, tell

STEEL = ConditionSpec("steel", "scalar", 0, 2, "class", ("304", "316 L", "435Q"))
SIZE = ConditionSpec("grain_size_um", "scalar", 5, 20, "log")
TURN = ConditionSpec("orientation_deg", "scalar", 0, 180, "axial")


def test_classes_are_one_hot():
    np.testing.assert_array_equal(STEEL.encode(np.array([2.0, 0.0])), [[0, 1], [0, 0], [1, 0]])
    np.testing.assert_array_equal(STEEL.encode("316 L"), [0, 1, 0])
    assert STEEL.channels == 3
    assert STEEL.encode(np.zeros((4, 5))).shape == (3, 4, 5)


def test_a_direction_and_its_opposite_are_one():
    np.testing.assert_allclose(TURN.encode(10.0), TURN.encode(190.0), atol=1e-6)
    np.testing.assert_allclose(TURN.encode(45.0), [0, 1], atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 2), min_size=1, max_size=6),
    sizes=st.lists(st.floats(1, 80), min_size=6, max_size=6),
    angles=st.lists(st.floats(-360, 360), min_size=6, max_size=6),
)
def test_torch_and_numpy_encode_alike(numbers, sizes, angles):
    n, specs = len(numbers), (STEEL, SIZE, TURN)
    given_values = {"steel": numbers, "grain_size_um": sizes[:n], "orientation_deg": angles[:n]}
    scalars = {name: torch.tensor(values, dtype=torch.float64) for name, values in given_values.items()}
    like = torch.zeros(n, 1, 4, 4, dtype=torch.float64)
    told = encode_conditions(specs, scalars, {}, like=like)
    expected = np.concatenate([spec.encode(np.array(given_values[spec.name], float)) for spec in specs]).T
    np.testing.assert_allclose(told.numbers.numpy(), expected, atol=1e-5)
    assert told.present.all()
    assert told.numbers.shape == told.present.shape == (n, 6)


@pytest.mark.parametrize("kind", ["scalar", "map"])
def test_labels_told_one_by_one_are_those_of_their_samples(kind):
    spec = ConditionSpec("steel", kind, 0, 2, "class", STEEL.labels)
    like = torch.zeros(3, 1, 2, 2)
    asked = [Condition({"steel": "435Q"}), Condition(), Condition({"steel": "304"})]
    told = tell([spec], asked, like=like)
    if kind == "scalar":
        shown, there = told.numbers, told.present[:, 0]
    else:
        shown, there = told.maps[:, :3, 1, 0], told.maps[:, 3, 0, 1]
    assert there.tolist() == [1, 0, 1]
    assert shown[0].tolist() == [0, 0, 1]
    assert shown[2].tolist() == [1, 0, 0]


def test_a_hidden_class_tells_nothing():
    scalars = {"steel": torch.tensor([0.0, 2.0])}
    told = encode_conditions([STEEL], scalars, {}, like=torch.zeros(2, 1, 2, 2), kept=torch.tensor([[1], [0]]))
    assert told.present.tolist() == [[1, 1, 1], [0, 0, 0]]


def test_unknown_labels_are_refused_in_one_sentence():
    with pytest.raises(InputError, match="steel must be one of 304, 316 L, 435Q, not '430'"):
        STEEL.numbers("430")
    for wrong in (3, 0.5, -1, np.nan):
        with pytest.raises(InputError, match="one of 304, 316 L, 435Q"):
            STEEL.numbers(wrong)
    with pytest.raises(InputError, match="grain_size_um must be a number, not 'coarse'"):
        SIZE.numbers("coarse")


def test_headers_of_before_load_and_stay_the_same():
    """The hash of a model is over its header: a spec of numbers must be written as it always was."""
    before = {"name": "grain_size_um", "kind": "scalar", "low": 5, "high": 20, "scale": "log"}
    assert ConditionSpec(**before).to_dict() == before
    assert ConditionSpec(**STEEL.to_dict()) == STEEL
    assert STEEL.to_dict()["labels"] == ["304", "316 L", "435Q"]


@pytest.mark.parametrize(
    ("low", "high", "scale", "labels"),
    [
        (0, 1, "class", ("a", "b", "c")),
        (0, 0, "class", ("a",)),
        (0, 1, "class", ("a", "a")),
        (0, 1, "linear", ("a", "b")),
        (0, 1, "class", ()),
    ],
)
def test_impossible_specs_are_refused(low, high, scale, labels):
    with pytest.raises(InputError):
        ConditionSpec("x", "scalar", low, high, scale, labels)


def test_conditions_hold_numbers_and_labels():
    assert Condition({"steel": "304", "grain_size_um": 5})
    for wrong in (np.nan, np.inf, ""):
        with pytest.raises(InputError, match="finite number or a label"):
            Condition({"x": wrong})


# Models with classes

fakes = runpy.run_path(str(Path(__file__).with_name("model_fakes.py")))


def sample(*arguments) -> Any:
    return CliRunner().invoke(cli, ["sample", *map(str, arguments)], catch_exceptions=False)


def test_labels_come_back_from_the_model_file(tmp_path):
    path = fakes["save_tiny"](tmp_path / "m.safetensors", specs=(STEEL, SIZE))
    model = load_model(path)
    assert model.conditions == (STEEL, SIZE)
    assert [c.get("labels") for c in read_header(path)["conditions"]] == [list(STEEL.labels), None]


def test_samples_differ_by_class_and_say_theirs(tmp_path):
    path = fakes["save_tiny"](tmp_path / "m.safetensors", specs=(STEEL,))
    options = ("--seeds", 0, "--preset", "euler", "--steps", 4)
    result = sample(path, tmp_path / "out", *options, "--set-condition", "steel=435Q,304")
    assert [Path(f).name for f in json.loads(result.stdout)["folders"]] == ["steel_435Q", "steel_304"]
    made = [tmp_path / "out" / name / "seed_000000.png" for name in ("steel_435Q", "steel_304")]
    recipe = read_recipe(made[0])
    assert recipe["condition"] == {"steel": "435Q"}
    first, second = (read(p)[0]["intensity"] for p in made)
    assert (first != second).any()
    np.testing.assert_array_equal(remake(recipe, made[0].parent)["intensity"], first)
    assert "samples made with another condition" not in sample(path, tmp_path / "out", *options).output


def test_a_label_that_the_model_lacks_is_refused_with_those_it_has(tmp_path):
    path = fakes["save_tiny"](tmp_path / "m.safetensors", specs=(STEEL,))
    with pytest.raises(InputError, match="steel must be one of 304, 316 L, 435Q, not '430'"):
        sample(path, tmp_path / "out", "--set-condition", "steel=430")
    with pytest.raises(InputError, match="written once each"):
        sample(path, tmp_path / "out", "--set-condition", "steel=")
    model = fakes["tiny_model"](specs=(ConditionSpec("steel", "map", 0, 2, "class", STEEL.labels),))
    with pytest.raises(InputError, match="one of 304"):
        model.request(Condition(maps={"steel": np.full((16, 16), 7)}))
    assert model.request(Condition({"steel": "316 L"})).condition.maps["steel"].max() == 1


def test_folders_of_labels_stay_apart():
    conditions = [Condition({"steel": label, "T_K": 300.0}) for label in ("316 L", "304/a")]
    assert [p.name for p in condition_folders(Path("o"), conditions)] == ["T_K_300_steel_316_L", "T_K_300_steel_304_a"]
    with pytest.raises(InputError, match="tell them apart"):
        condition_folders(Path("o"), [Condition({"steel": "a b"}), Condition({"steel": "a/b"})])
