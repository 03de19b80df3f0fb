"""StyleGAN: layers against naive loops and the papers' formulas, styles, regularisation, obeying, resuming."""

from __future__ import annotations

import itertools
import math
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from microgen.core import Condition, InputError
from microgen.models import Model, adversarial, stylegan
from microgen.models.conditions import Told, tell
from microgen.nets.equalised import CONV, EqualConv, EqualLinear, blurred, rectified, unit
from microgen.nets.stylegan import Asked, Layer, Mapping, adain, modulated_convolution, with_deviation
from microgen.train.checkpoint import pack
from microgen.train.config import TrainConfig
from microgen.train.engine import make_fabric
from microgen.train.job import Job
from microgen.train.loop import Trainer
from microgen.train.state import TrainState

cases: Any = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("family_cases.py"))))
MODULATIONS = ("modulated", "adain")


def generator_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def told_of(count: int, value: float = 0.0) -> Told:
    return Told(torch.full((count, 1), value), torch.ones(count, 1), torch.zeros(count, 0, 16, 16))


def count(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


# Layers


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("up", [False, True])
def test_a_modulated_convolution_is_a_convolution_of_each_sample_with_weights_of_its_own(dims: int, up: bool) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(3, 4, *(5,) * dims), torch.randn(6, 4, *(3,) * dims)
    styles = torch.randn(3, 4)
    naive = []
    for one, style in zip(x, styles, strict=True):
        mine = weight * style.reshape(1, 4, *(1,) * dims)
        for row in mine:
            row /= row.square().sum().sqrt()
        if up:  # zeros between the points, then the convolution, then the blur
            spread = torch.zeros(1, 4, *(11,) * dims)
            between: Any = (..., *(slice(1, None, 2),) * dims)
            spread[between] = one
            mine = mine.flip(tuple(range(2, 2 + dims)))
            naive.append(blurred(CONV[dims](spread, mine, padding=1), gain=2.0**dims))
        else:
            naive.append(CONV[dims](one[None], mine, padding=1))
    made = modulated_convolution(x, weight, styles, up=up)
    assert made.shape == (3, 6, *((10 if up else 5),) * dims)
    assert torch.allclose(made, torch.cat(naive), atol=1e-5)


def test_demodulation_keeps_white_noise_at_unit_variance_whatever_the_style() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 8, 128, 128), 5 * torch.randn(6, 8, 3, 3)
    styles = torch.stack([torch.rand(8) + 0.1, 40 * torch.randn(8)])
    inside = modulated_convolution(x, weight, styles)[..., 1:-1, 1:-1]
    assert torch.allclose(inside.var(dim=(2, 3)), torch.ones(2, 6), atol=0.06)
    plain = modulated_convolution(x, weight, styles, demodulate=False)
    assert plain.var() > 1e3


def test_doubling_the_grid_leaves_no_checkerboard() -> None:
    weight = torch.ones(1, 1, 3, 3)
    made = modulated_convolution(torch.ones(1, 1, 8, 8), weight, torch.ones(1, 1), up=True)[..., 3:-3, 3:-3]
    bare = functional.conv_transpose2d(torch.ones(1, 1, 8, 8), weight, stride=2)[..., 3:-3, 3:-3]
    assert float(made.std() / made.mean()) < 1e-6
    assert float(bare.std() / bare.mean()) > 0.3


def test_adain_is_the_formula_of_the_paper_channel_by_channel() -> None:
    rng = np.random.default_rng(0)
    x, scale, shift = rng.normal(3, 2, (2, 3, 6, 7)), rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    made = adain(*(torch.from_numpy(a) for a in (x, scale, shift))).numpy()
    for b, c in itertools.product(range(2), range(3)):
        channel = x[b, c]
        expected = scale[b, c] * (channel - channel.mean()) / channel.std() + shift[b, c]
        assert np.allclose(made[b, c], expected, atol=1e-6)


