"""Several processes fill one folder: started here for one machine, or by a launcher on many.

The claims of a folder share the work out, so the processes need no connection to each other; lightning-fabric tells
which launcher started us and which rank we have.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from microgen.core import InputError, MicrogenError
from microgen.generate.sampling import sample_to_folder

_LAUNCHERS = ("TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
"""Variables that say a launcher may have started us; fabric, which takes a second to load, then looks closely."""


def worker_of_environment() -> tuple[int, int, int]:
    """(rank, count, rank on this machine) as the launcher set them, ``(0, 1, 0)`` without one.

    torchrun, SLURM, LSF and MPI are known.
    """
    if not any(name in os.environ for name in _LAUNCHERS):
        return 0, 1, 0
    from lightning_fabric.plugins import environments as known

    kinds = (
        known.TorchElasticEnvironment,
        known.SLURMEnvironment,
        known.LSFEnvironment,
        known.MPIEnvironment,
    )
    for kind in kinds:
        if kind.detect():
            found = kind()
            return found.global_rank(), found.world_size(), found.local_rank()
    return 0, 1, 0


def launch(processes: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Call :func:`sample_to_folder` with `arguments` in several processes, each on its GPU or its share of the cores.

    A process that is killed does not matter as long as one is left: the others take its work over.

    Returns
    -------
    dict
        As from one process; ``made`` counts what all of them made.

    Raises
    ------
    InputError
        If the machine has fewer GPUs than processes, and whatever :func:`sample_to_folder` raises.
    """
    shares = [_share(rank, processes, arguments) for rank in range(processes)]
    started: list[tuple[BaseProcess, Connection]] = []
    try:
        started += [_start(share) for share in shares]
        answers = [_answer(connection) for _, connection in started]
    finally:
        for process, _ in started:
            process.terminate()
            process.join()
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    results = [answer for answer in answers if isinstance(answer, dict)]
    if errors:
        raise errors[0]
    if not results:
        raise MicrogenError("all sampling processes were killed; run the same command again to go on")
    return {**results[0], "made": sum(result["made"] for result in results)}


def _share(rank: int, count: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of one of `count` processes on this machine."""
    import torch

    from microgen.models.batches import usable_cores

    gpus = torch.cuda.device_count() if arguments.get("device", "auto") != "cpu" else 0
    if 0 < gpus < count:
        raise InputError(f"{count} devices asked for, but this machine has {gpus}; lower --devices")
    device = f"cuda:{rank}" if gpus else "cpu"
    batch = arguments.get("batch") or (None if gpus else max(1, usable_cores() // count))
    return {**arguments, "worker": (rank, count), "device": device, "batch": batch}


def _start(arguments: dict[str, Any]) -> tuple[BaseProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, arguments), daemon=True)
    process.start()
    sender.close()
    return process, receiver


def _work(sender: Connection, arguments: dict[str, Any]) -> None:
    try:
        sender.send(sample_to_folder(**arguments))
    except KeyboardInterrupt:
        return
    except Exception as error:
        sender.send(error)


def _answer(connection: Connection) -> Any:
    """What a process sent back; None if it was killed before."""
    try:
        return connection.recv()
    except EOFError:
        return None
