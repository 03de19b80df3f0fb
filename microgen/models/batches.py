"""Work on samples side by side such that each comes out the same, bit for bit, whatever stands beside it.

On a CPU the kernels round differently for other batch sizes and thread counts. So each sample is computed alone, by
one thread, and several threads work on several samples. On a GPU the batch is always full: a short last one is filled
up with repeats, which are thrown away.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

Make = Callable[[Sequence[int]], Tensor]
"""Seeds to a tensor whose first axis runs over them."""


def in_batches(
    make: Make, seeds: Iterable[int], *, device: torch.device, precision: str, batch: int | None = None
) -> Iterator[tuple[int, Tensor]]:
    """Yield ``(seed, sample)`` in the order of `seeds`, which are taken only as they are needed.

    Parameters
    ----------
    batch
        Samples in work at a time; default is one per CPU core, or 16 on a GPU.
    """

    def infer(some: Sequence[int]) -> Tensor:
        bf16 = precision == "bf16"
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return make(some)

    if device.type == "cpu":
        return _one_by_one(infer, seeds, batch or usable_cores())
    return _full_batches(infer, seeds, batch or 16)


def usable_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _one_by_one(make: Make, seeds: Iterable[int], workers: int) -> Iterator[tuple[int, Tensor]]:
    waiting: deque[tuple[int, Future[Tensor]]] = deque()
    with _single_threaded(), ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for seed in seeds:
                waiting.append((seed, pool.submit(make, [seed])))
                if len(waiting) >= workers:
                    done, sample = waiting.popleft()
                    yield done, sample.result()[0]
            while waiting:
                done, sample = waiting.popleft()
                yield done, sample.result()[0]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _full_batches(make: Make, seeds: Iterable[int], batch: int) -> Iterator[tuple[int, Tensor]]:
    stream = iter(seeds)
    while some := list(itertools.islice(stream, batch)):
        filled = [*some, *[some[-1]] * (batch - len(some))]
        yield from zip(some, make(filled), strict=False)


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
