"""``microgen evaluate``: generated against held-out real."""

from __future__ import annotations

from typing import Any

import click

from .options import print_result, say


@click.command()
@click.argument("real", type=click.Path(exists=True))
@click.argument("generated", type=click.Path(exists=True))
@click.option(
    "--conditioned",
    type=click.Path(exists=True),
    metavar="FOLDER",
    help="Further samples, made at single values, for requested against measured; else GENERATED.",
)
@click.option("--report", required=True, type=click.Path(dir_okay=False), metavar="OUT.html", help="Page to write.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False), metavar="OUT.json", help="Numbers to write.")
@click.option(
    "--pixel-size-um",
    type=click.FloatRange(min=0, min_open=True),
    help="Pixel size of REAL where its files do not say.",
)
@click.option(
    "--max-windows", type=click.IntRange(min=2), default=320, show_default=True, help="Windows of each set at most."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Fixes every random choice.")
def command(
    real: str,
    generated: str,
    conditioned: str | None,
    report: str,
    json_path: str | None,
    pixel_size_um: float | None,
    max_windows: int,
    seed: int,
) -> None:
    """Compare generated structures with real ones and write the report.

    REAL is a data set made by `microgen prepare` (its held-out pictures are the reference) or a folder of pictures
    that were not trained on. GENERATED is a folder of samples of one model. The page says for every descriptor how
    far generated lies from real, as a multiple of how far real pictures lie from each other; up to 1.5 counts as
    like real.
    In Python: microgen.evaluate.files.evaluate_files().

    \b
    Example:  microgen evaluate steel.h5 samples/ --report report.html
    """
    from microgen.evaluate.files import evaluate_files

    found = evaluate_files(
        real,
        generated,
        conditioned=conditioned or (),
        pixel_size_um=pixel_size_um,
        max_windows=max_windows,
        seed=seed,
    )
    found.to_html(report)
    if json_path:
        found.to_json(json_path)
    say(found.headline)
    print_result({"report": report, "json": json_path, **_key_numbers(found.to_dict())})


def _key_numbers(numbers: dict[str, Any]) -> dict[str, Any]:
    kept = ("distance", "ceiling", "floor", "ratio", "ratio_interval", "verdict")
    rows = {row["descriptor"]: {name: row[name] for name in kept} for row in numbers["rows"]}
    overall = {name: numbers[name] for name in ("headline", "verdict", "obeyed", "two_sample", "memorisation")}
    return {**overall, "rows": rows}
