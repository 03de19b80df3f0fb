"""What ``interpolate`` and ``explore`` read from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from microgen.core import InputError

if TYPE_CHECKING:
    from microgen.core import Microstructure


def parse_range(text: str) -> tuple[str, float, float]:
    """Read a name with its first and last value.

    >>> parse_range("codes.0=-1:1")
    ('codes.0', -1.0, 1.0)
    """
    name, _, values = text.partition("=")
    try:
        low, high = (float(part) for part in values.split(":"))
    except ValueError:
        raise InputError(f"ranges are written as name=first:last, like grain_size_um=5:12; {text!r} is not") from None
    if low == high or not name.strip():
        raise InputError(f"a range has a name and two different ends; {text!r} has not")
    return name.strip(), low, high


def parse_values(wishes: Sequence[str]) -> dict[str, float | str]:
    """Read ``NAME=VALUE``, each name once; the value of a class is its label.

    >>> parse_values(["grain_size_um=8", "steel=304L"])
    {'grain_size_um': 8.0, 'steel': '304L'}
    """
    values: dict[str, float | str] = {}
    for wish in wishes:
        name, found, text = (part.strip() for part in wish.partition("="))
        if not found or not text or not name or name in values:
            raise InputError(f"conditions are written once each as name=value; {wish!r} is not")
        try:
            values[name] = float(text)
        except ValueError:
            values[name] = text
    return values


def real_pictures(
    model: Path, inputs: Sequence[Path], *, crop: bool, resample: bool, pixel_size_um: float | None
) -> list[Microstructure]:
    """Read micrographs that fit a model; they are resampled and cropped only where that is asked for.

    Raises
    ------
    InputError
        For another pixel size or another number of points than the model has.
    """
    if not inputs:
        return []
    from microgen import io
    from microgen.generate import find_model
    from microgen.models import read_header

    header = read_header(find_model(model))
    spacing, patch, field = header["codec"]["spacing_um"], header["patch"], header["codec"]["field"]
    found = []
    for path in inputs:
        one = io.read(path, pixel_size_um=pixel_size_um)[0]
        if field not in one:
            raise InputError(f"{path} has no field {field!r}, which this model makes; it has {', '.join(one.fields)}")
        one = on_grid(one.replace(fields={field: one[field]}), spacing, path, resample=resample)
        found.append(of_size(one, patch, path, crop=crop))
    return found


def on_grid(one: Microstructure, spacing: Sequence[float], path: Path, *, resample: bool) -> Microstructure:
    """Return a field at the spacing of a model, resampled only where that is asked for."""
    import numpy as np

    from microgen.data.resample import resample_field

    if np.allclose(one.spacing, spacing, rtol=1e-3):
        return one.replace(spacing=tuple(spacing))
    mine, its = (" x ".join(f"{s:g}" for s in sp) for sp in (spacing, one.spacing))
    if not resample:
        raise InputError(f"{path} has {its} um per pixel and the model {mine}; add --resample to bring it to that")
    ((name, values),) = one.fields.items()
    made = resample_field(name, values, one.spacing, spacing[0])
    if np.issubdtype(values.dtype, np.integer) and not np.issubdtype(made.dtype, np.integer):
        limits = np.iinfo(values.dtype)
        made = np.clip(np.rint(made), limits.min, limits.max).astype(values.dtype)
    return one.replace(fields={name: made}, spacing=tuple(spacing))


def of_size(one: Microstructure, patch: Sequence[int], path: Path, *, crop: bool) -> Microstructure:
    """Return the middle of a field, of the size of a patch, cut out only where that is asked for."""
    if one.shape == tuple(patch):
        return one
    its, mine = (" x ".join(map(str, shape)) for shape in (one.shape, patch))
    if not crop:
        raise InputError(
            f"{path} is {its} points at the model's pixel size, its patch {mine}; add --crop to take the middle"
        )
    if any(n < p for n, p in zip(one.shape, patch, strict=True)):
        raise InputError(f"{path} is {its} points at the model's pixel size, less than its patch of {mine}")
    return one.crop(*(slice((n - p) // 2, (n - p) // 2 + p) for n, p in zip(one.shape, patch, strict=True)))
