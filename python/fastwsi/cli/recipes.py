"""``fastwsi recipes``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from fastwsi.cli import completing
from fastwsi.cli.failing import failing_in_one_line

if TYPE_CHECKING:
    from fastwsi.detectors import Row

recipes = typer.Typer(name="recipes", help="Show detectors and their settings.", no_args_is_help=True)
_EXAMPLES = """Examples:

  fastwsi recipes list

  fastwsi recipes show liu2017

  fastwsi recipes show liu2017-small --json > small.json
"""


@recipes.callback()
def _recipes() -> None:
    """Show detectors and their settings."""


@recipes.command("list", epilog=_EXAMPLES)
def show_all(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """List detectors and the names of their recipes."""
    from fastwsi.detectors import rows  # noqa: PLC0415  (not for --help)

    with failing_in_one_line(debug=debug):
        told = {row.name: _described(row) for row in rows()}
    if as_json:
        listed = [
            {"detector": name, "recipes": list(names), "paper": what} for name, (names, what) in told.items()
        ]
        typer.echo(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("detector", "recipes", ""):
        table.add_column(name)
    for name, (names, what) in told.items():
        table.add_row(escape(name), escape(", ".join(names)), escape(what))
    Console(highlight=False).print(table)


def _described(row: Row) -> tuple[tuple[str, ...], str]:
    """Return the names of a detector's recipes, and what it is; or why it cannot be imported."""
    from fastwsi.detectors import detector  # noqa: PLC0415  (not for --help)

    try:
        return tuple(detector(row.name).recipes), row.paper
    except (ImportError, TypeError) as error:
        return (), str(error)


@recipes.command(epilog=_EXAMPLES)
def show(
    name: Annotated[
        str,
        typer.Argument(help="A recipe, such as liu2017 or liu2017-small.", autocompletion=completing.recipes),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, which --config reads.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """Print every setting of a recipe: its value, its unit, what it does, and where the paper has it."""
    from fastwsi.detectors import detector, rows  # noqa: PLC0415  (not for --help)
    from fastwsi.detectors.registry import OURS  # noqa: PLC0415

    with failing_in_one_line(debug=debug):
        # Only the detector that the name begins with is imported: another package's may be broken.
        near = [row.name for row in rows() if name == row.name or name.startswith(f"{row.name}-")]
        known = detector(near[0]).recipes if near else {}
        if name not in known:
            all_names = [key for row in OURS for key in detector(row.name).recipes]
            raise ValueError(f"recipe: got {name!r}, expected one of {', '.join(known or all_names)}")
        recipe = known[name]
    if as_json:
        typer.echo(recipe.to_json(), nl=False)
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=name, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("what it is, and where the paper has it", overflow="fold")
    for row in recipe.rows():
        value = f"{row['value']} {row['unit']}".strip()
        source = f" [dim]({escape(row['source'])})[/]" if row["source"] else ""
        table.add_row(row["name"], escape(value), escape(row["what"]) + source)
    Console(highlight=False).print(table)
