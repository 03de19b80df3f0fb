"""GANs: losses against closed forms, augmentation, collapse, conditions, resuming, reloading."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from microgen import io
from microgen.core import Condition, ConditionSpec, InputError, Microstructure
from microgen.data.dataset import Item, write_dataset
from microgen.data.plan import ConditionsPlan, DataPlan, Plan, Range, TrainPlan, plan_path, write_plan
from microgen.generate.sampling import remake, sample_to_folder
from microgen.models import Codec, Model, adversarial, load_model, save_model
from microgen.models.conditions import Told
from microgen.models.families import FAMILIES
from microgen.models.gan_augment import KINDS, adapted, augment
from microgen.models.gan_losses import (
    GAMES,
    accuracies,
    diversity,
    energy_distance,
    gradient_penalty,
    r1_penalty,
)
from microgen.nets.features import RandomFeatures
from microgen.nets.gan import Discriminator, Generator
from microgen.train.checkpoint import pack
from microgen.train.config import TrainConfig
from microgen.train.engine import make_fabric
from microgen.train.job import Job
from microgen.train.loop import Trainer
from microgen.train.run import train
from microgen.train.setup import resolve
from microgen.train.state import TrainState, pieces

SPEC = ConditionSpec("grain_size_um", "scalar", 5, 20, "log")
SMALL: dict[str, dict[str, Any]] = {
    "gan": {"widths": (16, 16), "discriminator_widths": (16,), "spectral": True},
    "dcgan": {"width": 4, "discriminator_width": 4, "widest": 8},
    "cdcgan": {"width": 4, "discriminator_width": 4, "widest": 8, "embedding": 16},
}


def generator_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def codec_of(ndim: int = 2) -> Codec:
    return Codec("intensity", 120.0, 40.0, 0, 255, "uint8", (0.8,) * ndim)


def make_pair(name: str = "cdcgan", *, ndim: int = 2, seed: int = 0, **config: Any) -> Any:
    family = FAMILIES[name]
    chosen = family.Config(**{"patch_px": 16, "latent": 8, **SMALL[name], **config})
    specs = (SPEC,) if name == "cdcgan" else ()
    torch.manual_seed(seed)
    return family.build_trained(chosen, codec=codec_of(ndim), conditions=specs)


def make_model(name: str = "cdcgan", **options: Any) -> Model:
    pair = make_pair(name, **options)
    ndim = len(pair.model.shape) - 1
    with torch.no_grad():
        for weight in pair.model.parameters():  # 0.02 is too little to see anything in three small layers
            weight.mul_(4)
    config = pair.config.model_dump(mode="json")
    return Model(name, config, FAMILIES[name].model_of(pair), codec_of(ndim), pair.conditions, (16,) * ndim, {})


def make_state(pair: nn.Module, *, rate: float = 2e-4, **options: Any) -> TrainState:
    optimizers = adversarial.make_optimizers(pair, rate)
    return TrainState(pair, optimizers, generator_of(1), torch.device("cpu"), clip_norm=1e6, **options)


# Losses


@pytest.mark.parametrize("seed", range(3))
def test_the_best_discriminator_of_two_distributions_is_worth_their_jensen_shannon_divergence(seed: int) -> None:
    p, q = (torch.from_numpy(row) for row in np.random.default_rng(seed).dirichlet(np.ones(5), 2))
    logits, counts_p, counts_q = (p / q).log(), p, q  # Goodfellow et al. 2014, proposition 1: D = p / (p + q)
    value = -(counts_p @ torch.nn.functional.softplus(-logits)) - counts_q @ torch.nn.functional.softplus(logits)
    middle = (p + q) / 2
    jsd = 0.5 * (p @ (p / middle).log()) + 0.5 * (q @ (q / middle).log())
    assert float(value) == pytest.approx(2 * float(jsd) - math.log(4))
    game = GAMES["non-saturating"]
    real, fake = (torch.tensor([float(x)]) for x in (logits[0], logits[1]))
    assert float(game.real(real)) == pytest.approx(-math.log(float(p[0] / (p[0] + q[0]))), rel=1e-5)
    assert float(game.fake(fake)) == pytest.approx(-math.log(float(q[1] / (p[1] + q[1]))), rel=1e-5)


def test_losses_are_those_of_the_papers() -> None:
    logits = torch.tensor([-2.0, 0.5, 3.0])
    hinge, squares, critic = GAMES["hinge"], GAMES["least-squares"], GAMES["wasserstein"]
    assert float(hinge.real(logits)) == pytest.approx((3 + 0.5 + 0) / 3)
    assert float(hinge.fake(logits)) == pytest.approx((0 + 1.5 + 4) / 3)
    assert float(hinge.generator(logits)) == pytest.approx(-0.5)
    assert float(squares.real(logits)) == pytest.approx((9 + 0.25 + 4) / 6)
    assert float(squares.fake(logits)) == pytest.approx((4 + 0.25 + 9) / 6)
    assert float(squares.generator(logits)) == float(squares.real(logits))
    assert float(critic.real(logits)) == -0.5
    assert float(critic.fake(logits)) == 0.5
    assert float(GAMES["non-saturating"].generator(torch.zeros(2))) == pytest.approx(math.log(2))


@pytest.mark.parametrize("name", GAMES)
def test_every_loss_pulls_the_logits_of_both_sides_the_right_way(name: str) -> None:
    for loss, sign in ((GAMES[name].real, 1), (GAMES[name].fake, -1), (GAMES[name].generator, 1)):
        logits = torch.full((4,), 0.2, requires_grad=True)
        loss(logits).backward()  # type: ignore[no-untyped-call]
        assert logits.grad is not None
        assert (logits.grad * sign < 0).all()


def test_accuracies_count_each_side_of_the_border() -> None:
    real, fake = torch.tensor([1.0, 2.0, 0.2, -1.0]), torch.tensor([-1.0, 0.3, 0.6, 3.0])
    assert [float(a) for a in accuracies(GAMES["hinge"], real, fake)] == [0.75, 0.25]
    assert [float(a) for a in accuracies(GAMES["least-squares"], real, fake)] == [0.5, 0.5]
    right = accuracies(GAMES["wasserstein"], torch.tensor([11.0, 12.0]), torch.tensor([9.0, 8.0]))
    assert [float(a) for a in right] == [1, 1]


def test_penalties_of_a_linear_critic() -> None:
    w = torch.tensor([[1.0, -2.0], [0.5, 4.0]])
    real, fake = torch.randn(2, 6, 1, 2, 2, generator=generator_of(0))

    def critic(x: Tensor) -> Tensor:
        return (x * w).sum(dim=(1, 2, 3))

    length = float(w.norm())
    part = torch.rand(6, generator=generator_of(1))
    assert float(gradient_penalty(critic, real, fake, part)) == pytest.approx((length - 1) ** 2)
    assert float(r1_penalty(critic, real)) == pytest.approx(length**2 / 2)


def test_the_gradient_penalty_is_taken_between_the_pairs() -> None:
    real, fake = torch.full((2, 1), 4.0), torch.full((2, 1), 2.0)
    part = torch.tensor([0.0, 0.5])  # at 2 and at 3, where the gradient of x^2 is 4 and 6
    penalty = gradient_penalty(lambda x: x.square().sum(dim=1), real, fake, part)
    assert float(penalty.detach()) == pytest.approx((3**2 + 5**2) / 2)


# Networks


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_networks_of_the_lecture_are_a_configuration() -> None:
    """DCGAN on 28 x 28 pictures: Dense 633,472, transposed convolutions of 262,272, discriminator of 155,137."""
    config = FAMILIES["dcgan"].Config(
        patch_px=28,
        latent=100,
        width=128,
        discriminator_width=128,
        widest=128,
        upsampling="transposed",
        normalise=False,
        last_kernel=7,
        discriminator_kernel=3,
        discriminator_dropout=0.4,
        batches="separate",
        augment=(),
        r1=0,
        beta1=0.5,
        beta2=0.999,
    )
    generator: Any = config.generator((1, 28, 28), 0)
    assert count(generator.first) == 633_472
    assert [count(up) for up in generator.ups] == [262_272, 262_272]
    assert count(generator.last) == 128 * 49 + 1
    assert count(config.discriminator((1, 28, 28), 0)) == 155_137


@pytest.mark.parametrize(("dims", "side", "stages"), [(2, 32, 3), (2, 64, 4), (2, 96, 4), (3, 16, 2), (3, 32, 3)])
@pytest.mark.parametrize("upsampling", ["resize", "transposed"])
def test_one_definition_makes_pictures_and_volumes_of_any_side(
    dims: int, side: int, stages: int, upsampling: Any
) -> None:
    config = FAMILIES["dcgan"].Config(patch_px=side, width=2, discriminator_width=2, widest=4, upsampling=upsampling)
    assert config.doublings == stages
    shape = (1, *(side,) * dims)
    made = config.generator(shape, 0)(torch.randn(2, 100))
    assert made.shape == (2, *shape)
    assert config.discriminator(shape, 0)(made).shape == (2,)


@pytest.mark.parametrize("upsampling", ["resize", "transposed"])
def test_upsampling_has_no_checkerboard_of_its_own(upsampling: Any) -> None:
    """Constant input and weights: all points inside get the same, as they do not where the stride divides no kernel."""
    generator = Generator(2, 1, 1, side=16, widths=(1,), upsampling=upsampling, normalise=False)
    up: Any = generator.ups[0]
    for weight in up.parameters():
        nn.init.ones_(weight)
    inside = up(torch.ones(1, 1, 8, 8))[..., 2:-2, 2:-2]
    assert float(inside.detach().max() - inside.detach().min()) == 0
    uneven = nn.functional.conv_transpose2d(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 3, 3), stride=2)[..., 2:-2, 2:-2]
    assert float(uneven.max() - uneven.min()) > 0


@pytest.mark.parametrize("dims", [2, 3])
def test_spectral_normalisation_divides_by_the_largest_singular_value(dims: int) -> None:
    torch.manual_seed(0)
    critic = Discriminator(dims, 1, side=8, widths=(4, 8), spectral=True)
    for _ in range(200):  # of the power iteration
        critic(torch.randn(1, 1, *(8,) * dims))
    critic.eval()
    for layer in (*critic.downs, critic.last):
        weight: Any = layer.weight
        plain: Any = layer.parametrizations.weight.original
        largest = torch.linalg.svdvals(plain.flatten(1))[0]
        assert torch.allclose(weight, plain / largest, rtol=2e-3, atol=1e-6)


def test_values_stay_in_the_range_of_the_codec() -> None:
    model = make_model("dcgan")
    net: Any = model.net
    with torch.no_grad():
        net.generator.last.weight.mul_(1e3)
    made = next(model.sample([3]))["intensity"]
    assert (made.min(), made.max()) == (0, 255)
    assert adversarial.generate(model, [3], Condition(), (16, 16), None).abs().max() <= 3.376  # type: ignore[arg-type]


# Augmentation


def test_augmentation_with_probability_zero_changes_nothing() -> None:
    x = torch.randn(4, 1, 16, 16)
    assert torch.equal(augment(x, 0.0, tuple(KINDS), generator_of(0)), x)
    changed = augment(x, 1.0, tuple(KINDS), generator_of(0))
    assert all(not torch.equal(a, b) for a, b in zip(changed, x, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dims", [2, 3])
def test_augmentation_lets_gradients_through(kind: str, dims: int) -> None:
    x = torch.randn(2, 1, *(8,) * dims, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: augment(x, 1.0, (kind,), generator_of(0)), (x,))


def test_translation_moves_whole_samples_by_an_eighth_at_most() -> None:
    x = torch.zeros(64, 1, 16, 16)
    x[..., 8, 8] = 1
    moved = KINDS["translation"](x, generator_of(0))
    where = moved.flatten(2).argmax(dim=2).ravel()
    offsets = torch.stack([where // 16, where % 16]) - 8
    assert moved.sum() == 64
    assert offsets.abs().max() == 2
    assert {tuple(o) for o in offsets.T.tolist()} > {(2, -2), (0, 0)}
    gone = KINDS["translation"](torch.ones(64, 1, 16, 16), generator_of(0))
    assert gone.min() == 0


def test_cutout_blanks_one_square_and_brightness_keeps_the_pattern() -> None:
    cut = KINDS["cutout"](torch.ones(32, 1, 16, 16), generator_of(0))
    rows, columns = (cut == 0).any(dim=3).sum(dim=2), (cut == 0).any(dim=2).sum(dim=2)
    assert torch.equal((cut == 0).flatten(1).sum(dim=1), (rows * columns)[:, 0])
    assert rows.max() == 9
    x = torch.randn(8, 1, 16, 16, generator=generator_of(1))
    lit = KINDS["brightness"](x, generator_of(2))
    pairs = [torch.corrcoef(torch.stack([a.ravel(), b.ravel()]))[0, 1] for a, b in zip(x, lit, strict=True)]
    assert min(pairs) > 0.9999
    assert (lit.flatten(1).std(dim=1) / x.flatten(1).std(dim=1)).max() > 1.2


def test_the_probability_rises_while_the_discriminator_is_too_sure() -> None:
    p = torch.tensor(0.5)
    assert float(adapted(p, torch.tensor(0.3), part=0.1)) == pytest.approx(0.6)
    assert float(adapted(p, torch.tensor(-0.3), part=0.1)) == pytest.approx(0.4)
    assert float(adapted(p, torch.tensor(-0.3), part=0.9)) == 0
    assert float(adapted(p, torch.tensor(0.0), part=0.1)) == 0.5


def test_training_adapts_the_probability_unless_it_is_fixed() -> None:
    for wanted, end in (("adaptive", 0.4), (0.25, 0.25)):
        pair = make_pair("dcgan", augment_probability=wanted, adapt_images=10)
        pair.critic.last.bias.data.fill_(9.0)  # sure that everything is real: sign of 1
        numbers = adversarial.train_step(make_state(pair), batch_of(pair, 4), 0)
        assert float(numbers["augment_probability"]) == pytest.approx(end)


# How alike two sets are


def test_energy_distance_against_closed_forms() -> None:
    points = torch.tensor([[0.0], [1.0]])
    assert float(energy_distance(points, points)) == pytest.approx(0, abs=1e-6)
    # within: 1/2; between {0, 1} and {2, 2}: 3/2; within {2, 2}: 0
    assert float(energy_distance(points, torch.full((2, 1), 2.0))) == pytest.approx((2 * 1.5 - 0.5 - 0) / 0.5)


def test_energy_distance_of_independent_sets_is_about_two_over_n() -> None:
    sets = torch.randn(40, 64, 3, generator=generator_of(0))
    found = np.mean([float(energy_distance(a, b)) for a, b in itertools.pairwise(sets)])
    assert found == pytest.approx(2 / 64, rel=0.15)
    assert float(energy_distance(sets[0], sets[1] + 1)) > 5 * found


def test_diversity_compares_pairs_of_like_conditions() -> None:
    real, free = torch.randn(64, 5, generator=generator_of(0)), torch.zeros(64, 0)
    assert float(diversity(real, real, free)) == 1
    assert float(diversity(real, 0.5 * real, free)) == pytest.approx(0.5)
    assert float(diversity(real, real * 0, free)) == 0
    told = torch.linspace(-1, 1, 64)[:, None]
    one_each = told * torch.ones(5) * 3  # a single sample for every condition: diverse only at first sight
    assert float(diversity(real, one_each, free)) > 0.8
    assert float(diversity(real, one_each, told)) < 0.25


def textures(n: int, seed: int, *, side: int = 16, dims: int = 2) -> Tensor:
    """Smoothed noise of unit spread."""
    drawn = torch.randn(n, 1, *(side,) * dims, generator=generator_of(seed))
    pool = nn.functional.avg_pool2d if dims == 2 else nn.functional.avg_pool3d
    smooth = pool(drawn, 3, stride=1, padding=1)
    return smooth / smooth.std()


@pytest.mark.parametrize("dims", [2, 3])
def test_the_random_features_tell_textures_apart_and_nothing_else(dims: int) -> None:
    features = RandomFeatures(dims, 1)
    assert not features.state_dict()
    assert torch.equal(features.weight, RandomFeatures(dims, 1).weight)
    fine, other = features(textures(32, 0, dims=dims)), features(textures(32, 1, dims=dims))
    coarse = features(nn.functional.interpolate(textures(32, 2, side=8, dims=dims), scale_factor=2))
    assert float(energy_distance(fine, other)) < 0.2 * float(energy_distance(fine, coarse))


def batch_of(pair: Any, n: int, seed: int = 0) -> dict[str, Any]:
    dims = len(pair.model.shape) - 1
    sizes = 5 * 4 ** torch.rand(n, generator=generator_of(seed))
    return {"x": textures(n, seed, dims=dims), "scalars": {"grain_size_um": sizes}, "maps": {}}


def test_a_constant_generator_is_found_out_and_real_samples_are_not() -> None:
    pair = make_pair("dcgan")
    batch = batch_of(pair, 32)
    state = make_state(pair)
    real = float(adversarial._diversity(pair, batch["x"], textures(32, 5), torch.zeros(32, 0)))
    assert real == pytest.approx(1, abs=0.15)
    with torch.no_grad():
        pair.model.generator.first.weight.zero_()  # blind to the latent vector
    collapsed = {name: float(v) for name, v in adversarial.judge(state, batch).items()}
    assert collapsed["diversity"] < 1e-3
    fair = {"accuracy_real": 0.7, "accuracy_fake": 0.7}
    assert "collapsed" in str(adversarial.remark({**fair, **collapsed}, 0.5))
    assert adversarial.remark({**fair, **collapsed}, 0.01) is None  # a young generator is not judged
    assert adversarial.remark({**fair, "diversity": real}, 0.5) is None
    sure = {"accuracy_real": 1.0, "accuracy_fake": 0.99, "diversity": real}
    assert "discriminator" in str(adversarial.remark(sure, 0.5))


def test_what_is_held_out_is_compared_together_with_its_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Perfect textures for the wrong sizes are worse than for the right ones."""
    pair = make_pair("cdcgan")
    told = torch.linspace(0, 1, 64)
    batch = {"x": textures(64, 0) * (0.2 + told.reshape(-1, 1, 1, 1)), "scalars": {SPEC.name: 5 * 4**told}, "maps": {}}
    found = []
    for scale in (0.2 + told, 1.2 - told):
        made = textures(64, 1) * scale.reshape(-1, 1, 1, 1)
        monkeypatch.setattr(pair, "draw", lambda told, generator, made=made: made)
        found.append(float(adversarial.judge(make_state(pair), batch)["loss"]))
    assert found[1] > 3 * found[0]


