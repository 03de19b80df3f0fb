"""The table of model families: one module each, with the same seven names and no base class.

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
latent_shapes(model, shape)
    Shape of each part of the latent of one sample on a grid, by name; all parts are white noise
    (:mod:`microgen.models.latents`).
decode(model, latents, told, shape, options)
    The encoded samples ``(B, C, *S)`` of latents and conditions (:class:`microgen.models.conditions.Told`),
    differentiable in both. ``generate`` of a seed is ``decode`` of its latent.

What a family may have besides:

TRAIN
    Settings of the training loop (:class:`microgen.train.config.TrainConfig`) that suit it better than those of a plan
    made for another family.
MODEL
    The same for the ``[model]`` table of such a plan.
CONDITIONAL
    False where it cannot be asked for anything; the conditions of the plan are then left out.
build_trained(config, *, codec, conditions), model_of(trained)
    The network that is trained, where that is more than the model, and the part of it that is the model.
BASE, completed(config, base, conditions), begin(net, base)
    For a family that starts from a trained model, such as a teacher or an autoencoder: the name of the setting that
    holds its file or run folder (a text, "" where it is not given); the configuration with all that this
    :class:`~microgen.models.model.Model` decides filled in, its ``sha256`` too, or InputError where it does not fit;
    and what puts its weights into the freshly made network that is trained. The new model has the codec of the base,
    and its file stands alone.
measure(net, draw)
    Sets constants of the freshly made network from training crops; ``draw(n)`` makes n of them, encoded.
make_optimizers(net, learning_rate)
    Optimisers by name, where there are several.
judge(state, batch)
    The numbers taken on held-out patches, among them ``"loss"``, where that is not the loss of a step.
DISCRETE
    How the names of parts of the latent begin of which only the place of the largest number counts: a small step
    changes nothing, and the gradient is that of a softmax (straight through).
encode(model, x, told)
    The latents that encoded fields ``(B, C, *S)`` are decoded from, where there is a way back.
mapped(model, latents, told), mapped_mean(model, told)
    The same samples in another latent space that is easier to search, with parts of other names that ``decode`` takes
    too, and the middle of that space.
remark(values, part)
    One sentence for the user about the mean numbers of a line of the log, after a part of the run, or None.
"""

from __future__ import annotations

from types import ModuleType

from microgen.models import cdcgan, consistency, dcgan, diffusion, gan, infogan, latent_diffusion, psgan, stylegan, vae

FAMILIES: dict[str, ModuleType] = {
    "diffusion": diffusion,
    "consistency": consistency,
    "latent-diffusion": latent_diffusion,
    "vae": vae,
    "gan": gan,
    "dcgan": dcgan,
    "cdcgan": cdcgan,
    "infogan": infogan,
    "stylegan": stylegan,
    "psgan": psgan,
}
"""Families by name."""
