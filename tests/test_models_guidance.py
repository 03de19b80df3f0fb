"""Functions from denoiser to denoiser."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from microgen.core import InputError
from microgen.models.guidance import canvas, guided, tiled, with_maps, wrapped
from microgen.models.samplers import euler
from microgen.models.schedules import exponential

SIGMA = torch.tensor(1.0)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def blur(x: Tensor, sigma: Tensor) -> Tensor:
    """A local denoiser of reach 2 that knows nothing beyond its border."""
    return functional.conv2d(x, x.new_full((1, 1, 5, 5), 1 / 25), padding=2)


def circular_blur(x: Tensor, sigma: Tensor) -> Tensor:
    return functional.conv2d(functional.pad(x, (2, 2, 2, 2), mode="circular"), x.new_full((1, 1, 5, 5), 1 / 25))


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, 3.0])
def test_guidance_is_the_line_through_both_denoisers(weight: float) -> None:
    x = noise(1, 1, 4, 4)
    both = guided(lambda x, s: x + 2, lambda x, s: x - 1, weight)
    torch.testing.assert_close(both(x, SIGMA), x - 1 + weight * 3)


def test_guidance_holds_in_its_interval_only() -> None:
    both = guided(lambda x, s: x + 1, lambda x, s: x, 3.0, interval=(0.5, 2.0))
    x = torch.zeros(1, 1, 2, 2)
    values = [both(x, torch.tensor(s))[0, 0, 0, 0].item() for s in (0.5, 0.6, 2.0, 2.1)]
    assert values == [1, 3, 3, 1]
    with pytest.raises(InputError, match="interval"):
        guided(blur, blur, 2.0, interval=(3.0, 1.0))


def test_guidance_of_weight_one_costs_one_evaluation() -> None:
    def never(x: Tensor, sigma: Tensor) -> Tensor:
        raise AssertionError

    assert torch.equal(guided(lambda x, s: x, never, 1.0)(torch.ones(1), SIGMA), torch.ones(1))


def test_wrapped_denoiser_commutes_with_shifts() -> None:
    x, denoise = noise(1, 1, 12, 15), wrapped(blur, 3)
    torch.testing.assert_close(denoise(x.roll((5, 7), (2, 3)), SIGMA), denoise(x, SIGMA).roll((5, 7), (2, 3)))
    torch.testing.assert_close(denoise(x, SIGMA), circular_blur(x, SIGMA))


def test_wrapping_may_go_around_more_than_once() -> None:
    x = noise(1, 1, 5, 6)
    torch.testing.assert_close(wrapped(blur, 17)(x, SIGMA), circular_blur(x, SIGMA))


def test_wrapping_works_in_volumes_and_axis_by_axis() -> None:
    def inside(x: Tensor, sigma: Tensor) -> Tensor:
        assert x.shape[2:] == (8, 10, 4)
        return x

    x = noise(1, 1, 4, 6, 4)
    assert torch.equal(wrapped(inside, [2, 2, 0])(x, SIGMA), x)


@given(
    size=st.tuples(st.integers(3, 70), st.integers(3, 70)),
    window=st.integers(8, 40),
    share=st.floats(0, 0.7),
    periodic=st.booleans(),
)
def test_windows_give_back_what_does_not_depend_on_position(
    size: tuple[int, int], window: int, share: float, periodic: bool
) -> None:
    """Every point is covered and the weights add up to 1, for any size."""
    x = noise(2, 1, *size)
    denoise = tiled(lambda x, s: 2 * x + 1, [window] * 2, [int(share * window)] * 2, periodic=periodic)
    torch.testing.assert_close(denoise(x, SIGMA), 2 * x + 1)


def test_windows_are_no_larger_than_asked_and_fall_silent_at_their_borders() -> None:
    shapes = set()

    def spoiled(x: Tensor, sigma: Tensor) -> Tensor:
        """Right inside, wrong by 1 in a border of 2: as a network that cannot see beyond its window."""
        shapes.add(tuple(x.shape[2:]))
        y = x + 1
        y[..., 2:-2, 2:-2] -= 1
        return y

    x = noise(1, 1, 100, 80)
    made = tiled(spoiled, [32, 32], [16, 16])(x, SIGMA)
    inside = (made - x)[..., 2:-2, 2:-2]
    assert shapes == {(32, 32)}
    assert inside.abs().max() < 0.1  # blended away, where a plain average would leave 0.5
    assert inside.abs().mean() < 0.01


def test_periodic_windows_have_no_seam() -> None:
    """A canvas made of windows that never see its far side still tiles."""

    def sampled(periodic: bool) -> float:
        start = noise(1, 1, 48, 48) * 5
        denoise = tiled(lambda x, s: blur(x, s) * 1.2, [24, 24], [12, 12], periodic=periodic)
        y = euler(denoise, start, exponential(12, 0.05, 5.0))[0, 0]
        return float((y[:, 0] - y[:, -1]).abs().mean() / (y[:, 1:] - y[:, :-1]).abs().mean())

    assert sampled(periodic=True) < 1.5
    assert sampled(periodic=False) > 2


def test_large_canvas_of_windows_equals_the_direct_one_for_a_local_denoiser() -> None:
    """Away from the borders of the canvas nothing tells that there were windows, if they overlap by the reach."""
    x = noise(1, 1, 90, 75)
    windows = tiled(wrapped(blur, 0), [40, 40], [20, 20])(x, SIGMA)
    assert (windows - blur(x, SIGMA)).abs().max() < 0.05
    torch.testing.assert_close(canvas(blur, (90, 75), (16, 16))(x, SIGMA), blur(x, SIGMA))


@pytest.mark.parametrize("window", [None, 24])
def test_periodic_canvas_of_a_network_with_borders(window: int | None) -> None:
    x = noise(1, 1, 40, 20)
    denoise = canvas(blur, (40, 20), (8, 8), periodic=True, window=window)
    made = denoise(x, SIGMA)
    exact = circular_blur(x, SIGMA)
    assert (made - exact).abs().max() < (1e-12 if window is None else 0.06)


def test_circular_network_is_left_alone() -> None:
    assert canvas(circular_blur, (40, 20), (8, 8), periodic=True, circular=True) is circular_blur


def test_canvas_beyond_the_limit_is_windowed() -> None:
    largest: list[Any] = []

    def watched(x: Tensor, sigma: Tensor) -> Tensor:
        largest.append(x.shape[2:])
        return x

    x = torch.zeros(1, 1, 1500, 1500)
    canvas(watched, (1500, 1500), (64, 64))(x, SIGMA)
    assert set(largest) == {(512, 512)}


def test_maps_ride_on_x_through_windows_and_wrapping() -> None:
    """Each window sees its own part of the map."""
    maps = torch.arange(60 * 50, dtype=torch.float64).reshape(1, 1, 60, 50)

    def reads_map(x: Tensor, sigma: Tensor) -> Tensor:
        return x[:, :1] + x[:, 1:]

    x = noise(2, 1, 60, 50)
    made = with_maps(wrapped(tiled(reads_map, [32, 32], [8, 8]), 4), maps)(x, SIGMA)
    torch.testing.assert_close(made, x + maps)


def test_overlap_must_be_smaller_than_the_window() -> None:
    with pytest.raises(InputError, match="overlap"):
        tiled(blur, [16, 16], [16, 16])