# Training


def nothing(n: int) -> Told:
    """No conditions for `n` samples."""
    return Told(torch.zeros(n, 0), torch.zeros(n, 0), torch.zeros(n, 0, 1, 1))


def moved(before: dict[str, Tensor], after: dict[str, Tensor], prefix: str) -> bool:
    return any(not torch.equal(before[k], after[k]) for k in before if k.startswith(prefix))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("loss", GAMES)
@pytest.mark.parametrize("batches", ["mixed", "separate"])
def test_a_step_moves_both_sides_and_logs_finite_numbers(name: str, loss: str, batches: str) -> None:
    pair = make_pair(name, loss=loss, batches=batches, r1=0.1)
    before = {k: v.clone() for k, v in pair.state_dict().items()}
    numbers = adversarial.train_step(make_state(pair), batch_of(pair, 4), 0)
    assert all(bool(v.isfinite()) for v in numbers.values())
    assert moved(before, pair.state_dict(), "model.")
    assert moved(before, pair.state_dict(), "critic.")
    assert all(p.requires_grad for p in pair.parameters())


class Counting(TrainState):
    """Notes what the weights of either side were when it took its steps."""

    def optimizer_step(self, name: str = "net") -> None:
        self.steps.append((name, {id(p) for p in self.net.parameters() if p.grad is not None}))  # type: ignore[attr-defined]
        super().optimizer_step(name)


