"""Checkpoints that survive a crash: tensors as safetensors, numbers as JSON, each written whole.

A checkpoint is two files, ``<images>.safetensors`` and ``<images>.json``. The JSON is written last and holds the hash
of the tensors, so it is there only if the checkpoint is complete, and damage is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

from microgen.core import InputError
from microgen.core.files import sha256, write_json
from microgen.models.file import write_tensors

FORMAT = 1
KEEP = 2


def write_checkpoint(folder: Path, images: int, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Write a checkpoint and remove all but the :data:`KEEP` newest.

    Raises
    ------
    StorageError
        If the disk is full; the earlier checkpoints are then still there.
    """
    stem = folder / f"{images:012d}"
    path = stem.with_suffix(".safetensors")
    # a copy each: tensors that share memory would be refused
    write_tensors(path, {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()})
    write_json(stem.with_suffix(".json"), {"format": FORMAT, "sha256": sha256(path), **numbers})
    _prune(folder, images)


def has_checkpoint(folder: Path) -> bool:
    """Tell whether any checkpoint was ever completed here."""
    return bool(_complete(folder))


def read_checkpoint(folder: Path, *, warn: Callable[[str], None]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return tensors and numbers of the newest sound checkpoint, or None where there is none at all.

    Raises
    ------
    InputError
        If there are checkpoints and all of them are damaged.
    """
    found = sorted(_complete(folder), reverse=True)
    for path in found:
        try:
            return _load(path)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            warn(f"checkpoint {path.with_suffix('').name} is damaged ({error}); going back to the one before it")
    if found:
        raise InputError(f"every checkpoint in {folder} is damaged; remove the run folder and train again")
    return None


def pack(net: nn.Module, average: nn.Module, optimizers: Mapping[str, Optimizer]) -> dict[str, Tensor]:
    """Collect all tensors of a run under flat names."""
    tensors = {f"net/{k}": v for k, v in net.state_dict().items()}
    tensors |= {f"average/{k}": v for k, v in average.state_dict().items()}
    for name, optimizer in optimizers.items():
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{name}/{index}/{k}": v for k, v in values.items() if v is not None}
    return tensors


def unpack(
    tensors: Mapping[str, Tensor], net: nn.Module, average: nn.Module, optimizers: Mapping[str, Optimizer]
) -> None:
    """Put tensors of :func:`pack` back; names and shapes must be those of this network.

    Raises
    ------
    InputError
        If the checkpoint is of another network.
    """
    try:
        net.load_state_dict(_under(tensors, "net/"))
        average.load_state_dict(_under(tensors, "average/"))
        for name, optimizer in optimizers.items():
            _unpack_optimizer(_under(tensors, f"optimizer/{name}/"), optimizer)
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"the checkpoint does not fit the network of this plan: {error}") from error


def _unpack_optimizer(tensors: Mapping[str, Tensor], optimizer: Optimizer) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split("/", 1)
        state.setdefault(int(index), {})[key] = value
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, values in state.items():
        if any(v.ndim and v.shape != parameters[number].shape for v in values.values()):
            raise ValueError(f"optimiser state {number} has another shape than its weights")
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _complete(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.json") if path.stem.isdigit()]


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    numbers = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(numbers, dict) or numbers.get("format") != FORMAT:
        raise ValueError("its format is not known")
    tensors = path.with_suffix(".safetensors")
    if sha256(tensors) != numbers["sha256"]:
        raise ValueError("its tensors are not those that were written")
    return load_file(tensors), {k: v for k, v in numbers.items() if k not in ("format", "sha256")}


def _prune(folder: Path, newest: int) -> None:
    """Keep the newest checkpoints up to `newest`; later ones belong to a course that was given up."""
    kept = [path.stem for path in sorted(_complete(folder)) if path.stem <= f"{newest:012d}"][-KEEP:]
    for path in sorted(folder.iterdir()):  # a .json sorts before its .safetensors: the file that counts goes first
        if path.stem not in kept:
            path.unlink(missing_ok=True)
