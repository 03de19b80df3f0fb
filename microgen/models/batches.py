"""Work on samples side by side such that each comes out the same, bit for bit, whatever stands beside it.

On a CPU the kernels round differently for other batch sizes and thread counts. So each sample is computed alone, by
one thread, and several threads work on several samples. On a GPU the batch is always full: a short last one is filled
up with repeats, which are thrown away.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor

GPU_BATCH = 16
"""Samples in work at a time on a GPU, unless the caller says otherwise."""


@dataclass(frozen=True)
class Batches:
    """Runs a function of seeds over many seeds.

    Attributes
    ----------
    make
        From seeds to a tensor whose first axis runs over them.
    precision
        ``"bf16"`` for mixed precision, else ``"fp32"``.
    batch
        Samples in work at a time; default is one per CPU core, or :data:`GPU_BATCH`.
    cancelled
        Set when the caller stops early; `make` should then fail soon.
    """

    make: Callable[[Sequence[int]], Tensor]
    device: torch.device
    precision: str = "fp32"
    batch: int | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)

    def run(self, seeds: Iterable[int]) -> Iterator[tuple[int, Tensor]]:
        """Yield ``(seed, sample)`` in the order of `seeds`, which are taken only as they are needed."""
        if self.device.type == "cpu":
            return self._one_by_one(seeds, self.batch or usable_cores())
        return self._full_batches(seeds, self.batch or GPU_BATCH)

    def _infer(self, some: Sequence[int]) -> Tensor:
        bf16 = self.precision == "bf16"
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            return self.make(some)

    def _one_by_one(self, seeds: Iterable[int], workers: int) -> Iterator[tuple[int, Tensor]]:
        waiting: deque[tuple[int, Future[Tensor]]] = deque()
        with single_threaded(), ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                for seed in seeds:
                    waiting.append((seed, pool.submit(self._infer, [seed])))
                    if len(waiting) > workers:
                        done, sample = waiting.popleft()
                        yield done, sample.result()[0]
                while waiting:
                    done, sample = waiting.popleft()
                    yield done, sample.result()[0]
            except BaseException:
                self.cancelled.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _full_batches(self, seeds: Iterable[int], batch: int) -> Iterator[tuple[int, Tensor]]:
        stream = iter(seeds)
        while some := list(itertools.islice(stream, batch)):
            filled = [*some, *[some[-1]] * (batch - len(some))]
            yield from zip(some, self._infer(filled), strict=False)


def usable_cores() -> int:
    """CPU cores that this process may use: its share, where torchrun started several on this machine."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, allowed // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Let torch compute with a single thread for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
