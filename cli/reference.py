"""Write the page docs/cli.md from the commands themselves: ``python -m microgen.cli.reference > docs/cli.md``."""

from __future__ import annotations

import inspect
import re
import sys

import click

from . import COMMANDS, cli

HEAD = """# Command reference

Written by `make docs` from the commands themselves; a test keeps it current.

Every command prints one JSON object on standard output; messages and progress go to standard error.
A file or folder appears whole or not at all, and the same command given again resumes or skips what is done.

| exit code | meaning |
|---|---|
| 0 | done |
| 2 | wrong usage |
| 3 | bad input |
| 4 | another process works on the same output |
| 5 | the disk is full or cannot be written |
| 6 | training diverged |
| 7 | out of memory |
| 130, 143 | interrupted by Ctrl-C, by SIGTERM |

`microgen --debug COMMAND ...` shows the full traceback of an error.
"""


def reference() -> str:
    """Return the whole page."""
    return "\n".join([HEAD, *(section(name) for name in COMMANDS)]).rstrip() + "\n"


def section(name: str) -> str:
    """Return one command: what it does, how it is called, its options, an example."""
    context = click.Context(cli, info_name="microgen")
    command = cli.get_command(context, name)
    if command is None:
        raise KeyError(name)
    own = click.Context(command, info_name=name, parent=context)
    text, example = described(command)
    usage = " ".join(["microgen", name, *command.collect_usage_pieces(own)])
    rows = [row for parameter in command.params if (row := parameter.get_help_record(own))]
    parts = [f"## {name}", text, f"```text\n{usage}\n```"]
    if isinstance(command, click.Group):
        parts.append("\n".join(f"- `{sub}`: {one.get_short_help_str(200)}" for sub, one in command.commands.items()))
    parts.append("| option | meaning |\n|---|---|\n" + "\n".join(option_row(*row) for row in rows) if rows else "")
    parts.append(f"```bash\n{example}\n```" if example else "")
    return "\n\n".join(part for part in parts if part) + "\n"


def described(command: click.Command) -> tuple[str, str]:
    """Split a help text into its prose and its example."""
    prose, _, example = inspect.cleandoc(command.help or "").partition("\b\nExample:")
    lines = [" ".join(line.split()) for line in re.split(r"\n\s*\n", prose.strip())]
    return "\n\n".join(lines), "\n".join(line.strip() for line in example.strip().splitlines())


def option_row(names: str, meaning: str) -> str:
    """Return one row of the table of options."""
    return f"| `{names}` | {' '.join(meaning.split())} |"


if __name__ == "__main__":
    sys.stdout.write(reference())
