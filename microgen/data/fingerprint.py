"""The fingerprint: what the images of a data set are like, in numbers that the plan is made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microgen.core import InputError, Microstructure
from microgen.data.meaning import grain_cells, knows_grains
from microgen.data.measures import boundaries
from microgen.data.overlap import Overlap
from microgen.data.resample import CATEGORICAL, resample
from microgen.data.windows import Windows, intercepts
from microgen.stats import correlation_length, structure_tensor

BOUNDARY_CONTRAST = 3.5
"""Depth of the etched lines, in spreads of the gray values inside the grains, from which the grain size is believed:
on the data tried, textures without grains and two-phase structures reach 2.6, etched steels start at 6.0."""
MIN_INTERCEPT_PX = 3.0
"""Pixels per mean intercept below which lines are texture."""
WORKING_INTERCEPT_PX = 12.0
"""Pixels per mean intercept from which finer ones no longer change it."""
SYMMETRIC_TENSOR = 0.1
SYMMETRIC_SKEWNESS = 0.2
"""Largest directional difference of the gradient energy, and skewness of the gradient, that count as symmetric."""

Report = dict[str, Any]


def image_fingerprint(name: str, m: Microstructure, field: str) -> Report:
    """Describe one image or volume; JSON-able, lengths in micrometres.

    Parameters
    ----------
    name
        Name in the data set.
    m
        The image as recorded.
    field
        Field to describe.

    Returns
    -------
    dict
        Size, pixel size with its origin, contrast, noise, saturation, shading, correlation length, direction, and
        the mean lineal intercept of grains, known ones or etched ones; None where a quantity cannot be measured. Of
        volumes noise and shading are those of the middle slice, the correlation length the median of those of three
        sections across each axis.
    """
    values = m[field]
    section = values if m.ndim == 2 else values[len(values) // 2]
    gray = np.asarray(section, dtype=np.float32)
    gray = gray if gray.ndim == 2 else gray[..., 0]
    sections = _sections(values, m.spacing) if m.ndim == 3 else {}
    xi = _correlation_length(gray, m.spacing[-2:]) if m.ndim == 2 else _middle_length(sections)
    step = _working_step(gray.shape, m.spacing[-2:], xi)
    small = resample(gray, m.spacing[-2:], step)
    return {
        "name": name,
        "shape": list(m.shape),
        "extent_um": [round(v, 4) for v in m.extent_um],
        "spacing_um": list(m.spacing),
        "pixel_size": dict(m.source.get("pixel_size", {})),
        "dtype": str(values.dtype),
        "bit_depth": m.source.get("bit_depth"),
        "contrast": _percentiles(values, p0_5=0.5, p50=50, p99_5=99.5),
        "noise_sigma": noise_sigma(gray),
        "saturated_share": saturated_share(values, m.source.get("bit_depth")),
        "shading": shading(gray),
        "correlation_length_um": xi,
        "direction": direction(small, step),
        "sections": sections,
        "grains": _grains_of(m, field, gray, step),
    }


def noise_sigma(gray: NDArray[Any]) -> float:
    """Standard deviation of white noise, in gray values.

    Median absolute response to a mask that ignores planes and edges (J. Immerkaer, 1996,
    doi:10.1006/cviu.1996.0060), with the median in place of the mean so that fine lines do not count as noise.
    """
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    if min(gray.shape) < 3:
        return 0.0
    response = ndimage.convolve(np.asarray(gray, dtype=np.float32), mask)[1:-1, 1:-1]
    return float(np.median(np.abs(response)) / 0.6745 / 6)


def saturated_share(values: NDArray[Any], bit_depth: int | None = None) -> float:
    """Share of values at the ends of the range: of the bit depth for integers, their own extremes for floats."""
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "u":
        low, high = 0.0, float(2 ** (bit_depth or values.dtype.itemsize * 8) - 1)
    return float(np.mean((values == low) | (values == high)))


def shading(gray: NDArray[Any]) -> float:
    """Spread of the brightness of 4 x 4 tiles, as a share of the contrast of the picture."""
    rows = [r for r in np.array_split(gray, 4) if r.size]
    means = [float(tile.mean()) for row in rows for tile in np.array_split(row, 4, axis=1) if tile.size]
    low, high = np.percentile(gray, [0.5, 99.5])
    return float((max(means) - min(means)) / max(high - low, 1e-12))


def direction(gray: NDArray[Any], step: float) -> Report:
    """Directional statistics of the gradient of a picture with square pixels of side `step`.

    Returns
    -------
    dict
        ``axis_difference`` (gradient energy along x minus along y, over the sum), ``oblique`` (energy along one
        diagonal minus the other, over the sum), ``skewness`` of the gradient along ``(y, x)`` (not 0 where the
        light falls from one side, or one side is simply different), ``direction_deg`` of least change, ``anisotropy``.
        For a section of a volume read its own two axes for y and x.
    """
    tensor = structure_tensor(gray, spacing=(step, step))
    t = tensor.tensor / max(float(np.trace(tensor.tensor)), 1e-300)
    smooth = [ndimage.gaussian_filter(gray, 1.0, order=order, mode="nearest") for order in ((1, 0), (0, 1))]
    return {
        "axis_difference": float(t[1, 1] - t[0, 0]),
        "oblique": float(2 * t[0, 1]),
        "skewness": [float(np.mean(g**3) / max(float(np.mean(g**2)) ** 1.5, 1e-30)) for g in smooth],
        "direction_deg": tensor.direction_deg,
        "anisotropy": tensor.anisotropy,
    }


def _sections(values: NDArray[Any], spacing: tuple[float, ...]) -> dict[str, list[Report]]:
    """Directional statistics of three parallel sections of a volume across each axis, by their plane.

    Each also has its ``correlation_length_um``.
    """
    made: dict[str, list[Report]] = {}
    for across, plane in enumerate(("yx", "zx", "zy")):
        sides = tuple(s for axis, s in enumerate(spacing) if axis != across)
        n = values.shape[across]
        cuts = [np.take(values, n * k // 4, axis=across).astype(np.float32) for k in (1, 2, 3)]
        cuts = [cut if cut.ndim == 2 else cut[..., 0] for cut in cuts]
        square = [resample(cut, sides, max(sides)) for cut in cuts if np.ptp(cut) > 0]
        made[plane] = [_section(cut, max(sides)) for cut in square]
    return made


def _section(cut: NDArray[Any], step: float) -> Report:
    return {**direction(cut, step), "correlation_length_um": _correlation_length(cut, (step, step))}


def _middle_length(sections: dict[str, list[Report]]) -> float | None:
    """Median over all sections that have a correlation length."""
    found = [s["correlation_length_um"] for plane in sections.values() for s in plane]
    known = [length for length in found if length]
    return float(np.median(known)) if known else None


def symmetries(images: Sequence[Report]) -> list[str]:
    """Name the flips and turns under which the images or volumes, taken together, look the same.

    An axis may be flipped where no plane that holds it shows a difference: pictures have one plane, volumes three.

    Parameters
    ----------
    images
        Reports with ``"direction"``, and for volumes ``"sections"``, of :func:`image_fingerprint`.

    >>> round_grains = {"axis_difference": 0.01, "oblique": 0.0, "skewness": [0.02, 0.01]}
    >>> symmetries([{"direction": round_grains}])
    ['flip_x', 'flip_y', 'quarter_turns']
    >>> symmetries([{"direction": {**round_grains, "skewness": [2.0, 0.0]}}])  # lit from above
    ['flip_x']
    """
    planes: dict[str, list[Report]] = {}
    for image in images:
        for plane, found in (image.get("sections") or {"yx": [image["direction"]]}).items():
            planes.setdefault(plane, []).extend(found)
    allowed = {plane: _allowed(plane, found) for plane, found in planes.items()}
    axes = [a for a in "xyz" if any(a in p for p in planes) and all(a in ok for p, ok in allowed.items() if a in p)]
    difference = abs(float(np.mean([d["axis_difference"] for d in planes["yx"]]))) if planes["yx"] else 1.0
    turns = ["quarter_turns"] if {"x", "y"} <= set(axes) and difference < SYMMETRIC_TENSOR else []
    return [f"flip_{a}" for a in axes] + turns


def _allowed(plane: str, found: Sequence[Report]) -> set[str]:
    """Axes of a plane that may be flipped, as far as its sections, taken together, show."""
    if not found or abs(float(np.mean([d["oblique"] for d in found]))) >= SYMMETRIC_TENSOR:
        return set()
    skewness = np.abs(np.mean([d["skewness"] for d in found], axis=0))
    return {axis for axis, skew in zip(plane, skewness, strict=True) if skew < SYMMETRIC_SKEWNESS}


def summary(images: Sequence[Report], overlaps: Sequence[Overlap], field: str) -> Report:
    """Put the images together to the fingerprint of the data set."""
    lengths = [i["correlation_length_um"] for i in images if i["correlation_length_um"]]
    sizes = [i["grains"]["mean_intercept_um"] for i in images if _believed(i["grains"])]
    ndim = len(images[0]["shape"])
    areas = [float(np.prod(i["extent_um"])) for i in images]
    twice = sum(o.share * min(areas[_index(images, o.first)], areas[_index(images, o.second)]) for o in overlaps)
    xi = float(np.median(lengths)) if lengths else None
    return {
        "format": "microgen-fingerprint",
        "version": 1,
        "field": field,
        "count": len(images),
        "ndim": ndim,
        f"{'area' if ndim == 2 else 'volume'}_um{ndim}": float(sum(areas) - twice),
        "correlation_length_um": xi,
        "effective_samples": round(max(0.0, sum(areas) - twice) / xi**ndim) if xi else None,
        "grain_size_um": _range(sizes) if len(sizes) > len(images) / 2 else None,
        "spacing_um": _range([max(i["spacing_um"]) for i in images]),
        "symmetries": symmetries(images),
        "overlaps": [{**vars(o), "duplicate": o.duplicate} for o in overlaps],
        "images": list(images),
    }


def _believed(grains: Report | None) -> bool:
    return grains is not None and ("known" in grains or grains["boundary_contrast"] >= BOUNDARY_CONTRAST)


def _index(images: Sequence[Report], name: str) -> int:
    return next(k for k, image in enumerate(images) if image["name"] == name)


def _range(values: Sequence[float]) -> Report:
    return _percentiles(np.asarray(values), low=0, median=50, high=100)


def _percentiles(values: NDArray[Any], **wanted: float) -> Report:
    found = np.percentile(np.asarray(values, dtype=np.float64), list(wanted.values()))
    return dict(zip(wanted, found.tolist(), strict=True))


def _correlation_length(gray: NDArray[Any], spacing: tuple[float, ...]) -> float | None:
    try:
        return float(correlation_length(gray, spacing=spacing))
    except InputError:
        return None  # one trend over the whole picture has no length


def _working_step(shape: tuple[int, ...], spacing: tuple[float, ...], xi: float | None) -> float:
    """Pixel size at which two pixels make a correlation length: finer ones add time and noise, no boundaries."""
    shortest = min(n * s for n, s in zip(shape, spacing, strict=True))
    return float(max(*spacing, min((xi or 0.0) / 2, shortest / 64)))


def _grains_of(m: Microstructure, field: str, gray: NDArray[Any], step: float) -> Report | None:
    """Measure known grains; else, in a gray picture, etched ones."""
    if field != "intensity" and knows_grains(m):
        return _known_grains(m)
    return _grains(gray, m.spacing, step) if m.ndim == 2 and field not in CATEGORICAL else None


def _known_grains(m: Microstructure) -> Report:
    step = max(m.spacing)
    cells = resample(grain_cells(m), m.spacing, step, categorical=True).astype(np.int64)
    windows = intercepts(cells, step)
    mean = float(windows(np.zeros((1, m.ndim), dtype=int), cells.shape)[0])
    crops = _crops(windows, mean, cells.shape, step)
    return {"mean_intercept_um": mean, "crops_um": crops, "measured_at_um": step, "known": True}


def _crops(windows: Windows, mean: float, shape: tuple[int, ...], step: float) -> Report:
    """Spread of the mean intercept over boxes of about five intercepts."""
    box = min(round(5 * mean / step), *shape)
    axes = [np.arange(0, n - box + 1, max(1, box // 2)) for n in shape]
    corners = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(shape))
    return _percentiles(windows(corners, (box,) * len(shape)), p5=5, p50=50, p95=95)


def _grains(gray: NDArray[Any], spacing: tuple[float, ...], step: float) -> Report | None:
    """Measure the grains with pixels of side `step`, and again with finer ones where grains span too few."""
    found = _grains_at(resample(gray, spacing, step), step)
    if found is None or found["mean_intercept_um"] >= WORKING_INTERCEPT_PX * step:
        return found
    finer = max(*spacing, found["mean_intercept_um"] / WORKING_INTERCEPT_PX)
    return _grains_at(resample(gray, spacing, finer), finer) if finer < step else found


def _grains_at(small: NDArray[Any], step: float) -> Report | None:
    """Mean lineal intercept, its spread over boxes of about five intercepts, and how deep the boundaries are."""
    if min(small.shape) < 16 or small.min() == small.max():
        return None
    mask = boundaries(small, step)
    windows = intercepts(mask, step)
    mean = float(windows(np.zeros((1, 2), dtype=int), small.shape)[0])
    if mean < MIN_INTERCEPT_PX * step or mean > min(small.shape) * step / 2:
        return None
    return {
        "mean_intercept_um": mean,
        "crops_um": _crops(windows, mean, small.shape, step),
        "measured_at_um": step,
        "boundary_contrast": _boundary_contrast(small, mask, mean / step),
    }


def _boundary_contrast(gray: NDArray[Any], mask: NDArray[Any], grain_px: float) -> float:
    """Depth of the lines over the robust spread of the gray values inside the grains, away from the lines."""
    inside = ndimage.distance_transform_edt(~mask) > 0.2 * grain_px
    if not mask.any() or not inside.any():
        return 0.0
    low, middle, high = np.percentile(gray[inside], [10, 50, 90])
    spread = float(high - low) / 2.563  # standard deviations between the 10 and 90 % of a normal distribution
    return abs(float(gray[mask].mean() - middle)) / max(spread, 1e-3 * float(np.ptp(gray)))
