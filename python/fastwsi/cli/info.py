"""``fastwsi info``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fastwsi.cli.failing import failing_in_one_line
from fastwsi.cli.options import AsJson, Debug, Quiet, SlideMpp

EXAMPLES = """Examples:

  fastwsi info slide.svs

  fastwsi info slides/training/tumor --json

  fastwsi info slide.svs --properties --backend openslide
"""
_LONGEST = 80  # characters of a property


def info(
    slides: Annotated[list[str], typer.Argument(help="Slides, folders of slides, or URLs.")],
    properties: Annotated[
        bool, typer.Option("--properties", help="All that the file says of itself.")
    ] = False,
    backend: Annotated[str, typer.Option(help="Which reader is to read them.")] = "auto",
    slide_mpp: SlideMpp = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show what slides are: size, levels, resolution and where it is from, and who reads them.

    Exits with 1 where one cannot be read, after showing the others.
    """
    told, failed = [], False
    with failing_in_one_line(debug=debug):
        files = [file for place in slides for file in _files(place)]
    for file in files:
        try:
            with failing_in_one_line(debug=debug):
                found = _described(file, backend, slide_mpp, properties=properties)
        except typer.Exit:  # its line is printed
            failed = True
            continue
        told.append(found)
        if not (as_json or quiet):
            _show(found, whole=properties)
    if as_json:
        typer.echo(json.dumps(told[0] if len(files) == 1 and told else told, indent=2, ensure_ascii=False))
    if failed:
        raise typer.Exit(code=1)


def _files(place: str) -> list[str]:
    """Return the slides of a folder, and anything else as it is: whoever opens it says what is wrong."""
    if not Path(place).expanduser().is_dir():
        return [place]
    from fastwsi.data import slides_at  # noqa: PLC0415  (not for --help)

    return [str(record.path) for record in slides_at(place, "all")]


def _described(file: str, backend: str, mpp: float | None, *, properties: bool) -> dict[str, Any]:
    from fastwsi.slides import describe, open_slide  # noqa: PLC0415  (not for --help)

    with open_slide(file, backend=backend, mpp=mpp) as slide:
        return describe(slide, every_property=properties)


def _show(told: dict[str, Any], *, whole: bool) -> None:
    """Print facts, a table of levels, and properties, long ones in part unless they are asked for."""
    from rich.console import Console  # noqa: PLC0415  (not for --help)
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console(highlight=False)
    console.print(f"[bold]{escape(told['path'])}[/]", soft_wrap=True)
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 2))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for name, fact in _facts(told):
        facts.add_row(name, escape(fact))
    console.print(facts)
    levels = Table(box=None, padding=(0, 2, 0, 2), header_style="bold")
    for name in ("level", "width", "height", "downsample", "µm per pixel", "tile"):
        levels.add_column(name, justify="right")
    for number, level in enumerate(told["levels"]):
        mpp = "" if told["mpp"] is None else f"{sum(told['mpp']) / 2 * level['downsample']:.4g}"
        levels.add_row(
            str(number), *(f"{side:,}" for side in level["size"]), f"{level['downsample']:.6g}", mpp,
            "x".join(map(str, level["tile"] or ())),
        )  # fmt: skip
    console.print(levels)
    for name, value in told["properties"].items():
        text = " ".join(value.split())
        if len(text) > _LONGEST and not whole:
            text = f"{text[:_LONGEST]}…"
        console.print(f"  [bold]{escape(name)}[/] {escape(text)}", soft_wrap=True)
    console.print()


def _facts(told: dict[str, Any]) -> list[tuple[str, str]]:
    width, height = told["size"]
    x, y = told["mpp"] or (0.0, 0.0)
    found = [("size", f"{width:,} x {height:,} pixels")]
    if told["mpp"] is None:
        found.append(("resolution", f"unknown: {told['mpp_source']}; --slide-mpp says it"))
    else:
        found[0] = "size", f"{found[0][1]}, {width * x / 1000:.1f} x {height * y / 1000:.1f} mm"
        both = f"{x:.6g}" if x == y else f"{x:.6g} x {y:.6g}"
        found.append(("resolution", f"{both} µm per pixel, from {told['mpp_source']}"))
    if told["objective_power"] is not None:
        found.append(("objective", f"{told['objective_power']:g}x"))
    if told["vendor"] is not None:
        found.append(("vendor", told["vendor"]))
    found.append(("read by", f"{told['backend']} ({told['detail']})"))
    found += [("passed over", f"{row['backend']}: {row['reason']}") for row in told["passed_over"]]
    if told["bounds"] != [0, 0, width, height]:
        left, top, across, down = told["bounds"]
        found.append(("scanned", f"{across:,} x {down:,} pixels from ({left:,}, {top:,}) on"))
    if told["associated"]:
        found.append(("associated", ", ".join(told["associated"])))
    return found
