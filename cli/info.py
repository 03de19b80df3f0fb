"""Say what a file is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from microgen.core import InputError

from .options import print_result, reading_options, say

_LARGEST_HEADER = 100 << 20  # bytes, the limit of the safetensors format itself


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@reading_options
def command(path: Path, **reading: Any) -> None:
    """Say what a file is and how it was made.

    Knows pictures and samples with their recipe, data sets, models, run folders, plans, job files and reports; for a
    foreign picture it lists the pixel sizes found in it and how far each can be trusted, for an EBSD map its phases,
    the share of indexed points and the frame of its angles. Nothing in a file is ever run. In Python:
    microgen.io.inspect for pictures, maps, volumes and samples.

    \b
    Example:  microgen info sample_00017.png
    """
    found = identify(path, **reading)
    say(f"{path}: {_name(found)}")
    print_result(found)


_NAMES = {
    "image": "a picture",
    "ebsd": "an EBSD map",
    "structure": "a map or volume of another program",
    "sample": "a sample or result of microgen",
    "dataset": "a data set",
    "model": "a model",
    "weights": "safetensors weights that are not a model of microgen",
    "run": "the folder of a training run",
    "folder": "a folder of pictures or samples",
    "plan": "a plan",
    "job": "a job file",
    "config": "a TOML file",
    "report": "a report",
    "json": "a JSON file",
}


def _name(found: dict[str, Any]) -> str:
    """What people call what was found."""
    if found["kind"] != "image":
        return _NAMES[found["kind"]]
    if found.get("pages", 1) > 1:
        return f"{found['pages']} pictures, or with --volume the slices of one volume"
    return "a volume" if len(found["shape"]) == 3 else _NAMES["image"]


def identify(path: Path, **reading: Any) -> dict[str, Any]:
    """Return the kind of a file or folder and what is in it; `reading` as in :func:`microgen.io.inspect`."""
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.is_dir():
        return _folder(path)
    readers = {".safetensors": _safetensors, ".toml": _toml, ".json": _json}
    reader = readers.get(path.suffix.lower())
    if reader is not None:
        return {"file": str(path), **reader(path)}
    own = path.suffix.lower() in (".h5", ".hdf5") and _is_dataset(path)
    return {"file": str(path), **(_dataset(path) if own else _picture(path, **reading))}


def _folder(path: Path) -> dict[str, Any]:
    if (path / "log.jsonl").is_file() or (path / "checkpoints").is_dir():
        return _run(path)
    from microgen.io import scan_inputs

    files, stray = scan_inputs([path])
    about = {"kind": "folder", "file": str(path), "readable": len(files), "others": len(stray), "first": files[0].name}
    manifest = path / "manifest.json"
    return {**about, "manifest": _parsed(manifest.read_bytes(), path)} if manifest.is_file() else about


def _run(path: Path) -> dict[str, Any]:
    model = path / "model.safetensors"
    checkpoints = path / "checkpoints"
    return {
        "kind": "run",
        "file": str(path),
        "model": _safetensors(model) if model.is_file() else None,
        "checkpoints": sorted(file.name for file in checkpoints.iterdir()) if checkpoints.is_dir() else [],
        "last": _last_line(path / "log.jsonl"),
    }


def _last_line(path: Path) -> Any:
    """Last whole line of a log; a line cut by a crash is passed over."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    return _parsed(lines[-1], path) if lines else None


def _picture(path: Path, **reading: Any) -> dict[str, Any]:
    from microgen.io import inspect

    return inspect(path, **reading)


def _is_dataset(path: Path) -> bool:
    from microgen.io import hdf5

    return hdf5.kind(path) == "dataset"


def _dataset(path: Path) -> dict[str, Any]:
    from microgen.data.dataset import Dataset

    dataset = Dataset.open(path)
    splits = {split: len(dataset.names_in(split)) for split in ("train", "held_out")}
    specimens = sorted({dataset.specimen_of(name) for name in dataset.names})
    return {
        "kind": "dataset",
        "items": len(dataset),
        "splits": splits,
        "specimens": specimens,
        "meta": dict(dataset.meta),
    }


def _safetensors(path: Path) -> dict[str, Any]:
    """Read the header alone: 8 bytes of length, little-endian, then that many bytes of JSON."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(_LARGEST_HEADER, path.stat().st_size - 8):
            raise InputError(f"{path} is not a safetensors file, or it is damaged")
        header = _parsed(stream.read(length), path)
    metadata = header.pop("__metadata__", {})
    weights = {"tensors": len(header), "parameters": sum(_size(path, entry) for entry in header.values())}
    if "microgen-model" not in metadata:
        return {"kind": "weights", **weights, "metadata": metadata}
    return {"kind": "model", **weights, **_parsed(metadata["microgen-model"], path)}


def _size(path: Path, entry: Any) -> int:
    if not isinstance(entry, dict) or not all(isinstance(n, int) for n in entry.get("shape", [None])):
        raise InputError(f"{path} has a damaged header")
    size = 1
    for n in entry["shape"]:
        size *= n
    return size


def _toml(path: Path) -> dict[str, Any]:
    from microgen.core.config import read_toml

    table = read_toml(path)
    if "step" in table:
        return {"kind": "job", "steps": [step.get("name") for step in table["step"]]}
    if {"data", "model", "train"} <= set(table):
        return {"kind": "plan", **json.loads(json.dumps(table, default=str))}
    return {"kind": "config", "keys": list(table)}


def _json(path: Path) -> dict[str, Any]:
    content = _parsed(path.read_bytes(), path)
    if "two_sample" in content and "rows" in content:
        keys = ("headline", "verdict", "notes", "provenance")
        return {"kind": "report", **{key: content[key] for key in keys if key in content}}
    return {"kind": "json", "keys": list(content)}


def _parsed(text: str | bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} does not hold what its name says")
    return value
