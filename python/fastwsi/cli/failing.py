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
    try:
        yield
    except Exception as error:
        # Of others only those that were written for people: the rest is ours to mend.
        told = getattr(error, "told", isinstance(error, (OSError, ValueError, TypeError, ImportError)))
        if debug or not told:
            raise
        # What the import system says names no remedy; what we raise does, and has no module's name.
        missing = isinstance(error, ImportError) and error.name
        remedy = "; fastwsi doctor says what is missing" if missing else ""
        typer.secho(f"error: {error}{remedy}", fg=typer.colors.RED, err=True)
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
