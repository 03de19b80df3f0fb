"""Between fields in physical units and what the network sees; its constants travel inside the model file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from microgen.core import FIELDS, InputError


@dataclass(frozen=True)
class Codec:
    """Linear map between a field and numbers of about zero mean and unit standard deviation.

    Attributes
    ----------
    field
        Name of the field that the model makes, ``"intensity"``.
    offset, scale
        Mean and standard deviation of the training data, in the units of the field.
    low, high
        Values outside are clipped when decoding.
    dtype
        Type of the decoded field, ``"uint8"``; integer types are rounded.
    spacing_um
        Distance between grid points along each axis in micrometres; its length is the number of axes.
    phases
        Names of the phases, where the field is ``"phase"``.

    Examples
    --------
    >>> codec = Codec("intensity", 120.0, 40.0, 0, 255, "uint8", (0.8, 0.8))
    >>> codec.encode(np.array([[80, 160]], np.uint8))
    tensor([[-1.,  1.]])
    >>> codec.decode(torch.tensor([[-1.0, 9.0]]))
    array([[ 80, 255]], dtype=uint8)
    """

    field: str
    offset: float
    scale: float
    low: float
    high: float
    dtype: str
    spacing_um: tuple[float, ...]
    phases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "spacing_um", tuple(float(s) for s in self.spacing_um))
        object.__setattr__(self, "phases", tuple(self.phases))
        numbers = (self.offset, self.scale, self.low, self.high)
        if not (np.isfinite(numbers).all() and self.scale > 0 and self.low < self.high):
            raise InputError(
                f"field {self.field!r} cannot be learned: mean {self.offset:g}, standard deviation {self.scale:g}, "
                f"range {self.low:g} .. {self.high:g}; check that the images are not constant"
            )
        if not (len(self.spacing_um) in (2, 3) and all(np.isfinite(s) and s > 0 for s in self.spacing_um)):
            raise InputError(f"spacing_um needs 2 or 3 positive micrometres, got {self.spacing_um}")
        _check_dtype(self.dtype, self.low, self.high)

    @property
    def ndim(self) -> int:
        """2 for pictures, 3 for volumes."""
        return len(self.spacing_um)

    @property
    def channels(self) -> int:
        """Channels of the field on the grid, 1 where it has no channel axis."""
        known = FIELDS.get(self.field)
        return max(1, known.channels) if known else 1

    def encode(self, values: NDArray[Any]) -> Tensor:
        """Return `values` as a float32 tensor of the same shape, scaled for the network."""
        return torch.from_numpy(((np.asarray(values, np.float64) - self.offset) / self.scale).astype(np.float32))

    def decode(self, tensor: Tensor) -> NDArray[Any]:
        """Return the field values of the same shape: clipped to the range, rounded where the type is an integer.

        Raises
        ------
        InputError
            If the tensor holds NaN or infinite values.
        """
        values = tensor.detach().to("cpu", torch.float64).numpy() * self.scale + self.offset
        if not np.isfinite(values).all():
            raise InputError("the model made NaN or infinite values; it is damaged or was not trained to the end")
        values = np.clip(values, self.low, self.high)
        kind = np.dtype(self.dtype)
        return (np.rint(values) if kind.kind in "ui" else values).astype(kind)

    def decode_fraction(self, tensor: Tensor, fraction: float) -> NDArray[Any]:
        """Return the two phases of one sample ``(1, *S)`` such that phase 1 is exactly a `fraction` of the points.

        The points with the highest values become phase 1, as many as it takes; the values say how sure the model is.

        Raises
        ------
        InputError
            If the field is not of two phases, or the values are phases already, with nothing in between.
        """
        if self.field != "phase" or (round(self.low), round(self.high)) != (0, 1):
            raise InputError("only samples of two phases can hold a phase fraction exactly; leave exact out")
        values = tensor.detach().to("cpu", torch.float64).numpy().ravel()
        if len(np.unique(values)) <= min(2, len(values) - 1):
            raise InputError("this model decides about phases by itself, with nothing in between; leave exact out")
        phase = np.zeros(len(values), np.dtype(self.dtype))
        phase[np.argsort(-values, kind="stable")[: round(fraction * len(values))]] = 1
        return phase.reshape(tuple(tensor.shape))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; ``Codec(**d)`` is the way back."""
        return asdict(self)


def _check_dtype(name: str, low: float, high: float) -> None:
    """Only types that the float32 of the network can hold, and only ranges that the type can hold."""
    if name not in ("uint8", "int8", "uint16", "int16", "float32", "float64"):
        raise InputError(f"fields of type {name} cannot be generated; use uint8, uint16, int16 or float32")
    kind = np.dtype(name)
    if kind.kind in "ui" and not np.iinfo(kind).min <= low < high <= np.iinfo(kind).max:
        raise InputError(f"the range {low:g} .. {high:g} does not fit into {name}")
