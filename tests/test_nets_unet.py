"""The U-Net: any size, two and three axes, shifts, and folding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen.nets import Embedding, UNet
from microgen.nets.unet import fold, unfold


def _net(dims: int = 2, *, circular: bool = False, patch: int = 2) -> UNet:
    torch.manual_seed(0)
    net = UNet(dims, 1, 2, channels=(8, 16), blocks=1, embedding=12, patch=patch, circular=circular)
    with torch.no_grad():  # the last layers start at zero, which would make every test below trivial
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return net.eval()


@pytest.mark.parametrize("shape", [(16, 16), (17, 30), (8, 8, 8), (9, 10, 12)])
@torch.no_grad()
def test_output_has_the_grid_of_the_input(shape: tuple[int, ...]) -> None:
    net = _net(len(shape))
    out = net(torch.randn(2, 1, *shape), torch.randn(2, 12))
    assert out.shape == (2, 2, *shape)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("dims", [2, 3])
@torch.no_grad()
def test_circular_network_commutes_with_shifts(dims: int) -> None:
    net, e = _net(dims, circular=True), torch.randn(1, 12)
    x = torch.randn(1, 1, *[16] * dims)
    shift, axes = (4, -8, 12)[:dims], tuple(range(2, 2 + dims))
    moved_before = net(x.roll(shift, axes), e)
    moved_after = net(x, e).roll(shift, axes)
    assert torch.allclose(moved_before, moved_after, atol=1e-5)
    assert not torch.allclose(moved_after, net(x, e), atol=1e-2)


@torch.no_grad()
def test_zero_padded_network_knows_its_borders() -> None:
    net, e = _net(), torch.randn(1, 12)
    x = torch.randn(1, 1, 16, 16)
    assert not torch.allclose(net(x.roll(8, 2), e), net(x, e).roll(8, 2), atol=1e-3)


@torch.no_grad()
def test_embedding_modulates_the_output() -> None:
    net, x = _net(), torch.randn(1, 1, 16, 16)
    assert not torch.allclose(net(x, torch.zeros(1, 12)), net(x, torch.ones(1, 12)), atol=1e-3)


@given(st.integers(1, 3), st.sampled_from([(12,), (6, 12), (6, 12, 6)]), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_unfold_undoes_fold(channels: int, grid: tuple[int, ...], patch: int) -> None:
    x = torch.randn(2, channels, *grid)
    folded = fold(x, patch)
    assert folded.shape == (2, channels * patch ** len(grid), *(n // patch for n in grid))
    assert torch.equal(unfold(folded, patch), x)


def test_fold_agrees_with_pixel_unshuffle() -> None:
    x = torch.randn(2, 3, 8, 12)
    assert torch.equal(fold(x, 2), torch.nn.functional.pixel_unshuffle(x, 2))


def test_a_number_that_is_absent_leaves_no_trace() -> None:
    torch.manual_seed(0)
    embedding = Embedding(2, 16)
    told, present = torch.tensor([[0.3, -0.7], [0.3, 0.9]]), torch.tensor([[1.0, 0.0]] * 2)
    first, second = embedding(told, present)
    assert torch.equal(first, second)
    assert not torch.allclose(*embedding(told))
