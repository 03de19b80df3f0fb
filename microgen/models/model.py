"""A trained model: network, codec and what it may be asked for, in one object that makes Microstructures."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from microgen.core import FIELDS, Condition, ConditionSpec, InputError, Microstructure
from microgen.models.batches import GPU_BATCH, Batches
from microgen.models.codec import Codec
from microgen.models.file import content_hash
from microgen.models.options import SampleOptions, resolve_precision, sample_options


@dataclass(frozen=True, eq=False)
class Request:
    """Everything but model and seed that decides the bytes of a sample, checked and with defaults filled in.

    Attributes
    ----------
    precision
        ``"fp32"`` or ``"bf16"``, as resolved for this machine.
    device
        Kind of device.
    batch
        Samples in work at a time; on a GPU it decides about the last bits and is always set.
    """

    condition: Condition
    shape: tuple[int, ...]
    options: SampleOptions
    precision: str
    device: str
    batch: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form for recipes: ``options`` are those of :meth:`Model.sample`; maps are named by hash."""
        options = self.options.noted() | {"precision": self.precision}
        scalars = {**self.condition.scalars, **_uniform(self.condition.maps)}
        drawn = {name: _named(m) for name, m in sorted(self.condition.maps.items()) if name not in scalars}
        return {
            "condition": dict(sorted(scalars.items())),
            **({"maps": drawn} if drawn else {}),
            "shape": list(self.shape),
            "options": dict(sorted(options.items())),
            "device": self.device,
            **({"batch": self.batch} if self.batch and self.device != "cpu" else {}),
        }


@dataclass(frozen=True, eq=False)
class Model:
    """Family, configuration, network, codec, conditions and provenance: all that a model file holds.

    Parameters
    ----------
    family
        Row of :data:`microgen.models.FAMILIES`.
    config
        The family's configuration as JSON-able values.
    net
        The trained network, on the device that shall be used.
    codec
        Between field values and network numbers.
    conditions
        What can be asked for, and the ranges seen in training.
    patch
        Grid points of a training crop along each axis: the default shape of a sample.
    provenance
        JSON-able notes: data set, training run, versions.
    """

    family: str
    config: Mapping[str, Any]
    net: nn.Module
    codec: Codec
    conditions: Sequence[ConditionSpec]
    patch: tuple[int, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.patch) != self.codec.ndim or any(n < 1 for n in self.patch):
            raise InputError(f"the patch {tuple(self.patch)} does not fit a model of {self.codec.ndim} axes")

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return next(self.net.parameters()).device

    @cached_property
    def sha256(self) -> str:
        """Hash over weights, configuration, codec and conditions: the identity of the model."""
        return content_hash(self.header(), self.net.state_dict())

    def header(self) -> dict[str, Any]:
        """JSON-able description: everything but the weights."""
        return {
            "family": self.family,
            "config": dict(self.config),
            "codec": self.codec.to_dict(),
            "conditions": [spec.to_dict() for spec in self.conditions],
            "patch": list(self.patch),
            "provenance": dict(self.provenance),
        }

    def sample(
        self,
        seeds: Iterable[int],
        condition: Condition | None = None,
        shape: Sequence[int] | None = None,
        *,
        extrapolate: bool = False,
        batch: int | None = None,
        **options: Any,
    ) -> Iterator[Microstructure]:
        """Make one Microstructure per seed, in the order of `seeds`.

        A sample depends on its own seed, the condition, the shape and the options alone: never on `batch`, on its
        neighbours, or on the number of processes.

        Parameters
        ----------
        seeds
            Whole numbers from 0; taken one after the other as samples are asked for.
        condition
            Values in physical units; what is left out is left to the model.
        shape
            Grid points ``(Y, X)`` or ``(Z, Y, X)``; default is the training patch.
        extrapolate
            Allow values outside the range seen in training.
        batch
            Samples in work at a time; no result depends on it on a CPU.
        options
            Values of :class:`~microgen.models.options.SampleOptions`.

        Raises
        ------
        InputError
            For unknown or out-of-range conditions, impossible shapes and unknown options.
        """
        request = self.request(condition, shape, extrapolate=extrapolate, batch=batch, **options)
        return self._samples(seeds, request)

    def request(
        self,
        condition: Condition | None = None,
        shape: Sequence[int] | None = None,
        *,
        extrapolate: bool = False,
        batch: int | None = None,
        **options: Any,
    ) -> Request:
        """Check what :meth:`sample` is asked for, fill in the defaults, and return it without sampling."""
        from microgen.models.families import FAMILIES

        grid = self._checked_shape(shape)
        wanted = self._checked_condition(condition or Condition(), grid, extrapolate=extrapolate)
        if batch is not None and batch < 1:
            raise InputError(f"batch must be at least 1, got {batch}")
        chosen = FAMILIES[self.family].check(self, wanted, grid, sample_options(options))
        precision = resolve_precision(chosen.precision, self.device)
        used = batch or (None if self.device.type == "cpu" else GPU_BATCH)
        return Request(wanted, grid, chosen, precision, self.device.type, used)

    def _checked_shape(self, shape: Sequence[int] | None) -> tuple[int, ...]:
        """Return the shape of a sample, or say why it is impossible."""
        grid = tuple(self.patch if shape is None else (int(n) for n in shape))
        if len(grid) != self.codec.ndim or any(n < 8 for n in grid):
            raise InputError(
                f"this model makes fields of {self.codec.ndim} axes, at least 8 points each; {_times(grid)} is not"
            )
        return grid

    def _checked_condition(
        self, condition: Condition, grid: tuple[int, ...], *, extrapolate: bool = False
    ) -> Condition:
        """Return `condition` if the model knows every name and learned every value; scalars fill maps."""
        specs = {spec.name: spec for spec in self.conditions}
        scalars, maps = {}, {}
        for name, value in {**condition.scalars, **condition.maps}.items():
            if name not in specs:
                known = ", ".join(specs) or "no conditions"
                raise InputError(f"this model cannot be asked for {name!r}; it knows {known}")
            spec, values = specs[name], np.asarray(value, np.float64)
            _check_range(spec, values, extrapolate=extrapolate)
            if spec.kind == "scalar" and values.ndim:
                raise InputError(f"this model takes one number for {name!r}, not a map")
            if values.ndim and values.shape != grid:
                raise InputError(f"the map {name!r} is {_times(values.shape)}, the sample {_times(grid)}")
            if spec.kind == "map":
                maps[name] = np.broadcast_to(values, grid)
            else:
                scalars[name] = float(values)
        return Condition(scalars, maps)

    def _samples(self, seeds: Iterable[int], request: Request) -> Iterator[Microstructure]:
        from microgen.models.families import FAMILIES

        generate = FAMILIES[self.family].generate
        notes = {"model_sha256": self.sha256, **request.to_dict()}
        scalars = {**request.condition.scalars, **_uniform(request.condition.maps)}

        def make(some: Sequence[int]) -> Tensor:
            made: Tensor = generate(self, some, request.condition, request.shape, request.options)
            return made

        with _evaluating(self.net) as cancelled:
            batches = Batches(make, self.device, request.precision, request.batch, cancelled)
            for seed, made in batches.run(seeds):
                fields = {self.codec.field: self._field(made)}
                source = {**notes, "seed": seed}
                yield Microstructure(fields, self.codec.spacing_um, self.codec.phases, scalars, source)

    def _field(self, encoded: Tensor) -> NDArray[Any]:
        """Decode ``(C, *S)`` to the axes of a field."""
        values = self.codec.decode(encoded.float())
        known = FIELDS.get(self.codec.field)
        return np.ascontiguousarray(np.moveaxis(values, 0, -1)) if known and known.channels else values[0]


