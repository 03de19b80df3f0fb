"""Consistency: a diffusion model taught to jump to the end in one evaluation, for samples in 1 to 4 evaluations.

Along the probability flow of a diffusion model every noisy field leads to one clean field. The network learns this
consistency function ``f(x, sigma)`` from a teacher: what it makes of a field shall be what it makes of the field that
the teacher's own solver steps to, one noise level lower (Song et al. 2023, Algorithm 2, doi:10.48550/arXiv.2303.01469).
It starts from the teacher's weights, whose preconditioning is the identity at sigma = 0, as it must be.

Shapes: B batch, C field channels, S spatial axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from microgen.core import Condition, ConditionSpec, InputError
from microgen.models import diffusion, schedules
from microgen.models.codec import Codec
from microgen.models.conditions import Told, encode_conditions, kept, summary, tell
from microgen.models.gan_losses import conditional_distance
from microgen.models.guidance import with_maps
from microgen.models.latents import Latents, white
from microgen.models.options import OnePass, SampleOptions, one_pass
from microgen.models.samplers import Denoise
from microgen.nets.features import RandomFeatures

if TYPE_CHECKING:
    from microgen.models.model import Model

BASE = "teacher"
TRAIN = {"images": 8_000, "learning_rate": 5e-4, "warmup": 500, "ema_halflife_images": 1_000}
STEPS = 2
"""Evaluations of a sample where nothing is said: more did not measure better."""
AFTER_FIRST = (2.0, 0.8, 0.3)
"""Noise levels of the evaluations after the first, in standard deviations of the data."""
PARTS = ("noise", "noise_2", "noise_3", "noise_4")
"""Parts of a latent: the noise to start from, and what is added before each further evaluation."""


class Config(diffusion.Config):
    """The network, which is the teacher's, and how it learns from it."""

    teacher: str = Field("", description="trained model of the family diffusion: its file or run folder")
    teacher_sha256: str = Field("", description="content of that file; filled in when training starts")
    levels: int = Field(10, ge=2, description="noise levels between which the teacher steps")
    lowest: float = Field(0.05, gt=0, description="the lowest of them, from which the last step leads to 0")
    highest: float = Field(20.0, gt=0, description="the highest of them, where samples start")
    huber: float = Field(
        0.03, gt=0, description="differences of what the network predicts count by their square below this"
    )

    @property
    def grid(self) -> Tensor:
        """Rising noise levels between which the teacher steps, float32 ``(levels + 1,)``, the first of them 0."""
        return schedules.exponential(self.levels, self.lowest, self.highest).flip(0).float()


class Pair(nn.Module):
    """The model and its teacher, which learns nothing.

    Parameters
    ----------
    model, teacher
        Networks of one configuration.
    dims
        2 for pictures, 3 for volumes.
    """

    def __init__(self, model: diffusion.Network, teacher: diffusion.Network, *, dims: int) -> None:
        super().__init__()
        self.model, self.teacher = model, teacher.requires_grad_(requires_grad=False)
        self.features = RandomFeatures(dims, model.channels)


def completed(config: Config, base: Model, conditions: Sequence[ConditionSpec]) -> Config:
    """Take the network over from the teacher.

    Raises
    ------
    InputError
        If it is no diffusion model preconditioned as EDM, was asked for other conditions, or has changed.
    """
    if base.family != "diffusion" or base.config["parameterisation"] != "edm":
        raise InputError(
            f"the family consistency learns from a model of the family diffusion with parameterisation edm; "
            f"{config.teacher} is of the family {base.family}"
            + (f" with parameterisation {base.config['parameterisation']}" if base.family == "diffusion" else "")
        )
    if list(base.conditions) != list(conditions):
        mine, its = (", ".join(map(str, specs)) or "nothing" for specs in (conditions, base.conditions))
        raise InputError(
            f"the teacher {config.teacher} was told {its}, the plan tells {mine}; train both with one plan"
        )
    if config.teacher_sha256 not in ("", base.sha256):
        raise InputError(f"the teacher {config.teacher} is not the one that this plan names; use another run folder")
    taken = {key: base.config[key] for key in _NETWORK}
    return Config(**{**config.model_dump(), **taken, "dropout": 0.0, "teacher_sha256": base.sha256})


