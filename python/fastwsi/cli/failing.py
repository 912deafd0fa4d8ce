"""Errors as one line for people, with a trace only where it is asked for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def failing_in_one_line(*, debug: bool) -> Iterator[None]:
    """Turn errors that a user can mend into one line and an exit code, 1 but where an error has its own.

    Examples
    --------
    >>> with failing_in_one_line(debug=False):
    ...     pass
    """
    from fastwsi.slides import SlideError  # noqa: PLC0415  (not for --help)

    try:
        yield
    except (SlideError, OSError, ValueError, TypeError, ImportError, RuntimeError) as error:
        # Of runtime errors only those that were written for people: others are ours to mend.
        told = getattr(error, "told", not isinstance(error, RuntimeError))
        if debug or not told:
            raise
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(code=getattr(error, "exit_code", 1)) from None


def tell_failures(failed: Mapping[str, str]) -> None:
    """Say which slides came to nothing, and why; end with exit code 1 if there are any.

    Examples
    --------
    >>> tell_failures({})
    """
    for name, reason in failed.items():
        typer.secho(f"error: {name}: {reason}", fg=typer.colors.RED, err=True)
    if failed:
        raise typer.Exit(code=1)
