"""What all results have: a line that a person can read, a dictionary, JSON, CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from fastwsi._files import write_atomically


class Result:
    """Base of the results of this room, which are frozen dataclasses.

    A subclass says itself in one line (``__str__``); where it is a table, `rows` gives the table's rows.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, repr=False)
    ... class Share(Result):
    ...     value: float
    ...     def __str__(self):
    ...         return f"{self.value:.0%}"
    >>> Share(0.25), Share(float("nan")).to_dict()
    (<Share 25%>, {'value': None})
    """

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dictionaries, lists, numbers and texts; what is not finite is None."""
        own = fields(self)  # type: ignore[arg-type]  # subclasses are dataclasses
        return {field.name: plain(getattr(self, field.name)) for field in own}

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of a table: one, of the single values, unless a result is a table itself."""
        return [{key: value for key, value in self.to_dict().items() if not isinstance(value, list | dict)}]

    def to_csv(self) -> str:
        """Return `rows` as CSV with a header."""
        rows = self.rows()
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO()
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        return text.getvalue()

    def save(self, path: str | Path) -> None:
        """Write JSON or CSV, as the file's ending says; a file is whole or not there."""
        path = Path(path)
        if path.suffix not in (".json", ".csv"):
            raise ValueError(f"path: got {path.name!r}, expected a name that ends in .json or .csv")
        write_atomically(path, self.to_json() if path.suffix == ".json" else self.to_csv())


def plain(value: Any) -> Any:
    """Return a value as JSON has it.

    Examples
    --------
    >>> plain({"a": np.array([1.5, np.nan])})
    {'a': [1.5, None]}
    """
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    finite = not isinstance(value, float) or math.isfinite(value)
    return (str(value) if isinstance(value, Path) else value) if finite else None