_NETWORK = ("parameterisation", "channels", "blocks", "embedding", "fold", "circular", "sigma_min", "sigma_max")


def begin(net: Pair, base: Model) -> None:
    """Give model and teacher the weights of the trained model."""
    for one in (net.model, net.teacher):
        one.load_state_dict(base.net.state_dict())


def build(config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> diffusion.Network:
    """Make the network for a codec and its conditions; seed torch first to fix the weights."""
    return diffusion.build(config, codec=codec, conditions=conditions)


def build_trained(config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> Pair:
    """Make model and teacher; :func:`begin` gives them their weights."""
    model, teacher = (build(config, codec=codec, conditions=conditions) for _ in range(2))
    return Pair(model, teacher, dims=codec.ndim)


def model_of(trained: nn.Module) -> nn.Module:
    """Return the model of a :class:`Pair`."""
    made: nn.Module = trained.get_submodule("model")
    return made


def train_step(state: Any, batch: Mapping[str, Any], step: int) -> dict[str, Tensor]:
    """Learn from one batch: noise it, let the teacher step down, and jump to the same end from before and after.

    Parameters
    ----------
    state, batch
        As for :func:`microgen.models.diffusion.train_step`.
    """
    pair, x = state.net, batch["x"]
    config = pair.model.config
    shown = kept(len(pair.model.conditions), len(x), config.condition_dropout, state.generator)
    told = encode_conditions(pair.model.conditions, batch["scalars"], batch["maps"], like=x, kept=shown)
    jump, teach = (_with(net, told, state) for net in (pair.model, pair.teacher))
    grid, index = config.grid.to(x), _drawn(config.levels, len(x), state.generator)
    noise = torch.randn(x.shape, generator=state.generator, device=x.device)
    noisy = x + _spread(grid[index], x) * noise
    with torch.no_grad():
        target = landing(jump, teach, noisy, grid[index], grid[index - 1])
    # in units of what the network itself predicts: else low noise levels, whose changes are small, are forgotten
    unit = _spread(pair.model.precondition.weight(grid[index]).sqrt(), x)
    loss = pseudo_huber(unit * (jump(noisy, grid[index]) - target), config.huber).mean()
    state.backward(loss)
    state.optimizer_step()
    return {"loss": loss.detach()}


def landing(jump: Denoise, teach: Denoise, x: Tensor, high: Tensor, low: Tensor) -> Tensor:
    """Return where `jump` leads after the teacher has stepped from noise level `high` to `low` (Heun's method).

    Parameters
    ----------
    jump, teach
        The consistency function as it is now, and the denoiser of the teacher.
    x
        Noisy fields ``(B, C, *S)``.
    high, low
        Noise levels ``(B,)``; at 0 the teacher has arrived.
    """
    s, t = _spread(high, x), _spread(low, x)
    slope = (x - teach(x, high)) / s
    ahead = x + (t - s) * slope
    floor = high / 1e3  # where t is 0 nothing is asked, but the network is called for the whole batch
    again = (ahead - teach(ahead, low.maximum(floor))) / t.clamp_min(1e-12)
    stepped = torch.where(t > 0, x + (t - s) * (slope + again) / 2, ahead)
    return torch.where(t > 0, jump(stepped, low.maximum(floor)), stepped)


def pseudo_huber(difference: Tensor, width: float) -> Tensor:
    """Return ``sqrt(d^2 + width^2) - width`` of each field ``(B,)``, d being the root mean square of `difference`.

    The metric of Song & Dhariwal 2024 (Eq. 8, doi:10.48550/arXiv.2310.14189), here by point of the grid.
    """
    return (difference.float().square().flatten(1).mean(dim=1) + width**2).sqrt() - width


@torch.no_grad()
def judge(state: Any, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Compare samples with held-out crops of the same conditions: the loss says little about quality.

    Returns
    -------
    dict
        ``loss``: the distance of :func:`~microgen.models.gan_losses.conditional_distance`, 0 for the same set, of
        samples in :data:`STEPS` evaluations; ``one_step``: in a single one.
    """
    pair, real = state.net, batch["x"]
    told = encode_conditions(pair.model.conditions, batch["scalars"], batch["maps"], like=real)
    noises = [torch.randn(real.shape, generator=state.generator, device=real.device) for _ in range(STEPS)]
    jump, numbers = _with(pair.model, told, state), summary(pair.model.conditions, told)
    distances = [
        conditional_distance(pair.features(real), pair.features(multistep(jump, some, pair.model.config)), numbers)
        for some in (noises, noises[:1])
    ]
    return dict(zip(("loss", "one_step"), distances, strict=True))


def check(model: Model, condition: Condition, shape: Sequence[int], options: SampleOptions) -> OnePass:
    """Return `options` with what the model decides filled in.

    Raises
    ------
    InputError
        For more steps than there are :data:`PARTS`, and for options that mean nothing to so few.
    """
    diffusion.check_told(model, condition)
    steps, most = options.steps or STEPS, len(PARTS)
    if steps > most:
        raise InputError(f"a model of the family {model.family} takes 1 to {most} steps, not {steps}")
    return one_pass(options.model_copy(update={"steps": steps}), model.family, understood=("steps", "window"))


def generate(
    model: Model, seeds: Sequence[int], condition: Condition, shape: Sequence[int], options: SampleOptions
) -> Tensor:
    """Make one encoded sample ``(B, C, *S)`` per seed; see :meth:`microgen.models.model.Model.sample`."""
    latents = white(seeds, dict.fromkeys(_parts(options), (model.codec.channels, *shape)), model.device)
    told = tell(model.conditions, [condition] * len(seeds), like=latents[PARTS[0]])
    return decode(model, latents, told, shape, options)


def latent_shapes(model: Model, shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each part of the latent of one sample in :data:`STEPS` evaluations."""
    return dict.fromkeys(PARTS[:STEPS], (model.codec.channels, *shape))


def decode(model: Model, latents: Latents, told: Told, shape: Sequence[int], options: SampleOptions) -> Tensor:
    """Make encoded samples ``(B, C, *S)`` of latents, differentiably.

    Raises
    ------
    InputError
        If there is no noise for one of the steps.
    """
    net: Any = model.net
    missing = [name for name in _parts(options) if name not in latents]
    if missing:
        raise InputError(f"{options.steps} steps need white noise in the latent named {', '.join(missing)}")
    noises = [latents[name] for name in _parts(options)]
    return multistep(diffusion.guided_denoiser(model, told, shape, options), noises, net.config)


def _parts(options: SampleOptions) -> tuple[str, ...]:
    return PARTS[: options.steps or STEPS]


def multistep(jump: Denoise, noises: Sequence[Tensor], config: Config) -> Tensor:
    """Jump to the end, add noise, jump again (Song et al. 2023, Algorithm 1): as often as there are `noises`.

    Parameters
    ----------
    jump
        Consistency function ``f(x, sigma)``.
    noises
        White noise ``(B, C, *S)`` of unit variance for each evaluation.
    """
    levels = (config.highest, *AFTER_FIRST[: len(noises) - 1])
    made = torch.zeros_like(noises[0])
    for noise, level in zip(noises, levels, strict=True):
        made = jump(made + level * noise, made.new_tensor(level))
    return made


def _drawn(levels: int, batch: int, generator: torch.Generator) -> Tensor:
    """Draw a row of the grid from 1 on for each crop, one in each of `batch` equal parts: a quieter loss."""
    u = torch.rand(batch, generator=generator, device=generator.device)
    place = (torch.arange(batch, device=generator.device) + u) / batch
    return 1 + (place * levels).long().clamp(max=levels - 1)


def _with(net: diffusion.Network, told: Told, state: Any) -> Denoise:
    """Denoiser of `net` with its conditions built in."""
    return with_maps(diffusion.denoiser(net, told, autocast=state.autocast), told.maps)


def _spread(level: Tensor, x: Tensor) -> Tensor:
    return level.to(x).reshape(-1, *(1,) * (x.ndim - 1))
