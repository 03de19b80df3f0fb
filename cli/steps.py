"""Job files: what each step reads and writes, which come before which, and whether a step is up to date."""

from __future__ import annotations

import graphlib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from pydantic import Field

from microgen.core import InputError
from microgen.core.config import Config, read_toml, validate
from microgen.core.files import sha256
from microgen.data.plan import fingerprint_path, plan_path

INPUTS_AND_OUT = frozenset({"paths"})
"""Parameters that are inputs and, last of all, the output."""
OUTPUTS = frozenset({"out", "run", "report", "json_path", "csv_path"})
"""Names of command parameters that are written; every other path parameter is read."""


class Step(Config):
    """One microgen command with its arguments, as written in the job file."""

    name: str
    command: str
    arguments: tuple[str | int | float, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)
    needs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    save_result: str | None = None

    def argv(self) -> list[str]:
        """Command and arguments as they would be typed.

        >>> Step(name="a", command="sample", arguments=["m.safetensors", "out"], options={"seeds": "0-9"}).argv()
        ['sample', 'm.safetensors', 'out', '--seeds', '0-9']
        """
        words = [text for key, value in self.options.items() for text in _option(key, value)]
        return [self.command, *map(str, self.arguments), *words]


class Job(Config):
    """A job file: a list of ``[[step]]`` tables."""

    step: tuple[Step, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Task:
    """A step with the paths it reads and writes, and the names of the steps that come before it."""

    step: Step
    reads: tuple[Path, ...]
    writes: tuple[Path, ...]
    after: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Outcome:
    """How a step ended."""

    state: str
    why: str = ""
    exit_code: int = 0
    seconds: float = 0.0
    result: Any = None
    message: str = field(default="", compare=False)


def read_job(path: Path, command_of: Callable[[str], click.Command | None]) -> dict[str, Task]:
    """Read and check a job file; relative paths in it start at its own folder.

    Parameters
    ----------
    path
        TOML file of ``[[step]]`` tables.
    command_of
        Finds a command by name, None for an unknown one.

    Raises
    ------
    InputError
        For unknown commands, options or steps, two steps that write one path, and circles.
    """
    job = validate(Job, read_toml(path), where=str(path))
    tasks: dict[str, Task] = {}
    for step in job.step:
        command = command_of(step.command)
        if command is None or step.command == "run":
            raise InputError(f"{path}: step {step.name!r}: {step.command!r} is not a command a step can run")
        if step.name in tasks:
            raise InputError(f"{path}: two steps are called {step.name!r}; give each its own name")
        tasks[step.name] = _task(step, command, path)
    return _linked(tasks, path)


def why_run(task: Task, known: Mapping[str, Any], forced: bool) -> str | None:
    """Say why a step has to run, or None where its outputs are up to date."""
    before = known.get(task.step.name)
    missing = [path for path in task.writes if not path.exists()]
    if forced:
        return "forced"
    if before is None:
        return "not run yet"
    if before["definition"] != definition(task):
        return "the step was changed"
    if missing:
        return f"{missing[0]} is missing"
    now = input_hashes(task)
    changed = [name for name in sorted({*now, *before["inputs"]}) if now.get(name) != before["inputs"].get(name)]
    return f"{changed[0]} was changed" if changed else None


def definition(task: Task) -> str:
    """Hash of what the step says."""
    words = [task.step.argv(), task.step.save_result, [str(path) for path in task.writes]]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


def input_hashes(task: Task) -> dict[str, str]:
    """Content hash of every file and folder a step reads, where it exists."""
    return {str(path): content_hash(path, task.writes) for path in task.reads if path.exists()}


def content_hash(path: Path, leave_out: Iterable[Path] = ()) -> str:
    """SHA-256 of a file, or of the names and contents in a folder (hidden files and `leave_out` left out)."""
    if path.is_file():
        return sha256(path)
    parts = [p for p in sorted(path.rglob("*")) if p.is_file() and not _hidden(p.relative_to(path))]
    parts = [p for p in parts if not any(p.is_relative_to(other) for other in leave_out)]
    text = "\n".join(f"{p.relative_to(path).as_posix()} {sha256(p)}" for p in parts)
    return hashlib.sha256(text.encode()).hexdigest()


def plan(tasks: Mapping[str, Task], known: Mapping[str, Any], force: Iterable[str]) -> dict[str, Outcome]:
    """Say what a run would do, without doing it."""
    outcomes: dict[str, Outcome] = {}
    for name in graphlib.TopologicalSorter({n: t.after for n, t in tasks.items()}).static_order():
        why = why_run(tasks[name], known, name in set(force))
        upstream = sorted(other for other in tasks[name].after if outcomes[other].state == "would run")
        if why is None and upstream:
            outcomes[name] = Outcome("may run", f"after {', '.join(upstream)}")
        else:
            outcomes[name] = Outcome("up to date") if why is None else Outcome("would run", why)
    return outcomes


def read_state(path: Path) -> dict[str, Any]:
    """Read what earlier runs remembered; a file that is damaged counts as none, so that everything runs again."""
    try:
        steps = json.loads(path.read_text(encoding="utf-8"))["steps"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    good = isinstance(steps, dict) and all(
        isinstance(s, dict) and {"definition", "inputs"} <= set(s) for s in steps.values()
    )
    return steps if good else {}


def _option(key: str, value: Any) -> list[str]:
    """Words of one option: true is a flag, false nothing, lists repeat, tables repeat as ``key=value``."""
    name = ("-" if len(key) == 1 else "--") + key.replace("_", "-")
    if isinstance(value, bool):
        return [name] if value else []
    if isinstance(value, dict):
        return [word for k, v in value.items() for word in (name, f"{k}={v}")]
    if isinstance(value, (list, tuple)):
        return [word for v in value for word in (name, str(v))]
    return [name, str(value)]


def _task(step: Step, command: click.Command, path: Path) -> Task:
    words = step.argv()[1:]
    while isinstance(command, click.Group):
        name = words.pop(0) if words else "nothing"
        if name not in command.commands:
            raise InputError(
                f"{path}: step {step.name!r}: {step.command} has {', '.join(command.commands)}, not {name}"
            )
        command = command.commands[name]
    context = click.Context(command, info_name=step.command)
    try:
        given, left_over, _ = command.make_parser(context).parse_args(words)
    except click.UsageError as error:
        raise InputError(f"{path}: step {step.name!r}: {error.format_message()}") from error
    if left_over:
        raise InputError(f"{path}: step {step.name!r}: {step.command} does not take the argument {left_over[0]!r}")
    reads, writes = list(step.inputs), list(step.outputs)
    for parameter in command.params:
        if isinstance(parameter.type, click.Path) and given.get(parameter.name or ""):
            texts = _texts(given[parameter.name or ""])
            last = [texts.pop()] if parameter.name in INPUTS_AND_OUT else []
            (writes if parameter.name in OUTPUTS else reads).extend(texts)
            writes += last
    beside_reads, beside_writes = _beside(step.command, given)
    reads += beside_reads
    writes += [*beside_writes, *([step.save_result] if step.save_result else [])]
    folder = path.resolve().parent
    return Task(step, tuple(folder / text for text in reads), tuple(folder / text for text in writes))


def _beside(command: str, given: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Files beside a data set that a command reads or writes without their being among its arguments."""
    if command == "train" and not given.get("plan"):
        return [str(plan_path(given["data"]))], []
    if command == "prepare":
        return [], [str(plan_path(given["out"])), str(fingerprint_path(given["out"]))]
    return [], []


def _texts(value: Any) -> list[str]:
    return [str(v) for v in value if v is not None] if isinstance(value, (list, tuple)) else [str(value)]


def _linked(tasks: dict[str, Task], path: Path) -> dict[str, Task]:
    """Add to each task the steps it names in ``needs`` and those that write what it reads."""
    linked = {}
    for name, task in tasks.items():
        unknown = set(task.step.needs) - set(tasks)
        if unknown:
            raise InputError(f"{path}: step {name!r} needs {sorted(unknown)[0]!r}, which is not a step")
        makers = {n for n, t in tasks.items() if n != name and any(_touch(w, r) for w in t.writes for r in task.reads)}
        rivals = {n for n, t in tasks.items() if n != name and set(t.writes) & set(task.writes)}
        if rivals:
            raise InputError(f"{path}: steps {name!r} and {sorted(rivals)[0]!r} write the same path")
        linked[name] = Task(task.step, task.reads, task.writes, frozenset({*task.step.needs, *makers}))
    try:
        graphlib.TopologicalSorter({n: t.after for n, t in linked.items()}).prepare()
    except graphlib.CycleError as error:
        raise InputError(f"{path}: these steps wait for each other: {' -> '.join(error.args[1])}") from error
    return linked


def _touch(written: Path, read: Path) -> bool:
    return read.is_relative_to(written) or written.is_relative_to(read)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
