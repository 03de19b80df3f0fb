"""What all GANs share: two networks that learn from each other, how they take turns, and how the result is judged.

Goodfellow et al. 2014 (doi:10.48550/arXiv.1406.2661); defaults of Radford et al. 2016 (DCGAN,
doi:10.48550/arXiv.1511.06434): Adam with a rate of 2e-4 and beta1 0.5,
weights from N(0, 0.02), leaky rectifiers of 0.2.

Shapes: B batch, C field channels, E embedding, L latent numbers, N scalar numbers, S spatial axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from microgen.core import Condition, ConditionSpec, InputError
from microgen.core import config as core_config
from microgen.models import gan_augment as augmenting
from microgen.models.codec import Codec
from microgen.models.conditions import Told, encode_conditions, kept, summary, tell
from microgen.models.gan_losses import (
    GAMES,
    Game,
    accuracies,
    conditional_distance,
    diversity,
    gradient_penalty,
    r1_penalty,
)
from microgen.models.latents import Latents, white
from microgen.models.options import SampleOptions, one_pass
from microgen.nets import Embedding
from microgen.nets.features import RandomFeatures
from microgen.nets.gan import initialise

if TYPE_CHECKING:
    from microgen.models.model import Model

TRAIN: Mapping[str, Any] = {
    "batch": 16,
    "learning_rate": 2e-4,
    "warmup": 0,
    "decay": "none",
    "clip_norm": 1e6,
    "ema_halflife_images": 10_000,
}
"""Settings of the loop: a constant rate, and no clipping, as in the papers."""
COLLAPSED = 0.3
"""Diversity below which a generator counts as collapsed."""
BEATEN = 0.98
"""Accuracy of the discriminator on both sides above which the generator learns nothing from it."""
EARLY = 0.1
"""Part of a run in which a generator is not judged yet."""


class Settings(core_config.Config):
    """What the configurations of all GANs share."""

    patch_px: int = Field(64, ge=8, description="side of a sample: that of a training crop")
    latent: int = Field(100, ge=1, description="length of the latent vector")
    embedding: int = Field(128, ge=8, description="length of the vector that carries the conditions")
    condition_dropout: float = Field(0.1, ge=0, le=1, description="share of crops shown without condition")
    loss: Literal["non-saturating", "hinge", "least-squares", "wasserstein"] = Field("non-saturating")
    gradient_penalty: float | None = Field(None, ge=0, description="WGAN-GP; default 10 for wasserstein, else 0")
    r1: float = Field(0.0, ge=0, description="penalty on gradients at real samples")
    discriminator_steps: int = Field(1, ge=1, description="steps of the discriminator per step, each on its own crops")
    batches: Literal["mixed", "separate"] = Field("mixed", description="separate: a step on real, one on generated")
    augment: tuple[Literal["translation", "cutout", "brightness"], ...] = ("translation", "cutout", "brightness")
    augment_probability: Literal["adaptive"] | float = Field("adaptive", description="adaptive, or fixed 0 .. 1")
    adapt_images: int = Field(20_000, ge=1, description="images in which the probability can go from 0 to 1")
    beta1: float = Field(0.5, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    discriminator_rate: float = Field(1.0, gt=0, description="learning rate of the discriminator over the generator's")
    init_std: float = Field(0.02, gt=0, description="standard deviation of the first weights")
    discriminator_dropout: float = Field(0.0, ge=0, lt=1)
    spectral: bool = Field(False, description="spectral normalisation of the discriminator")

    def generator(self, shape: Sequence[int], embedding: int) -> nn.Module:
        """Make the network from latents ``(B, L)`` and an embedding, None if of length 0, to ``(B, *shape)``."""
        raise NotImplementedError

    def discriminator(self, shape: Sequence[int], embedding: int) -> nn.Module:
        """Make the network from ``(B, *shape)`` and an embedding to logits ``(B,)``."""
        raise NotImplementedError


class Network(nn.Module):
    """The model: a generator with its conditions, whose values stay in the range of the codec by a tanh."""

    PAINTED: ClassVar[bool] = False
    """Whether it can be told maps."""

    def __init__(self, config: Settings, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> None:
        super().__init__()
        drawn = [c.name for c in conditions if c.kind == "map"]
        if drawn and not self.PAINTED:
            raise InputError(f"a GAN takes one number per sample; move {', '.join(drawn)} from maps to scalars")
        self.config, self.conditions = config, tuple(conditions)
        self.shape = (codec.channels, *(config.patch_px,) * codec.ndim)
        numbers = sum(c.channels for c in conditions)
        wide = config.embedding if numbers else 0
        self.generator = config.generator(self.shape, wide)
        initialise(self.generator, config.init_std)
        self.embedding = Embedding(numbers, wide) if numbers else None
        low, high = ((end - codec.offset) / codec.scale for end in (codec.low, codec.high))
        self.middle, self.reach = (low + high) / 2, (high - low) / 2

    def forward(self, latents: Latents, told: Told) -> Tensor:
        """Return encoded samples ``(B, C, *S)``."""
        embedded = self.embedding(told.numbers, told.present) if self.embedding is not None else None
        raw: Tensor = self.generator(latents["z"], embedded)
        return self.bounded(raw)

    def latent_shapes(self, grid: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Return the shape of each part of the latent of a sample on a grid."""
        return {"z": (self.config.latent,)}

    def bounded(self, raw_BCS: Tensor) -> Tensor:
        """Keep samples within the range of the codec."""
        return self.middle + self.reach * raw_BCS.float().tanh()


