"""Columns of a table of slides: taken from lists and arrays, and written as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi import _arrays

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike


def array_of(values: ArrayLike, name: str) -> np.ndarray[Any, Any]:
    """Return a list, numpy array or torch tensor on the CPU as a numpy array.

    Examples
    --------
    >>> array_of([[True, False]], "mask").shape
    (1, 2)
    """
    array: Any = values
    if isinstance(array, np.ndarray):
        _arrays.framework_of(array, name)  # refuses masked arrays
    elif hasattr(array, "detach"):
        array = _tensor_to_numpy(array, name)
    try:
        return np.asarray(array)
    except (TypeError, ValueError, RuntimeError):  # ragged lists, arrays on a GPU
        raise TypeError(f"{name}: got {type(values).__name__}, expected an array") from None


def column(values: ArrayLike, name: str) -> np.ndarray[Any, Any]:
    """Return a list, numpy array or torch tensor on the CPU as a numpy array of one dimension.

    Examples
    --------
    >>> column([0.5, 1], "scores")
    array([0.5, 1. ])
    """
    array = array_of(values, name)
    if array.ndim != 1:
        got = f"shape {array.shape}" if array.ndim else type(values).__name__
        raise (ValueError if array.ndim else TypeError)(f"{name}: got {got}, expected one dimension")
    return array


def cells(values: Iterable[Any], name: str) -> list[Any]:
    """Return a column of texts, numbers and bools as a list; None, NaN and "" become None.

    Examples
    --------
    >>> cells(np.array([1, 2]), "stage"), cells(["macro", "", None], "stage")
    ([1, 2], ['macro', None, None])
    """
    if hasattr(values, "dtype"):
        listed = column(values, name).tolist()  # type: ignore[arg-type]  # whatever has a dtype
    elif isinstance(values, str | bytes) or not hasattr(values, "__iter__"):
        raise TypeError(f"{name}: got {values!r}, expected a list or an array")
    else:
        listed = [each.item() if hasattr(each, "item") else each for each in values]
    for each in listed:
        if not (each is None or isinstance(each, str | int | float)):
            raise TypeError(f"{name}: got {each!r}, expected texts, numbers or bools")
    return [None if each is None or each == "" or each != each else each for each in listed]  # noqa: PLR0124


def in_order(values: Iterable[Any]) -> list[Any]:
    """Return values sorted; where texts stand among numbers, by their spelling.

    Examples
    --------
    >>> in_order([10, 9]), in_order(["b", 2, "a"])
    ([9, 10], [2, 'a', 'b'])
    """
    listed = list(values)
    mixed = len({isinstance(value, str) for value in listed}) > 1
    return sorted(listed, key=str) if mixed else sorted(listed)


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned text: the first column to the left, all others to the right.

    Examples
    --------
    >>> text_table([["set", "slides"], ["train", "270"]]).splitlines()
    ['set    slides', 'train     270']
    """
    widths = [max(map(len, texts)) for texts in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows
    ]
    return "\n".join(lines)


def _tensor_to_numpy(tensor: Any, name: str) -> np.ndarray[Any, Any]:
    _arrays.check_dense(tensor, name)
    if str(tensor.device) != "cpu":
        raise TypeError(f"{name}: got a tensor on {tensor.device}, expected one on the CPU")
    tensor = _arrays.plain(tensor).detach()
    if _arrays.dtype_name(tensor) == "bfloat16":  # which numpy does not have
        tensor = tensor.double()
    return np.asarray(tensor.numpy())
