"""Codec: from fields to network numbers and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from microgen.core import InputError
from microgen.models.codec import Codec
from microgen.models.noise import SeedNoise


def codec(dtype: str = "uint8", low: float = 0, high: float = 255, **more: object) -> Codec:
    values = {"offset": 100.0, "scale": 40.0, "spacing_um": (0.5, 0.5), **more}
    return Codec("intensity", low=low, high=high, dtype=dtype, **values)  # type: ignore[arg-type]


@given(st.data(), st.sampled_from(["uint8", "int16", "uint16"]))
def test_integers_survive_the_round_trip_exactly(data: st.DataObject, dtype: str) -> None:
    info = np.iinfo(dtype)
    values = data.draw(hnp.arrays(dtype, (3, 4), elements=st.integers(int(info.min), int(info.max))))
    offset = data.draw(st.floats(float(info.min), float(info.max)))
    scale = data.draw(st.floats(0.05, 1.0)) * (int(info.max) - int(info.min))
    made = codec(dtype, info.min, info.max, offset=offset, scale=scale)
    back = made.decode(made.encode(values))
    assert back.dtype == values.dtype
    assert np.array_equal(back, values)


@given(hnp.arrays(np.float32, (5,), elements=st.floats(-1000, 1000, width=32)))
def test_floats_survive_to_single_precision(values: np.ndarray) -> None:
    made = codec("float32", -1000, 1000, offset=-3.0, scale=170.0)
    assert made.decode(made.encode(values)) == pytest.approx(values, abs=1e-3)


def test_encoded_training_data_have_zero_mean_and_unit_deviation() -> None:
    values = np.random.default_rng(0).normal(100, 40, 10_000)
    encoded = codec(offset=float(values.mean()), scale=float(values.std())).encode(values)
    assert encoded.dtype == torch.float32
    assert encoded.mean().item() == pytest.approx(0, abs=1e-6)
    assert encoded.std().item() == pytest.approx(1, rel=1e-3)


def test_values_outside_are_clipped_and_integers_rounded() -> None:
    made = codec(low=20, high=200)
    assert made.decode(torch.tensor([-9.0, 9.0, 0.0, 0.4 / 40, 0.6 / 40])).tolist() == [20, 200, 100, 100, 101]


def test_broken_numbers_of_a_model_are_an_error() -> None:
    with pytest.raises(InputError, match="NaN"):
        codec().decode(torch.tensor([0.0, float("nan")]))


@pytest.mark.parametrize(
    "bad",
    [
        {"scale": 0.0},
        {"scale": float("nan")},
        {"low": 5, "high": 5},
        {"dtype": "int64"},
        {"dtype": "uint8", "high": 300},
        {"spacing_um": (1.0,)},
        {"spacing_um": (1.0, -1.0)},
    ],
)
def test_unusable_constants_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InputError):
        codec(**bad)  # type: ignore[arg-type]


def test_dictionary_round_trip_through_json() -> None:
    made = codec(phases=("a", "b"))
    assert Codec(**json.loads(json.dumps(made.to_dict()))) == made


def test_noise_of_a_seed_does_not_depend_on_its_batch() -> None:
    alone, together = SeedNoise([5], (1, 8, 8)), SeedNoise([2, 5, 9], (1, 8, 8))
    for step in (0, 3):
        assert torch.equal(alone(step)[0], together(step)[1])
    assert torch.equal(alone.start()[0], together.start()[1])


def test_noise_is_white_and_independent_between_seeds_and_steps() -> None:
    shape = (1, 200, 200)
    fields = [
        SeedNoise([0], shape).start(),
        SeedNoise([0], shape)(0),
        SeedNoise([0], shape)(1),
        SeedNoise([1], shape)(0),
    ]
    flat = torch.stack([f.flatten() for f in fields])
    assert torch.corrcoef(flat).fill_diagonal_(0).abs().max() < 0.03
    assert flat.std().item() == pytest.approx(1, abs=0.01)
