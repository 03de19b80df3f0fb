"""Asking a model for many samples: folders of files, resumable, each seed exactly once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microgen.core import Condition, InputError, Microstructure
from microgen.generate.folder import SampleFolder
from microgen.generate.watch import count_samples
from microgen.models.file import find_model, load_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from microgen.models.model import Model


def sample_to_folder(
    model: Model | Path | str,
    out: Path | str,
    seeds: Sequence[int],
    *,
    conditions: Sequence[Condition] = (),
    shape: Sequence[int] | None = None,
    file_format: str | None = None,
    worker: tuple[int, int] = (0, 1),
    device: str = "auto",
    extrapolate: bool = False,
    batch: int | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Write one file per seed (and condition) into `out`, skipping those that are there.

    Any number of processes may fill one folder at the same time, be killed and started again: each file is made
    once, appears whole, and has the same bytes as from one uninterrupted process.

    Parameters
    ----------
    model
        A model, its file, or the folder of its training run.
    seeds
        Whole numbers from 0, one sample each.
    conditions
        With more than one, each gets a folder of its own, named after it.
    shape, extrapolate, batch, options
        As in :meth:`microgen.models.model.Model.sample`.
    file_format
        ``"png"``, ``"tif"``, ``"h5"``, ``"npy"`` or ``"vti"``; None: see :func:`usual_format`.
    worker
        (rank, count) of this process: where it starts. Work is then shared as it comes.
    device
        ``"cpu"``, ``"cuda"``, or ``"auto"``: a GPU where there is one.

    Returns
    -------
    dict
        ``count`` files in all, ``made`` by this process, ``model_sha256``, ``folders``.

    Raises
    ------
    InputError
        If the model or a condition is not usable, or `out` holds samples made with other settings.
    StorageError
        If the disk is full; what is complete stays, and the same call goes on from there.
    """
    _check_worker(*worker)
    path = str(find_model(model)) if isinstance(model, (str, Path)) else ""
    loaded = load_model(path, device=resolve_device(device)) if isinstance(model, (str, Path)) else model
    wanted = list(conditions) or [Condition()]
    asked = {"shape": shape, "extrapolate": extrapolate, "batch": batch, **options}
    requests = [loaded.request(condition, **asked) for condition in wanted]  # all are checked before any is made
    folders = condition_folders(Path(out), wanted)
    ending = _ending(loaded, file_format)
    made = 0
    for condition, request, folder in zip(wanted, requests, folders, strict=True):
        about = {"model_sha256": loaded.sha256, **request.to_dict()}
        target = SampleFolder(folder, about, suffix=ending, model_path=_relative(path, folder))
        ordered = _from(list(dict.fromkeys(seeds)), worker)
        made += target.fill(ordered, lambda some, c=condition: loaded.sample(some, c, **asked))  # type: ignore[misc]
    return {
        "count": len(folders) * len(set(seeds)),
        "made": made,
        "model_sha256": loaded.sha256,
        "folders": [str(folder) for folder in folders],
    }


def preview_request(
    model: Path | str,
    out: Path | str,
    seeds: Sequence[int],
    *,
    conditions: Sequence[Condition] = (),
    file_format: str | None = None,
    **asked: Any,
) -> dict[str, Any]:
    """Check the arguments of :func:`sample_to_folder` and say what it would do, without making anything.

    Returns
    -------
    dict
        ``count`` files in all, ``present`` of these already, ``model_sha256``, ``folders``, and the ``requests`` with
        all defaults filled in.
    """
    loaded = load_model(find_model(model))
    wanted = list(conditions) or [Condition()]
    requests = [loaded.request(condition, **asked).to_dict() for condition in wanted]
    folders = condition_folders(Path(out), wanted)
    ending = _ending(loaded, file_format)
    return {
        "count": len(folders) * len(set(seeds)),
        "present": count_samples(folders, ending, seeds=seeds),
        "model_sha256": loaded.sha256,
        "folders": [str(folder) for folder in folders],
        "requests": requests,
    }