@pytest.mark.parametrize(("batches", "turns"), [("mixed", 1), ("mixed", 3), ("separate", 1), ("separate", 2)])
def test_the_sides_take_turns_and_only_their_own_weights_get_gradients(batches: str, turns: int) -> None:
    pair = make_pair("cdcgan", batches=batches, discriminator_steps=turns)
    plain = make_state(pair)
    state = Counting(**{f.name: getattr(plain, f.name) for f in dataclasses.fields(plain)})
    state.steps = []  # type: ignore[attr-defined]
    adversarial.train_step(state, batch_of(pair, 6), 0)
    steps: list[tuple[str, set[int]]] = state.steps  # type: ignore[attr-defined]
    per_turn = 2 if batches == "separate" else 1
    assert [name for name, _ in steps] == ["discriminator"] * (per_turn * turns) + ["generator"]
    for name, weights in steps:
        assert weights <= {id(p) for p in pair.sides()[name]}


def test_pieces_of_a_batch_give_the_gradient_of_the_whole() -> None:
    """Where memory is short, the discriminator still takes one step, with the mean gradient."""
    whole, cut = (make_pair("dcgan", augment=(), spectral=False) for _ in range(2))
    fixed = torch.randn(8, 8, generator=generator_of(3))
    batch = batch_of(whole, 8)
    gradients = []
    for pair, size in ((whole, 8), (cut, 4)):
        state, position = make_state(pair), 0
        for share, part in pieces(batch, size):
            state.share, state.last = share, False
            told = nothing(len(part["x"]))
            made = pair.model({"z": fixed[position : position + len(part["x"])]}, told).detach()
            adversarial._mixed(state, GAMES["non-saturating"], part["x"], made, told, 0)
            position += len(part["x"])
        gradients.append(torch.cat([p.grad.ravel() for p in pair.critic.parameters() if p.grad is not None]))
    assert torch.allclose(gradients[0], gradients[1], atol=1e-7)


