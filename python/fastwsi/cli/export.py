"""``fastwsi export``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fastwsi.cli.failing import failing_in_one_line

export = typer.Typer(name="export", help="Write results as other programs read them.", no_args_is_help=True)
_EXAMPLES = """Examples:

  fastwsi export camelyon16 results submission

  fastwsi evaluate submission --truth /data/camelyon16 --mode official
"""


@export.callback()
def _export() -> None:
    """Write results as other programs read them."""


@export.command(epilog=_EXAMPLES)
def camelyon16(
    results: Annotated[Path, typer.Argument(help="A folder of results: <slide>.json and its files.")],
    out: Annotated[Path, typer.Argument(help="Folder to write into; made where it is not there.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """Write <slide>.csv of probability, x and y without a header, as the challenge's script reads them.

    The slides' scores go to slides/slide_scores.csv: the script takes each CSV file beside the others for a
    slide.
    """
    from fastwsi.engine import export_camelyon16  # noqa: PLC0415  (not for --help)
    from fastwsi.engine.matching import told  # noqa: PLC0415

    with failing_in_one_line(debug=debug):
        done = export_camelyon16(results, out)
    if as_json:
        summary = {
            "out": str(out), "slides": [*done.slides], "scores": str(done.scores),
            "unfinished": [*done.unfinished], "ways": done.ways,
        }  # fmt: skip
        typer.echo(json.dumps(summary, indent=2))
        return
    if quiet:
        return
    for note in told(done.unfinished, "not done: left out"):
        typer.echo(f"note: {note}", err=True)
    if done.ways > 1:
        typer.echo(f"note: slides were scanned in {done.ways} ways: models or settings differ", err=True)
    typer.echo(f"{len(done.slides)} {'slide' if len(done.slides) == 1 else 'slides'} in {out}")
    typer.echo(done.scores)