def _check_range(spec: ConditionSpec, values: NDArray[Any], *, extrapolate: bool) -> None:
    if not np.isfinite(values).all():
        raise InputError(f"the condition {spec.name!r} holds NaN or infinite values")
    tolerance = 1e-6 * (spec.high - spec.low)
    low, high = float(values.min()), float(values.max())
    if spec.scale == "log" and low <= 0:
        raise InputError(f"{spec.name} must be positive, got {low:g}")
    if extrapolate or spec.scale == "axial" or (spec.low - tolerance <= low and high <= spec.high + tolerance):
        return
    got = f"{low:g}" if low == high else f"{low:g} .. {high:g}"
    raise InputError(
        f"{spec.name} = {got} is outside {spec.low:g} .. {spec.high:g}, the range this model was trained on; "
        "choose a value inside it, or allow extrapolation"
    )


def _uniform(maps: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """Maps of one value, as scalars."""
    return {name: float(m.flat[0]) for name, m in maps.items() if m.min() == m.max()}


def _named(values: NDArray[Any]) -> dict[str, Any]:
    """Hash of a map's float64 values, and its shape."""
    data = np.ascontiguousarray(values, "<f8").tobytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "shape": list(values.shape)}


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "one number"


@contextlib.contextmanager
def _evaluating(net: nn.Module) -> Iterator[threading.Event]:
    """Switch `net` to evaluation; once the event is set, its next use in any thread is refused."""
    cancelled = threading.Event()

    def refuse(module: nn.Module, arguments: Any) -> None:
        if cancelled.is_set():
            raise CancelledError

    training = net.training
    hook = net.eval().register_forward_pre_hook(refuse)
    try:
        yield cancelled
    finally:
        hook.remove()
        net.train(training)
