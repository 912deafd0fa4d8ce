"""``fastwsi predict``."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastwsi.cli.failing import failing_in_one_line, tell_failures
from fastwsi.cli.options import SlideMpp

if TYPE_CHECKING:
    from fastwsi.engine import Predicted, ScanRecipe

EXAMPLES = """Examples:

  fastwsi predict run /data/camelyon16 --out results

  fastwsi predict best.safetensors a.svs b.svs --out results --set stride=64

  fastwsi predict runs/three slides.csv --out results --device cuda:1

  fastwsi evaluate results --truth /data/camelyon16
"""


class Split(str, Enum):
    """Which slides of a data set are scanned."""

    train = "train"
    validation = "validation"
    test = "test"
    all = "all"


def predict(
    model: Annotated[
        Path,
        typer.Argument(help="A .safetensors file, a training run's folder, or one of an ensemble's members."),
    ],
    slides: Annotated[
        list[Path], typer.Argument(help="Slides, folders of slides, data sets, or CSV files of slides.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the results; made where it is not there.")],
    also: Annotated[
        list[Path] | None, typer.Option("--with", help="Another model: the mean of all; as often as wanted.")
    ] = None,
    split: Annotated[
        Split | None,
        typer.Option(help="Of a data set, what to scan. Default: test where there is any, else all."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings of the scan.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the scan: stride, tissue, min_tissue, orientations, nms_radius, "
            "nms_threshold, precision.",
        ),
    ] = None,
    slide_mpp: SlideMpp = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Patches that are scored at once. Default: by the device.")
    ] = None,
    readers: Annotated[
        int | None, typer.Option(min=1, help="Threads that read. Default: by the device.")
    ] = None,
    overlays: Annotated[
        bool,
        typer.Option(
            help="Also write <slide>_overlay.png: the heatmap over the slide, and detections above 0.5."
        ),
    ] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Scan anew what is there, whatever made it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """Scan slides: a heatmap, detections and a score for each, in files that ASAP and QuPath open.

    Slides that are done are skipped, so that a run which was killed goes on. Exits with 1 where a slide
    failed, after all others are done. Of a folder, files that end in _mask, _overlay or _likelihood_map are
    passed over.
    """
    from fastwsi.cli.scanning import ScanBar  # noqa: PLC0415  (not for --help)
    from fastwsi.data import slides_at  # noqa: PLC0415
    from fastwsi.detectors import load  # noqa: PLC0415
    from fastwsi.engine import predict_slides  # noqa: PLC0415

    with failing_in_one_line(debug=debug):
        records = slides_at(slides, None if split is None else split.value)
        if slide_mpp is not None:
            records = tuple(replace(record, mpp=slide_mpp) for record in records)
        made = load([model, *also]) if also else load(model)
        recipe = _recipe(made, config, settings or [])
        with ScanBar(quiet=quiet or as_json, debug=debug) as bar:
            found = predict_slides(
                made, records, out, recipe, device=device, batch_size=batch_size, readers=readers,
                overwrite=overwrite, overlays=overlays, watcher=bar,
            )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    elif not quiet:
        _show(found, out)
    tell_failures(found.failed)


def _recipe(model: Any, config: Path | None, settings: list[str]) -> ScanRecipe:
    from fastwsi.engine.recipe import parsed, read_settings  # noqa: PLC0415  (not for --help)

    recipe: ScanRecipe = model.scan_recipe
    if config is not None:
        recipe = recipe.changed(read_settings(config))
    return recipe.changed(parsed(settings))


def _show(found: Predicted, out: Path) -> None:
    """Say what became of the slides, and where."""
    done = len(found.scores) - len(found.skipped)
    parts = [f"{done} scanned"]
    for names, what in ((found.skipped, "done before"), (found.elsewhere, "left to another process"),
                        (found.failed, "failed")):  # fmt: skip
        if names:
            parts.append(f"{len(names)} {what}")
    for name, remark in found.remarks.items():
        typer.echo(f"{name}: {remark}")
    typer.echo(f"{', '.join(parts)}: {out}")
