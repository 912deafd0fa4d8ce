"""``fastwsi thumbnail``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fastwsi.cli.failing import failing_in_one_line
from fastwsi.cli.options import AsJson, Debug, Overwrite, Quiet, to_be_written

EXAMPLES = """Examples:

  fastwsi thumbnail slide.svs thumbnail.png

  fastwsi thumbnail slide.svs thumbnail.jpg --size 4096 --overwrite
"""


def thumbnail(
    slide: Annotated[str, typer.Argument(help="A slide.")],
    out: Annotated[Path, typer.Argument(help="The picture: .png or .jpg.")],
    size: Annotated[int, typer.Option(min=1, help="Of its longer side in pixels, at most.")] = 1024,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a small picture of a whole slide."""
    from fastwsi.slides import open_slide, write_picture  # noqa: PLC0415  (not for --help)
    from fastwsi.slides.pictures import checked_picture  # noqa: PLC0415

    with failing_in_one_line(debug=debug):
        target = to_be_written(checked_picture(out), overwrite=overwrite)
        with open_slide(slide) as opened:
            pixels, whole = opened.thumbnail(size), opened.dimensions
        write_picture(target, pixels)
    height, width, _ = pixels.shape
    if as_json:
        told = {
            "picture": str(target),
            "size": [width, height],
            "scale": [whole[0] / width, whole[1] / height],
        }
        typer.echo(json.dumps(told, indent=2))
    elif not quiet:
        typer.echo(f"{width} x {height} pixels: {target}")
