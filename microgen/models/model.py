"""A trained model: network, codec and what it may be asked for, in one object that makes Microstructures."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from microgen.models.conditions import tell
from microgen.models.file import content_hash
from microgen.models.latents import Latents, chosen, white
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

    def latents(self, seeds: Sequence[int], shape: Sequence[int] | None = None) -> dict[str, Tensor]:
        """Return what the samples of `seeds` are made of: white noise by part, each ``(B, ...)``.

        ``model.decode(model.latents([7]))`` makes the sample of seed 7, with every family and every sampler that adds
        no noise on the way.
        """
        return white(seeds, self._family().latent_shapes(self, self._checked_shape(shape)), self.device)

    def decode(
        self,
        latents: Latents,
        conditions: Condition | Sequence[Condition] | None = None,
        shape: Sequence[int] | None = None,
        *,
        extrapolate: bool = False,
        batch: int | None = None,
        **options: Any,
    ) -> Iterator[Microstructure]:
        """Make one Microstructure per latent; the other arguments are those of :meth:`sample`.

        Parameters
        ----------
        latents
            As from :meth:`latents` or :meth:`encode`, changed or not.
        conditions
            One for all, or one for each.

        Raises
        ------
        InputError
            As :meth:`sample`, and if the latents do not fit the model, or the sampler adds noise on the way.
        """
        count = self._count(latents, self._checked_shape(shape))
        asked = [conditions] * count if isinstance(conditions, Condition) or conditions is None else list(conditions)
        if len(asked) != count:
            raise InputError(f"there are {count} latents and {len(asked)} conditions; give one condition for each")
        arguments = {"extrapolate": extrapolate, "batch": batch, **options}
        known = {id(one): self.request(one, shape, **arguments) for one in asked}
        return self._decoded(latents, [known[id(one)] for one in asked])

    def encode(self, structures: Sequence[Microstructure], conditions: Sequence[Condition] = ()) -> dict[str, Tensor]:
        """Return the latents that the model makes real fields from, by part, each ``(B, ...)``.

        Parameters
        ----------
        structures
            Of one shape, on the grid spacing of the model, with its field.
        conditions
            What they are known to be, one for each; default: nothing is known.

        Raises
        ------
        InputError
            If the family has no encoder, or the structures do not fit the model.
        """
        family = self._family()
        if not hasattr(family, "encode"):
            raise InputError(f"a model of the family {self.family} has no encoder; search for the latent instead")
        x = torch.stack([self.encoded(one) for one in structures])
        asked = list(conditions) or [Condition()] * len(structures)
        told = tell(self.conditions, [self.request(c, x.shape[2:]).condition for c in asked], like=x)
        with _evaluating(self.net):
            found: dict[str, Tensor] = family.encode(self, x, told)
        return found

    def encoded(self, structure: Microstructure) -> Tensor:
        """Return the field of a structure as the network sees it, ``(C, *S)``.

        Raises
        ------
        InputError
            If the structure lacks the field, or its grid has another spacing.
        """
        name = self.codec.field
        if name not in structure.fields:
            raise InputError(f"this model knows the field {name!r}; the structure has {', '.join(structure.fields)}")
        if not np.allclose(structure.spacing, self.codec.spacing_um, rtol=1e-3):
            mine, its = (" x ".join(f"{s:g}" for s in sp) for sp in (self.codec.spacing_um, structure.spacing))
            raise InputError(f"this model works at {mine} um per point, the structure has {its}; resample it first")
        values = structure[name]
        known = FIELDS.get(name)
        channels = np.moveaxis(values, -1, 0) if known and known.channels else values[None]
        return self.codec.encode(channels).to(self.device)

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
        grid = self._checked_shape(shape)
        wanted = self._checked_condition(condition or Condition(), grid, extrapolate=extrapolate)
        if batch is not None and batch < 1:
            raise InputError(f"batch must be at least 1, got {batch}")
        chosen = self._family().check(self, wanted, grid, sample_options(options))
        if chosen.exact and "phase_fraction" not in wanted.scalars:
            raise InputError(
                "exact holds the phase_fraction that is asked for as one number; ask for one, or leave it out"
            )
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
        scalars: dict[str, float | str] = {}
        maps = {}
        for name, value in {**condition.scalars, **condition.maps}.items():
            if name not in specs:
                known = ", ".join(specs) or "no conditions"
                raise InputError(f"this model cannot be asked for {name!r}; it knows {known}")
            spec = specs[name]
            values = spec.numbers(value)
            _check_range(spec, values, extrapolate=extrapolate)
            if spec.kind == "scalar" and values.ndim:
                raise InputError(f"this model takes one number for {name!r}, not a map")
            if values.ndim and values.shape != grid:
                raise InputError(f"the map {name!r} is {_times(values.shape)}, the sample {_times(grid)}")
            if spec.kind == "map":
                maps[name] = np.broadcast_to(values, grid)
            else:
                scalars[name] = spec.labels[int(values)] if spec.labels else float(values)
        return Condition(scalars, maps)

    def _family(self) -> Any:
        from microgen.models.families import FAMILIES

        return FAMILIES[self.family]

    def _samples(self, seeds: Iterable[int], request: Request) -> Iterator[Microstructure]:
        generate = self._family().generate

        def make(some: Sequence[int]) -> Tensor:
            made: Tensor = generate(self, some, request.condition, request.shape, request.options)
            return made

        for seed, made in self._run(make, seeds, request):
            yield self._structure(made, request, seed=seed)

    def _decoded(self, latents: Latents, requests: Sequence[Request]) -> Iterator[Microstructure]:
        decode, one = self._family().decode, requests[0]

        def make(some: Sequence[int]) -> Tensor:
            like = torch.zeros((len(some), self.codec.channels, *one.shape), device=self.device)
            told = tell(self.conditions, [requests[i].condition for i in some], like=like)
            parts = {name: part.to(self.device) for name, part in chosen(latents, some).items()}
            made: Tensor = decode(self, parts, told, one.shape, one.options)
            return made

        for index, made in self._run(make, range(len(requests)), one):
            yield self._structure(made, requests[index])

    def _run(self, make: Callable[[Sequence[int]], Tensor], keys: Iterable[int], request: Request) -> Iterator[Any]:
        with _evaluating(self.net) as cancelled:
            yield from Batches(make, self.device, request.precision, request.batch, cancelled).run(keys)

    def _structure(self, encoded: Tensor, request: Request, **source: Any) -> Microstructure:
        told = {**request.condition.scalars, **_uniform(request.condition.maps)}
        scalars = {name: value for name, value in told.items() if not isinstance(value, str)}
        notes = {"model_sha256": self.sha256, **request.to_dict(), **source}
        fraction = request.condition.scalars["phase_fraction"] if request.options.exact else None
        fields = {self.codec.field: self._field(encoded, fraction)}
        return Microstructure(fields, self.codec.spacing_um, self.codec.phases, scalars, notes)

    def _count(self, latents: Latents, grid: tuple[int, ...]) -> int:
        """Return how many samples the latents are of, or say why they do not fit."""
        counts = {len(part) for part in latents.values()}
        wanted = self._family().latent_shapes(self, grid)
        wrong = [n for n, part in latents.items() if n in wanted and tuple(part.shape[1:]) != tuple(wanted[n])]
        if len(counts) != 1 or 0 in counts or wrong:
            sizes = ", ".join(f"{name} {_times(shape)}" for name, shape in wanted.items())
            raise InputError(f"a latent of this model, for samples of {_times(grid)}, has the parts {sizes}")
        return counts.pop()

    def _field(self, encoded: Tensor, fraction: Any = None) -> NDArray[Any]:
        """Decode ``(C, *S)`` to the axes of a field, of an exact phase fraction where one is given."""
        codec, raw = self.codec, encoded.float()
        values = codec.decode(raw) if fraction is None else codec.decode_fraction(raw, fraction)
        known = FIELDS.get(self.codec.field)
        return np.ascontiguousarray(np.moveaxis(values, 0, -1)) if known and known.channels else values[0]


def _check_range(spec: ConditionSpec, values: NDArray[Any], *, extrapolate: bool) -> None:
    if not np.isfinite(values).all():
        raise InputError(f"the condition {spec.name!r} holds NaN or infinite values")
    tolerance = 1e-6 * (spec.high - spec.low)
    low, high = float(values.min()), float(values.max())
    if spec.scale == "log" and low <= 0:
        raise InputError(f"{spec.name} must be positive, got {low:g}")
    if (
        extrapolate
        or spec.scale in ("axial", "class")
        or (spec.low - tolerance <= low and high <= spec.high + tolerance)
    ):
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
