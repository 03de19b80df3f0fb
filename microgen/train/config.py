"""What can be set about a training run: the ``[train]`` table of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from microgen.core.config import Config


class TrainConfig(Config):
    """Settings of the training loop; every length of time is counted in images seen.

    >>> TrainConfig(minutes=5).batch
    16
    """

    seed: int = Field(0, ge=0)
    """Fixes the first weights, the order of the patches, the noise and the dropout."""
    images: int | None = Field(None, ge=1)
    """Budget in images; the schedule ends there."""
    minutes: float | None = Field(None, gt=0)
    """Budget in minutes; turned into images once the speed of the machine has been measured."""
    batch: int = Field(16, ge=1)
    """Images per step, over all devices together."""
    learning_rate: float = Field(8e-4, gt=0)
    """Highest learning rate, reached after the warm-up."""
    warmup: int = Field(2_000, ge=0)
    """Images over which the learning rate rises linearly; at most a tenth of the budget."""
    decay: Literal["cosine", "inverse-sqrt", "none"] = "cosine"
    """How the learning rate falls after the warm-up; ``inverse-sqrt`` is measured by it and needs one."""
    weight_decay: float = Field(0.01, ge=0)
    """Weight decay of AdamW."""
    clip_norm: float = Field(1.0, gt=0)
    """Gradients longer than this are shortened to it."""
    ema_halflife_images: float = Field(4_000, gt=0)
    """Half-life of the weight average."""
    ema_ramp: float = Field(0.05, gt=0)
    """The half-life is never more than this part of the images seen, so a short run is not averaged with noise."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic; ``auto`` takes bfloat16 where the processor has it in hardware."""
    compile: Literal["auto", "on", "off"] = "auto"
    """``torch.compile``; ``auto`` means on a GPU only."""
    devices: int = Field(1, ge=1)
    """Processes, one per device."""
    log_images: int = Field(500, ge=1)
    """A line of the log about every so many images."""
    validations: int = Field(20, ge=0)
    """How many times the loss on held-out patches is taken in a run."""
    validation_patches: int = Field(64, ge=1)
    """Held-out patches per validation, always the same with the same noise."""
    patience: int = Field(0, ge=0)
    """Stop after so many validations without a better loss; 0 never stops early."""
    previews: int = Field(6, ge=0)
    """Sample grids drawn in a run."""
    checkpoint_minutes: float = Field(2.0, ge=0)
    """Time between checkpoints; 0 writes one after every step."""

    @model_validator(mode="after")
    def _usable(self) -> TrainConfig:
        if self.images is None and self.minutes is None:
            raise ValueError("give a budget, images or minutes")
        if self.decay == "inverse-sqrt" and self.warmup == 0:
            raise ValueError("decay inverse-sqrt falls from the end of the warm-up; give a warmup above 0")
        return self


FREE_KEYS = frozenset({"log_images", "previews", "checkpoint_minutes"})
"""Settings that do not change the result, so a run may be resumed with other values."""


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as one with dotted names.

    >>> flatten({"train": {"batch": 8}, "name": "steel"})
    {'train.batch': 8, 'name': 'steel'}
    """
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
