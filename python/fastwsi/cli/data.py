"""``fastwsi data check``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastwsi.cli.failing import failing_in_one_line
from fastwsi.cli.progress import Counter

if TYPE_CHECKING:
    from fastwsi.data.checking import Checked

data = typer.Typer(name="data", help="Look at data sets.", no_args_is_help=True)
_MARKS = {"missing": "[red]missing[/]", "unreadable": "[red]unreadable[/]", "left out": "[yellow]left out[/]"}
_SHOWN = 40
_EXAMPLES = """Examples:

  fastwsi data check /data/camelyon16

  fastwsi data check slides.csv --json

  fastwsi data check /data/pcam --every-tile
"""


@data.callback()
def _data() -> None:
    """Look at data sets."""


@data.command(epilog=_EXAMPLES)
def check(
    folder: Annotated[
        Path, typer.Argument(help="Camelyon16, Camelyon17, PatchCamelyon, PANDA, or a CSV file of slides.")
    ],
    names_only: Annotated[
        bool, typer.Option("--names-only", help="Do not open files: seconds instead of minutes.")
    ] = False,
    every_tile: Annotated[
        bool,
        typer.Option(
            "--every-tile",
            help="Read all of each slide, mask and patch, not a sample: hours instead of minutes.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but what is wrong.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """Say what is in a data set's folder, what is missing, and what cannot be read.

    Exits with 1 where anything is missing or unreadable.
    """
    from fastwsi.data import check as look_through  # noqa: PLC0415  (not for --help)

    with failing_in_one_line(debug=debug), Counter("slides", quiet=quiet or as_json) as counter:
        found = look_through(folder, read=not names_only, every_tile=every_tile, progress=counter)
    if as_json:
        typer.echo(json.dumps({**asdict(found), "usable": found.usable}, indent=2))
    else:
        _show(found, quiet=quiet)
    if not found.usable:
        raise typer.Exit(code=1)


def _show(found: Checked, *, quiet: bool) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console(highlight=False)
    if not quiet:
        console.print(f"[bold]{escape(found.name)}[/]: {sum(found.counts.values())}")
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 2))
        for kind, count in found.counts.items():
            table.add_row(escape(kind), str(count))
        console.print(table)
    told = [each for each in found.troubles if not quiet or each.kind != "left out"]
    for trouble in told[:_SHOWN]:
        mark = _MARKS.get(trouble.kind, trouble.kind)
        console.print(f"{mark} [bold]{escape(trouble.name)}[/] {escape(trouble.reason)}", soft_wrap=True)
    if len(told) > _SHOWN:
        console.print(f"… and {len(told) - _SHOWN} more; --json lists all")
    if found.usable and not quiet:
        console.print("[green]nothing is missing[/]")
