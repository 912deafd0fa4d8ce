"""What is raised where a slide's file, or a file beside it, is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class SlideError(Exception):
    """Something is wrong with a file: which one, and what.

    Attributes
    ----------
    path : Path
        The file.
    reason : str
        What is wrong with it, and what helps. Without it, ``path`` is taken for what a traceback ends with:
        torch has no more than that left of an error in a loader's worker, and calls its class with it.

    Examples
    --------
    >>> raise fastwsi.SlideError("tumor_001.tif", "the file is empty")
    Traceback (most recent call last):
    ...
    fastwsi.slides.errors.SlideError: tumor_001.tif: the file is empty
    """

    told = True  # in one line, by the command line

    def __init__(self, path: str | Path, reason: str | None = None) -> None:
        if reason is None:
            printed = (
                str(path).rpartition(f"\n{type(self).__module__}.{type(self).__qualname__}: ")[2].strip()
            )
            path, _, reason = printed.partition(": ")
        # Both are Exception's arguments, so that the error survives the way from a worker process.
        super().__init__(str(path), reason)
        self.path, self.reason = Path(path), reason
        self._told = str(path)  # a URL is no path

    def __str__(self) -> str:
        return f"{self._told}: {self.reason}"

    def __reduce__(self) -> tuple[Callable[..., SlideError], tuple[str, str]]:
        return type(self), (self._told, self.reason)


class Unsuited(Exception):  # noqa: N818  (no error: another backend may read the file)
    """A backend does not read a file; says why.

    Attributes
    ----------
    broken : bool
        Whether it looks like one of its own, damaged: what to say where no other reads it either.
    """

    def __init__(self, reason: str, *, broken: bool = False) -> None:
        super().__init__(reason)
        self.broken = broken
