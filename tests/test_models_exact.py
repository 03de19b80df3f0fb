"""Samples of two phases that hold the fraction asked for to the point."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from microgen.core import Condition, ConditionSpec, InputError
from microgen.models import Codec, Model
from microgen.models.families import FAMILIES

cases: Any = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("family_cases.py"))))
SPEC = ConditionSpec("phase_fraction", "scalar", 0.1, 0.6)
PHASES = Codec("phase", 0.3, 0.45, 0, 1, "uint8", (1.0, 1.0), ("matrix", "pore"))


def model_of(name: str = "diffusion") -> Model:
    family: Any = FAMILIES[name]
    config = family.Config(**cases.CASES[name])
    torch.manual_seed(0)
    net = family.build(config, codec=PHASES, conditions=(SPEC,))
    with torch.no_grad():
        for weight in net.parameters():
            if not weight.any():
                weight.normal_(std=0.1)
    return Model(name, config.model_dump(mode="json"), net.eval(), PHASES, (SPEC,), (16, 16), {})


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.333, 0.6])
def test_the_fraction_is_held_to_the_point(fraction: float) -> None:
    model = model_of()
    for sample in model.sample(range(3), Condition({"phase_fraction": fraction}), preset="fast", exact=True):
        assert int((sample["phase"] == 1).sum()) == round(fraction * 256)
        assert set(np.unique(sample["phase"])) <= {0, 1}


def test_only_points_near_the_threshold_change() -> None:
    """Phase 1 of the smaller fraction lies within phase 1 of the larger, and the plain threshold between."""
    values = torch.randn(1, 9, 7, generator=torch.Generator().manual_seed(0))
    small, large = (PHASES.decode_fraction(values, f) for f in (0.3, 0.5))
    assert (large >= small).all()
    plain = PHASES.decode(values)
    assert np.array_equal(PHASES.decode_fraction(values, float(plain.mean())), plain)


def test_recipes_say_it_and_other_samples_do_not() -> None:
    model, asked = model_of(), Condition({"phase_fraction": 0.3})
    assert model.request(asked, exact=True).to_dict()["options"]["exact"] is True
    assert "exact" not in model.request(asked).to_dict()["options"]


def test_what_cannot_be_held_is_refused() -> None:
    with pytest.raises(InputError, match="ask for one"):
        model_of().request(exact=True)
    with pytest.raises(InputError, match="only samples of two phases"):
        cases.codec_of().decode_fraction(torch.randn(1, 4, 4), 0.3)
    with pytest.raises(InputError, match="nothing in between"):
        next(model_of("vae").sample([0], Condition({"phase_fraction": 0.3}), exact=True))
