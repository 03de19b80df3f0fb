"""InfoGAN: the information bound against closed forms, and codes that are found where they are known."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from microgen.models import Codec, infogan
from microgen.models.conditions import Told
from microgen.models.infogan import Config, class_nats, code_nats, one_hot, uniform
from microgen.nets.infogan import Recogniser
from microgen.train.checkpoint import pack
from microgen.train.config import TrainConfig
from microgen.train.engine import make_fabric
from microgen.train.job import Job
from microgen.train.loop import Trainer
from microgen.train.state import TrainState

SMALL: dict[str, Any] = {
    "patch_px": 16,
    "latent": 8,
    "width": 4,
    "discriminator_width": 8,
    "widest": 16,
    "categories": (3,),
}
CODEC = Codec("intensity", 0.0, 1.0, -2.0, 2.0, "float32", (0.8, 0.8))


def generator_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def nothing(count: int) -> Told:
    return Told(torch.zeros(count, 0), torch.zeros(count, 0), torch.zeros(count, 0, 16, 16))


def make_pair(**config: Any) -> Any:
    torch.manual_seed(0)
    return infogan.build_trained(Config(**{**SMALL, **config}), codec=CODEC, conditions=())


def make_state(pair: nn.Module, *, rate: float = 1e-3) -> TrainState:
    optimizers = infogan.make_optimizers(pair, rate)
    return TrainState(pair, optimizers, generator_of(1), torch.device("cpu"), clip_norm=1e6)


# What a code is


def test_codes_are_uniform_and_classes_equally_likely() -> None:
    noise = torch.randn(6000, 4, generator=generator_of(0))
    assert stats.kstest(uniform(noise).ravel().numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.01
    chosen = one_hot(noise)
    assert torch.equal(chosen.argmax(dim=1), noise.argmax(dim=1))
    assert torch.equal(chosen.sort(dim=1).values, torch.tensor([0.0, 0, 0, 1]).expand(6000, -1))
    assert stats.chisquare(chosen.sum(dim=0).numpy()).pvalue > 0.01


def test_the_gradient_of_a_class_is_that_of_the_softmax() -> None:
    noise, weight = torch.randn(2, 3, 5, generator=generator_of(0))
    found, wanted = (
        torch.autograd.grad((f(x) * weight).sum(), x)[0]
        for f, x in ((one_hot, noise.clone().requires_grad_()), (lambda x: x.softmax(1), noise.requires_grad_()))
    )
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("codes", ["texture", "layout"])
@pytest.mark.parametrize(("categories", "continuous"), [((10,), 2), ((), 3), ((3, 4), 0)])
def test_every_code_is_a_part_of_the_latent_and_changes_the_sample(
    categories: Any, continuous: int, codes: str
) -> None:
    pair = make_pair(categories=categories, continuous=continuous, codes=codes, init_std=0.2)
    shapes = pair.model.latent_shapes((16, 16))
    classes = {f"category_{i}": (k,) for i, k in enumerate(categories)}
    assert shapes == {"z": (8,), **({"codes": (continuous,)} if continuous else {}), **classes}
    latents = pair.latents(nothing(2), generator_of(0))
    plain = pair.model(latents, nothing(2))
    for name, part in latents.items():
        assert not torch.equal(pair.model({**latents, name: -part}, nothing(2)), plain)
    moved = {n: 2 * part if n in classes else part for n, part in latents.items()}
    assert torch.equal(pair.model(moved, nothing(2)), plain)  # of a class, only the place of the largest number counts


@pytest.mark.parametrize("wrong", [{"categories": (), "continuous": 0}, {"categories": (1,)}])
def test_without_any_code_it_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give continuous codes, or categories"):
        Config(**wrong)


def test_the_networks_of_the_paper_are_a_configuration() -> None:
    """Table 1 (MNIST): 74 numbers, 7 x 7 x 128, convolutions of 4 x 4 with 64 and 128 channels, Q by way of 128 units.

    Its fully connected layers of 1024 units have no counterpart.
    """
    shape = {"patch_px": 28, "latent": 62, "width": 64, "discriminator_width": 64, "widest": 128}
    pair = make_pair(**shape, categories=(10,), continuous=2, upsampling="transposed", codes="layout")
    generator, critic, head = pair.model.generator, pair.critic, pair.recogniser
    assert tuple(generator.first.weight.shape) == (7 * 7 * 128, 74)
    assert generator.coarse == (128, 7, 7)
    assert tuple(generator.ups[0].weight.shape) == (128, 64, 4, 4)
    assert [tuple(down.weight.shape) for down in critic.downs] == [(64, 1, 4, 4), (128, 64, 4, 4)]
    assert tuple(head.hidden.weight.shape) == (128, 7 * 7 * 128)
    assert tuple(head.last.weight.shape) == (10 + 2 * 2, 128)


# The bound


def test_losses_of_codes_are_likelihoods() -> None:
    mean, log_variance, codes = torch.randn(3, 7, 2, generator=generator_of(0))
    law: Any = torch.distributions.Normal(mean, (log_variance / 2).exp())
    log_likelihood = law.log_prob(codes)
    assert torch.allclose(code_nats(mean, log_variance, codes), -log_likelihood.sum(dim=1).mean(), atol=1e-6)
    noise = torch.randn(7, 5, generator=generator_of(1))
    logits = torch.randn(7, 5, generator=generator_of(2))
    right = logits.softmax(dim=1)[torch.arange(7), noise.argmax(dim=1)]
    assert torch.allclose(class_nats(logits, noise), -right.log().mean())


class Knows(nn.Module):
    """A head that reads the codes of the last latents as well as it is told to."""

    def __init__(self, latents: dict[str, Tensor], *, log_variance: float, sure: float) -> None:
        super().__init__()
        self.latents, self.log_variance, self.sure = latents, log_variance, sure

    def forward(self, features: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        codes = uniform(self.latents["codes"])
        return [self.sure * one_hot(self.latents["category_0"])], codes, torch.full_like(codes, self.log_variance)


def test_the_bound_is_the_entropy_of_the_codes_less_what_is_left() -> None:
    pair = make_pair(categories=(10,), continuous=2, information=2.0, information_continuous=0.5)
    latents = pair.latents(nothing(9), generator_of(0))
    width = math.log(2 * math.pi) / 2  # of a normal law of unit variance, at its middle, in nats

    pair.recogniser = Knows(latents, log_variance=-4.0, sure=100.0)
    loss, bound = pair.reading(torch.zeros(9, 4), latents)
    assert float(bound) == pytest.approx(math.log(10) + 2 * (math.log(2) - width + 2), abs=1e-5)
    assert float(loss) == pytest.approx(0.5 * 2 * (width - 2), abs=1e-5)

    pair.recogniser = Knows(latents, log_variance=0.0, sure=0.0)
    loss, bound = pair.reading(torch.zeros(9, 4), latents)
    assert float(bound) == pytest.approx(2 * (math.log(2) - width), abs=1e-5)
    assert float(loss) == pytest.approx(2 * math.log(10) + 0.5 * 2 * width, abs=1e-5)


# Learning


class Stripes(nn.Module):
    """A generator without weights: the code sets the wavelength of stripes, the class the axis, the noise the phase."""

    shape = (1, 16, 16)

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.latent_shapes, self.classes = model.latent_shapes, model.classes

    def forward(self, latents: dict[str, Tensor], told: Told) -> Tensor:
        per_point = 1.4 + 0.6 * uniform(latents["codes"])
        along = (per_point * torch.arange(16) + 9 * latents["z"][:, :1]).sin()[:, None, None].expand(-1, 1, 16, 16)
        turned = latents["category_0"].argmax(dim=1).bool()[:, None, None, None]
        return torch.where(turned, along.mT, along)


def test_the_head_recovers_the_codes_of_a_known_generator() -> None:
    """Where the layers below may learn to read, too, nearly all there is to know is read within 150 steps."""
    pair = make_pair(categories=(2,), continuous=1, augment=(), r1=0, deep=True, information_continuous=1.0)
    pair.model = Stripes(pair.model)
    state = make_state(pair, rate=3e-3)
    for step in range(150):
        real = torch.randn(32, 1, 16, 16, generator=generator_of(step))
        last = infogan.train_step(state, {"x": real, "scalars": {}}, step)
    latents = pair.latents(nothing(500), generator_of(7))
    with torch.no_grad():
        seen = pair.seen(pair.model(latents, nothing(500)), generator_of(8))
        logits, mean, log_variance = pair.recogniser(seen)
    truth = uniform(latents["codes"])
    assert float((logits[0].argmax(dim=1) == latents["category_0"].argmax(dim=1)).float().mean()) > 0.97
    assert float(torch.corrcoef(torch.cat([mean, truth], dim=1).T)[0, 1]) > 0.9
    assert float((log_variance / 2).exp().mean()) < 0.45  # it says that it knows; the least it can say is 0.37
    assert float(last["information_nats"]) > 0.8 * (2 * math.log(2) + 1 - math.log(2 * math.pi) / 2)  # all there is


def test_the_head_finds_codes_behind_what_all_samples_share() -> None:
    """Small differences on top of large features: the batch tells them apart."""
    torch.manual_seed(0)
    random = generator_of(0)
    ways, head = torch.randn(2, 30, generator=random), Recogniser(30, categories=(), continuous=2, width=32)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    for _ in range(300):
        codes = 2 * torch.rand(64, 2, generator=random) - 1
        _, mean, log_variance = head(100 + 0.01 * codes @ ways)
        optimizer.zero_grad()
        loss: Any = code_nats(mean, log_variance, codes)
        loss.backward()
        optimizer.step()
    assert float((mean.detach() - codes).std()) < 0.1
    assert float((log_variance.detach() / 2).exp().mean()) < 0.45


@pytest.mark.parametrize("codes", ["texture", "layout"])
def test_the_generator_comes_to_write_what_the_head_reads(codes: str) -> None:
    pair = make_pair(codes=codes, categories=(3,), continuous=1, information_continuous=1.0, augment=())
    state, bounds = make_state(pair, rate=3e-3), []
    for step in range(60):
        _, loss, numbers = pair.generator_loss(state, nothing(32), step)
        loss.backward()
        state.optimizer_step("generator")
        bounds.append(float(numbers["information_nats"]))
    assert bounds[0] < 0 < 1 < bounds[-1]


def test_samples_are_rolled_before_a_texture_is_read() -> None:
    x = torch.randn(1, 1, 4, 4, generator=generator_of(0)).expand(400, -1, -1, -1)
    found = {tuple(row) for row in infogan.rolled(x, generator_of(0)).flatten(1).tolist()}
    shifts = itertools.product(range(4), range(4))
    assert found == {tuple(x[0].roll(shift, dims=(1, 2)).ravel().tolist()) for shift in shifts}


def test_a_texture_is_neither_brightness_nor_place_and_a_layout_is_both() -> None:
    """Two halves, dark and bright: which is which can be read from a layout alone."""
    half = torch.cat([-torch.ones(1, 1, 16, 8), torch.ones(1, 1, 16, 8)], dim=3)
    left, right = ((x + 0.3 * torch.randn(400, 1, 16, 16, generator=generator_of(0))) for x in (half, half.flip(3)))
    for codes, most in (("texture", 0.3), ("layout", 1.0)):
        pair = make_pair(codes=codes)
        seen = [pair.seen(x, generator_of(seed)) for seed, x in enumerate((left, right))]
        apart = ((seen[0].mean(dim=0) - seen[1].mean(dim=0)) / seen[0].std(dim=0).clamp_min(1e-9)).abs().mean()
        assert (float(apart) < most) == (codes == "texture")


def test_each_side_learns_to_read_in_its_own_step() -> None:
    """With ``deep`` the shared layers in the discriminator's step; generator and head in the generator's."""
    assert not make_pair(r1=0).penalty(None, torch.zeros(2, 1), torch.zeros(2, 1), nothing(2), 0)
    pair = make_pair(r1=0, deep=True)
    state = make_state(pair)
    real, told = torch.randn(4, 1, 16, 16), nothing(4)
    pair.penalty(state, real, real, told, 0).backward()
    touched = {name for name, p in pair.named_parameters() if p.grad is not None and p.grad.any()}
    shared = {n for n, _ in pair.named_parameters() if n.startswith("critic.downs")}
    assert touched == shared
    assert all(p.requires_grad for p in pair.parameters())
    sides = pair.sides()
    assert {id(p) for p in sides["generator"]} == {id(p) for m in (pair.model, pair.recogniser) for p in m.parameters()}
    assert {id(p) for p in sides["discriminator"]} == {id(p) for p in pair.critic.parameters()}


class Noise:
    """Random fields."""

    def batch(self, rng: np.random.Generator, n: int) -> dict[str, Any]:
        return {"field": rng.standard_normal((n, 1, 16, 16)).astype(np.float32), "scalars": {}, "maps": {}}


def fit(run: Path, *, stop: int | None = None) -> Any:
    job = Job(infogan, make_pair(), torch.from_numpy, Noise(), held_out=Noise())
    values = {**infogan.TRAIN, "images": 64, "batch": 8, "log_images": 8, "precision": "fp32", "validations": 2}
    config = TrainConfig(**{**values, "validation_patches": 8, "checkpoint_minutes": 0})
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
    whole = fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", stop=32)
    cut = fit(tmp_path / "cut")
    tensors = [pack(t.net, t.average, t.state.optimizers) for t in (whole, cut)]
    assert any("recogniser" in name for name in tensors[0])
    assert tensors[0].keys() == tensors[1].keys()
    assert [name for name in tensors[0] if not torch.equal(tensors[0][name], tensors[1][name])] == []
    logs = [(tmp_path / run / "log.jsonl").read_text() for run in ("whole", "cut")]
    assert logs[0] == logs[1]
    assert "information_nats" in logs[0]
    assert "loss_information" in logs[0]