@pytest.mark.parametrize("loss", ["non-saturating", "hinge", "wasserstein"])
def test_two_kinds_of_samples_are_learned_and_both_are_made(loss: str) -> None:
    """Flat dark and flat bright patches: the generator has to make about as many of either, and little else."""
    pair = make_pair("gan", patch_px=8, loss=loss, augment=(), spectral=False, r1=0.1, beta2=0.9, init_std=0.2)
    state, random = make_state(pair, rate=3e-3), generator_of(0)
    for step in range(300):
        kind = torch.randint(0, 2, (32, 1, 1, 1), generator=random) * 2.0 - 1
        adversarial.train_step(state, {"x": kind.expand(-1, 1, 8, 8).clone(), "scalars": {}, "maps": {}}, step)
    made = pair.draw(nothing(400), random).mean(dim=(1, 2, 3))
    near = ((made.abs() - 1).abs() < 0.4).float().mean()
    assert float(near) > 0.4  # none are, before training
    assert 0.25 < float((made > 0).float().mean()) < 0.75


# The model


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_model_reloads_to_the_same_samples_without_its_discriminator(name: str, ndim: int, tmp_path: Path) -> None:
    model = make_model(name, ndim=ndim)
    save_model(tmp_path / "m.safetensors", model)
    again = load_model(tmp_path / "m.safetensors")
    assert again.sha256 == model.sha256
    assert not [k for k in again.net.state_dict() if k.startswith(("critic", "discriminator"))]
    one, other = (list(m.sample([0, 5])) for m in (model, again))
    assert one[0].shape == (16,) * ndim
    assert all(np.array_equal(a["intensity"], b["intensity"]) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(one[0]["intensity"], one[1]["intensity"])


@pytest.mark.parametrize("name", SMALL)
def test_a_sample_does_not_depend_on_its_batch(name: str) -> None:
    model = make_model(name)
    together = {m.source["seed"]: m["intensity"] for m in model.sample(range(5), batch=4)}
    for seed in (4, 2):
        assert np.array_equal(next(model.sample([seed], batch=1))["intensity"], together[seed])
    latent = torch.randn(6, 8, generator=generator_of(0))
    net: Any = model.net
    numbers = torch.linspace(-1, 1, 6)[:, None][:, : sum(s.channels for s in model.conditions)]
    told = Told(numbers, torch.ones_like(numbers), torch.zeros(6, 0, 16, 16))
    alone = Told(told.numbers[:1], told.present[:1], told.maps[:1])
    net.train()  # not even then: nothing is normalised over the batch
    assert torch.allclose(net({"z": latent}, told)[:1], net({"z": latent[:1]}, alone), atol=1e-5)


def test_conditions_matter_and_may_be_left_out() -> None:
    model = make_model("cdcgan")
    made = [next(model.sample([1], c))["intensity"] for c in (*(Condition({SPEC.name: v}) for v in (5, 20)), None)]
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(made, 2))
    strict = make_model("cdcgan", condition_dropout=0.0)
    with pytest.raises(InputError, match="must be told grain_size_um"):
        strict.request()