@pytest.mark.parametrize("inputs", [3, 300])
def test_equalised_weights_have_one_variance_and_are_scaled_when_used(inputs: int) -> None:
    torch.manual_seed(0)
    layer, x = EqualLinear(inputs, 500), torch.randn(500, inputs)
    assert float(layer.weight.detach().std()) == pytest.approx(1, rel=0.1)
    assert float(layer(x).detach().std()) == pytest.approx(1, rel=0.1)
    assert torch.allclose(layer(x), functional.linear(x, layer.weight / math.sqrt(inputs)), atol=1e-5)
    wide = EqualConv(2, inputs, 40, 3)
    inside = wide(torch.randn(2, inputs, 20, 20))[..., 1:-1, 1:-1]
    assert float(inside.detach().std()) == pytest.approx(1, rel=0.15)


def test_a_lower_rate_changes_the_steps_but_not_the_layer() -> None:
    """Adam moves each kept number by the rate; what the layer does moves by the rate times the multiplier."""
    moved = {}
    for rate in (1.0, 0.01):
        torch.manual_seed(0)
        layer = EqualLinear(16, 8, bias=1.0, rate=rate)
        x = torch.randn(4, 16)
        before = layer(x).detach()
        adam = torch.optim.Adam(layer.parameters(), lr=1e-3)
        layer(x).square().sum().backward()
        adam.step()
        moved[rate] = (before, (layer(x) - before).detach())
    assert torch.allclose(moved[1.0][0], moved[0.01][0], atol=1e-5)
    assert torch.allclose(moved[0.01][1], 0.01 * moved[1.0][1], rtol=0.02, atol=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kernel", [1, 3])
def test_halving_the_grid_takes_means_of_a_convolution(dims: int, kernel: int) -> None:
    layer, x = EqualConv(dims, 3, 5, kernel, down=True), torch.randn(2, 3, *(8,) * dims)
    pool: Any = functional.avg_pool2d if dims == 2 else functional.avg_pool3d
    full = CONV[dims](x, layer.weight * layer.gain, layer.bias, padding=kernel // 2)
    assert torch.allclose(layer(x), pool(full, 2), atol=1e-5)


def test_the_length_of_the_noise_does_not_matter_but_the_conditions_do() -> None:
    torch.manual_seed(0)
    mapping, asked = Mapping(8, 4, width=16, depth=2, rate=0.01), Asked(2, 4)
    z, numbers, present = torch.randn(5, 8), torch.randn(5, 2), torch.ones(5, 2)
    told = asked(numbers, present)
    assert torch.allclose(mapping(3 * z, told), mapping(z, told), atol=1e-5)
    assert torch.allclose(unit(z).norm(dim=1), torch.full((5,), math.sqrt(8)), atol=1e-5)
    assert not torch.allclose(mapping(z, -told), mapping(z, told), atol=1e-2)


def test_conditions_turn_a_vector_of_unit_length_smoothly() -> None:
    torch.manual_seed(0)
    asked = Asked(1, 64)
    told = asked(torch.linspace(-1, 1, 201)[:, None], torch.ones(201, 1)).detach()
    assert torch.allclose(told.square().mean(dim=1), torch.ones(201), atol=1e-5)
    steps = told.diff(dim=0).norm(dim=1)
    assert float(steps.max() / steps.min()) < 20
    assert float((told[0] - told[-1]).norm()) > 0.5 * float(steps.sum())  # on its way it hardly turns back
    hidden = asked(torch.tensor([[0.3], [-0.9]]), torch.zeros(2, 1))
    assert torch.equal(hidden[0], hidden[1])
    assert (hidden[0] - told).norm(dim=1).min() > 1e-3


def test_deviation_is_that_among_four_neighbours_of_the_batch() -> None:
    x = torch.randn(8, 2, 3, 3, generator=generator_of(0))
    shown = with_deviation(x)
    assert torch.equal(shown[:, :2], x)
    for start in (0, 4):
        expected = float(np.std(x[start : start + 4].numpy(), axis=0).mean())
        assert np.allclose(shown[start : start + 4, 2], expected, atol=1e-6)
    assert with_deviation(x[:1])[:, 2].abs().max() < 1e-3


def test_rectifiers_keep_the_mean_square_of_white_noise() -> None:
    x = torch.randn(10**6, generator=generator_of(0))
    assert float(rectified(x).square().mean()) == pytest.approx((1 + 0.2**2), rel=0.01)


@pytest.mark.parametrize("modulation", MODULATIONS)
def test_the_networks_of_the_papers_are_a_configuration(modulation: Any) -> None:
    """At 1024 x 1024: 26.2 million weights (StyleGAN, section 2), 30,370,060 and 29,012,513 (StyleGAN2, config F)."""
    wide = 16 if modulation == "adain" else 32
    settings = {"widest": 512, "latent": 512, "style": 512, "mapping_depth": 8, "discriminator_halved": False}
    config = stylegan.Config(
        patch_px=1024, modulation=modulation, width=wide, discriminator_width=wide, stages=8, **settings
    )
    with torch.device("meta"):
        made, judge = config.generator((3, 1024, 1024), 0), config.discriminator((3, 1024, 1024), 0)
    if modulation == "adain":
        assert round(count(made) / 1e6, 1) == 26.2
    else:
        assert (count(made), count(judge)) == (30_370_060, 29_012_513)
    assert made.synthesis.styles == 18


def test_the_layers_of_a_small_generator_are_those_of_the_paper() -> None:
    """16 x 16, 8 channels: each convolution, its bias, one strength of the noise, and the affine map of its style."""
    made = cases.make_trained("stylegan", widest=8, width=8).model.generator.synthesis
    styled = 8 * 8 * 9 + 8 + 1 + (16 * 8 + 8)
    output = 8 + 1 + (16 * 8 + 8)
    assert count(made) == 8 * 4 * 4 + 5 * styled + 3 * output
    assert made.noise_shapes == ((1, 4, 4), (1, 8, 8), (1, 8, 8), (1, 16, 16), (1, 16, 16))


# Styles


@pytest.mark.parametrize("modulation", MODULATIONS)
def test_style_mixing_changes_only_the_layers_after_the_crossover(modulation: str) -> None:
    model = cases.make_model("stylegan", modulation=modulation)
    net: Any = model.net
    latents, other, told = model.latents([0]), model.latents([1])["z"], told_of(1)
    first, second = net.styles(latents["z"], told), net.styles(other, told)
    layers: list[Any] = [m for m in net.modules() if isinstance(m, Layer)]
    seen: list[Tensor] = []
    for layer in layers:
        layer.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    for crossover in range(1, len(layers)):
        after = (torch.arange(first.shape[1]) >= crossover)[None, :, None]
        seen.clear()
        noises = {k: v for k, v in latents.items() if k != "z"}
        with torch.no_grad():
            net({"w": first, **noises}, told)
            net({"w": torch.where(after, second, first), **noises}, told)
        same = [torch.equal(a, b) for a, b in zip(seen[: len(layers)], seen[len(layers) :], strict=True)]
        assert same == [i < crossover for i in range(len(layers))]


def test_crossovers_are_drawn_for_a_share_of_the_samples() -> None:
    after = stylegan.crossovers(4000, 6, 0.3, generator_of(0))
    assert not after[:, 0].any()
    assert bool((after[:, 1:] >= after[:, :-1]).all())
    assert float(after[:, -1].float().mean()) == pytest.approx(0.3, abs=0.03)
    starts = (~after[after[:, -1]]).sum(dim=1)
    assert set(starts.tolist()) == {1, 2, 3, 4, 5}
    pair = cases.make_trained("stylegan", mixing=0.5)
    styles = pair.mixed(told_of(200), generator_of(0))["w"]
    assert 0.3 < float((styles[:, 0] != styles[:, -1]).any(dim=1).float().mean()) < 0.7


def test_truncation_goes_toward_the_mean_of_the_condition_asked_for() -> None:
    model = cases.make_model("stylegan")
    one, other = model.latents([0]), model.latents([1])
    swapped = {**one, "z": other["z"]}
    asked, else_asked = (Condition({"grain_size_um": v}) for v in (6.0, 15.0))

    def made(latents: Any, condition: Condition = asked, **options: Any) -> Any:
        return next(model.decode(latents, condition, **options))["intensity"].astype(float)

    assert not np.array_equal(made(one), made(swapped))
    assert np.array_equal(made(one, truncation=0.0), made(swapped, truncation=0.0))
    assert not np.array_equal(made(one, truncation=0.0), made(other, truncation=0.0))  # noise inputs stay
    assert not np.array_equal(made(one, truncation=0.0), made(one, else_asked, truncation=0.0))
    assert np.array_equal(made(one, truncation=1.0), made(one))
    centre = made(one, truncation=0.0)
    distances = [np.abs(made(one, truncation=t) - centre).mean() for t in (0.2, 0.5, 0.8, 1.0)]
    assert distances == sorted(distances)


def test_the_mean_style_is_the_mean_over_many_latents_of_that_condition() -> None:
    model = cases.make_model("stylegan")
    net: Any = model.net
    with torch.no_grad():
        found = stylegan.mapped_mean(model, Told(*(torch.cat(p) for p in zip(*_parts(-0.7, 0.6), strict=True))))["w"]
        again = stylegan.mapped_mean(model, told_of(1, 0.6))["w"]
        drawn = torch.randn(20_000, 8, generator=generator_of(3))
        wanted = net.styles(drawn, told_of(20_000, 0.6)).mean(dim=0)
        error = net.styles(drawn, told_of(20_000, 0.6)).std(dim=0) / math.sqrt(stylegan.FIXED)
    assert torch.allclose(found[1], again[0], atol=1e-6)
    assert bool(((found[1] - wanted).abs() < 5 * error).all())
    assert not bool(((found[0] - found[1]).abs() < 5 * error).all())


def _parts(*values: float) -> list[tuple[Tensor, Tensor, Tensor]]:
    return [(t.numbers, t.present, t.maps) for t in (told_of(1, v) for v in values)]


@pytest.mark.parametrize("modulation", MODULATIONS)
def test_styles_are_decoded_to_the_same_sample(modulation: str) -> None:
    model = cases.make_model("stylegan", modulation=modulation)
    latents = model.latents([3, 4])
    request = model.request(cases_asked())
    told = tell(model.conditions, [request.condition] * 2, like=torch.zeros(2, 1, 16, 16))
    styles = stylegan.mapped(model, latents, told)
    assert "z" not in styles
    styles["w"][0, 1:] += 0  # each layer is free to change
    for truncation in (1.0, 0.6):
        pairs = zip(
            model.decode(styles, cases_asked(), truncation=truncation, precision="fp32"),
            model.decode(latents, cases_asked(), truncation=truncation, precision="fp32"),
            strict=True,
        )
        assert all(np.array_equal(a["intensity"], b["intensity"]) for a, b in pairs)


def cases_asked() -> Condition:
    return Condition({"grain_size_um": 9.0})


def test_what_it_cannot_do_is_refused_in_one_sentence() -> None:
    model = cases.make_model("stylegan")
    assert model.request(cases_asked(), truncation=0.7).to_dict()["options"]["truncation"] == 0.7
    with pytest.raises(InputError, match="leave out steps"):
        model.request(steps=4)
    with pytest.raises(InputError, match="16x16 points only"):
        model.request(shape=(32, 32))
    latents = model.latents([0])
    styles = stylegan.mapped(model, latents, told_of(1))
    with pytest.raises(InputError, match="has w of"):
        list(model.decode({**styles, "w": styles["w"][:, :2]}))
    del latents["noise_2"]
    with pytest.raises(InputError, match="lacks noise_2"):
        list(model.decode(latents))
    with pytest.raises(ValueError, match="mean nothing to a stylegan"):
        stylegan.Config(spectral=True)
    with pytest.raises(ValueError, match="cannot be halved 5 times"):
        stylegan.Config(patch_px=48, stages=5)


# Regularisation


def state_of(pair: Any) -> TrainState:
    optimizers = stylegan.make_optimizers(pair, 1e-3)
    return TrainState(pair, optimizers, generator_of(1), torch.device("cpu"), clip_norm=1e6)


def test_path_lengths_of_a_linear_generator() -> None:
    """Samples A w, with the mean over the layers of w: the gradient of y A w is A^T y over their number, in each."""
    torch.manual_seed(0)
    matrix, styles = torch.randn(36, 5), torch.randn(4, 3, 5, requires_grad=True)
    made = (styles.mean(dim=1) @ matrix.T).reshape(4, 1, 6, 6)
    direction = torch.randn(4, 1, 6, 6)
    expected = [float((matrix.T @ y.flatten()).norm()) / 3 / 6 for y in direction]
    found = stylegan.path_lengths(made, styles, direction)
    assert np.allclose(found.detach(), expected, rtol=1e-5)
    orthonormal = torch.linalg.qr(torch.randn(10_000, 400))[0]  # lengths in all directions are alike, so no penalty
    styles = torch.randn(8, 1, 400, requires_grad=True)
    lengths = stylegan.path_lengths(
        (styles[:, 0] @ orthonormal.T).reshape(8, 1, 100, 100), styles, torch.randn(8, 1, 100, 100)
    )
    assert float(lengths.std() / lengths.mean()) < 0.1
    assert float(lengths.mean()) == pytest.approx(math.sqrt(400) / 100, rel=0.05)


def test_path_lengths_are_drawn_to_their_running_mean_every_few_steps() -> None:
    pair = cases.make_trained("stylegan", path_length=2.0, path_every=4)
    state = state_of(pair)
    losses = {}
    for step in (1, 4):
        before = pair.path_mean.clone()
        pair.generator_loss(state, told_of(4), step)
        losses[step] = float(pair.path_mean - before)
    assert losses[1] == 0
    assert losses[4] > 0
    torch.manual_seed(0)
    stiff, _, further = pair.generator_loss(state, told_of(4), 8)
    assert float(further["path_length"]) == float(pair.path_mean)
    assert stiff.shape == (4, 1, 16, 16)


def test_penalties_of_the_discriminator_are_lazy_and_as_much_stronger() -> None:
    pair = cases.make_trained("stylegan", penalty_every=16, r1=0.7, reading=0.0, path_length=0.0)
    state, real = state_of(pair), torch.randn(4, 1, 16, 16, generator=generator_of(0))
    told = told_of(4)
    plain = adversarial.Pair.penalty(pair, state, real, real, told, 0)
    assert float(plain.detach()) > 0
    values = [float(pair.penalty(state, real, real, told, step).detach()) for step in range(33)]
    assert values[0] == pytest.approx(16 * float(plain.detach()), rel=1e-5)
    assert [step for step, value in enumerate(values) if value] == [0, 16, 32]


def test_adam_is_slowed_for_lazy_steps() -> None:
    """StyleGAN2, appendix B: rates and betas to the power of k / (k + 1), for what is done every k steps."""
    pair = cases.make_trained("stylegan", path_length=2.0, path_every=4, penalty_every=16, beta2=0.9)
    found = {k: v.param_groups[0] for k, v in stylegan.make_optimizers(pair, 2e-3).items()}
    assert found["generator"]["lr"] == pytest.approx(2e-3 * 4 / 5)
    assert found["discriminator"]["lr"] == pytest.approx(2e-3 * 16 / 17)
    assert found["generator"]["betas"] == pytest.approx((0.0, 0.9**0.8))
    plain = stylegan.make_optimizers(cases.make_trained("stylegan", path_length=0.0), 2e-3)
    assert plain["generator"].param_groups[0]["lr"] == 2e-3


# Conditions


def test_misreading_counts_only_what_is_told() -> None:
    told = Told(torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0], [0.0]]), torch.zeros(2, 0, 4, 4))
    assert float(stylegan.misread(torch.tensor([[0.5], [9.0]]), told)) == 0.25
    assert float(stylegan.misread(torch.tensor([[0.5], [9.0]]), told.nothing())) == 0


