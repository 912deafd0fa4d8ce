"""``fastwsi synth``."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from fastwsi.cli.failing import failing_in_one_line
from fastwsi.cli.progress import Counter

EXAMPLES = """Examples:

  fastwsi synth slides --slides 10

  fastwsi synth labelled --slides 20 --layout labelled

  fastwsi synth pcam --slides 2000 --layout pcam --seed 7
"""


class Layout(str, Enum):
    """How the files are laid out: like Camelyon16, as slides.csv with labels, like PatchCamelyon."""

    camelyon16 = "camelyon16"
    labelled = "labelled"
    pcam = "pcam"


def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write into; made where it is not there.")],
    slides: Annotated[int, typer.Option(min=1, help="Slides in all (patches, for pcam).")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same set.")] = 0,
    test: Annotated[
        int | None, typer.Option(min=0, help="How many of them are for testing. Default: 4 in 10.")
    ] = None,
    size: Annotated[str, typer.Option(help="Of a slide in pixels, as WIDTHxHEIGHT.")] = "4096x3072",
    mpp: Annotated[float, typer.Option(help="Micrometres per pixel.")] = 0.5,
    layout: Annotated[
        Layout,
        typer.Option(
            help="camelyon16: with ASAP's annotations and reference.csv. labelled: slides.csv, a label for "
            "each slide. pcam: HDF5 files of patches."
        ),
    ] = Layout.camelyon16,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make everything anew.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """Draw slides of lymph nodes with and without tumour, to try things out on.

    What is there already is kept: an interrupted run goes on where it was.
    """
    from fastwsi import slides as room  # noqa: PLC0415  (not for --help)

    with failing_in_one_line(debug=debug):
        for_test = round(0.4 * slides) if test is None else test
        if for_test > slides:
            raise ValueError(f"--test: got {for_test}, expected at most --slides, {slides}")
        with Counter("patches" if layout is Layout.pcam else "slides", quiet=quiet or as_json) as counter:
            if layout is Layout.pcam:
                counts = {
                    "train": slides - for_test,
                    "valid": for_test // 2,
                    "test": for_test - for_test // 2,
                }
                room.write_patch_camelyon(out, counts, seed=seed, overwrite=overwrite, progress=counter)
            else:
                wanted = room.SyntheticSet(slides - for_test, for_test, _size(size), mpp, seed)
                write = room.write_camelyon16 if layout is Layout.camelyon16 else room.write_labelled
                write(out, wanted, overwrite=overwrite, progress=counter)
    what = "patches" if layout is Layout.pcam else "slides"
    if as_json:
        told = {"out": str(out), "layout": layout.value, what: slides, "test": for_test, "seed": seed}
        typer.echo(json.dumps(told, indent=2))
    elif not quiet:
        typer.echo(f"{slides} {what} in {out}")


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ValueError(f"--size: got {text!r}, expected WIDTHxHEIGHT, such as 4096x3072")
    return int(width), int(height)
