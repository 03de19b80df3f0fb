"""What a family's ``train_step`` is given: the network, its optimisers, and how to take a step with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


@dataclass
class TrainState:
    """The training side of one network; families use it, the loop owns it.

    Attributes
    ----------
    net
        The network in training mode.
    optimizers
        By name; a family with one calls it ``"net"``.
    generator
        Source of all noise of a step, on :attr:`device`; seeded anew for every step.
    autocast
        Context manager of the chosen precision, for forward passes.
    reduce
        Averages a flat gradient over all processes; None in a single process.
    clip_norm
        Longest gradient that is applied.
    share
        Part of the whole batch that the present piece is; pieces come one after the other when memory is short.
    last
        Whether the present piece is the last of its batch: only then are steps taken.
    norms
        Length of the gradient of each optimiser before clipping, from the last step taken.
    """

    net: nn.Module
    optimizers: dict[str, Optimizer]
    generator: torch.Generator
    device: torch.device
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    reduce: Callable[[Tensor], Tensor] | None = None
    clip_norm: float = 1.0
    share: float = 1.0
    last: bool = True
    norms: dict[str, Tensor] = field(default_factory=dict)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a mean over the present piece of the batch."""
        (loss * self.share if self.share != 1.0 else loss).backward()  # type: ignore[no-untyped-call]

    def optimizer_step(self, name: str = "net") -> None:
        """Average the gradients over all processes, clip them, take the step and clear them.

        Does nothing until the whole batch has been seen. Non-finite gradients show in :attr:`norms`,
        which the loop checks.
        """
        if not self.last:
            return
        optimizer = self.optimizers[name]
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self._reduce(parameters)
        self.norms[name] = nn.utils.clip_grad_norm_(parameters, self.clip_norm, foreach=True).detach()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _reduce(self, parameters: list[nn.Parameter]) -> None:
        """One exchange for all gradients: simple, and right for families with several networks."""
        if self.reduce is None:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = self.reduce(torch.cat([g.reshape(-1) for g in gradients]))
        parts = torch.split(flat, [g.numel() for g in gradients])
        torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])


@dataclass
class JudgeState(TrainState):
    """A state that only looks: losses are computed, nothing is learned."""

    def backward(self, loss: Tensor) -> None:
        """Do nothing."""

    def optimizer_step(self, name: str = "net") -> None:
        """Do nothing."""


def pieces(batch: dict[str, Any], size: int) -> Iterable[tuple[float, dict[str, Any]]]:
    """Cut a batch of tensors into pieces of at most `size`, each with its part of the whole.

    >>> [(share, piece["x"].tolist()) for share, piece in pieces({"x": torch.arange(3), "maps": {}}, 2)]
    [(0.6666666666666666, [0, 1]), (0.3333333333333333, [2])]
    """
    n = len(batch["x"])
    for start in range(0, n, size):
        part = _cut(batch, slice(start, start + size))
        yield len(part["x"]) / n, part


def _cut(tree: Any, where: slice) -> Any:
    return {k: _cut(v, where) for k, v in tree.items()} if isinstance(tree, dict) else tree[where]