def remake(
    recipe: Mapping[str, Any],
    folder: Path | str,
    *,
    model: Path | str | None = None,
    maps: Mapping[str, NDArray[Any]] | None = None,
) -> Microstructure:
    """Make a sample again from the recipe in its file.

    Parameters
    ----------
    recipe
        From :func:`microgen.io.read_recipe`.
    folder
        Where the file lies: the model is named relative to it.
    model
        Where the model is now, if it was moved.
    maps
        The condition maps that the recipe names by their hash, where it does.

    Raises
    ------
    InputError
        If the model is not there, or if it or a map is another one than it was.
    """
    file = find_model(model or Path(folder) / recipe["model"])
    loaded = load_model(file, device=resolve_device(recipe["device"]))
    if loaded.sha256 != recipe["model_sha256"]:
        raise InputError(
            f"{file} is not the model that made this sample: its hash is {loaded.sha256[:12]}..., "
            f"the recipe has {recipe['model_sha256'][:12]}..."
        )
    condition = Condition(recipe["condition"], maps or {})
    asked = {"shape": recipe["shape"], "batch": recipe.get("batch"), "extrapolate": True, **recipe["options"]}
    if loaded.request(condition, **asked).to_dict().get("maps") != recipe.get("maps"):
        names = ", ".join(recipe.get("maps", maps or {}))
        raise InputError(f"this sample was made with other condition maps; the recipe has only the hash of {names}")
    return next(loaded.sample([recipe["seed"]], condition, **asked))


def usual_format(ndim: int, dtype: str) -> str:
    """Choose the file format of samples: PNG for pictures that fit into it, TIFF for others, HDF5 for volumes.

    >>> usual_format(2, "uint8"), usual_format(2, "float32"), usual_format(3, "uint8")
    ('png', 'tif', 'h5')
    """
    if ndim == 3:
        return "h5"
    return "png" if dtype in ("uint8", "uint16") else "tif"


def _ending(model: Model, wanted: str | None) -> str:
    """Return the file format, before any sample is made that could not be written."""
    ndim, dtype = model.codec.ndim, model.codec.dtype
    if wanted == "png" and usual_format(ndim, dtype) != "png":
        what = "volumes" if ndim == 3 else f"pictures of {dtype}"
        raise InputError(f"this model makes {what}, which PNG cannot hold; use {usual_format(ndim, dtype)}")
    return wanted or usual_format(ndim, dtype)


def resolve_device(wanted: str) -> str:
    """Turn ``"auto"`` into ``"cuda"`` where there is a GPU, else ``"cpu"``."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("no GPU was found; use the device cpu")
    return wanted


def condition_folders(out: Path, conditions: Sequence[Condition]) -> list[Path]:
    """`out` itself for one condition, else one folder in it for each, ``grain_size_um_12``.

    >>> [p.name for p in condition_folders(Path("out"), [Condition({"grain_size_um": d}) for d in (8, 12.5)])]
    ['grain_size_um_8', 'grain_size_um_12.5']
    """
    if len(conditions) == 1:
        return [out]
    names = [re.sub(r"[^\w.+-]", "_", "_".join(_named(c))) for c in conditions]
    if len(set(names)) < len(names) or not all(names):
        raise InputError("several conditions need scalars that tell them apart")
    return [out / name for name in names]


def _named(condition: Condition) -> list[str]:
    """Each name with its number or label."""
    values = sorted(condition.scalars.items())
    return [f"{name}_{value}" if isinstance(value, str) else f"{name}_{value:g}" for name, value in values]


def _from(seeds: list[int], worker: tuple[int, int]) -> list[int]:
    """Order of work: each worker begins at its own part and goes around."""
    rank, count = worker
    start = rank * len(seeds) // count
    return seeds[start:] + seeds[:start]


def _check_worker(rank: int, count: int) -> None:
    if not 0 <= rank < count:
        raise InputError(f"worker {rank} of {count} is impossible")


def _relative(model: str, folder: Path) -> str:
    """Path of the model from where its samples lie, so that both can move together."""
    if not model:
        return ""
    try:
        return Path(os.path.relpath(Path(model).resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive on Windows
        return Path(model).resolve().as_posix()
