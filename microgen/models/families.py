"""The table of model families: one module each, with the same five names and no base class.

Config
    Configuration (:class:`microgen.core.config.Config`), kept in the model file as JSON.
build(config, *, codec, conditions)
    The untrained network.
train_step(state, batch, step)
    One training step; returns the numbers to log.
check(model, condition, shape, options)
    The sampling options with what the model decides filled in; InputError for what it cannot do.
generate(model, seeds, condition, shape, options)
    One encoded sample per seed, a tensor ``(B, C, *S)``; all randomness from the seeds
    (:class:`microgen.models.noise.SeedNoise`).

What a family may have besides:

STEPWISE
    False where a sample is made in one pass; its check is :func:`microgen.models.options.in_one_pass`.
FIXED_SIZE
    True where samples have the size of a training patch and no other.
"""

from __future__ import annotations

from types import ModuleType

from microgen.models import diffusion

FAMILIES: dict[str, ModuleType] = {"diffusion": diffusion}
"""Families by name."""
