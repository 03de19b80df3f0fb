"""Train a generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import config_lines, config_options, print_result, say


@click.command()
@click.argument("data", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("run", type=click.Path(file_okay=False, path_type=Path))
@click.option("--family", help="Model family, instead of the plan's.")
@click.option("--plan", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Instead of DATA.plan.toml.")
@click.option("--minutes", type=float, help="Train about this long, in minutes, instead of the plan's images.")
@click.option("--images", type=int, help="Train on this many images.")
@click.option("--batch", type=int, help="Images per step, over all devices together.")
@click.option("--devices", type=int, help="Processes, one per device.")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="Arithmetic.")
@click.option("--seed", type=int, help="Fixes weights, order of the data and noise.")
@config_options
@click.option("--dry-run", is_flag=True, help="Show the resolved plan and a time estimate, and train nothing.")
def command(
    data: Path,
    run: Path,
    plan: Path | None,
    config: str | None,
    settings: tuple[str, ...],
    dry_run: bool,
    **options: Any,
) -> None:
    """Train a generator on a prepared data set.

    DATA is made by microgen prepare, which puts a plan beside it; RUN is the folder for the model, checkpoints, log
    (log.jsonl, TensorBoard) and sample grids. The same command again resumes after a crash or Ctrl-C, bit for bit on
    the CPU of one machine, and leaves a finished run alone. --config and --set change values of the plan
    (train.learning_rate=2e-4, model.channels=[32,64,96]) and of the loop (train.patience=5).
    Library twin: microgen.train.train.

    \b
    Example:  microgen train steel.h5 runs/steel --minutes 30
    """
    wanted = [*config_lines(config), *settings, *_settings(options)]
    from microgen.train.launcher import is_main_process
    from microgen.train.run import dry_run as look
    from microgen.train.run import train

    if dry_run:
        print_result(look(data, plan=plan, settings=wanted, say=say))
        return
    result = train(data, run, plan=plan, settings=wanted, say=say)
    if is_main_process():
        print_result(result)


def _settings(options: dict[str, Any]) -> list[str]:
    """Turn the everyday options into settings."""
    tables = {"family": "model"}
    return [f"{tables.get(name, 'train')}.{name}={value}" for name, value in options.items() if value is not None]
