"""Preconditioning: from raw networks to denoisers, against the equations of the papers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from microgen.core import InputError
from microgen.models.precondition import DDPM, EDM

SIGMAS = torch.tensor([0.01, 0.3, 1.0, 20.0], dtype=torch.float64)


def test_edm_gives_networks_inputs_and_targets_of_unit_variance() -> None:
    """Karras et al. 2022, Appendix B.6: what the network sees, and what it must predict, has variance 1."""
    edm, n = EDM(sigma_data=0.6), 200_000
    draw = torch.Generator().manual_seed(0)
    for sigma in SIGMAS:
        x0 = 0.6 * torch.randn(1, n, generator=draw, dtype=torch.float64)
        x = x0 + sigma * torch.randn(1, n, generator=draw, dtype=torch.float64)
        seen: list[Tensor] = []
        skip = edm.denoise(lambda s, level, seen=seen: (seen.append(s), 0 * s)[1], x, sigma)
        one = edm.denoise(lambda s, level: 0 * s + 1, x, sigma)
        target = (x0 - skip) / (one - skip)
        assert seen[0].var().item() == pytest.approx(1, rel=0.02)
        assert target.var().item() == pytest.approx(1, rel=0.02)
        assert edm.weight(sigma) * (one - skip)[0, 0] ** 2 == pytest.approx(1)


def test_edm_level_is_a_quarter_of_the_logarithm() -> None:
    levels: list[Tensor] = []
    EDM().denoise(lambda x, level: (levels.append(level), x)[1], torch.zeros(4, 1, 3, 3).double(), SIGMAS)
    torch.testing.assert_close(levels[0], SIGMAS.log() / 4)


def test_edm_draws_the_lognormal_of_training() -> None:
    edm = EDM(p_mean=-0.7, p_std=1.1)
    logs = edm.draw((torch.arange(10_001, dtype=torch.float64) + 0.5) / 10_001).log()
    assert logs.median().item() == pytest.approx(-0.7, abs=1e-6)
    assert logs.std().item() == pytest.approx(1.1, rel=1e-3)


def test_ddpm_table_is_the_one_of_the_paper() -> None:
    table = DDPM().table
    alpha_bar = 1 / (1 + table**2)
    assert len(table) == 1000
    assert (1 - alpha_bar[0]).item() == pytest.approx(1e-4)
    assert alpha_bar[-1].item() == pytest.approx(4.036e-5, rel=1e-3)


def test_ddpm_with_the_true_noise_gives_the_true_field() -> None:
    draw = torch.Generator().manual_seed(0)
    x0, n = torch.randn(2, 4, 1, 5, 5, generator=draw, dtype=torch.float64)
    x = x0 + SIGMAS.reshape(-1, 1, 1, 1) * n
    torch.testing.assert_close(DDPM().denoise(lambda seen, level: n, x, SIGMAS), x0)


def test_ddpm_network_sees_variance_preserving_input() -> None:
    seen: list[Tensor] = []
    x = torch.full((1, 1, 2, 2), 3.0)
    DDPM().denoise(lambda s, level: (seen.append(s), 0 * s)[1], x, torch.tensor(2.0))
    torch.testing.assert_close(seen[0], x / 5**0.5)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_ddpm_levels_run_through_the_steps(kind: Any) -> None:
    ddpm = DDPM(steps=200, betas=kind)
    levels = ddpm.level(ddpm.table)
    torch.testing.assert_close(levels, torch.linspace(-1, 1, 200, dtype=torch.float64), atol=1e-9, rtol=0)
    between = ddpm.level((ddpm.table[50] * ddpm.table[51]).sqrt())
    assert between.item() == pytest.approx((levels[50] + levels[51]).item() / 2)
    outside = ddpm.level(torch.tensor([1e-9, 1e9], dtype=torch.float64))
    assert outside.tolist() == pytest.approx([-1, 1])


def test_ddpm_weight_makes_the_loss_the_error_of_the_noise() -> None:
    draw = torch.Generator().manual_seed(0)
    x0, n, guess = torch.randn(3, 4, 1, 5, 5, generator=draw, dtype=torch.float64)
    spread = SIGMAS.reshape(-1, 1, 1, 1)
    error = DDPM().denoise(lambda seen, level: guess, x0 + spread * n, SIGMAS) - x0
    torch.testing.assert_close(DDPM().weight(SIGMAS).reshape(-1, 1, 1, 1) * error**2, (guess - n) ** 2)


def test_ddpm_draws_its_steps_evenly() -> None:
    ddpm = DDPM(steps=50)
    u = (torch.arange(100, dtype=torch.float64) + 0.5) / 100
    torch.testing.assert_close(ddpm.draw(u), ddpm.table.repeat_interleave(2))


@pytest.mark.parametrize("precondition", [EDM(), DDPM()])
def test_one_sigma_for_all_equals_one_each(precondition: Any) -> None:
    x = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))

    def network(seen: Tensor, level: Tensor) -> Tensor:
        return seen * level.reshape(-1, 1, 1, 1)

    one = precondition.denoise(network, x, torch.tensor(0.7))
    torch.testing.assert_close(one, precondition.denoise(network, x, torch.full((3,), 0.7)))


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(InputError, match="at least 25"):
        DDPM(steps=10)
