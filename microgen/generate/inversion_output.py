"""What an inversion leaves in its folder: pictures with recipes, latents, tables."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from microgen import io, stats
from microgen.core import Condition, DivergedError, InputError, Microstructure
from microgen.core.files import write_json
from microgen.core.recipe import recipe
from microgen.generate import path_files
from microgen.generate.inversion import Twin, twin_of
from microgen.generate.inversion_picture import draw_curves, draw_twin
from microgen.generate.inversion_search import BUDGET, SEEDS_APART, TOLERANCE, Solution, search
from microgen.generate.inversion_space import Points, Space
from microgen.generate.sampling import resolve_device, usual_format
from microgen.generate.targets import Meaning, Target, Value
from microgen.models.file import find_model, load_model
from microgen.models.model import Model

Say = Callable[[str], None]
RESULT = "invert.json"


def invert_to_folder(
    model: Model | Path | str,
    structure: Microstructure,
    out: Path | str,
    *,
    condition: Condition | None = None,
    meaning: Meaning | None = None,
    siblings: int = 0,
    distance: float = 0.3,
    device: str = "auto",
    say: Say = lambda message: None,
    **how: Any,
) -> dict[str, Any]:
    """Find the digital twin of a micrograph and write it with its latent, its residual and a table of descriptors.

    Parameters
    ----------
    model
        A model, its file, or the folder of its training run.
    structure
        With the field of the model, on its grid spacing.
    out
        Gets ``twin.png`` (or the format of the field), ``latent.h5``, ``residual.tif``, ``comparison.png`` and, last,
        ``invert.json``.
    meaning
        How twin and original are measured.
    siblings, distance
        So many further samples, a part `distance` of the way to other noise.
    condition, how
        As of :func:`microgen.generate.inversion.twin_of`.

    Returns
    -------
    dict
        What ``invert.json`` holds. A folder that is complete is left as it is.

    Raises
    ------
    InputError
        If the field does not fit the model, or `out` holds something made with other settings.
    """
    loaded, out = _loaded(model, device), Path(out)
    settings = {
        **_settings(loaded, condition, meaning, how),
        "original": _named(structure, loaded.codec.field),
        "siblings": siblings,
        "distance": distance,
    }
    path_files.claim(out, settings, "invert")
    if (done := _finished(out / RESULT)) is not None:
        return done
    twin = twin_of(loaded, structure, condition, say=say, **how)
    where = _relative(model, out)
    ending = usual_format(loaded.codec.ndim, loaded.codec.dtype)
    _write_points(out, "twin", "latent.h5", twin.space, twin.points, [twin.structure], where, ending)
    if siblings:
        points = twin.siblings(siblings, distance)
        made = list(twin.space.structures(points))
        _write_points(out, "sibling", "siblings.h5", twin.space, points, made, where, ending)
    left = twin.structure.replace(fields={"residual": twin.residual.astype(np.float32)}, phases=(), scalars={})
    io.write(out / ("residual.tif" if left.ndim == 2 else "residual.h5"), left, recipe("invert"))
    draw_twin(out / "comparison.png", structure, twin.structure, loaded.codec.field)
    found = {**settings, **report_of(twin, meaning or Meaning())}
    write_json(out / RESULT, found)
    return found


def search_to_folder(
    model: Model | Path | str,
    out: Path | str,
    targets: Sequence[Target],
    *,
    count: int = 1,
    condition: Condition | None = None,
    shape: Sequence[int] | None = None,
    meaning: Meaning | None = None,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    budget: int = BUDGET,
    device: str = "auto",
    say: Say = lambda message: None,
    **options: Any,
) -> dict[str, Any]:
    """Search structures that measure what they shall and write them with their latents and a table.

    Parameters
    ----------
    out
        Gets for each solution ``solution_000.png`` (or the format of the field) and ``solution_000.h5`` with its
        latent, and ``invert.json``. The same call again keeps the solutions that are there.
    targets
        At least one, see :func:`microgen.generate.targets.parse`.
    count
        Solutions, each from seeds of its own.
    condition, shape, options
        As of :meth:`microgen.models.model.Model.sample`; conditions that are not given are searched, too.
    meaning, seed, tolerance, budget
        As of :func:`microgen.generate.inversion_search.search`.

    Returns
    -------
    dict
        What ``invert.json`` holds; ``reached`` says whether every solution meets every target.

    Raises
    ------
    InputError
        If a target is not for this model, or `out` holds something made with other settings.
    """
    loaded, out, looked = _loaded(model, device), Path(out), meaning or Meaning()
    grid = tuple(shape or loaded.patch)
    settings = {
        **_settings(loaded, condition, looked, {"seed": seed, "tolerance": tolerance, "budget": budget, **options}),
        "shape": list(grid),
        "targets": {target.name: _plain(target.value) for target in targets},
    }
    space = Space(loaded, grid, condition or Condition(), options)
    path_files.claim(out, settings, "invert")
    ending, where = usual_format(loaded.codec.ndim, loaded.codec.dtype), _relative(model, out)
    rows = []
    for number in range(count):
        name = f"solution_{number:03d}"
        row = _finished(out / f"{name}.json")
        if row is None:
            say(f"solution {number + 1} of {count}")
            how: dict[str, Any] = {"seed": seed + number * SEEDS_APART, "tolerance": tolerance, "budget": budget}
            found = search(space, targets, looked, say=say, **how)
            _write_points(out, name, f"{name}.h5", space, found.points, [found.structure], where, ending)
            row = {"file": f"{name}.{ending}", **_row(found, space, targets, tolerance)}
            write_json(out / f"{name}.json", row)
        rows.append(row)
    result = {**settings, "solutions": rows, "reached": all(row["reached"] for row in rows)}
    draw_curves(out / "curves.png", targets, rows)
    write_json(out / RESULT, result)
    return result


def require_reached(result: Mapping[str, Any]) -> None:
    """Refuse the result of :func:`search_to_folder` where a target was missed.

    Raises
    ------
    DivergedError
        Naming the worst target.
    """
    missed = [(t["error"], t["name"], row["file"]) for row in result["solutions"] for t in row["targets"]]
    error, name, file = max((math.inf if e is None else e, n, f) for e, n, f in missed)
    if not result["reached"]:
        off = "cannot be measured" if math.isinf(error) else f"is off by {error:.1%}"
        raise DivergedError(
            f"{name} {off} in {file}, the best found; raise --budget or --tolerance, "
            "or ask for what the model has learned"
        )


def report_of(twin: Twin, meaning: Meaning) -> dict[str, Any]:
    """Return the figures of a twin, JSON-able: residual, variance explained, and its descriptors."""
    return {
        "start": twin.start,
        "condition": dict(twin.condition.scalars),
        "rms_residual": twin.rms,
        "variance_explained": twin.explained,
        "descriptors": compared(twin.original, twin.structure, meaning),
    }


def compared(original: Microstructure, twin: Microstructure, meaning: Meaning) -> list[dict[str, Any]]:
    """Return what both measure and how much the twin differs in percent, one row per descriptor both allow.

    Curves are compared by their mean difference over their mean value.
    """
    both = [stats.measure(meaning.of(one), intervals=False) for one in (original, twin)]
    rows = []
    for name in both[0].keys() & both[1].keys():
        values = [_value(measured[name]) for measured in both]
        if values[0] is None or values[1] is None:
            continue
        row: dict[str, Any] = {"name": name, "unit": both[0][name].unit}
        if not isinstance(values[0], stats.Curve):
            row |= {"original": values[0], "twin": values[1]}
        error = Target(name, values[0]).error(values[1])
        rows.append({**row, "difference_percent": _percent(error)})
    return sorted(rows, key=lambda row: list(stats.DESCRIPTORS).index(row["name"].partition(":")[0]))


def _value(measured: stats.Measurement) -> Value | None:
    if measured.y is not None and measured.x is not None:
        return stats.Curve(measured.x, measured.y)
    return measured.value


def _row(found: Solution, space: Space, targets: Sequence[Target], tolerance: float) -> dict[str, Any]:
    """One solution as JSON."""
    table = [
        {
            "name": target.name,
            "wanted": _plain(target.value),
            "reached": _plain(found.measured[target.name]),
            "error": _finite(found.errors[target.name]),
        }
        for target in targets
    ]
    return {
        "reached": found.worst <= tolerance,
        "found_by": found.way,
        "samples_made": found.made,
        "condition": dict(space.condition(found.points.places[0]).scalars),
        "targets": table,
    }


def _write_points(
    out: Path,
    name: str,
    stored: str,
    space: Space,
    points: Points,
    structures: Sequence[Microstructure],
    model_path: str,
    ending: str,
) -> None:
    """Write samples, and one HDF5 file with the latents from which ``microgen reproduce`` makes them again."""
    conditions = [space.condition(place) for place in points.places]
    field = space.model.codec.field
    about = recipe("invert", model=model_path, model_sha256=space.model.sha256, samples=name)
    path_files.write_path(
        out / stored, [structures], [(points.latents, conditions)], field=field, numbers={}, about=about
    )
    for frame, structure in enumerate(structures):
        own = f"{name}.{ending}" if len(structures) == 1 and name != "sibling" else f"{name}_{frame:03d}.{ending}"
        latent = {"file": stored, "row": 0, "frame": frame}
        io.write(out / own, structure, recipe("invert", model=model_path, latent=latent, **structure.source))


def _settings(
    model: Model, condition: Condition | None, meaning: Meaning | None, how: Mapping[str, Any]
) -> dict[str, Any]:
    """What decides a result, JSON-able."""
    looked = meaning or Meaning()
    materials = {name: list(values) for name, values in looked.materials.items()}
    return {
        "model_sha256": model.sha256,
        "given": dict((condition or Condition()).scalars),
        **({"threshold": looked.threshold} if looked.threshold is not None else {}),
        **({"materials": materials} if materials else {}),
        "settings": {name: value for name, value in sorted(how.items()) if not callable(value)},
    }


def _named(structure: Microstructure, field: str) -> dict[str, Any]:
    """Which picture it was: its file, and the values themselves by their hash."""
    import hashlib

    values = np.ascontiguousarray(structure[field])
    known = {"file": Path(str(structure.source["file"])).name} if "file" in structure.source else {}
    digest = hashlib.sha256(values.tobytes()).hexdigest()
    return {**known, "shape": list(structure.shape), "spacing_um": list(structure.spacing), "values_sha256": digest}


def _plain(value: Value | None) -> Any:
    if isinstance(value, stats.Curve):
        return {"x": value.x.tolist(), "y": value.y.tolist()}
    return value if value is None else float(value)


def _finite(error: float) -> float | None:
    return error if math.isfinite(error) else None


def _percent(error: float) -> float | None:
    return float(f"{100 * error:.3g}") if math.isfinite(error) else None


def _finished(path: Path) -> dict[str, Any] | None:
    """Return the content of a file that is written last, None where it is not there."""
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged; remove it and run the same command again") from error
    return found


def _loaded(model: Model | Path | str, device: str) -> Model:
    return model if isinstance(model, Model) else load_model(find_model(model), device=resolve_device(device))


def _relative(model: Model | Path | str, out: Path) -> str:
    """Path of the model from where its samples lie, so that both can move together."""
    if isinstance(model, Model):
        return ""
    return Path(os.path.relpath(find_model(model).resolve(), out.resolve())).as_posix()
