"""Spatial GANs: no place of a canvas depends on far ones, on the border, on windows or on the batch."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from microgen.core import Condition, ConditionSpec, InputError
from microgen.models import Codec, Model, psgan
from microgen.models.conditions import Told, encode_conditions, tell
from microgen.models.gan_losses import GAMES
from microgen.models.latents import white
from microgen.nets.gan import Upsampling
from microgen.nets.psgan import SpatialDiscriminator, SpatialGenerator, WaveVectors, cut, waves
from microgen.train.checkpoint import pack
from microgen.train.config import TrainConfig
from microgen.train.engine import make_fabric
from microgen.train.job import Job
from microgen.train.loop import Trainer
from microgen.train.state import TrainState

NAME = "grain_size_um"
SCALAR, MAP = (ConditionSpec(NAME, kind, 5, 20, "log") for kind in ("scalar", "map"))
AXIAL = ConditionSpec("orientation_deg", "map", 0, 180, "axial")
TINY: dict[str, Any] = {
    "patch_px": 16,
    "latent": 6,
    "global_latent": 3,
    "stages": 2,
    "width": 4,
    "discriminator_width": 4,
    "widest": 8,
    "embedding": 8,
    "init_std": 0.3,
}


def random_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def codec_of(ndim: int = 2) -> Codec:
    return Codec("intensity", 120.0, 40.0, 0, 255, "uint8", (0.8,) * ndim)


def make_pair(*specs: ConditionSpec, ndim: int = 2, seed: int = 0, **config: Any) -> psgan.Pair:
    torch.manual_seed(seed)
    chosen = psgan.Config(**{**TINY, **config})
    return psgan.build_trained(chosen, codec=codec_of(ndim), conditions=specs)


def make_net(*specs: ConditionSpec, ndim: int = 2, seed: int = 0, **config: Any) -> Any:
    """In double precision, in which equal means equal to the last digits."""
    return make_pair(*specs, ndim=ndim, seed=seed, **config).model.eval().double()


def make_model(*specs: ConditionSpec, ndim: int = 2, **config: Any) -> Model:
    net = make_net(*specs, ndim=ndim, **config).float()
    return Model("psgan", net.config.model_dump(mode="json"), net, codec_of(ndim), specs, (16,) * ndim, {})


def nothing(grid: tuple[int, ...], batch: int = 1) -> Told:
    none = torch.zeros(batch, 0).double()
    return Told(none, none, torch.zeros(batch, 0, *grid).double())


def told_of(specs: tuple[ConditionSpec, ...], grid: tuple[int, ...], **values: Any) -> Told:
    """One sample told of numbers or arrays by name."""
    scalars = {k: v for k, v in values.items() if np.ndim(v) == 0}
    maps = {k: v for k, v in values.items() if np.ndim(v)}
    return tell(specs, [Condition(scalars, maps)], like=torch.zeros(1, 1, *grid).double())


def latents_of(net: Any, grid: tuple[int, ...], seed: int = 0) -> dict[str, Tensor]:
    return {name: part.double() for name, part in white([seed], net.latent_shapes(grid)).items()}


def picture(grid: tuple[int, ...]) -> Tensor:
    return torch.randn(1, 1, *grid, generator=random_of(0), dtype=torch.float64)


def gradient(grid: tuple[int, ...]) -> Any:
    """A map that rises from 5 to 20 along the last axis."""
    return np.broadcast_to(np.geomspace(5, 20, grid[-1]), grid)


# Every canvas


@pytest.mark.parametrize("grid", [(16, 16), (37, 51), (8, 40), (9, 14, 21)])
@pytest.mark.parametrize("layers", [{}, {"kernel": 5}, {"last_kernel": 0}, {"kernel": 5, "upsampling": "transposed"}])
@torch.no_grad()
def test_any_canvas_and_no_normalisation_over_batch_or_canvas(grid: tuple[int, ...], layers: dict[str, Any]) -> None:
    net = make_net(SCALAR, ndim=len(grid), waves=2, **layers).train()
    each, asked = [latents_of(net, grid, seed) for seed in range(3)], [Condition({NAME: v}) for v in (5.0, 9.0, 20.0)]
    latents = {name: torch.cat([one[name] for one in each]) for name in each[0]}
    made = net(latents, tell((SCALAR,), asked, like=torch.zeros(3, 1, *grid).double()))
    assert made.shape == (3, 1, *grid)
    one = net(each[1], told_of((SCALAR,), grid, **{NAME: 9.0}))
    assert torch.allclose(made[1:2], one, atol=1e-5)
    assert not torch.allclose(made[:1], one, atol=0.1)


@pytest.mark.parametrize("layers", [{}, {"kernel": 5}, {"last_kernel": 0}, {"kernel": 5, "upsampling": "transposed"}])
@pytest.mark.parametrize("ndim", [2, 3])
@torch.no_grad()
def test_a_crop_of_a_large_canvas_is_the_small_canvas_of_the_same_noise(ndim: int, layers: dict[str, Any]) -> None:
    net = make_net(SCALAR, ndim=ndim, **layers)
    big, small, corner = (24, 40, 32)[:ndim], (12, 16, 8)[:ndim], (4, 12, 16)[:ndim]
    latents, factor, margin = latents_of(net, big), net.generator.factor, net.generator.margin
    box = [slice(c // factor, (c + n) // factor + 2 * margin) for c, n in zip(corner, small, strict=True)]
    part = {**latents, "local": cut(latents["local"], box)}
    whole = net(latents, told_of((SCALAR,), big, **{NAME: 9.0}))
    inside = cut(whole, [slice(c, c + n) for c, n in zip(corner, small, strict=True)])
    assert torch.allclose(net(part, told_of((SCALAR,), small, **{NAME: 9.0})), inside, atol=1e-5)
    assert float(whole.std()) > 0.05


@pytest.mark.parametrize(("grid", "window"), [((30, 45), 12), ((48, 16), 16), ((16, 28), 5), ((18, 12, 26), 8)])
@pytest.mark.parametrize("periodic", [False, True])
@torch.no_grad()
def test_windows_make_what_one_go_makes(grid: tuple[int, ...], window: int, periodic: bool) -> None:
    specs = (MAP, AXIAL)
    net = make_net(*specs, ndim=len(grid), waves=2)
    if periodic:
        grid = tuple(n // 4 * 4 for n in grid)
    told = told_of(specs, grid, **{NAME: gradient(grid), "orientation_deg": gradient(grid) * 9})
    latents = latents_of(net, grid)
    whole = net(latents, told, periodic=periodic)
    assert torch.allclose(net(latents, told, periodic=periodic, window=window), whole, atol=1e-5)


def test_large_canvases_are_made_by_windows_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(SCALAR)
    assert model.request(shape=(1024, 1024)).options.window is None
    assert model.request(shape=(1024, 1025)).options.window == 512
    assert model.request(shape=(1024, 1025), window=128).options.window == 128
    assert make_model(SCALAR, ndim=3).request(shape=(128, 128, 65)).options.window == 64
    monkeypatch.setattr(psgan, "LARGEST", 32 * 32)
    monkeypatch.setattr(psgan, "WINDOW", {2: 24})
    sides: list[tuple[int, ...]] = []
    net: Any = model.net
    net.generator.register_forward_pre_hook(lambda module, arguments: sides.append(tuple(arguments[0].shape[2:])))
    made = next(model.sample([1], Condition({NAME: 7.0}), (64, 50), precision="fp32"))["intensity"]
    assert len(sides) == 9
    assert max(max(s) for s in sides) == 24 // 4 + 2 * net.generator.margin
    whole = next(model.sample([1], Condition({NAME: 7.0}), (64, 50), window=64, precision="fp32"))["intensity"]
    assert len(sides) == 10
    assert np.abs(made.astype(int) - whole).max() <= 1  # the last bit, rounded


@pytest.mark.parametrize("axis", [0, 1])
@torch.no_grad()
def test_one_local_cell_changes_its_surroundings_and_nothing_else(axis: int) -> None:
    """A stage turns s points into 2 s + kernel - 1, the last convolution adds kernel - 1."""
    net, grid = make_net(), (48, 48)
    latents = latents_of(net, grid)
    other = {**latents, "local": latents["local"].clone()}
    other["local"][..., 6, 5] += 3  # with a margin of one cell: points 20 to 23, and 16 to 19
    differ = (net(latents, nothing(grid)) != net(other, nothing(grid)))[0, 0].any(dim=1 - axis).nonzero().ravel()
    reached = ((1 * 2 + 2) * 2 + 2) + 2
    first = (20, 16)[axis] + 2 - reached // 2
    assert (int(differ.min()), int(differ.max())) == (first, first + reached - 1)


# Periodic canvases and periodic channels


@pytest.mark.parametrize("ndim", [2, 3])
@torch.no_grad()
def test_a_periodic_canvas_has_no_seam(ndim: int) -> None:
    """To move the noise by cells around the canvas is to move the picture."""
    net, grid = make_net(SCALAR, ndim=ndim), (16, 24, 12)[-ndim:]
    latents, margin = latents_of(net, grid), net.generator.margin
    inner = cut(latents["local"], [slice(margin, -margin)] * ndim)
    axes = tuple(range(2, 2 + ndim))
    moved = functional.pad(inner.roll((1,) * ndim, axes), (margin,) * 2 * ndim)  # what lies beyond does not count
    told = told_of((SCALAR,), grid, **{NAME: 12.0})
    made = net(latents, told, periodic=True)
    assert torch.allclose(
        net({**latents, "local": moved}, told, periodic=True), made.roll((4,) * ndim, axes), atol=1e-5
    )
    assert not torch.allclose(net(latents, told), made, atol=1e-3)


@torch.no_grad()
def test_samples_of_a_model_are_periodic_where_that_is_asked_for() -> None:
    model, given = make_model(SCALAR), {NAME: 7.0}
    net, grid = model.net, (32, 24)
    told = Told(*(t.float() for t in vars(told_of((SCALAR,), grid, **given)).values()))
    latents = white([2], psgan.latent_shapes(model, grid))
    for periodic in (True, False):
        made = next(model.sample([2], Condition(given), grid, periodic=periodic, precision="fp32"))["intensity"]
        assert np.array_equal(made, model.codec.decode(net(latents, told, periodic=periodic)[0])[0])


@torch.no_grad()
def test_the_cells_beyond_a_border_are_those_beyond_the_opposite_one() -> None:
    """Maps and waves go round too: waves are made to fit."""
    specs, grid = (MAP, AXIAL), (24, 32)
    net = make_net(*specs, waves=4, kernel=5)
    told = told_of(specs, grid, **{NAME: gradient(grid), "orientation_deg": gradient(grid)})
    cells = psgan.Cells(net, latents_of(net, grid), told, periodic=True)([slice(0, 6), slice(0, 8)])
    twice = 2 * net.generator.margin
    assert torch.allclose(cells[..., :twice], cells[..., -twice:], atol=1e-5)
    assert torch.allclose(cells[..., :twice, :], cells[..., -twice:, :], atol=1e-5)
    assert not torch.allclose(cells[..., :twice], cells[..., 1 : twice + 1], atol=1e-2)


def test_waves_against_their_formula() -> None:
    vectors, phase = torch.tensor([[[0.3, -1.1], [2.0, 0.0]]]), torch.tensor([[0.5, -0.2]])
    made = waves(vectors, phase, [torch.arange(-1.0, 3), torch.arange(5.0)])
    for (k, (a, b)), y, x in itertools.product(enumerate(vectors[0].tolist()), range(4), range(5)):
        assert float(made[0, k, y, x]) == pytest.approx(math.sin(a * (y - 1) + b * x + float(phase[0, k])), abs=1e-5)


@torch.no_grad()
def test_a_wave_of_three_cells_makes_a_texture_of_that_period() -> None:
    net, grid = make_net(waves=1), (40, 60)
    vectors: Any = net.vectors
    vectors.layers[2].weight.zero_()
    vectors.layers[2].bias.copy_(torch.tensor([0.0, 2 * math.pi / 3]))
    latents = latents_of(net, grid)
    latents["local"].zero_()
    made = net(latents, nothing(grid))
    assert torch.allclose(made[..., 12:], made[..., :-12], atol=1e-4)
    assert torch.allclose(made[..., 4:, :], made[..., :-4, :], atol=1e-4)
    assert not torch.allclose(made[..., 4:], made[..., :-4], atol=1e-2)
    later = {**latents, "phase": torch.special.ndtri(torch.special.ndtr(latents["phase"]) % 1)}
    assert torch.allclose(net(later, nothing(grid)), made, atol=1e-4)
    third = torch.special.ndtr(latents["phase"]) + 1 / 3  # a third of a period: one cell
    moved = {**latents, "phase": torch.special.ndtri(third % 1)}
    assert torch.allclose(net(moved, nothing(grid))[..., :-4], made[..., 4:], atol=1e-3)


@torch.no_grad()
def test_wave_vectors_follow_from_the_global_numbers_alone() -> None:
    torch.manual_seed(0)
    net = WaveVectors(3, 2, 5)
    net.spread()
    some = net(torch.randn(64, 5))
    assert some.shape == (64, 2, 3)
    assert float(some.std(dim=0).min()) > 0
    assert float(net(torch.zeros(1, 5)).abs().max()) < 2 * math.pi


def test_latents_become_uniform() -> None:
    made = psgan.uniform(torch.randn(20_000, generator=random_of(0), dtype=torch.float64)).sort().values
    expected = torch.linspace(-1, 1, 20_000, dtype=torch.float64)
    assert float((made - expected).abs().max()) < 1.63 / 20_000**0.5 * 2  # Kolmogorov-Smirnov, 1 %, range of 2


# The network of the paper


PAPER: dict[str, Any] = {
    "patch_px": 160,
    "latent": 30,
    "global_latent": 15,
    "waves": 0,
    "stages": 5,
    "width": 64,
    "widest": 512,
    "kernel": 5,
    "last_kernel": 0,
    "upsampling": "transposed",
    "discriminator_stages": 5,
    "discriminator_width": 64,
    "discriminator_kernel": 5,
}


def test_the_networks_of_the_paper_are_a_configuration() -> None:
    """Of Bergmann et al. 2017, with the latents of Chun et al. 2020: filters 512-256-128-64 of 5 x 5, stride 2."""
    config = psgan.Config(**PAPER)
    generator: Any
    critic: Any
    with torch.device("meta"):
        generator, critic = config.generator((3, 160, 160), 0), config.discriminator((3, 160, 160), 0)
    shapes = [tuple(up.weight.shape) for up in generator.ups]
    wide = (45, 512, 256, 128, 64, 3)
    assert shapes == [(a, b, 5, 5) for a, b in itertools.pairwise(wide)]
    shapes = [tuple(layer.weight.shape) for layer in critic.layers]
    assert shapes == [(b, a, 5, 5) for a, b in itertools.pairwise((3, 64, 128, 256, 512, 1))]
    assert generator.factor == 32
    assert [generator.side(h) for h in (4, 6, 32)] == [(h - 3) * 32 + 3 for h in (4, 6, 32)]


@torch.no_grad()
def test_ours_is_the_inside_of_the_field_that_the_paper_makes() -> None:
    """There `same` padding leaves (h - 1) 32 + 1 points, of which the outermost 31 miss cells beyond the border."""
    torch.manual_seed(0)
    generator: Any = SpatialGenerator(2, 6, 3, widths=(4, 4, 8, 8), kernel=5, last_kernel=0, upsampling="transposed")
    for weight in generator.parameters():
        weight.normal_(std=0.2)
    cells = torch.randn(1, 6, 6, 7)
    h = cells
    for up, top in itertools.zip_longest(generator.ups, generator.tops):
        h = functional.conv_transpose2d(h, up.weight, up.bias, stride=2, padding=2)
        h = h if top is None else top(h)
    assert h.shape[2:] == (5 * 32 + 1, 6 * 32 + 1)
    made = generator(cells)
    assert made.shape[2:] == (2 * 32, 3 * 32)
    excess = [(a - b) // 2 for a, b in zip(h.shape[2:], made.shape[2:], strict=True)]
    inside = h[..., excess[0] : excess[0] + 64, excess[1] : excess[1] + 96]
    assert torch.allclose(made, inside, atol=1e-5)


@torch.no_grad()
def test_resized_stages_show_no_grid_of_cells() -> None:
    """Cells that are all the same give a flat field; transposed convolutions of stride 2 do not, whatever the noise."""
    spreads = []
    kinds: tuple[Upsampling, ...] = ("resize", "transposed")
    for upsampling in kinds:
        torch.manual_seed(0)
        generator = SpatialGenerator(2, 4, 1, widths=(4, 4, 4), kernel=5, upsampling=upsampling)
        made = generator(torch.randn(1, 4, 1, 1).expand(-1, -1, 8, 8))
        spreads.append(float(made.std() / made.abs().mean()))
    assert spreads[0] < 1e-5
    assert spreads[1] > 1e-3


# Conditions


@torch.no_grad()
def test_a_constant_map_is_the_scalar() -> None:
    pairs = [make_pair(spec, seed=3).double() for spec in (SCALAR, MAP)]
    grid = (24, 32)
    x, latents = picture(grid), latents_of(pairs[0].model, grid)
    for value in (6.0, 17.0, None):
        given = {} if value is None else {NAME: value}
        tolds = [told_of((spec,), grid, **given) for spec in (SCALAR, MAP)]
        fields = [pair.model(latents, told) for pair, told in zip(pairs, tolds, strict=True)]
        logits = [pair.logits(x, told) for pair, told in zip(pairs, tolds, strict=True)]
        assert torch.allclose(fields[0], fields[1], atol=1e-5)
        assert torch.allclose(logits[0], logits[1], atol=1e-5)
    painted = pairs[1].model(latents, told_of((MAP,), grid, **{NAME: np.full(grid, 17.0)}))
    spread = pairs[1].model(latents, told_of((MAP,), grid, **{NAME: 17.0}))
    assert torch.equal(painted, spread)


@torch.no_grad()
def test_conditions_reach_every_place_of_both_networks() -> None:
    pair, grid = make_pair(SCALAR).double(), (40, 24)
    latents, x = latents_of(pair.model, grid), picture(grid)
    low, high, silent = (told_of((SCALAR,), grid, **v) for v in ({NAME: 5.0}, {NAME: 20.0}, {}))
    for one, other in ((low, high), (low, silent)):
        assert bool((pair.model(latents, one) != pair.model(latents, other)).all())
        assert bool((pair.logits(x, one) != pair.logits(x, other)).all())


@torch.no_grad()
def test_a_map_acts_where_it_is_painted() -> None:
    pair, grid = make_pair(MAP).double(), (16, 64)
    painted = np.full(grid, 6.0)
    painted[:, 32:] = 18.0
    latents, x = latents_of(pair.model, grid), picture(grid)
    flat, half = (told_of((MAP,), grid, **{NAME: m}) for m in (np.full(grid, 6.0), painted))
    made = [pair.model(latents, told)[0, 0] for told in (flat, half)]
    assert torch.equal(made[0][:, :28], made[1][:, :28])  # a cell reaches 4 points beyond itself
    assert bool((made[0][:, 32:] != made[1][:, 32:]).all())
    logits = [pair.logits(x, told)[0] for told in (flat, half)]
    middle = logits[0].shape[1] // 2
    assert torch.equal(logits[0][:, :middle], logits[1][:, :middle])
    assert bool((logits[0][:, middle:] != logits[1][:, middle:]).all())


def test_places_of_maps_are_means_of_the_points_around_them() -> None:
    specs, grid = (SCALAR, MAP, AXIAL), (8, 12)
    second = ConditionSpec("carbon_pct", "scalar", 0, 1)
    values = torch.rand(2, *grid, generator=random_of(0)) * 15 + 5
    scalars = {NAME: torch.tensor([5.0, 20.0]), "carbon_pct": torch.tensor([0.25, 0.5])}
    told = encode_conditions((second, *specs[1:]), scalars, {NAME: values}, like=torch.zeros(2, 1, *grid))
    numbers, present = psgan.coarse((second, *specs[1:]), told.maps, told, (2, 3))
    assert numbers.shape == (2, 1 + 1 + 2, 2, 3)
    assert torch.allclose(numbers[:, 0], torch.tensor([-0.5, 0.0])[:, None, None].expand(-1, 2, 3))
    encoded = torch.from_numpy(MAP.encode(values.numpy())[0])
    assert torch.allclose(numbers[:, 1], encoded.reshape(2, 2, 4, 3, 4).mean(dim=(2, 4)), atol=1e-6)
    assert present[:, :2].min() == 1
    assert present[:, 2:].max() == 0  # no direction was given


def test_what_cannot_be_made_is_refused_in_one_sentence() -> None:
    model = make_model(SCALAR, condition_dropout=0.0)
    with pytest.raises(InputError, match="must be told grain_size_um"):
        model.request()
    given = Condition({NAME: 8.0})
    with pytest.raises(InputError, match="multiples of 4 points"):
        model.request(given, (16, 18), periodic=True)
    with pytest.raises(InputError, match="one pass"):
        model.request(given, steps=4)
    assert set(model.request(given, (64, 64), window=32).to_dict()["options"]) == {"precision", "window"}
    with pytest.raises(ValueError, match="global_latent of at least 1"):
        psgan.Config(waves=1, global_latent=0)
    for wrong in ({"kernel": 4}, {"last_kernel": 2}):
        with pytest.raises(ValueError, match="must be odd"):
            psgan.Config(**wrong)
    with pytest.raises(ValueError, match="cannot be halved 7 times"):
        psgan.Config(patch_px=64, discriminator_stages=7)


# Training


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("side", "halvings", "places"), [(16, 2, 4), (28, 2, 7), (64, 4, 4)])
def test_the_discriminator_judges_place_by_place(dims: int, side: int, halvings: int, places: int) -> None:
    config = psgan.Config(patch_px=side, discriminator_width=2)
    assert config.halvings == halvings
    critic = SpatialDiscriminator(dims, 1, widths=(2,) * (halvings - 1), embedding=3, spectral=True)
    logits, vectors = critic(torch.zeros(1, 1, *(min(side, 32 if dims == 3 else 64),) * dims))
    places = places if dims == 2 or side < 64 else 2
    assert logits.shape == (1, *(places,) * dims)
    assert vectors.shape == (1, 3, *(places,) * dims)


def make_state(pair: nn.Module) -> TrainState:
    optimizers = psgan.make_optimizers(pair, 1e-3)
    return TrainState(pair, optimizers, random_of(1), torch.device("cpu"), clip_norm=1e6)


@pytest.mark.parametrize("spec", [SCALAR, MAP])
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("loss", ["non-saturating", "wasserstein"])
def test_a_step_moves_both_sides(spec: ConditionSpec, ndim: int, loss: Any) -> None:
    pair = make_pair(spec, ndim=ndim, loss=loss, waves=1)
    before = {k: v.clone() for k, v in pair.state_dict().items()}
    numbers = psgan.train_step(make_state(pair), Ramps(ndim).encoded(4), 0)
    assert all(bool(v.isfinite()) for v in numbers.values())
    still = {k for k, v in pair.state_dict().items() if torch.equal(v, before[k])}
    assert not {k for k in still if "frequencies" not in k and k != "probability"}


def test_the_loss_is_a_mean_over_places_and_the_penalty_one_over_samples() -> None:
    pair = make_pair(SCALAR, r1=2.0)
    x = torch.randn(3, 1, 16, 16, generator=random_of(0))
    told = Told(torch.zeros(3, 1), torch.ones(3, 1), torch.zeros(3, 0, 16, 16))
    logits = pair.logits(x, told).detach()
    assert logits.shape == (3, 4, 4)
    game = GAMES["non-saturating"]
    assert float(game.real(logits)) == pytest.approx(float((1 + (-logits).exp()).log().mean()), rel=1e-5)
    penalty = float(pair.penalty(make_state(pair), x, x, told, 0).detach())
    at = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(pair.logits(at, told).mean(dim=(1, 2)).sum(), at)
    assert penalty == pytest.approx(2.0 * float(slope.square().sum(dim=(1, 2, 3)).mean()) / 2, rel=1e-4)


class Ramps:
    """Noise that is darker where a map says that grains are large."""

    def __init__(self, ndim: int = 2) -> None:
        self.ndim = ndim

    def batch(self, rng: np.random.Generator, n: int) -> dict[str, Any]:
        grid = (16,) * self.ndim
        ends = rng.uniform(-1, 1, (2, n, *(1,) * self.ndim))
        level = ends[0] + (ends[1] - ends[0]) * np.linspace(0, 1, 16) * np.ones(grid)
        field = (0.1 * rng.standard_normal((n, *grid)) - level)[:, None]
        sizes = (10 * 2**level).astype(np.float32)
        means = sizes.reshape(n, -1).mean(axis=1)
        return {"field": field.astype(np.float32), "scalars": {NAME: means}, "maps": {NAME: sizes}}

    def encoded(self, n: int) -> dict[str, Any]:
        drawn = self.batch(np.random.default_rng(0), n)
        parts = {key: {name: torch.from_numpy(v) for name, v in drawn[key].items()} for key in ("scalars", "maps")}
        return {"x": torch.from_numpy(drawn["field"]), **parts}


def fit(run: Path, *, images: int, stop: int | None = None) -> Any:
    pair = make_pair(MAP, waves=1, adapt_images=640)
    job = Job(psgan, pair, torch.from_numpy, Ramps(), held_out=Ramps())
    values = {**psgan.TRAIN, "images": images, "batch": 8, "log_images": 8, "precision": "fp32", "validations": 2}
    config = TrainConfig(**{**values, "validation_patches": 16, "checkpoint_minutes": 0})
    trainer = Trainer(job, run, config, fabric=make_fabric(config), quiet=True)
    step = trainer._step

    def until(batch: Any) -> None:
        if stop is not None and trainer.counters.images >= stop:
            raise KeyboardInterrupt
        step(batch)

    trainer._step = until  # type: ignore[method-assign]
    trainer.fit()
    return trainer


def test_a_resumed_run_ends_as_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", images=32)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", images=32, stop=16)
    cut = fit(tmp_path / "cut", images=32)
    tensors = [pack(t.net, t.average, t.state.optimizers) for t in (whole, cut)]
    assert tensors[0].keys() == tensors[1].keys()
    assert [name for name in tensors[0] if not torch.equal(tensors[0][name], tensors[1][name])] == []
    logs = [(tmp_path / run / "log.jsonl").read_text() for run in ("whole", "cut")]
    assert logs[0] == logs[1]
    assert {"held_out_loss", "held_out_diversity"} <= set(whole.counters.latest)
