"""``fastwsi normalize``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastwsi.cli.failing import failing_in_one_line, tell_failures
from fastwsi.cli.options import AsJson, Debug, Overwrite, Quiet, SlideMpp
from fastwsi.cli.progress import Counter

if TYPE_CHECKING:
    from fastwsi.data import Normalized
    from fastwsi.stain import HsdNormalizer

EXAMPLES = """Examples:

  fastwsi normalize slide.svs --reference slides/training --out slide.tif

  fastwsi normalize slides --reference a.svs --out n --save-reference r.json

  fastwsi normalize slides --reference r.json --out normalized
"""


def normalize(
    slides: Annotated[
        list[Path], typer.Argument(help="Slides, folders of slides, data sets, or CSV files of slides.")
    ],
    reference: Annotated[
        list[Path],
        typer.Option(
            help="What they are to look like: a slide, a folder of them or several (their medians; of a data "
            "set those for training), or a .json that --save-reference wrote."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder for <slide>.tif, made where it is not there; or a .tif, for one slide."),
    ],
    save_reference: Annotated[
        Path | None, typer.Option(help="A .json to keep the reference in, for other slides.")
    ] = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of the JPEG tiles.")] = 90,
    slide_mpp: SlideMpp = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Give slides a reference's stain: pyramidal TIFFs of the same size, in the memory of a few rows.

    Slides that are done are skipped. Exits with 1 where one failed, after all others are done.
    """
    from fastwsi.data import normalize_slides, slides_at  # noqa: PLC0415  (not for --help)

    silent = quiet or as_json
    with failing_in_one_line(debug=debug):
        records = slides_at(slides, "all")
        if slide_mpp is not None:
            records = tuple(replace(record, mpp=slide_mpp) for record in records)
        wanted = _reference(reference, Counter("slides of the reference", quiet=silent))
        if save_reference is not None:
            _keep(wanted, save_reference, overwrite=overwrite)
        with Counter("rows", quiet=silent) as counter:
            found = normalize_slides(
                records, out, wanted, quality=quality, overwrite=overwrite, progress=counter
            )
    if as_json:
        typer.echo(json.dumps(_as_json(found), indent=2))
    elif not quiet:
        _show(found, out)
    tell_failures(found.failed)


def _reference(paths: list[Path], counter: Counter) -> HsdNormalizer:
    from fastwsi.data import slides_at, stain_reference  # noqa: PLC0415  (not for --help)
    from fastwsi.slides import SlideError  # noqa: PLC0415
    from fastwsi.stain import HsdNormalizer  # noqa: PLC0415

    kept = [path for path in paths if path.suffix.lower() == ".json"]
    if kept and len(paths) > 1:
        raise ValueError(f"--reference: got {kept[0]} beside others, expected it alone, or slides")
    if kept:
        return HsdNormalizer.load(kept[0])
    try:
        records = slides_at(paths, "train")
    except SlideError:  # no such split, or no such file, which is said again
        records = slides_at(paths, "all")
    return stain_reference(records, progress=counter.once)


def _keep(wanted: HsdNormalizer, path: Path, *, overwrite: bool) -> None:
    """Write a reference; the same one may be there, as it is where a run goes on."""
    text = wanted.to_json() + "\n"
    if path.exists() and not overwrite and path.read_text(encoding="utf-8", errors="replace") != text:
        raise ValueError(f"--save-reference: {path} is there, and another; --overwrite replaces it")
    wanted.save(path)


def _as_json(found: Normalized) -> dict[str, dict[str, str]]:
    return {
        "done": {name: str(path) for name, path in found.done.items()},
        "skipped": {name: str(path) for name, path in found.skipped.items()},
        "failed": found.failed,
        "remarks": found.remarks,
    }


def _show(found: Normalized, out: Path) -> None:
    for name, remark in found.remarks.items():
        typer.echo(f"note: {name}: {remark}", err=True)
    parts = [f"{len(found.done)} normalized"]
    for names, what in ((found.skipped, "done before"), (found.failed, "failed")):
        if names:
            parts.append(f"{len(names)} {what}")
    typer.echo(f"{', '.join(parts)}: {out}")
