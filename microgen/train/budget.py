"""From a budget in minutes to one in images, so that a run can be repeated exactly."""

from __future__ import annotations

from dataclasses import dataclass

from microgen.train.config import TrainConfig
from microgen.train.schedule import round_up

MEASURE_PART = 0.03
"""Part of the minutes after which the speed counts as known."""
OFF_PART = 0.1
"""Part of the minutes by which a run may look like ending early or late before its budget is set anew."""
MIN_STEPS = 3


@dataclass
class Budget:
    """Sets the number of images of a run, and sets it anew when the machine becomes slower or faster.

    Parameters
    ----------
    config
        Gives ``images``, ``minutes`` and ``batch``.

    >>> budget = Budget(TrainConfig(minutes=1, batch=10))
    >>> budget.start(images=10, seconds=2.0)
    >>> budget.total(None, images=110, seconds=12.0)  # 10 images/s, 48 s left
    590
    """

    config: TrainConfig
    first_images: int = 0
    first_seconds: float = 0.0

    def start(self, *, images: int, seconds: float) -> None:
        """Measure speed from here on (after the first step, which is slow)."""
        self.first_images, self.first_seconds = images, seconds

    def rate(self, *, images: int, seconds: float) -> float:
        """Images per second since the start, 0 while unknown."""
        done, took = images - self.first_images, seconds - self.first_seconds
        return done / took if done > 0 and took > 0 else 0.0

    def total(self, total: int | None, *, images: int, seconds: float) -> int | None:
        """Return the number of images of the whole run, or None while it cannot be known yet.

        Parameters
        ----------
        total
            What it was so far; kept while the run looks like ending within :data:`OFF_PART` of its time.
        images, seconds
            Images seen and time spent in the whole run.
        """
        if self.config.minutes is None:
            return round_up(self.config.images or 1, self.config.batch)
        limit, rate = 60 * self.config.minutes, self.rate(images=images, seconds=seconds)
        measured = seconds - self.first_seconds >= MEASURE_PART * limit
        if not measured or images - self.first_images < MIN_STEPS * self.config.batch or rate == 0:
            return total
        if total is not None and abs(seconds + (total - images) / rate - limit) <= OFF_PART * limit:
            return total
        left = max(0.0, limit - seconds) * rate
        wanted = images + int(left / self.config.batch) * self.config.batch
        return min(wanted, round_up(self.config.images, self.config.batch)) if self.config.images else wanted