def test_the_reader_learns_from_real_crops_and_the_generator_from_the_reader() -> None:
    pair = cases.make_trained("stylegan", path_length=0.0, r1=0.0, loss="hinge")
    state, real = state_of(pair), torch.randn(4, 1, 16, 16, generator=generator_of(0))
    pair.penalty(state, real, real, told_of(4, 0.5), 1).backward()
    reached = {name.split(".")[0] for name, p in pair.named_parameters() if p.grad is not None}
    assert reached == {"reader"}
    state.optimizers["discriminator"].zero_grad()
    for weight in pair.critic.parameters():
        nn.init.zeros_(weight)  # so that all that is left to learn from is the reader
    for frozen in pair.sides()["discriminator"]:
        frozen.requires_grad_(requires_grad=False)
    pair.generator_loss(state, told_of(4, 0.5), 1)[1].backward()
    assert float(sum(p.grad.abs().sum() for p in pair.model.parameters() if p.grad is not None)) > 0
    assert all(p.grad is None for p in pair.reader.parameters())


class Textures:
    """Smoothed noise that is darker for larger grains."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset

    def batch(self, rng: np.random.Generator, n: int) -> dict[str, Any]:
        sizes = 5 * 4 ** rng.uniform(size=n)
        drawn = torch.from_numpy(rng.standard_normal((n, 1, 16, 16)).astype(np.float32))
        smooth = functional.avg_pool2d(drawn, 3, stride=1, padding=1)
        field = smooth.numpy() / float(smooth.std()) - np.log(sizes / 10).reshape(-1, 1, 1, 1)
        return {"field": field.astype(np.float32), "scalars": {"grain_size_um": sizes}, "maps": {}}


def fit(run: Path, *, images: int, stop: int | None = None, **settings: Any) -> Trainer:
    pair = cases.make_trained("stylegan", adapt_images=640, **settings)
    job = Job(stylegan, pair, torch.from_numpy, Textures(), held_out=Textures(1))
    values = {**stylegan.TRAIN, "images": images, "batch": 8, "log_images": 8, "precision": "fp32", "validations": 2}
    config = TrainConfig(**{**values, "validation_patches": 16, "checkpoint_minutes": 0})
    trainer = Trainer(job, run, config, fabric=make_fabric(config), quiet=True)
    if stop is not None:
        step = trainer._step

        def until(batch: Any) -> None:
            if trainer.counters.images >= stop:
                raise KeyboardInterrupt
            step(batch)

        trainer._step = until  # type: ignore[method-assign]
    trainer.fit()
    return trainer


def test_a_resumed_run_ends_as_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", images=64, path_length=2.0, path_every=2, penalty_every=3)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", images=64, stop=40, path_length=2.0, path_every=2, penalty_every=3)
    cut = fit(tmp_path / "cut", images=64, path_length=2.0, path_every=2, penalty_every=3)
    tensors = [pack(t.net, t.average, t.state.optimizers) for t in (whole, cut)]
    assert tensors[0].keys() == tensors[1].keys()
    assert [name for name in tensors[0] if not torch.equal(tensors[0][name], tensors[1][name])] == []
    pair: Any = whole.net
    assert float(pair.path_mean) > 0
    assert (tmp_path / "whole" / "log.jsonl").read_text() == (tmp_path / "cut" / "log.jsonl").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("modulation", MODULATIONS)
def test_what_is_asked_for_is_what_is_made(modulation: str, tmp_path: Path) -> None:
    """Textures that are darker for larger grains: the brightness of samples follows the size asked for."""
    trained: Any = fit(tmp_path / "run", images=1600, modulation=modulation, width=8, discriminator_width=8)
    config = trained.net.config.model_dump(mode="json")
    net = stylegan.model_of(trained.average)
    model = Model("stylegan", config, net, cases.codec_of(), (cases.SPEC,), (16, 16), {})
    sizes = (5.5, 8.0, 11.0, 16.0)
    made = [list(model.sample(range(16), Condition({"grain_size_um": v}))) for v in sizes]
    found = np.array([np.mean([(m["intensity"] - 120.0) / 40.0 for m in some]) for some in made])
    expected = -np.log(np.array(sizes) / 10)
    assert np.abs(found - expected).max() < 0.25
    assert min(np.std([m["intensity"] for m in some], axis=0).mean() for some in made) > 10