class Pair(nn.Module):
    """What is trained: the model, its discriminator, and the probability of augmentation.

    A family with a game of its own derives from it and changes :meth:`draw`, :meth:`penalty` or :meth:`generator_loss`.

    Parameters
    ----------
    config
        That of the family.
    model
        Its generator; default is the :class:`Network` that `config` describes.
    """

    def __init__(
        self, config: Settings, *, codec: Codec, conditions: Sequence[ConditionSpec], model: Network | None = None
    ) -> None:
        super().__init__()
        self.config, self.conditions = config, tuple(conditions)
        self.model = model or Network(config, codec=codec, conditions=conditions)
        wide = config.embedding if conditions else 0
        self.critic = config.discriminator(self.model.shape, wide)
        initialise(self.critic, config.init_std)
        self.embedding = Embedding(sum(c.channels for c in conditions), wide) if conditions else None
        self.features = RandomFeatures(codec.ndim, codec.channels)
        fixed = config.augment_probability
        self.probability: Tensor
        self.register_buffer("probability", torch.tensor(0.0 if fixed == "adaptive" else fixed))

    def latents(self, told: Told, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw one latent per condition."""
        shapes, device = self.model.latent_shapes(self.model.shape[1:]), told.numbers.device
        batch = len(told.numbers)
        return {n: torch.randn((batch, *s), generator=generator, device=device) for n, s in shapes.items()}

    def draw(self, told: Told, generator: torch.Generator) -> Tensor:
        """Generate one sample per condition."""
        made: Tensor = self.model(self.latents(told, generator), told)
        return made

    def logits(self, x_BCS: Tensor, told: Told) -> Tensor:
        """Return the discriminator's logits ``(B,)``, or ``(B, ...)`` where it judges place by place."""
        embedded = self.embedding(told.numbers, told.present) if self.embedding is not None else None
        result: Tensor = self.critic(x_BCS, embedded).float()
        return result

    def penalty(self, state: Any, real: Tensor, fake: Tensor, told: Told, step: int) -> Tensor:
        """Return what is added to the loss of the discriminator; in full precision: gradients of gradients."""
        config = self.config
        usual = 10.0 if config.loss == "wasserstein" else 0.0
        strength = usual if config.gradient_penalty is None else config.gradient_penalty
        total = real.new_zeros(())

        def score(x_BCS: Tensor) -> Tensor:
            return self.logits(x_BCS, told).reshape(len(x_BCS), -1).mean(dim=1)

        if strength:
            part = torch.rand(len(real), generator=state.generator, device=real.device)
            total = total + strength * gradient_penalty(score, real, fake, part)
        if config.r1:
            total = total + config.r1 * r1_penalty(score, real)
        return total

    def generator_loss(self, state: Any, told: Told, step: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return samples, the loss of the generator, and further numbers to log."""
        with state.autocast():
            made = self.draw(told, state.generator)
            logits = self.logits(self.augmented(made, state.generator), told)
        return made, GAMES[self.config.loss].generator(logits), {}

    def sides(self) -> dict[str, list[nn.Parameter]]:
        """Return the weights of both sides."""
        mine = list(self.model.parameters())
        other = {id(p) for p in mine}
        return {"generator": mine, "discriminator": [p for p in self.parameters() if id(p) not in other]}

    def augmented(self, x_BCS: Tensor, generator: torch.Generator) -> Tensor:
        """Return the samples as the discriminator gets to see them."""
        if not self.config.augment or self.config.augment_probability == 0:
            return x_BCS
        return augmenting.augment(x_BCS, self.probability, self.config.augment, generator)


def build(config: Settings, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> Network:
    """Make the generator; seed torch first to fix the weights."""
    return Network(config, codec=codec, conditions=conditions)


def build_trained(config: Settings, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> Pair:
    """Make generator and discriminator; seed torch first to fix the weights."""
    return Pair(config, codec=codec, conditions=conditions)


def model_of(trained: nn.Module) -> nn.Module:
    """Return the generator of a :class:`Pair`."""
    made: nn.Module = trained.get_submodule("model")
    return made


def make_optimizers(net: nn.Module, learning_rate: float) -> dict[str, Optimizer]:
    """Adam for either side."""
    pair: Any = net
    config: Settings = pair.config
    rates = {"generator": learning_rate, "discriminator": learning_rate * config.discriminator_rate}
    betas = (config.beta1, config.beta2)
    return {side: Adam(weights, lr=rates[side], betas=betas, fused=True) for side, weights in pair.sides().items()}


def train_step(state: Any, batch: Mapping[str, Any], step: int) -> dict[str, Tensor]:
    """Let the discriminator learn from the crops of a batch, then the generator from the discriminator.

    Parameters
    ----------
    state
        See :class:`microgen.train.state.TrainState`; optimisers ``"discriminator"`` and ``"generator"``.
    batch
        ``x`` encoded fields ``(B, C, *S)``; ``scalars`` ``{name: (B,)}`` in physical units.
    """
    pair, real = state.net, batch["x"]
    shown = kept(len(pair.conditions), len(real), pair.config.condition_dropout, state.generator)
    told = encode_conditions(pair.conditions, batch["scalars"], batch.get("maps", {}), like=real, kept=shown)
    turns = pair.config.discriminator_steps
    numbers = [
        _discriminate(state, some, Told(*part), step)
        for some, *part in zip(*(t.chunk(turns) for t in (real, told.numbers, told.present, told.maps)), strict=True)
    ]
    made, loss, further = _generate(state, told, step)
    means = {name: torch.stack([n[name] for n in numbers]).mean() for name in numbers[0]}
    _adapt(state, means.pop("sign"), images=len(real) / state.share)
    spread = _diversity(pair, real, made, summary(pair.conditions, told))
    return {"loss": loss, **means, **further, "diversity": spread, "augment_probability": pair.probability.clone()}


def _discriminate(state: Any, real: Tensor, told: Told, step: int) -> dict[str, Tensor]:
    pair, game = state.net, GAMES[state.net.config.loss]
    with torch.no_grad(), state.autocast():
        fake = pair.draw(told, state.generator)
    real, fake = (pair.augmented(x, state.generator) for x in (real, fake))
    both = _separate if pair.config.batches == "separate" else _mixed
    loss, of_real, of_fake = both(state, game, real, fake, told, step)
    right_real, right_fake = accuracies(game, of_real, of_fake)
    border = (of_real.mean() + of_fake.mean()) / 2 if game.border is None else game.border
    return {
        "loss_discriminator": loss,
        "accuracy_real": right_real,
        "accuracy_fake": right_fake,
        "sign": (of_real - border).sign().mean(),
    }


def _mixed(state: Any, game: Game, real: Tensor, fake: Tensor, told: Told, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """One step on real and generated samples together."""
    with state.autocast():
        of_real, of_fake = state.net.logits(torch.cat([real, fake]), _twice(told)).chunk(2)
    loss = game.real(of_real) + game.fake(of_fake)
    state.backward(loss + state.net.penalty(state, real, fake, told, step))
    state.optimizer_step("discriminator")
    return loss.detach(), of_real.detach(), of_fake.detach()


def _separate(
    state: Any, game: Game, real: Tensor, fake: Tensor, told: Told, step: int
) -> tuple[Tensor, Tensor, Tensor]:
    """A step on real samples, then one on generated samples."""
    with state.autocast():
        of_real = state.net.logits(real, told)
    loss = game.real(of_real)
    state.backward(loss + state.net.penalty(state, real, fake, told, step))
    state.optimizer_step("discriminator")
    with state.autocast():
        of_fake = state.net.logits(fake, told)
    other = game.fake(of_fake)
    state.backward(other)
    state.optimizer_step("discriminator")
    return (loss + other).detach(), of_real.detach(), of_fake.detach()


def _generate(state: Any, told: Told, step: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    pair = state.net
    frozen = pair.sides()["discriminator"]
    for weight in frozen:
        weight.requires_grad_(requires_grad=False)
    made, loss, further = pair.generator_loss(state, told, step)
    state.backward(loss)
    for weight in frozen:
        weight.requires_grad_(requires_grad=True)
    state.optimizer_step("generator")
    return made.detach(), loss.detach(), further


def _adapt(state: Any, sign: Tensor, *, images: float) -> None:
    config, pair = state.net.config, state.net
    if config.augment_probability != "adaptive" or not state.last:
        return
    agreed = state.reduce(sign.reshape(1))[0] if state.reduce is not None else sign
    excess, part = agreed - augmenting.TARGET, images / config.adapt_images
    pair.probability.copy_(augmenting.adapted(pair.probability, excess, part=part))


def _twice(told: Told) -> Told:
    return Told(*(torch.cat([t, t]) for t in (told.numbers, told.present, told.maps)))


@torch.no_grad()
def _diversity(pair: Pair, real: Tensor, made: Tensor, numbers: Tensor) -> Tensor:
    """Diversity of textures or of layouts, whichever is less."""
    views = (pair.features, pair.features.layout)
    return torch.stack([diversity(view(real), view(made), numbers) for view in views]).min()


@torch.no_grad()
def judge(state: Any, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Compare generated samples with held-out ones of the same conditions; losses of a game say nothing about quality.

    Returns
    -------
    dict
        ``loss``: the energy distance of random texture features together with the conditions
        (:func:`~microgen.models.gan_losses.conditional_distance`), 0 for sets that are the same; ``diversity``.
    """
    pair, real = state.net, batch["x"]
    told = encode_conditions(pair.conditions, batch["scalars"], batch.get("maps", {}), like=real)
    with state.autocast():
        made = pair.draw(told, state.generator)
    numbers = summary(pair.conditions, told)
    distance = conditional_distance(pair.features(real), pair.features(made), numbers)
    return {"loss": distance, "diversity": _diversity(pair, real, made, numbers)}


def remark(values: Mapping[str, float], part: float) -> str | None:
    """Say in one sentence what is going wrong, if it is.

    Parameters
    ----------
    values
        Mean numbers of some steps.
    part
        Part of the run that is done.
    """
    if part < EARLY:
        return None
    if values["diversity"] < COLLAPSED:
        return (
            f"the generator has collapsed: its samples differ among themselves {values['diversity']:.0%} as much as "
            "real crops; train again with a higher model.r1, another model.loss, or longer"
        )
    if min(values["accuracy_real"], values["accuracy_fake"]) > BEATEN:
        return (
            "the discriminator tells nearly every sample from a real crop, so the generator learns little; "
            "lower model.discriminator_rate or raise model.r1"
        )
    return None


def check(model: Model, condition: Condition, shape: Sequence[int], options: SampleOptions) -> SampleOptions:
    """Return `options` with what the model decides filled in.

    Raises
    ------
    InputError
        For another size than that of a training patch, options that mean nothing without steps, and conditions that
        must be given.
    """
    net: Any = model.net
    if tuple(shape) != tuple(model.patch):
        size, wanted = ("x".join(map(str, s)) for s in (model.patch, shape))
        raise InputError(
            f"a model of the family {model.family} makes samples of {size} points only, not of {wanted}; "
            "leave the size out, or train the family diffusion, which makes any size"
        )
    missing = [c.name for c in net.conditions if c.name not in condition.scalars]
    if missing and not net.config.condition_dropout:
        raise InputError(f"this model was trained with condition_dropout = 0 and must be told {', '.join(missing)}")
    if options.periodic:
        raise InputError(f"a model of the family {model.family} makes no periodic samples; train the family diffusion")
    return one_pass(options, model.family)


def generate(
    model: Model, seeds: Sequence[int], condition: Condition, shape: Sequence[int], options: SampleOptions
) -> Tensor:
    """Make one encoded sample ``(B, C, *S)`` per seed; see :meth:`microgen.models.model.Model.sample`."""
    latents = white(seeds, latent_shapes(model, shape), model.device)
    like = torch.zeros((len(seeds), model.codec.channels, *shape), device=model.device)
    return decode(model, latents, tell(model.conditions, [condition] * len(seeds), like=like), shape, options)


def latent_shapes(model: Model, shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each part of the latent of one sample."""
    net: Any = model.net
    shapes: dict[str, tuple[int, ...]] = net.latent_shapes(shape)
    return shapes


def decode(model: Model, latents: Latents, told: Told, shape: Sequence[int], options: SampleOptions) -> Tensor:
    """Make encoded samples ``(B, C, *S)`` of latents, differentiably."""
    made: Tensor = model.net(latents, told)
    return made
