"""Devices, processes and precision, through lightning-fabric."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning_fabric import Fabric

from microgen.core import InputError
from microgen.core.seeds import rng
from microgen.models.options import resolve_precision as models_precision
from microgen.train.config import TrainConfig
from microgen.train.launcher import processes

_FABRIC_PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed"}


def make_fabric(config: TrainConfig) -> Fabric:
    """Return a launched engine for this configuration; processes that a launcher started are used.

    Raises
    ------
    InputError
        If the machine has fewer GPUs than asked for, the batch cannot be shared out evenly, or the launcher started
        different numbers of processes on its machines.
    """
    world, local = processes(config.devices)
    if config.batch % world:
        raise InputError(f"train.batch is {config.batch}, which {world} devices cannot share evenly; use a multiple")
    gpus = torch.cuda.device_count()
    if 0 < gpus < local:
        raise InputError(f"{local} devices asked for, but this machine has {gpus}; lower train.devices")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # our own line says what matters
    torch.backends.cudnn.deterministic = not torch.backends.cudnn.benchmark
    fabric = Fabric(
        accelerator="cuda" if gpus else "cpu",
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision=_FABRIC_PRECISION[resolve_precision(config.precision)],
    )
    fabric.launch()
    return fabric


def leave(fabric: Fabric) -> None:
    """Wait for the other processes and end the group; leaving it to the interpreter may abort a process at exit."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        fabric.barrier()
        torch.distributed.destroy_process_group()


def resolve_precision(wanted: str) -> str:
    """Turn ``"auto"`` into ``"bf16"`` where the device that will be used has that in hardware, else ``"fp32"``."""
    return models_precision(wanted, torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def should_compile(wanted: str) -> bool:
    """Tell whether to compile the network: on a CPU it costs a minute and brings nothing."""
    return torch.cuda.is_available() if wanted == "auto" else wanted == "on"


def step_seed(seed: int, rank: int, images: int, purpose: int) -> int:
    """Return a seed that depends on all four numbers and on nothing else."""
    return int(rng(seed, rank, images, purpose).integers(2**62))