def test_what_a_gan_cannot_do_is_refused_in_one_sentence() -> None:
    model = make_model("dcgan")
    with pytest.raises(InputError, match="makes samples of 16x16 points only, not of 32x16"):
        model.request(shape=(32, 16))
    with pytest.raises(InputError, match="one pass"):
        model.request(steps=5)
    with pytest.raises(InputError, match="no periodic samples"):
        model.request(periodic=True)
    with pytest.raises(InputError, match="grain_size_um"):
        model.request(Condition({SPEC.name: 10.0}))
    assert set(model.request(preset="fast").to_dict()["options"]) == {"precision"}
    drawn = ConditionSpec("orientation_deg", "map", 0, 180, "axial")
    with pytest.raises(InputError, match="move orientation_deg from maps to scalars"):
        FAMILIES["cdcgan"].build(FAMILIES["cdcgan"].Config(), codec=codec_of(), conditions=(drawn,))
    with pytest.raises(ValueError, match="cannot be halved 5 times"):
        FAMILIES["dcgan"].Config(patch_px=48, stages=5)


class Textures:
    """Smoothed noise that is darker for larger grains."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset

    def batch(self, rng: np.random.Generator, n: int) -> dict[str, Any]:
        sizes = 5 * 4 ** rng.uniform(size=n)
        field = textures(n, int(rng.integers(2**31))).numpy() - np.log(sizes / 10).reshape(-1, 1, 1, 1)
        return {"field": field.astype(np.float32), "scalars": {SPEC.name: sizes}, "maps": {}}


def fit(run: Path, *, images: int, stop: int | None = None, name: str = "cdcgan") -> Any:
    pair = make_pair(name, adapt_images=640)
    pair.probability.fill_(0.5)
    family = FAMILIES[name]
    job = Job(family, pair, torch.from_numpy, Textures(), held_out=Textures(1))
    values = {**family.TRAIN, "images": images, "batch": 8, "log_images": 8, "precision": "fp32", "validations": 4}
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
    whole = fit(tmp_path / "whole", images=96)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", images=96, stop=40)
    cut = fit(tmp_path / "cut", images=96)
    tensors = [pack(t.net, t.average, t.state.optimizers) for t in (whole, cut)]
    assert tensors[0].keys() == tensors[1].keys()
    assert [name for name in tensors[0] if not torch.equal(tensors[0][name], tensors[1][name])] == []
    sides = {name.split("/")[1] for name in tensors[0] if name.startswith("optimizer/")}
    assert sides == {"generator", "discriminator"}
    assert 0 < float(whole.net.probability) < 1
    logs = [(tmp_path / run / "log.jsonl").read_text() for run in ("whole", "cut")]
    assert logs[0] == logs[1]
    assert {"held_out_loss", "held_out_diversity"} <= set(whole.counters.latest)


# As users train it


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures with a temperature and a plan made for diffusion."""
    out = tmp_path_factory.mktemp("gan")
    items = []
    for i in range(6):
        values = np.clip(128 + 40 * textures(1, i, side=48)[0, 0].numpy(), 0, 255).astype(np.uint8)
        picture = Microstructure({"intensity": values}, (1.0, 1.0), scalars={"anneal_K": 900.0 + i})
        items.append(Item(f"{i}.png", picture, f"s{i}", "held_out" if i == 5 else "train"))
    write_dataset(out / "steel.h5", items, {"made_by": "test"})
    conditions = ConditionsPlan(scalars=("anneal_K",), ranges={"anneal_K": Range(low=900, high=905)})
    plan = Plan(data=DataPlan(spacing_um=1.0, patch_px=16), conditions=conditions, train=TrainPlan(precision="fp32"))
    write_plan(plan_path(out / "steel.h5"), plan)
    return out / "steel.h5"


