"""Samplers against closed forms: Gaussian data, whose exact denoiser is known."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from microgen.core import InputError
from microgen.models.noise import SeedNoise
from microgen.models.options import PRESETS, SampleOptions, integrate
from microgen.models.precondition import DDPM, EDM
from microgen.models.samplers import SAMPLERS, ddim, ddpm, dpmpp_2m, euler, heun
from microgen.models.schedules import SCHEDULES, discrete, exponential, karras, narrow

MEAN, STD = 0.3, 0.2


def exact(x: Tensor, sigma: Tensor, mean: float = MEAN, std: float = STD) -> Tensor:
    """Expected clean value for data N(mean, std^2): the posterior mean."""
    return (std**2 * x + sigma**2 * mean) / (std**2 + sigma**2)


def flow(x: Tensor, high: float, low: float) -> Tensor:
    """Exact solution of the probability flow for that data, from noise level `high` to `low`."""
    return MEAN + (x - MEAN) * math.sqrt((STD**2 + low**2) / (STD**2 + high**2))


@pytest.mark.parametrize(("sampler", "order"), [(euler, 1), (ddim, 1), (heun, 2), (dpmpp_2m, 2)])
def test_halving_the_step_divides_the_error_by_two_to_the_order(sampler: Any, order: int) -> None:
    x = torch.tensor([[[-1.7, 0.4, 2.2]]], dtype=torch.float64)
    errors = []
    for steps in (200, 400):
        sigmas = exponential(steps + 1, 0.05, 2.0)[:-1]  # ends at 0.05, where the flow is known too
        errors.append((sampler(exact, x, sigmas) - flow(x, 2.0, 0.05)).abs().max().item())
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.05)


@pytest.mark.parametrize(("preset", "bar"), [("fast", 0.04), ("standard", 0.02), ("fine", 0.015), ("ddim", 0.13)])
@pytest.mark.parametrize("precondition", [EDM(), DDPM()])
@pytest.mark.parametrize(("mean", "std"), [(MEAN, STD), (0.0, 1.0)])
def test_presets_reproduce_the_standard_deviation(
    preset: str, bar: float, precondition: Any, mean: float, std: float
) -> None:
    """Bars: 4 % at 10 evaluations and 2 % at 20, where common libraries with their default spacing miss by 25 %."""
    noise = SeedNoise([0], (1, 400_000))
    denoise, options = partial(exact, mean=mean, std=std), SampleOptions(preset=preset)
    made = integrate(denoise, noise.start(), options, precondition, noise=noise)
    assert made.std().item() == pytest.approx(std, rel=bar)
    assert made.mean().item() == pytest.approx(mean, abs=0.02 * std)


@pytest.mark.parametrize(
    ("preset", "evaluations"),
    [("draft", 4), ("fast", 10), ("standard", 20), ("fine", 79), ("heun", 35), ("ddim", 50), ("ddpm", 1000)],
)
def test_presets_cost_what_their_table_says(preset: str, evaluations: int) -> None:
    asked: list[float] = []

    def counted(x: Tensor, sigma: Tensor) -> Tensor:
        asked.append(float(sigma))
        return exact(x, sigma)

    noise = SeedNoise([0], (1, 4))
    integrate(counted, noise.start(), SampleOptions(preset=preset), EDM(), noise=noise)
    assert len(asked) == evaluations
    assert PRESETS[preset].meaning.startswith(f"{evaluations} evaluations")


@pytest.mark.parametrize("sampler", [ddpm, partial(ddim, eta=1.0)])
def test_ancestral_sampling_on_all_steps_has_the_right_distribution(sampler: Any) -> None:
    sigmas = discrete(DDPM().table, 1000)
    noise = SeedNoise([1], (1, 20_000))
    made = sampler(exact, noise.start() * float(sigmas[0]), sigmas, noise=noise)
    assert made.std().item() == pytest.approx(STD, rel=0.03)
    assert made.mean().item() == pytest.approx(MEAN, abs=0.01)


def test_one_ancestral_step_is_the_step_of_the_paper() -> None:
    """Ho et al. 2020, Eq. 7 and 11, in the variables x_vp = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps."""
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alpha_bar = torch.cumprod(1 - betas, 0)
    t = 400
    a, a_before, beta = alpha_bar[t], alpha_bar[t - 1], betas[t]
    x_vp, fresh = torch.tensor([[0.7]], dtype=torch.float64), torch.tensor([[-1.3]], dtype=torch.float64)
    x0 = exact(x_vp / a.sqrt(), ((1 - a) / a).sqrt())
    mean = a_before.sqrt() * beta / (1 - a) * x0 + (1 - beta).sqrt() * (1 - a_before) / (1 - a) * x_vp
    large = mean + beta.sqrt() * fresh
    small = mean + ((1 - a_before) / (1 - a) * beta).sqrt() * fresh

    sigmas = DDPM().table[[t, t - 1]]
    start = x_vp / a.sqrt()
    ours = [s(exact, start, sigmas, noise=lambda step: fresh) for s in (ddpm, partial(ddim, eta=1.0))]
    torch.testing.assert_close(ours[0] * a_before.sqrt(), large)
    torch.testing.assert_close(ours[1] * a_before.sqrt(), small)


def test_deterministic_ddim_is_euler() -> None:
    x, sigmas = torch.randn(2, 1, 5, generator=torch.Generator().manual_seed(0)), karras(9, 0.01, 10.0)
    torch.testing.assert_close(ddim(exact, x, sigmas), euler(exact, x, sigmas))


def test_churned_heun_keeps_the_distribution_and_uses_its_noise() -> None:
    noise = SeedNoise([2], (1, 200_000))
    start, sigmas = noise.start() * 20, exponential(40, 0.002, 20.0)
    made = heun(exact, start, sigmas, noise=noise, churn=10.0)
    assert made.std().item() == pytest.approx(STD, rel=0.02)
    assert (made - heun(exact, start, sigmas)).abs().mean() > 0.1 * STD


@pytest.mark.parametrize("sampler", SAMPLERS.values())
def test_callback_sees_every_step_and_inputs_are_not_modified(sampler: Any) -> None:
    noise = SeedNoise([3], (1, 4))
    x, sigmas, seen = noise.start(), karras(6, 0.1, 5.0), []
    before = x.clone()
    sampler(exact, x, sigmas, noise=noise, callback=lambda step, x0: seen.append((step, x0.shape)))
    assert seen == [(step, x.shape) for step in range(6)]
    assert torch.equal(x, before)


@pytest.mark.parametrize("sampler", [ddpm, partial(ddim, eta=0.5), partial(heun, churn=1.0)])
def test_stochastic_samplers_refuse_to_work_without_noise(sampler: Any) -> None:
    with pytest.raises(InputError, match="noise"):
        sampler(exact, torch.ones(1, 1), karras(4, 0.1, 5.0))


def test_rising_noise_levels_are_refused() -> None:
    with pytest.raises(InputError, match="must fall"):
        euler(exact, torch.ones(1, 1), torch.tensor([0.1, 5.0, 0.0]))


@pytest.mark.parametrize("name", sorted(SCHEDULES.keys() - {"narrow"}))
@pytest.mark.parametrize("steps", [2, 10, 37])
def test_schedules_fall_from_high_to_low_to_zero(name: str, steps: int) -> None:
    sigmas = SCHEDULES[name](steps, 0.01, 50.0)
    assert len(sigmas) == steps + 1
    assert sigmas[0].item() == pytest.approx(50)
    assert sigmas[-2].item() == pytest.approx(0.01)
    assert sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()


def test_few_steps_are_spent_where_the_picture_forms() -> None:
    """For data of unit variance they reproduce it better than the same steps over the whole range."""
    torch.testing.assert_close(narrow(4, 0.01, 50.0), exponential(4, 0.15, 10.0))
    torch.testing.assert_close(narrow(4, 0.2, 5.0), exponential(4, 0.2, 5.0))
    start, errors = SeedNoise([4], (1, 100_000)).start(), []
    for schedule in (narrow, exponential):
        sigmas = schedule(4, 0.01, 80.0)
        made = dpmpp_2m(partial(exact, mean=0.0, std=1.0), start * float(sigmas[0]), sigmas)
        errors.append(abs(float(made.std()) - 1))
    assert errors[0] < 0.1
    assert errors[1] > 0.3


@pytest.mark.parametrize("bad", [(1, 0.1, 1.0), (5, 0.0, 1.0), (5, 2.0, 1.0)])
def test_impossible_schedules_are_refused(bad: tuple[int, float, float]) -> None:
    with pytest.raises(InputError):
        karras(*bad)


def test_discrete_schedule_visits_every_row_of_its_table() -> None:
    table = DDPM(steps=100).table
    assert torch.equal(discrete(table, 100)[:-1], table.flip(0))
    with pytest.raises(InputError, match="1 to 100"):
        discrete(table, 101)


@pytest.mark.parametrize("field", ["preset", "sampler", "schedule"])
def test_unknown_names_are_refused_with_the_known_ones(field: str) -> None:
    with pytest.raises(InputError, match="choose one of"):
        SampleOptions(**{field: "nonsense"}).resolved()


def test_every_preset_names_rows_of_the_tables() -> None:
    for name, preset in PRESETS.items():
        assert SampleOptions(preset=name).resolved() == preset
        assert preset.sampler in SAMPLERS
        assert preset.schedule in {*SCHEDULES, "discrete"}
