"""Which launcher started this process, as lightning-fabric tells them apart: torchrun, SLURM, LSF or MPI."""

from __future__ import annotations

import os
import re

from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LSFEnvironment,
    MPIEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from microgen.core import InputError

_KINDS = (TorchElasticEnvironment, SLURMEnvironment, LSFEnvironment, MPIEnvironment)
_PER_MACHINE = (
    "LOCAL_WORLD_SIZE",
    "SLURM_STEP_TASKS_PER_NODE",
    "SLURM_TASKS_PER_NODE",
    "JSM_NAMESPACE_LOCAL_SIZE",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MPI_LOCALNRANKS",
)
"""Variables in which torchrun, SLURM, LSF and two kinds of MPI say how many processes run on one machine."""


def launcher() -> ClusterEnvironment | None:
    """Return what started this process as one of several, or None.

    Raises
    ------
    InputError
        If the launcher was not told enough.
    """
    try:
        return next((kind() for kind in _KINDS if kind.detect()), None)
    except RuntimeError as error:
        raise InputError(f"the launcher was not told enough: {error}") from error


def processes(devices: int) -> tuple[int, int]:
    """Return the number of processes of the run in all and on this machine; `devices` without a launcher.

    Raises
    ------
    InputError
        If the launcher started different numbers of processes on its machines.
    """
    found = launcher()
    if found is None:
        return devices, devices
    world = found.world_size()
    told = next((os.environ[name] for name in _PER_MACHINE if name in os.environ), str(world))
    same = re.fullmatch(r"(\d+)(\(x\d+\))?", "1" if world == 1 else told)  # SLURM writes 4(x2) for four on each of two
    if same is None or world % int(same[1]):
        raise InputError(f"{world} processes were started as {told} per machine; start the same number on each machine")
    return world, int(same[1])


def is_main_process() -> bool:
    """Tell whether this is the first process of its run, whether a launcher started it or we did."""
    found = launcher()
    return found.global_rank() == 0 if found else int(os.environ.get("LOCAL_RANK", "0")) == 0
