"""Options that several commands have, and what they check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]
SlideMpp = Annotated[
    float | None,
    typer.Option(help="Micrometres per pixel of level 0, where a slide's file has none or wrong ones."),
]


def to_be_written(path: Path, *, overwrite: bool, option: str = "OUT") -> Path:
    """Return a file's path if it can be written: better to know before the work than after it."""
    if path.exists() and not overwrite:
        raise ValueError(f"{option}: {path} is there; --overwrite replaces it")
    if not path.parent.is_dir():
        raise ValueError(f"{option}: the folder {path.parent} is not there")
    return path
