"""``fastwsi demo``."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastwsi.cli.failing import failing_in_one_line, tell_failures

if TYPE_CHECKING:
    from fastwsi.demo import Demo

EXAMPLES = """Examples:

  fastwsi demo

  fastwsi demo --out /tmp/demo --seed 1

  fastwsi demo --size tiny --json
"""


class Size(str, Enum):
    """How much of it."""

    tiny = "tiny"
    small = "small"
    medium = "medium"


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder to work in; a demo that was stopped goes on in it.")
    ] = Path("fastwsi-demo"),
    size: Annotated[
        Size, typer.Option(help="tiny: a minute on two cores, and too little to learn. small: 6. medium: 60.")
    ] = Size.small,
    seed: Annotated[int, typer.Option(min=0, help="Other slides, another training.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """Do the main job in one go: draw slides, train a detector, scan slides it has not seen, evaluate.

    Everything is made in this run; no weights are shipped. Needs no data and no GPU.
    """
    from fastwsi.cli.progress import Counter  # noqa: PLC0415  (not for --help)
    from fastwsi.cli.scanning import ScanBar  # noqa: PLC0415
    from fastwsi.demo import SIZES  # noqa: PLC0415
    from fastwsi.demo import demo as run  # noqa: PLC0415

    silent = quiet or as_json
    with failing_in_one_line(debug=debug):
        if not silent:
            asked = SIZES[size.value]
            remark = f"; {asked.remark}" if asked.remark else ""
            typer.secho(f"fastwsi demo, {size.value}: about {asked.promise} on two cores{remark}", bold=True)
        with ScanBar(quiet=silent, debug=debug) as bar:
            found = run(
                out, size.value, seed=seed, device=device, progress=not silent,
                stage=None if silent else lambda name: typer.secho(name, fg=typer.colors.CYAN, err=True),
                counter=Counter("slides", quiet=silent).once, watcher=bar,
            )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(_as_json(found), indent=2))
    elif not quiet:
        _show(found)
    tell_failures(found.predicted.failed)


def _as_json(found: Demo) -> dict[str, Any]:
    return {
        "out": str(found.out),
        "evaluation": found.evaluation.to_dict(),
        "scores": found.predicted.scores,
        "seconds": found.seconds,
        "departures": found.departures,
    }


def _show(found: Demo) -> None:
    """Print what came out, how long it took, what is not the paper's, and where to look."""
    from rich.console import Console  # noqa: PLC0415  (not for --help)
    from rich.markup import escape  # noqa: PLC0415

    from fastwsi.cli.evaluate import show_evaluation  # noqa: PLC0415

    console = Console(highlight=False)
    show_evaluation(console, found.evaluation)
    spent = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in found.seconds.items())
    console.print(f"[bold]time[/]        {spent}; in all {sum(found.seconds.values()):.0f} s")
    changed = ", ".join(f"{name} {ours} ({papers})" for name, (papers, ours) in found.departures.items())
    console.print(f"[bold]recipe[/]      liu2017-demo, not the paper's (in brackets): {escape(changed)}")
    results = found.out / "results"
    best = max(found.predicted.scores, key=lambda name: found.predicted.scores[name])
    for what, where in (
        ("pictures", results / f"{best}_overlay.png"),
        ("for QuPath", results / f"{best}_detections.geojson"),
        ("for ASAP", results / f"{best}_likelihood_map.tif"),
        ("slides", found.out / "slides"),
        ("model", found.out / "run" / "model.safetensors"),
        ("training", found.out / "run" / "curves.png"),
    ):
        console.print(f"[bold]{what:<12}[/]{escape(str(where))}", soft_wrap=True)
