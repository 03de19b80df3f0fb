"""Check the installation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import print_result, say


@click.command()
@click.option(
    "--folder",
    default=".",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder where results will be written.",
)
@click.option("--fast", is_flag=True, help="Leave out the measurement of speed.")
@click.pass_context
def command(ctx: click.Context, folder: Path, fast: bool) -> None:
    """Check the installation and estimate the speed of this machine.

    Looks at versions, device, threads, image codecs, free disk space and whether the folder can be written, and
    measures how long one training image and one sampled image of 64 x 64 pixels take. Ends with exit code 3 if
    something needs your hand, and says what to do.

    \b
    Example:  microgen doctor
    """
    from .checks import all_checks
    from .speed import describe, speed

    checks = all_checks(folder)
    for check in checks:
        say(check.line())
    result: dict[str, Any] = {
        "checks": {c.name: {"ok": c.ok, "found": c.found, "advice": "" if c.ok else c.advice} for c in checks}
    }
    if not fast and all(check.ok for check in checks if check.name == "torch"):
        result["speed"] = speed()
        say(f"     speed: {describe(result['speed'])}")
    good = all(check.ok for check in checks)
    print_result({"ok": good, **result})
    ctx.exit(0 if good else 3)
