"""``fastwsi tissue``."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastwsi.cli.failing import failing_in_one_line
from fastwsi.cli.options import AsJson, Debug, Overwrite, Quiet, SlideMpp, to_be_written

if TYPE_CHECKING:
    from fastwsi.slides import TissueMask

EXAMPLES = """Examples:

  fastwsi tissue slide.svs tissue.png

  fastwsi tissue slide.svs tissue.png --method gray --mpp 16 --overwrite

  fastwsi tissue slide.svs t.png --closing 100 --mask-out mask.png
"""


class Method(str, Enum):
    """How tissue is told from glass."""

    hsv_otsu = "hsv_otsu"
    otsu = "otsu"
    gray = "gray"


def tissue(
    slide: Annotated[str, typer.Argument(help="A slide.")],
    out: Annotated[
        Path, typer.Argument(help="The picture, .png or .jpg: tissue as it is, outlined; glass darkened.")
    ],
    method: Annotated[
        Method,
        typer.Option(help="By saturation (hsv_otsu), by grey values (otsu), or grey of at most 0.8 (gray)."),
    ] = Method.hsv_otsu,
    mpp: Annotated[float, typer.Option(help="Micrometres per pixel of the mask.")] = 8.0,
    closing: Annotated[
        float | None, typer.Option(help="Gaps of so many micrometres are closed. Default: 40; gray: 0.")
    ] = None,
    min_area: Annotated[
        float | None,
        typer.Option(help="Square micrometres that a piece needs, or a hole. Default: 50000; gray: 0."),
    ] = None,
    artefacts: Annotated[
        bool, typer.Option("--artefacts", help="Take pen marks and black borders for tissue.")
    ] = False,
    mask_out: Annotated[
        Path | None, typer.Option(help="Also write the mask, at --mpp: a .png, 255 where there is tissue.")
    ] = None,
    size: Annotated[int, typer.Option(min=1, help="Of the picture's longer side, at most.")] = 1024,
    slide_mpp: SlideMpp = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find a slide's tissue: a picture of it, and its area."""
    from fastwsi.slides import open_slide, tissue_mask, write_picture  # noqa: PLC0415  (not for --help)
    from fastwsi.slides.pictures import checked_picture  # noqa: PLC0415

    with failing_in_one_line(debug=debug):
        target = to_be_written(checked_picture(out), overwrite=overwrite)
        if mask_out is not None:
            if mask_out.suffix.lower() != ".png":
                raise ValueError(f"--mask-out: got {mask_out.name!r}, expected a name that ends in .png")
            to_be_written(mask_out, overwrite=overwrite, option="--mask-out")
        with open_slide(slide, mpp=slide_mpp) as opened:
            found = tissue_mask(
                opened, method.value, mpp=mpp, closing=closing, min_area=min_area, artefacts=artefacts
            )
            picture = found.preview(opened, size=size)
        if mask_out is not None:
            write_picture(mask_out, found.mask.astype("uint8") * 255)
        write_picture(target, picture)
    if as_json:
        typer.echo(json.dumps({**_told(found), "picture": str(target), **_mask(mask_out)}, indent=2))
    elif not quiet:
        told = _told(found)
        typer.echo(f"{told['area_mm2']:.2f} mm² of tissue, {told['share']:.1%} of the slide: {target}")


def _told(found: TissueMask) -> dict[str, Any]:
    return {
        "found": found.found,
        "area_mm2": found.area_mm2,
        "share": float(found.mask.mean()),
        "scale": [*found.scale],
        "remark": found.remark,
    }


def _mask(path: Path | None) -> dict[str, str]:
    return {} if path is None else {"mask": str(path)}
