"""What every family promises: one seed is one sample, files hold the model, latents are white and decode smoothly."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from microgen.core import Condition, InputError
from microgen.models import load_model, save_model
from microgen.models.conditions import tell
from microgen.models.families import FAMILIES

cases: Any = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("family_cases.py"))))
NAMES = sorted(FAMILIES)
WITH_DEPTH = [(name, ndim) for name in NAMES for ndim in (2, 3) if ndim == 2 or name not in cases.FLAT]
ASKED = Condition({"grain_size_um": 9.0})


def asked_of(name: str) -> Condition:
    return ASKED if cases.specs_of(name) else Condition()


def test_every_family_has_a_case() -> None:
    assert sorted(cases.CASES) == NAMES


@pytest.mark.parametrize(("name", "ndim"), WITH_DEPTH)
def test_one_seed_is_one_sample_whatever_the_batch(name: str, ndim: int) -> None:
    model = cases.make_model(name, ndim=ndim)
    together = {m.source["seed"]: m["intensity"] for m in model.sample(range(4), asked_of(name), batch=3)}
    assert together[0].shape == (cases.SIDE,) * ndim
    assert not np.array_equal(together[0], together[3])
    for seed in (3, 1):
        assert np.array_equal(next(model.sample([seed], asked_of(name), batch=1))["intensity"], together[seed])


@pytest.mark.parametrize(("name", "ndim"), WITH_DEPTH)
def test_a_file_gives_the_same_model(name: str, ndim: int, tmp_path: Path) -> None:
    model = cases.make_model(name, ndim=ndim)
    save_model(tmp_path / "m.safetensors", model)
    again = load_model(tmp_path / "m.safetensors")
    assert again.sha256 == model.sha256
    # in single precision: weights that were loaded lie in memory in another order, which bfloat16 rounding shows
    first, second = (next(m.sample([5], asked_of(name), precision="fp32"))["intensity"] for m in (model, again))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(("name", "ndim"), WITH_DEPTH)
def test_the_latent_of_a_seed_is_decoded_to_its_sample(name: str, ndim: int) -> None:
    model = cases.make_model(name, ndim=ndim)
    latents = model.latents([2, 6])
    for part in latents.values():
        assert len(part) == 2
    decoded = [m["intensity"] for m in model.decode(latents, asked_of(name))]
    sampled = [m["intensity"] for m in model.sample([2, 6], asked_of(name))]
    assert all(map(np.array_equal, decoded, sampled))


@pytest.mark.parametrize("name", NAMES)
def test_latents_are_white_noise(name: str) -> None:
    model = cases.make_model(name)
    for part in model.latents(range(400)).values():
        assert part.mean().abs() < 5 / part.numel() ** 0.5
        assert abs(float(part.var()) - 1) < 5 * (2 / part.numel()) ** 0.5
        one, other = part[:-1].flatten(), part[1:].flatten()
        assert abs(float((one * other).mean())) < 5 / one.numel() ** 0.5


@pytest.mark.parametrize("name", NAMES)
def test_samples_change_smoothly_with_their_latent(name: str) -> None:
    """Gradients reach every part of the latent, and agree with finite differences where small steps change anything."""
    model, family = cases.make_model(name), FAMILIES[name]
    request = model.request(asked_of(name), preset="fast")
    latents = {key: part.double().requires_grad_() for key, part in model.latents([0]).items()}
    net = model.net.double()
    like = torch.zeros((1, 1, *request.shape), dtype=torch.float64)
    told = tell(model.conditions, [request.condition], like=like)
    direction = {
        key: torch.randn(part.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        for key, part in latents.items()
    }
    for key in [k for k in latents if k.startswith(getattr(family, "DISCRETE", "none"))]:
        del direction[key]

    def total(step: float) -> torch.Tensor:
        moved = {**latents, **{key: latents[key] + step * way for key, way in direction.items()}}
        made: torch.Tensor = family.decode(model, moved, told, request.shape, request.options)
        return made.sin().sum()

    gradients = torch.autograd.grad(total(0.0), list(latents.values()))
    assert all(g.isfinite().all() and g.any() for g in gradients)
    slopes = dict(zip(latents, gradients, strict=True))
    slope = sum(float((slopes[key] * way).sum()) for key, way in direction.items())
    with torch.no_grad():
        measured = float(total(1e-3) - total(-1e-3)) / 2e-3  # networks end in single precision
    assert slope == pytest.approx(measured, rel=0.02)
    assert net is model.net


@pytest.mark.parametrize("name", NAMES)
def test_wrong_latents_are_refused_in_one_sentence(name: str) -> None:
    model = cases.make_model(name)
    part = next(iter(model.latents([0])))
    for wrong in ({part: torch.zeros(1, 3)}, {}):
        with pytest.raises(InputError, match="has the parts"):
            model.decode(wrong, asked_of(name))


@pytest.mark.parametrize("name", [n for n in NAMES if hasattr(FAMILIES[n], "encode")])
def test_what_is_encoded_is_decoded(name: str) -> None:
    """Of a network with random weights, the way there and back is exact for diffusion; others must only fit."""
    model = cases.make_model(name)
    sample = next(model.sample([1], asked_of(name)))
    latents = model.encode([sample, sample], [asked_of(name)] * 2)
    wanted = FAMILIES[name].latent_shapes(model, (cases.SIDE,) * 2)
    assert {key: tuple(part.shape) for key, part in latents.items()} == {k: (2, *v) for k, v in wanted.items()}
    assert all(torch.equal(part[0], part[1]) for part in latents.values())


def test_a_family_without_encoder_says_so() -> None:
    model: Any = cases.make_model("dcgan")
    sample = next(model.sample([1]))
    with pytest.raises(InputError, match="has no encoder"):
        model.encode([sample])
