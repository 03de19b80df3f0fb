"""Run a job file of commands."""

from __future__ import annotations

from pathlib import Path

import click

from .options import print_result, say


@click.command()
@click.argument("job", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would run and why, and do nothing.")
@click.option("--force", multiple=True, metavar="NAME", help="Run this step even if it is up to date (repeatable).")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), help="Steps that may run at once.")
@click.option("--scheduler", metavar="ADDRESS", help="Run steps on the workers of this Dask scheduler.")
@click.pass_context
def command(
    ctx: click.Context, job: Path, dry_run: bool, force: tuple[str, ...], jobs: int, scheduler: str | None
) -> None:
    """Run a file of commands as steps, skipping what is up to date.

    JOB.toml is a list of [[step]] tables with name, command, arguments, options and, where microgen cannot see
    them itself, needs, inputs and outputs. A step runs again when its text or the content of what it reads has
    changed, or when something it writes is gone. The first step that fails ends the run with its exit code.
    Library twin: subprocess or your own loop over the functions of microgen.

    \b
    Example:  microgen run steel.toml --dry-run
    """
    from microgen.core import InputError
    from microgen.core.files import lock

    from . import cli
    from .execution import run_tasks
    from .steps import plan, read_job, read_state

    tasks = read_job(job, lambda name: cli.get_command(ctx, name))
    unknown = set(force) - set(tasks)
    if unknown:
        raise InputError(f"--force {sorted(unknown)[0]}: {job} has the steps {', '.join(tasks)}")
    state = job.resolve().with_suffix(".state.json")
    if dry_run:
        outcomes = plan(tasks, read_state(state), force)
    else:
        with lock(state.with_name(f".{job.stem}.lock")):
            outcomes = run_tasks(tasks, state, force=force, jobs=jobs, scheduler=scheduler, say=say)
    steps = [
        {"name": name, "state": o.state, "why": o.why, "exit_code": o.exit_code, "seconds": round(o.seconds, 2)}
        for name, o in outcomes.items()
    ]
    print_result({"job": str(job), "state_file": str(state), "steps": steps})
    ctx.exit(next((o.exit_code for o in outcomes.values() if o.exit_code), 0))
