"""Closed forms of the learning rate, the weight average and the budget."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from microgen.core import InputError
from microgen.core.config import validate
from microgen.data.plan import TrainPlan
from microgen.train.budget import Budget
from microgen.train.config import TrainConfig
from microgen.train.schedule import average_into, averaging_factor, is_due, learning_rate_factor, round_up


@pytest.mark.parametrize("decay", ["cosine", "inverse-sqrt", "none"])
def test_learning_rate_rises_linearly_and_meets_one_at_the_end_of_the_warmup(decay: str) -> None:
    at = [learning_rate_factor(n, warmup=100, total=1000, decay=decay) for n in (0, 25, 50, 100)]
    assert at == pytest.approx([0, 0.25, 0.5, 1], abs=1e-12)


def test_learning_rate_decays_as_its_formula_says() -> None:
    third = learning_rate_factor(100 + 900 / 3, warmup=100, total=1000, decay="cosine")
    assert third == pytest.approx(0.75)  # (1 + cos(60 degrees)) / 2
    assert learning_rate_factor(1000, warmup=100, total=1000, decay="cosine") == pytest.approx(0)
    assert learning_rate_factor(900, warmup=100, total=1000, decay="inverse-sqrt") == pytest.approx(1 / 3)
    assert learning_rate_factor(900, warmup=100, total=None, decay="cosine") == 1
    assert learning_rate_factor(900, warmup=0, total=1000, decay="none") == 1


def test_average_of_a_linear_sequence_is_its_closed_form() -> None:
    net, average = nn.Linear(1, 1, bias=False).double(), nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(average.weight)
    kept, steps = 0.8, 25
    for k in range(1, steps + 1):
        nn.init.constant_(net.weight, float(k))
        average_into(average, net, kept)
    assert average.weight.item() == pytest.approx(steps - kept * (1 - kept**steps) / (1 - kept), rel=1e-12)


def test_ramped_average_of_a_linear_sequence_follows_its_differential_equation() -> None:
    # da/dt = ln 2 / (r t) (t - a) is solved by a = t g / (g + 1) with g = ln 2 / r
    ramp, value = 0.05, 0.0
    for images in range(0, 20_000):
        kept = averaging_factor(images, batch=1, halflife=math.inf, ramp=ramp)
        value = kept * value + (1 - kept) * (images + 1)
    g = math.log(2) / ramp
    assert value / 20_000 == pytest.approx(g / (g + 1), rel=1e-3)


def test_average_starts_as_the_net_itself_and_buffers_are_copied() -> None:
    net, average = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    net(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))
    nn.init.constant_(net.weight, 7.0)
    average_into(average, net, averaging_factor(0, batch=8, halflife=100, ramp=0.05))
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), average.state_dict().values(), strict=True))


@given(batch=st.integers(1, 50), steps=st.integers(1, 300), times=st.integers(0, 40))
def test_events_come_as_often_as_asked_and_once_at_the_end(batch: int, steps: int, times: int) -> None:
    total = batch * steps
    hits = [is_due(n * batch, (n + 1) * batch, total=total, times=times) for n in range(steps)]
    assert sum(hits) == min(times, steps)
    assert hits[-1] == (times > 0)


def test_minutes_become_images_by_the_measured_speed() -> None:
    budget = Budget(TrainConfig(minutes=2, batch=10))
    budget.start(images=10, seconds=5)  # a slow first step
    assert budget.total(None, images=30, seconds=9.0) is None  # too few steps to say
    assert budget.total(None, images=50, seconds=7.0) is None  # too short to say
    assert budget.total(None, images=110, seconds=10.0) == 110 + 20 * 110  # 20 images/s for 110 s


def test_a_slower_machine_cuts_the_budget_and_a_faster_one_stretches_it() -> None:
    budget = Budget(TrainConfig(minutes=2, batch=10))
    assert budget.total(2000, images=500, seconds=60) == 1000
    assert budget.total(2000, images=1500, seconds=60) == 3000
    assert budget.total(2000, images=500, seconds=180) == 500  # time is over: stop here
    assert Budget(TrainConfig(minutes=2, images=2400, batch=10)).total(2000, images=1500, seconds=60) == 2400


@given(rate=st.floats(20, 50), passed=st.floats(0.1, 0.85))
def test_a_run_that_ends_about_in_time_keeps_its_budget(rate: float, passed: float) -> None:
    budget = Budget(TrainConfig(minutes=2, batch=1))
    for end, kept in ((0.91, True), (1.09, True), (0.89, False), (1.11, False)):
        seconds, images = 120 * passed, round(120 * passed * rate)
        total = images + round((120 * end - seconds) * images / seconds)
        found = budget.total(total, images=images, seconds=seconds)
        assert (found == total) == kept, (end, found, total)


def test_load_that_passes_in_the_first_half_costs_no_time_of_the_budget() -> None:
    budget, seconds, images, total = Budget(TrainConfig(minutes=2, batch=10)), 0.0, 0, None
    while total is None or images < total:
        seconds, images = seconds + (10.0 if seconds < 60 else 1.0), images + 10
        total = budget.total(total, images=images, seconds=seconds)
    assert 0.89 * 120 <= seconds <= 1.11 * 120


def test_images_alone_fix_the_budget_at_once_and_bound_the_minutes() -> None:
    assert Budget(TrainConfig(images=95, batch=10)).total(None, images=0, seconds=0) == 100
    assert Budget(TrainConfig(images=95, minutes=60, batch=10)).total(None, images=50, seconds=120) == 100
    assert round_up(0.5, 8) == 8


def test_what_plan_and_loop_both_hold_has_one_default() -> None:
    shared = (TrainConfig.model_fields.keys() & TrainPlan.model_fields.keys()) - {"images", "minutes"}
    assert {"learning_rate", "warmup", "ema_halflife_images", "batch", "seed", "precision"} <= shared
    for name in shared:
        assert TrainConfig.model_fields[name].default == TrainPlan.model_fields[name].default, name


def test_a_decay_from_the_warmup_without_a_warmup_is_refused() -> None:
    with pytest.raises(InputError, match="give a warmup above 0"):
        validate(TrainConfig, {"images": 10, "decay": "inverse-sqrt", "warmup": 0}, where="train")


def test_a_run_without_a_budget_is_refused() -> None:
    with pytest.raises(InputError, match="images or minutes"):
        validate(TrainConfig, {}, where="train")
