"""The one training loop: steps, averages, validations, checkpoints, and what to do when something goes wrong."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import AdamW, Optimizer

from microgen.core import DivergedError, MemoryLimitError
from microgen.core.seeds import rng
from microgen.train import checkpoint, schedule
from microgen.train.budget import Budget
from microgen.train.config import TrainConfig
from microgen.train.engine import should_compile, step_seed
from microgen.train.feed import Batch, Feed
from microgen.train.interrupt import Interrupt
from microgen.train.job import Counters, Job
from microgen.train.log import Log
from microgen.train.memory import is_out_of_memory
from microgen.train.progress import ProgressLine
from microgen.train.state import JudgeState, TrainState, pieces

MAX_ROLLBACKS = 3
SAVING_PART = 0.02
"""Checkpoints take at most about this part of the time, however slow the disk is."""
WARMUP_PART = 0.1
"""The warm-up is never more than this part of the budget."""
_DATA, _NOISE, _JUDGE = 0, 1, 2  # purposes of seeds


class Trainer:
    """Trains a job in a run folder, from its newest checkpoint on.

    Parameters
    ----------
    job
        What is trained.
    run
        Folder of the run; the caller holds its lock.
    config
        Settings.
    fabric
        Launched engine.
    quiet
        Show no progress.
    clock
        Seconds from some origin.
    """

    def __init__(
        self,
        job: Job,
        run: Path,
        config: TrainConfig,
        *,
        fabric: Fabric,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.job, self.run, self.config, self.fabric, self._clock = job, run, config, fabric, clock
        self.main, self.quiet = fabric.is_global_zero, quiet or not fabric.is_global_zero
        self.counters = Counters(micro=config.batch // fabric.world_size)
        self.budget = Budget(config)
        self.net = fabric.to_device(job.net).train()
        self.average = copy.deepcopy(self.net).eval().requires_grad_(False)
        if should_compile(config.compile):
            self.net.compile()
        self.state = self._make_state()
        self._judge = JudgeState(self.average, {}, torch.Generator(fabric.device), fabric.device, fabric.autocast)
        self._rates = {n: [g["lr"] for g in o.param_groups] for n, o in self.state.optimizers.items()}
        self._unsynced: list[dict[str, Tensor]] = []
        self._sync_every = 1 if fabric.device.type == "cpu" else 10
        self._session = self._saved_at = self._save_cost = 0.0
        self._judged: Batch | None = None
        self._stop, self._warm, self._best_is_new, self._remarked = 0, False, False, False

    # The course of a run

    def fit(self) -> Counters:
        """Train to the end of the budget and return the final counters.

        Raises
        ------
        DivergedError
            If losses or gradients stay non-finite after :data:`MAX_ROLLBACKS` returns with lower learning rates.
        MemoryLimitError
            If not even one image at a time fits.
        KeyboardInterrupt
            After SIGINT, with a checkpoint written (SIGTERM: what its handler does).
        """
        devices = [self.fabric.device] if self.fabric.device.type == "cuda" else []
        with (
            torch.random.fork_rng(devices),
            ProgressLine(quiet=self.quiet) as self.line,
            Interrupt() as self.interrupt,
            Feed(self._make_batch, batch=self.config.batch) as feed,
        ):
            self._start()
            with Log(self.run, images=self.counters.images, active=self.main) as self.log:
                while not self.counters.finished:
                    self._advance(feed)
        return self.counters

    def _start(self) -> None:
        """Go on from the newest checkpoint; a new run first writes one, so there is always a way back."""
        self._session = self._clock()
        folder = self.run / "checkpoints"
        if self.main and not checkpoint.has_checkpoint(folder):
            self.counters.total = self.budget.total(None, images=0, seconds=0.0)
            self._write_checkpoint()
        self.fabric.barrier()
        self._restore()
        self._session = self._clock() - self.counters.seconds
        self._saved_at = self.counters.seconds
        self.budget.start(images=self.counters.images, seconds=self.counters.seconds)
        if self.counters.images:
            self.line.say(f"resuming after {self.counters.images} images")

    def _advance(self, feed: Feed) -> None:
        """One step and everything that is due after it."""
        problem = ""
        try:
            self._step(feed.get(self.counters.images))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            problem = str(error)
        if problem:  # outside the except clause, so that what the failed step held is free by now
            self._shrink(problem)
            return
        self._after_step()

    def _step(self, batch: Batch) -> None:
        seen = self.counters.images
        step = seen // self.config.batch
        self._seed(seen)
        self._set_learning_rate(seen + self.config.batch / 2)
        losses: dict[str, Tensor] = {}
        parts = list(pieces(batch, self.counters.micro))
        for index, (share, part) in enumerate(parts):
            self.state.share, self.state.last = share, index == len(parts) - 1
            for name, value in self.job.family.train_step(self.state, self._to_device(part), step).items():
                losses[name] = value.detach() * share + losses.get(name, 0.0)
        self._unsynced.append(losses | {f"gradient_{name}": norm for name, norm in self.state.norms.items()})
        c = self.config
        kept = schedule.averaging_factor(seen, batch=c.batch, halflife=c.ema_halflife_images, ramp=c.ema_ramp)
        schedule.average_into(self.average, self.net, kept)
        self.counters.images = seen + c.batch

    def _after_step(self) -> None:
        log, judge, draw = self._due()
        steps = self.counters.images // self.config.batch
        if not (log or judge or draw or steps % self._sync_every == 0 or self.counters.finished):
            return
        if not self._sync() or (judge and not self._validate()):
            self._roll_back()
            return
        if not self._warm:  # the first steps are slow and would spoil the estimate
            self._warm = True
            self.budget.start(images=self.counters.images, seconds=self.counters.seconds)
        if log:
            self._write_log()
        if draw:
            self._draw()
        self._plan_and_save()
        if self._stop:
            self.line.say(f"stopped after {self.counters.images} images; the same command goes on from here")
            self.interrupt.act(self._stop)

    def _due(self) -> tuple[bool, bool, bool]:
        """What follows this step: a line of the log, a validation, a sample grid."""
        before, after = self.counters.images - self.config.batch, self.counters.images
        log = after // self.config.log_images > before // self.config.log_images or self.counters.finished
        times = self.config.validations if self.job.held_out else 0
        judge = schedule.is_due(before, after, total=self.counters.total, times=times)
        draw = schedule.is_due(before, after, total=self.counters.total, times=self.config.previews)
        return log, judge, draw and self.job.preview is not None

    # The parts of a step

    def _make_batch(self, images: int) -> Batch:
        count = self.config.batch // self.fabric.world_size
        raw = self.job.patches.batch(rng(self.config.seed, self.fabric.global_rank, images, _DATA), count)
        return self._tensors(raw)

    def _tensors(self, raw: Mapping[str, Any]) -> Batch:
        conditions = {
            kind: {name: torch.as_tensor(values) for name, values in raw.get(kind, {}).items()}
            for kind in ("scalars", "maps")
        }
        return {"x": self.job.encode(raw["field"]), **conditions}

    def _to_device(self, batch: Any) -> Any:
        if isinstance(batch, dict):
            return {name: self._to_device(value) for name, value in batch.items()}
        return batch.to(self.fabric.device, non_blocking=True)

    def _seed(self, images: int) -> None:
        seed = step_seed(self.config.seed, self.fabric.global_rank, images, _NOISE)
        torch.manual_seed(seed)  # dropout has no generator of its own
        self.state.generator.manual_seed(seed)

    def _set_learning_rate(self, images: float) -> None:
        c, total = self.config, self.counters.total
        warmup = min(c.warmup, WARMUP_PART * total) if total else c.warmup
        factor = schedule.learning_rate_factor(images, warmup=warmup, total=total, decay=c.decay)
        for name, optimizer in self.state.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self._rates[name], strict=True):
                group["lr"] = rate * factor * self.counters.learning_rate_scale

    def _make_state(self) -> TrainState:
        make = getattr(self.job.family, "make_optimizers", self._make_optimizers)
        return TrainState(
            net=self.net,
            optimizers=make(self.net, self.config.learning_rate),
            generator=torch.Generator(self.fabric.device),
            device=self.fabric.device,
            autocast=self.fabric.autocast,
            reduce=self._mean_over_processes if self.fabric.world_size > 1 else None,
            clip_norm=self.config.clip_norm,
        )

    def _make_optimizers(self, net: torch.nn.Module, learning_rate: float) -> dict[str, Optimizer]:
        free = [p for p in net.parameters() if p.requires_grad]
        decay = self.config.weight_decay
        return {"net": AdamW(free, lr=learning_rate, betas=(0.9, 0.99), weight_decay=decay, fused=True)}

    def _mean_over_processes(self, values: Tensor) -> Tensor:
        reduced: Tensor = self.fabric.all_reduce(values, reduce_op="mean")
        return reduced

    # What follows a step

    def _elapsed(self) -> float:
        return self._clock() - self._session

    def _sync(self) -> bool:
        """Bring losses here, agree on time and stop over all processes, and tell whether all is finite."""
        names = list(self._unsynced[0]) if self._unsynced else []
        table = torch.stack([torch.stack([m[n].float() for n in names]) for m in self._unsynced])
        self._unsynced.clear()
        self.counters.seconds, self._stop = self._elapsed(), self.interrupt.number
        if self.fabric.world_size > 1:
            table = self._mean_over_processes(table)
            mine = torch.tensor([self.counters.seconds, self._stop, self._save_cost], dtype=torch.float64)
            agreed = self.fabric.all_reduce(mine.to(self.fabric.device), reduce_op="max").tolist()
            self.counters.seconds, self._stop, self._save_cost = agreed[0], int(agreed[1]), agreed[2]
        rows = table.tolist()
        self.counters.pending += [dict(zip(names, row, strict=True)) for row in rows]
        self._show(rows[-1][names.index("loss")])
        return all(math.isfinite(value) for row in rows for value in row)

    def _show(self, loss: float) -> None:
        c = self.counters
        rate = self.budget.rate(images=c.images, seconds=c.seconds)
        to_go = (c.total - c.images) / rate if c.total and rate else None
        self.line.update(c.images, total=c.total, loss=loss, rate=rate, to_go=to_go)

    def _write_log(self) -> None:
        pending, self.counters.pending = self.counters.pending, []
        means = {name: sum(p[name] for p in pending) / len(pending) for name in pending[0]}
        self.counters.latest["loss"] = means["loss"]
        rate = next(iter(self.state.optimizers.values())).param_groups[0]["lr"]
        self.log.write("train", self.counters.images, {**means, "learning_rate": rate})
        self._remark(means)

    def _remark(self, means: Mapping[str, float]) -> None:
        """Say what the family has to say about these numbers: when it begins, and at the end of the run."""
        remark = getattr(self.job.family, "remark", None)
        c = self.counters
        sentence = remark(means, c.images / c.total if c.total else 0.0) if remark else None
        if sentence and (c.finished or not self._remarked):
            self.line.say(f"after {c.images} images: {sentence}")
        self._remarked = bool(sentence)

    @torch.no_grad()
    def _validate(self) -> bool:
        """Take the loss of the averaged network on held-out patches, always with the same noise."""
        values = {name: float(self._mean_over_processes(value)) for name, value in self._held_out().items()}
        if not all(map(math.isfinite, values.values())):
            return False
        c, loss = self.counters, values["loss"]
        c.latest |= {f"held_out_{name}": value for name, value in values.items()}
        self.log.write("held_out", c.images, values)
        if c.best is None or loss < c.best:
            c.best, c.best_images, c.stale = loss, c.images, 0
            self._best_is_new = True
            self._write_model("best.safetensors")
        else:
            c.stale += 1
        if self.config.patience and c.stale >= self.config.patience:
            c.stopped_early, c.total = True, c.images
        return True

    def _held_out(self) -> dict[str, Tensor]:
        seed, rank = self.config.seed, self.fabric.global_rank
        if self._judged is None and self.job.held_out is not None:
            count = math.ceil(self.config.validation_patches / self.fabric.world_size)
            self._judged = self._tensors(self.job.held_out.batch(rng(seed, rank, 0, _JUDGE), count))
        self._judge.generator.manual_seed(step_seed(seed, rank, 0, _JUDGE))
        if judge := getattr(self.job.family, "judge", None):  # it compares sets, so it is given the whole of one
            return dict(judge(self._judge, self._to_device(self._judged)))
        losses: dict[str, Tensor] = {}
        for share, part in pieces(self._judged or {}, self.counters.micro):
            for name, value in self.job.family.train_step(self._judge, self._to_device(part), 0).items():
                losses[name] = share * value + losses.get(name, 0.0)
        return losses

    def _draw(self) -> None:
        if self.main and self.job.preview is not None:
            path = self.run / "samples" / f"{self.counters.images:012d}.png"
            self.log.picture("samples", self.counters.images, self.job.preview(self.average, path))

    def _plan_and_save(self) -> None:
        c = self.counters
        total = self.budget.total(c.total, images=c.images, seconds=c.seconds)
        changed = total != c.total and not c.stopped_early
        if changed:
            c.total = total
        pause = max(60 * self.config.checkpoint_minutes, self._save_cost / SAVING_PART)
        if self.config.checkpoint_minutes == 0:
            pause = 0.0
        # after new best weights too, so that no way back leads to before them
        if changed or self._best_is_new or c.finished or self._stop or c.seconds - self._saved_at >= pause:
            self._save()

    # Saving and going back

    def _save(self) -> None:
        before = self._clock()
        self._write_model("model.safetensors")  # first: a finished checkpoint says that its model is there
        if self.main:
            self._write_checkpoint()
            self.log.sync()
        self.fabric.barrier()
        self._save_cost = self._clock() - before
        self._saved_at = self.counters.seconds  # which all processes agree on, as they must on when to save
        self._best_is_new = False

    def _write_checkpoint(self) -> None:
        tensors = checkpoint.pack(self.net, self.average, self.state.optimizers)
        checkpoint.write_checkpoint(self.run / "checkpoints", self.counters.images, tensors, asdict(self.counters))

    def _write_model(self, name: str) -> None:
        if self.main and self.job.write_model is not None:
            chosen = self.job.held_out is not None and (name == "best.safetensors" or self.config.patience > 0)
            # not the loss of the last lines of the log: it depends on how often they are written
            judged = {name: value for name, value in self.counters.latest.items() if name.startswith("held_out_")}
            facts = {"images": self.counters.images, **judged, "chosen_on_held_out": chosen}
            self.job.write_model(self.run / name, self.average, facts)

    def _restore(self) -> None:
        found = checkpoint.read_checkpoint(self.run / "checkpoints", warn=self.line.say)
        if found is None:
            raise RuntimeError("the first checkpoint has gone")
        tensors, numbers = found
        checkpoint.unpack(tensors, self.net, self.average, self.state.optimizers)
        for optimizer in self.state.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        self.counters = Counters(**numbers)
        self._unsynced.clear()

    def _roll_back(self) -> None:
        """Return to the last checkpoint with half the learning rate."""
        c = self.counters
        if c.rollbacks >= MAX_ROLLBACKS:
            raise DivergedError(
                f"{self.run}: loss or gradient became NaN or infinite after {c.images} images, also with the learning "
                f"rate halved {MAX_ROLLBACKS} times; train in a new folder with a lower train.learning_rate"
            )
        failed, scale, times = c.images, c.learning_rate_scale / 2, c.rollbacks + 1
        self._restore()
        self.counters.learning_rate_scale, self.counters.rollbacks = scale, times
        back = self.counters.images
        self.line.say(f"not finite after {failed} images; back to {back} with {scale:g} times the learning rate")
        self.log.write("rollback", self.counters.images, {"failed_at": failed, "learning_rate_scale": scale})

    def _shrink(self, problem: str) -> None:
        """Halve the images per piece; the batch that a step learns from stays the same."""
        micro = self.counters.micro
        if micro == 1 or self.fabric.world_size > 1:
            raise MemoryLimitError(
                f"not enough memory to train with {micro} images at a time ({problem.splitlines()[0][:120]}); "
                "use a smaller train.batch, data.patch_px or network"
            )
        self._restore()
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        self.counters.micro = math.ceil(micro / 2)
        self.line.say(f"not enough memory for {micro} images at a time; going on with {self.counters.micro}")
