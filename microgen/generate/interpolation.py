"""Walks through the latent space of a model, made, measured, judged and written: ``microgen interpolate``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from microgen import io
from microgen.core import Condition, InputError, Microstructure
from microgen.core.files import write_json
from microgen.core.recipe import recipe
from microgen.generate import directions, judging, lines, path_files
from microgen.generate.lines import STORED, Line
from microgen.generate.sampling import _relative, resolve_device, usual_format
from microgen.generate.strip import Row, draw_animation, draw_strip
from microgen.generate.walk_report import Route, frame_name, key_numbers, walk_report
from microgen.models.file import find_model, load_model

if TYPE_CHECKING:
    from microgen.models.model import Model

Range = tuple[str, float, float]
"""Name, first and last value."""
Say = Callable[[str], None]


def interpolate(
    model: Model,
    *,
    seeds: Sequence[int] = (),
    along: Range | None = None,
    code: Range | None = None,
    between: Sequence[Microstructure] = (),
    frames: int = 9,
    how: str = "spherical",
    calibrate: bool = False,
    condition: Condition | None = None,
    shape: Sequence[int] | None = None,
    learn_from: int = 256,
    **options: Any,
) -> Route:
    """Plan a walk through the latent space of a model; :func:`interpolate_to_folder` makes and judges it.

    Parameters
    ----------
    seeds
        Stations of the walk; with `along` or `code` one row for each.
    along
        A condition of the model, or else a descriptor of :data:`microgen.stats.DESCRIPTORS`, for which a direction of
        the latent space is learned; with its first and last value.
    code
        One number of the latent, ``"codes.0"``, with its first and last value.
    between
        Real structures to walk between instead of samples; a condition of the model that is a descriptor is measured
        on each.
    frames
        Frames from one station to the next, both included.
    how
        ``"spherical"`` or ``"straight"``, between seeds and real structures.
    calibrate
        Choose the conditions so that the measured value is what was asked for; a learned direction always does.
    learn_from
        Samples from which a direction is learned.
    condition, shape, options
        As in :meth:`microgen.models.model.Model.decode`.

    Raises
    ------
    InputError
        For impossible combinations, unknown names, and values that the model does not reach.
    """
    if frames < 3:
        raise InputError(f"a walk has at least 3 frames, got {frames}")
    if sum(map(bool, (along, code, between))) > 1:
        raise InputError(
            "go along a condition or descriptor, along a number of the latent, or between files: one of them"
        )
    asked: dict[str, Any] = {"condition": condition, "shape": shape}
    if code:
        values = [float(v) for v in np.linspace(code[1], code[2], frames)]
        return _in_rows([lines.along_number(model, code[0], s, **asked) for s in seeds], values, code[0])
    if along:
        return _along(model, along, seeds, frames, calibrate=calibrate, learn_from=learn_from, **asked, **options)
    if between:
        return _on_legs(_between_real(model, between, condition, how), len(between), frames)
    return _on_legs(lines.between_seeds(model, seeds, how=how, **asked), len(seeds), frames)


def frames_of(
    model: Model, route: Route, shape: Sequence[int] | None = None, **options: Any
) -> list[list[Microstructure]]:
    """Make the frames of all lines of a route."""
    pairs = zip(route.lines, route.places, strict=True)
    return [lines.decoded(model, line, places, shape, **options) for line, places in pairs]


def interpolate_to_folder(
    model: Model | Path | str,
    out: Path | str,
    *,
    fps: float = 6.0,
    references: int = 24,
    device: str = "auto",
    say: Say | None = None,
    **walk: Any,
) -> dict[str, Any]:
    """Make a walk through the latent space of a model and write it: frames, strip, animation, HDF5 and report.

    ``frames/*`` (each with its recipe), ``strip.png``, ``path.gif``, ``path.h5`` (all frames, latents and conditions)
    and ``path.json``. The same call again keeps the frames that are there.

    Parameters
    ----------
    fps
        Frames per second of the animation.
    references
        Independent samples of the same conditions that frames are compared with.
    walk
        As in :func:`interpolate`.

    Returns
    -------
    dict
        The key numbers of ``path.json``.

    Raises
    ------
    InputError
        As :func:`interpolate`, if fewer than 8 references are asked for, and if `out` holds another walk.
    """
    if references < 8:
        raise InputError(f"frames are compared with at least 8 independent samples, got {references}")
    out, tell = Path(out), say or (lambda text: None)
    path = str(find_model(model)) if isinstance(model, (str, Path)) else ""
    loaded = load_model(path, device=resolve_device(device)) if isinstance(model, (str, Path)) else model
    options = {key: value for key, value in walk.items() if key not in _PLANNED}
    shape = walk.get("shape")
    route = interpolate(loaded, **walk)
    settings = _settings(loaded, route, walk, options)
    plan = _planned(loaded, route, out, shape, options, _relative(path, out / "frames"))  # all is checked first
    path_files.claim(out, settings, "interpolate")
    frames = _made(loaded, route, plan, shape, options, tell)
    report = {**settings, **walk_report(loaded, route, frames, shape, references, options)}
    _write(loaded, route, frames, out, report, fps)
    return {"out": str(out), **key_numbers(report)}


def remake_frame(file_recipe: Mapping[str, Any], folder: Path, *, model: Path | str | None = None) -> Microstructure:
    """Make a frame again from the recipe in its file.

    Parameters
    ----------
    file_recipe
        From :func:`microgen.io.read_recipe`.
    folder
        Where the file lies: the model, and where no seed leads to the latent ``path.h5``, are named relative to it.
    model
        Where the model is now, if it was moved.
    """
    file = find_model(model or folder / file_recipe["model"])
    loaded = load_model(file, device=resolve_device(file_recipe["device"]))
    if loaded.sha256 != file_recipe["model_sha256"]:
        raise InputError(f"{file} is not the model that made this frame: its hash is {loaded.sha256[:12]}...")
    shape = file_recipe["shape"]
    latents = lines.latents_of(loaded, file_recipe["latent"], shape, folder)
    asked = {"batch": file_recipe.get("batch"), "extrapolate": True, **file_recipe["options"]}
    return next(loaded.decode(latents, Condition(file_recipe["condition"]), shape, **asked))


_PLANNED = ("seeds", "along", "code", "between", "frames", "how", "calibrate", "condition", "shape", "learn_from")


def _in_rows(
    rows: Sequence[Line],
    requested: Sequence[float],
    name: str,
    places: Sequence[Sequence[float]] | None = None,
    note: Mapping[str, Any] | None = None,
) -> Route:
    if not rows:
        raise InputError("give at least one seed to start from")
    ts = [float(t) for t in np.linspace(0, 1, len(requested))]
    where = places or [requested] * len(rows)
    return Route(rows, where, ts, [(0, len(ts) - 1)], name, requested, note)


def _on_legs(line: Line, stations: int, steps: int) -> Route:
    places = lines.steps_on_way(stations, steps)
    legs = [(k * (steps - 1), (k + 1) * (steps - 1)) for k in range(stations - 1)]
    ts = [place - min(int(place), stations - 2) for place in places]
    return Route([line], [places], ts, legs)


def _along(
    model: Model,
    along: Range,
    seeds: Sequence[int],
    steps: int,
    *,
    calibrate: bool,
    learn_from: int,
    condition: Condition | None,
    shape: Sequence[int] | None,
    **options: Any,
) -> Route:
    name, low, high = along
    asked: dict[str, Any] = {"condition": condition, "shape": shape}
    known = {spec.name: spec for spec in model.conditions}
    note = None
    if name in known:
        spec = known[name]
        values = lines.values_between(spec, low, high, steps)
        rows = [lines.along_condition(model, name, seed, **asked) for seed in seeds]
        reach = (spec.low, spec.high)
        if not calibrate:
            return _in_rows(rows, values, name)
        directions.check_descriptor(name)
    else:
        direction = directions.direction_of_descriptor(model, name, samples=learn_from, **asked, **options)
        values = [float(v) for v in np.linspace(low, high, steps)]
        rows = [directions.along_direction(model, direction, seed, **asked) for seed in seeds]
        reach, note = (-directions.FARTHEST, directions.FARTHEST), {"r2": direction.r2, "samples": learn_from}
    places = [directions.calibrated(model, row, name, values, between=reach, shape=shape, **options) for row in rows]
    return _in_rows(rows, values, name, places, note)


def _between_real(model: Model, structures: Sequence[Microstructure], condition: Condition | None, how: str) -> Line:
    if len(structures) < 2:
        raise InputError("a walk between real structures needs at least two of them")
    conditions = [condition or measured_condition(model, one) for one in structures]
    return lines.between_latents(model, model.encode(structures, conditions), conditions, how=how)


def measured_condition(model: Model, structure: Microstructure) -> Condition:
    """Return the scalar conditions of a model that are descriptors as measured on a structure, within their ranges."""
    from microgen.stats import DESCRIPTORS

    wanted = [s for s in model.conditions if s.name in DESCRIPTORS]
    found = judging.measured([structure], [s.name for s in wanted])[0] if wanted else {}
    return Condition({s.name: float(np.clip(found[s.name], s.low, s.high)) for s in wanted if s.name in found})


def _settings(model: Model, route: Route, walk: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that decides the frames, JSON-able."""
    request = model.request(walk.get("condition"), walk.get("shape"), **options).to_dict()
    plain = {key: walk[key] for key in ("along", "code", "frames", "how", "calibrate", "learn_from") if walk.get(key)}
    stations = [one.source.get("sha256", one.source.get("seed")) for one in walk.get("between", ())]
    return {
        "model_sha256": model.sha256,
        "family": model.family,
        "lines": [line.name for line in route.lines],
        **{key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()},
        **({"between": stations} if stations else {}),
        "request": request,
    }


def _planned(
    model: Model,
    route: Route,
    out: Path,
    shape: Sequence[int] | None,
    options: Mapping[str, Any],
    model_path: str,
) -> list[list[tuple[Path, dict[str, Any]]]]:
    """File and recipe of each frame of each line, before any is made."""
    suffix = usual_format(model.codec.ndim, model.codec.dtype)
    rows = []
    for row, (line, places) in enumerate(zip(route.lines, route.places, strict=True)):
        files = []
        for k, place in enumerate(places):
            request = model.request(line.at(place)[1], shape, **options).to_dict()
            origin = path_files.origin_of(line, place, row=row, frame=k, file=f"../{STORED}")
            about = path_files.frame_recipe({"model_sha256": model.sha256, **request}, origin, model_path)
            files.append((out / "frames" / frame_name(line, k, suffix), about))
        rows.append(files)
    return rows


def _made(
    model: Model,
    route: Route,
    plan: Sequence[Sequence[tuple[Path, Mapping[str, Any]]]],
    shape: Sequence[int] | None,
    options: Mapping[str, Any],
    say: Say,
) -> list[list[Microstructure]]:
    """Frames of all lines: those that are there, and the others made and written."""
    rows = []
    for line, places, files in zip(route.lines, route.places, plan, strict=True):
        found = [path_files.kept(path, about) for path, about in files]
        missing = [k for k, frame in enumerate(found) if frame is None]
        if missing:
            made = lines.decoded(model, line, [places[k] for k in missing], shape, **options)
            for k, frame in zip(missing, made, strict=True):
                io.write(files[k][0], frame, files[k][1], exclusive=True)
                found[k] = frame
        say(f"{line.name}: {len(missing)} of {len(places)} frames made")
        rows.append([frame for frame in found if frame is not None])
    return rows


def _write(
    model: Model,
    route: Route,
    frames: Sequence[Sequence[Microstructure]],
    out: Path,
    report: Mapping[str, Any],
    fps: float,
) -> None:
    numbers: dict[str, Any] = {"places": route.places, "t": route.ts}
    if route.requested:
        numbers["requested"] = route.requested
    about = recipe("interpolate", **{key: value for key, value in report.items() if key not in ("rows", "followed")})
    found = [lines.points(line, places) for line, places in zip(route.lines, route.places, strict=True)]
    path_files.write_path(out / STORED, frames, found, field=model.codec.field, numbers=numbers, about=about)
    titled = zip(report["rows"], frames, strict=True)
    rows = [Row(_title(row["name"]), some, [_text(route, f) for f in row["frames"]]) for row, some in titled]
    draw_strip(out / "strip.png", rows, model.codec)
    draw_animation(out / "path.gif", frames, model.codec, fps=fps)
    write_json(out / "path.json", report)


def _title(name: str) -> str:
    words = name.split("_")
    return " ".join(["-".join(str(int(d)) for d in w.split("-")) if w[0].isdigit() else w for w in words])


def _text(route: Route, frame: Mapping[str, Any]) -> str:
    if route.name is None:
        shown = frame["measured"].get("grain_size_um", frame["measured"].get("phase_fraction"))
        return f"{frame['t']:.2f}" + (f"\n{shown:.3g}" if shown is not None else "")
    got = frame["measured"].get(route.name)
    return f"{frame['requested']:.3g}" + (f"\n({got:.3g})" if got is not None else "")
