"""Running the steps of a job that are not up to date, here or on a Dask scheduler."""

from __future__ import annotations

import contextlib
import graphlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

from microgen.core import InputError
from microgen.core.files import write_json

from .steps import Outcome, Task, definition, input_hashes, read_state, why_run

Say = Callable[[str], None]
Ended = tuple[int, str, str, float]
"""Exit code, standard output, standard error and seconds of a process."""


def run_tasks(
    tasks: Mapping[str, Task],
    state_path: Path,
    *,
    force: Iterable[str] = (),
    jobs: int = 1,
    scheduler: str | None = None,
    say: Say = lambda message: None,
) -> dict[str, Outcome]:
    """Run the steps that are not up to date, each after those it needs, and stop at the first that fails.

    Parameters
    ----------
    tasks
        What :func:`read_job` returned.
    state_path
        JSON file that remembers what was done; written whole after every step.
    force
        Names of steps that run in any case.
    jobs
        Steps that may run at the same time.
    scheduler
        Address of a Dask scheduler, ``"tcp://host:8786"``; its workers must see the same files.
    say
        Receives one line per event.

    Returns
    -------
    dict
        :class:`Outcome` by name: state ``"done"``, ``"up to date"``, ``"failed"`` or ``"not run"``.
    """
    quiet = jobs > 1 or scheduler is not None
    with _workers(jobs, scheduler) as submit:
        run = _Run(tasks, state_path, set(force), say)
        while run.start_ready(lambda task: submit(execute, task.step.argv(), str(state_path.parent), quiet)):
            run.collect()
    return {name: run.outcomes.get(name, Outcome("not run")) for name in tasks}


class _Run:
    """One run of a job: what is known from before, what is running, how steps ended."""

    def __init__(self, tasks: Mapping[str, Task], state_path: Path, force: set[str], say: Say) -> None:
        self.tasks, self.state_path, self.force, self.say = tasks, state_path, force, say
        self.known = read_state(state_path)
        self.outcomes: dict[str, Outcome] = {}
        self.running: dict[futures.Future[Ended], tuple[str, str, dict[str, str]]] = {}
        self.order = graphlib.TopologicalSorter({name: task.after for name, task in tasks.items()})
        self.order.prepare()

    def start_ready(self, start: Callable[[Task], futures.Future[Ended]]) -> bool:
        """Start every step whose predecessors are done; return False when there is nothing left to wait for."""
        while not self._failed() and (names := self.order.get_ready()):
            for name in names:
                self._start_or_skip(name, start)
        return bool(self.running)

    def collect(self) -> None:
        """Wait until a step ends, and take down how."""
        ended: set[futures.Future[Ended]] = set()
        while not ended:
            ended = futures.wait(self.running, timeout=0.5, return_when=futures.FIRST_COMPLETED).done
        for future in ended:
            name, why, hashes = self.running.pop(future)
            self.outcomes[name] = outcome = _finish(self.tasks[name], why, future.result())
            self.say(f"{name}: {outcome.message}")
            if outcome.state == "done":
                self.known[name] = _record(self.tasks[name], hashes, outcome)
                write_json(self.state_path, {"steps": self.known})
                self.order.done(name)
        if self._failed():
            self.running = {future: entry for future, entry in self.running.items() if not future.cancel()}

    def _start_or_skip(self, name: str, start: Callable[[Task], futures.Future[Ended]]) -> None:
        task = self.tasks[name]
        why = why_run(task, self.known, name in self.force)
        if why is None:
            self.outcomes[name] = Outcome("up to date", result=self.known[name].get("result"))
            self.say(f"{name}: up to date")
            self.order.done(name)
        else:
            self.say(f"{name}: {' '.join(task.step.argv())}  ({why})")
            self.running[start(task)] = (name, why, input_hashes(task))

    def _failed(self) -> bool:
        return any(outcome.state == "failed" for outcome in self.outcomes.values())


def execute(argv: list[str], folder: str, quiet: bool, started: Any = None) -> Ended:
    """Run one command in a process of its own.

    Standard error goes straight to the terminal unless `quiet`. `started` collects the process, for stopping it.
    """
    begin = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "microgen.cli", *argv],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if quiet else None,
        encoding="utf-8",
        errors="replace",
    )
    if started is not None:
        started.append(process)
    out, err = process.communicate()
    code = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return code, out, err or "", time.monotonic() - begin


@contextlib.contextmanager
def _workers(jobs: int, scheduler: str | None) -> Iterator[Callable[..., futures.Future[Ended]]]:
    """Give a ``submit`` that runs on threads here or on the workers of a Dask scheduler."""
    if scheduler is not None:
        with _dask(scheduler) as client:
            yield client.get_executor(pure=False).submit
        return
    started: list[subprocess.Popen[str]] = []
    with futures.ThreadPoolExecutor(jobs) as pool:

        def submit(function: Callable[..., Ended], *args: Any) -> futures.Future[Ended]:
            return pool.submit(function, *args, started)

        try:
            yield submit
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in started:
                process.terminate()
            raise


@contextlib.contextmanager
def _dask(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at {address}; start one with: dask scheduler") from error
    with client:
        yield client


def _finish(task: Task, why: str, ended: Ended) -> Outcome:
    code, out, err, seconds = ended
    if code:
        last = err.strip().splitlines()[-1] if err.strip() else ""
        return Outcome("failed", why, code, seconds, message=f"failed with exit code {code}" + (last and f": {last}"))
    result = _parsed(out)
    if task.step.save_result:
        write_json(task.writes[-1], result)
    missing = [str(path) for path in task.writes if not path.exists()]
    if missing:
        return Outcome("failed", why, 3, seconds, message=f"ended well but did not write {missing[0]}")
    return Outcome("done", why, 0, seconds, result, f"done in {seconds:.1f} s")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip() or None


def _record(task: Task, hashes: dict[str, str], outcome: Outcome) -> dict[str, Any]:
    return {
        "definition": definition(task),
        "inputs": hashes,
        "seconds": round(outcome.seconds, 3),
        "result": outcome.result,
    }