def test_what_suits_the_family_takes_the_place_of_a_plan_for_another_one(data: Path) -> None:
    chosen = resolve(data, plan=None, settings=["model.family=cdcgan", "train.batch=24"])
    assert (chosen.train.learning_rate, chosen.train.batch, chosen.train.decay) == (1e-3, 24, "none")
    assert (chosen.plan.train.learning_rate, chosen.plan.train.batch) == (1e-3, 24)  # so the run's plan says it
    mine = chosen.plan.model_copy(update={"train": chosen.plan.train.model_copy(update={"learning_rate": 3e-4})})
    again = resolve(data, plan=mine)
    assert (again.train.learning_rate, again.train.decay) == (3e-4, "none")  # a plan of the family counts as written
    plain = resolve(data, plan=None)
    assert (plain.train.learning_rate, plain.train.decay) == (8e-4, "cosine")
    with pytest.raises(InputError, match="loss"):
        resolve(data, plan=None, settings=["model.family=dcgan", "model.loss=square"])


@pytest.mark.parametrize("name", ["dcgan", "cdcgan"])
def test_train_and_sample_from_start_to_end(name: str, data: Path, tmp_path: Path) -> None:
    small = [f"model.{key}={value}" for key, value in SMALL[name].items()]
    budget = ["train.images=64", "train.batch=8", "train.validations=2", "train.previews=1"]
    result = train(data, tmp_path / "run", settings=[f"model.family={name}", *small, *budget], say=lambda text: None)
    assert result["held_out_loss"] >= 0
    assert list((tmp_path / "run" / "samples").glob("*.png"))
    model = load_model(result["model"])
    assert [spec.name for spec in model.conditions] == (["anneal_K"] if name == "cdcgan" else [])
    wanted = [Condition({"anneal_K": 902.0})] if name == "cdcgan" else []
    sample_to_folder(result["model"], tmp_path / "out", [0, 7], conditions=wanted)
    files = sorted((tmp_path / "out").rglob("*.png"))
    assert len(files) == 2
    recipe = io.read_recipe(files[-1])
    assert recipe is not None
    again = remake(recipe, files[-1].parent)
    assert np.array_equal(again["intensity"], io.read(files[-1])[0]["intensity"])
