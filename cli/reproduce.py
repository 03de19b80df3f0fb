"""Make an output again."""

from __future__ import annotations

from pathlib import Path

import click

from .options import print_result, say


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--model", type=click.Path(exists=True, path_type=Path), help="Where the model is now, if it was moved.")
@click.pass_context
def command(ctx: click.Context, path: Path, out: Path | None, model: Path | None) -> None:
    """Make an output again from the recipe inside it.

    Reads the recipe in a sample or a synthetic structure, checks that the model is the one that made it, makes it
    again and compares the files byte for byte. OUT keeps the new file. Ends with exit code 3 if the two differ,
    and says in what: other versions of libraries or another kind of machine may change the last bits.
    In Python: microgen.io.read_recipe() and the function that the recipe names.

    \b
    Example:  microgen reproduce samples/seed_000007.png
    """
    import tempfile

    from microgen import io

    from .remake import differences, recipe_of, remake

    if out and out.exists() and out.samefile(path):
        raise click.BadParameter(f"{out} is the file to compare with; choose another name", param_hint="OUT")
    then = recipe_of(path)
    structure, now = remake(path, then, model)
    with tempfile.TemporaryDirectory() as folder:
        again = out or Path(folder) / path.name
        # equal recipes may differ in the order of their keys
        io.write(again, structure, then if then == now else now)
        found = differences(path, again, then, now)
    say(f"{path}: " + ("made again, byte for byte" if not found else "differs: " + "; ".join(found)))
    print_result({"file": str(path), "out": str(out) if out else None, "identical": not found, "differences": found})
    ctx.exit(3 if found else 0)
