"""Every family in the one loop: a killed run ends as an uninterrupted one does, and one batch is learned."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from microgen.models.families import FAMILIES
from microgen.train.checkpoint import pack
from microgen.train.config import TrainConfig
from microgen.train.engine import make_fabric
from microgen.train.job import Job
from microgen.train.loop import Trainer

cases: Any = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("family_cases.py"))))
NAMES = sorted(FAMILIES)


class Waves:
    """Encoded crops of smooth noise, darker for larger grains; `fixed`: always the same crops."""

    def __init__(self, *, fixed: bool = False) -> None:
        self.fixed = fixed

    def batch(self, rng: np.random.Generator, n: int) -> dict[str, Any]:
        random = np.random.default_rng(5) if self.fixed else rng
        sizes = np.geomspace(5, 20, n) if self.fixed else 5 * 4 ** random.uniform(size=n)
        field = ndimage.gaussian_filter(
            random.standard_normal((n, 1, cases.SIDE, cases.SIDE)), (0, 0, 2, 2), mode="wrap"
        )
        field = field / field.std() - np.log(sizes / 10).reshape(-1, 1, 1, 1)
        scalars = {spec.name: sizes.astype(np.float32) for spec in cases.specs_of("diffusion")}
        return {"field": field.astype(np.float32), "scalars": scalars, "maps": {}}


def trainer_of(name: str, run: Path, *, fixed: bool = False, **changes: Any) -> Trainer:
    family: Any = FAMILIES[name]
    job = Job(family, cases.make_trained(name), torch.from_numpy, Waves(fixed=fixed), held_out=Waves(fixed=fixed))
    usual = {**getattr(family, "TRAIN", {"warmup": 8, "learning_rate": 3e-3}), "batch": 8, "precision": "fp32"}
    given = {
        "validation_patches": 8,
        "validations": 2,
        "log_images": 8,
        "checkpoint_minutes": 0,
        "previews": 0,
        **changes,
    }
    config = TrainConfig(**{**usual, **given})
    return Trainer(job, run, config, fabric=make_fabric(config), quiet=True)


def interrupted(trainer: Trainer, *, after: int) -> None:
    """Train until so many images were seen, then break off."""
    step = trainer._step

    def until(batch: Any) -> None:
        if trainer.counters.images >= after:
            raise KeyboardInterrupt
        step(batch)

    trainer._step = until  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_was_broken_off_ends_as_a_whole_one(name: str, tmp_path: Path) -> None:
    whole = trainer_of(name, tmp_path / "whole", images=48)
    whole.fit()
    interrupted(trainer_of(name, tmp_path / "cut", images=48), after=24)
    cut = trainer_of(name, tmp_path / "cut", images=48)
    cut.fit()
    tensors = [pack(t.net, t.average, t.state.optimizers) for t in (whole, cut)]
    assert tensors[0].keys() == tensors[1].keys()
    assert [key for key in tensors[0] if not torch.equal(tensors[0][key], tensors[1][key])] == []
    logs = [(tmp_path / run / "log.jsonl").read_text() for run in ("whole", "cut")]
    assert logs[0] == logs[1]


STEPS = {"psgan": 500, "latent-diffusion": 400, "consistency": 300}
"""Steps that one batch takes, where 150 are too few."""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_one_batch_is_learned(name: str, tmp_path: Path) -> None:
    """What is judged on held-out crops falls well below where it was, where these are the crops of training."""
    images = 8 * STEPS.get(name, 150)
    trainer = trainer_of(name, tmp_path, fixed=True, images=images, ema_halflife_images=100, validations=0)
    before = missed(trainer)
    trainer.fit()
    after = missed(trainer)
    assert after < before - 0.3 * abs(before), (before, after)


def missed(trainer: Trainer) -> float:
    """Held-out loss; of consistency that of a step: its teacher here is noise, which no crop resembles."""
    held_out = trainer._held_out()
    if trainer.job.family is not FAMILIES["consistency"]:
        return float(held_out["loss"])
    return float(FAMILIES["consistency"].train_step(trainer._judge, trainer._judged, 0)["loss"])
