"""``fastwsi doctor``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fastwsi._diagnosis import Finding, diagnose, look_around
from fastwsi._native import BuildInfo, build_info
from fastwsi.cli.failing import failing_in_one_line

EXAMPLES = """Examples:

  fastwsi doctor

  fastwsi doctor --json

  fastwsi doctor --quiet && fastwsi demo
"""
_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "problem": "[red]problem[/]"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """Show what is installed, what works here, and what is missing for what.

    Exits with 1 where something that is there does not work.
    """
    with failing_in_one_line(debug=debug):
        info = build_info()
        findings = diagnose(info, look_around())
    if as_json:
        typer.echo(json.dumps({"build": asdict(info), "findings": [asdict(f) for f in findings]}, indent=2))
    elif not quiet:
        _show(info, findings)
    else:
        for finding in findings:
            if finding.severity == "problem":
                typer.secho(f"error: {finding.subject}: {finding.text}", fg=typer.colors.RED, err=True)
    if any(finding.severity == "problem" for finding in findings):
        raise typer.Exit(code=1)


def _show(info: BuildInfo, findings: list[Finding]) -> None:
    console = Console(highlight=False)
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for subject, fact in info.rows():
        facts.add_row(f"[bold]{escape(subject)}[/]", escape(fact))
    console.print(facts)
    console.print()
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for finding in findings:
        table.add_row(_MARKS[finding.severity], f"[bold]{finding.subject}[/]", escape(finding.text))
    console.print(table)
