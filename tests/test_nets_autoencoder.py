"""Encoder and decoder against MONAI's with the same weights, and what they do beyond it."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import AutoencoderKL
from torch import nn

from microgen.nets import Decoder, Encoder, Shape


def _shaken(module: nn.Module) -> nn.Module:
    """Give the layers that start at zero some weight, so that outputs depend on inputs."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return module.eval()


def _monai(dims: int) -> AutoencoderKL:
    return AutoencoderKL(
        spatial_dims=dims,
        in_channels=2,
        out_channels=2,
        num_res_blocks=(2, 2, 2),
        channels=(32, 32, 64),
        attention_levels=(False, False, False),
        latent_channels=3,
        norm_num_groups=32,
        with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=False,
    )


@pytest.mark.parametrize("dims", [2, 3])
@torch.no_grad()
def test_with_the_same_weights_the_layers_are_those_of_monai(dims: int) -> None:
    """Parameters come in the same order and shapes; with the values of ours MONAI gives the same numbers."""
    shape, theirs = Shape(dims, (32, 32, 64), 2), _monai(dims).eval()
    pairs = [(_shaken(Encoder(shape, 2, 3)), theirs.encoder, 2), (_shaken(Decoder(shape, 3, 2)), theirs.decoder, 3)]
    for ours, reference, channels in pairs:
        mine, other = list(ours.parameters()), list(reference.parameters())
        assert [p.shape for p in mine] == [p.shape for p in other]
        for source, target in zip(mine, other, strict=True):
            target.copy_(source)
        x = torch.randn(1, channels, *[8] * dims)
        assert ours(x).std() > 0.1
        torch.testing.assert_close(ours(x), reference(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("dims", "patch", "levels", "grid"),
    [(2, 1, 3, (8, 12)), (2, 2, 2, (8, 20)), (2, 4, 1, (4, 8)), (3, 2, 2, (4, 8, 12))],
)
def test_the_latent_grid_is_coarser_by_the_factor(dims: int, patch: int, levels: int, grid: tuple[int, ...]) -> None:
    shape = Shape(dims, (4, 8, 8)[:levels], 1, patch)
    assert shape.factor == patch * 2 ** (levels - 1)
    z = Encoder(shape, 1, 6)(torch.randn(2, 1, *grid))
    assert z.shape == (2, 6, *(n // shape.factor for n in grid))
    assert Decoder(shape, 6, 1)(z).shape == (2, 1, *grid)


@pytest.mark.parametrize("dims", [2, 3])
@torch.no_grad()
def test_circular_layers_commute_with_shifts_by_the_factor(dims: int) -> None:
    shape = Shape(dims, (4, 8), 1, patch=2, circular=True)
    encoder, decoder = _shaken(Encoder(shape, 1, 3)), _shaken(Decoder(shape, 3, 1))
    x = torch.randn(1, 1, *[16] * dims)
    z = encoder(x)
    torch.testing.assert_close(encoder(x.roll(shape.factor, -1)), z.roll(1, -1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(decoder(z.roll(1, 2)), decoder(z).roll(shape.factor, 2), rtol=1e-4, atol=1e-5)
    plain = _shaken(Encoder(Shape(dims, (4, 8), 1, patch=2), 1, 3))
    assert not torch.allclose(plain(x.roll(shape.factor, -1)), plain(x).roll(1, -1), atol=1e-2)


@pytest.mark.parametrize(
    ("levels", "blocks", "patch"), [(1, 1, 1), (1, 2, 2), (2, 1, 2), (2, 2, 1), (3, 1, 1), (3, 2, 2)]
)
def test_a_point_looks_no_further_than_the_reach(levels: int, blocks: int, patch: int) -> None:
    """The gradient of the middle of the field reaches so far into the latent and no further."""
    decoder = _shaken(Decoder(Shape(2, (3, 3, 3)[:levels], blocks, patch), 1, 1))
    for path, _ in [m for m in decoder.named_modules() if isinstance(m[1], nn.GroupNorm)]:
        decoder.set_submodule(path, nn.Identity())  # they see the whole grid
    reach, factor = decoder.reach, decoder.shape.factor
    n = 2 * reach + 7
    z = torch.randn(1, 1, n, n, requires_grad=True)
    decoder(z)[0, 0, n // 2 * factor, n // 2 * factor].backward()
    assert z.grad is not None
    seen = z.grad[0, 0].abs().sum(dim=0).nonzero()
    furthest = int((seen - n // 2).abs().max())
    assert 1 <= furthest <= reach <= furthest + 3


@torch.no_grad()
def test_an_embedding_modulates_the_decoder_and_its_absence_does_not() -> None:
    decoder = _shaken(Decoder(Shape(2, (4, 8), 1), 3, 1, embedding=5))
    z, told = torch.randn(1, 3, 4, 4), torch.randn(1, 5)
    assert not torch.allclose(decoder(z, told), decoder(z, -told), atol=1e-3)
    assert torch.equal(decoder(z), decoder(z))
