"""What counts as a number among arguments: one answer for every function."""

from __future__ import annotations

import math
import operator
import re
from typing import Any

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
          "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}  # fmt: skip


def real(value: Any, name: str) -> float:
    """Return a number as a float, NaN and infinities too; errors name the argument.

    Numbers are Python's, numpy's, and arrays without dimensions. Bools are none, nor are texts.

    Examples
    --------
    >>> real(np.float32(0.5), "x"), real(np.array(2), "x")
    (0.5, 2.0)
    """
    if type(value) is float:
        return value
    if not isinstance(value, str | bytes | bytearray) and _may_be_number(value):
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{name}: got {_shown(value)}, expected a number that fits float64") from None
        except (TypeError, ValueError, RuntimeError):  # torch's is a RuntimeError
            pass
    raise TypeError(f"{name}: got {_shown(value)}, expected a number")


def finite(value: Any, name: str, least: float = -math.inf) -> float:
    """Return a finite number of at least ``least`` as a float; errors name the argument.

    Examples
    --------
    >>> finite(3, "x", least=0)
    3.0
    """
    number = real(value, name)
    if not math.isfinite(number) or number < least:
        limit = "" if least == -math.inf else f" >= {least:g}"
        raise ValueError(f"{name}: got {_shown(value)}, expected a finite number{limit}")
    return number


def whole(value: Any, name: str, least: int | None = None) -> int:
    """Return an integer, of at least ``least``, as an int; errors name the argument. 1.0 is none.

    Examples
    --------
    >>> whole(np.uint8(3), "n", least=1)
    3
    """
    number = value if type(value) is int else None
    if number is None and _may_be_number(value):
        try:
            number = operator.index(value)
        except (TypeError, RuntimeError):
            number = None
    if number is None:
        raise TypeError(f"{name}: got {_shown(value)}, expected an integer")
    if least is not None and number < least:
        raise ValueError(f"{name}: got {_shown(value)}, expected at least {least}")
    return number


def bytes_of(text: str | float, name: str = "memory") -> int:
    """Return the bytes that a text such as "6GiB" or "800 MB" names, or a number of them.

    Examples
    --------
    >>> bytes_of("1.5 GiB"), bytes_of(1_000_000)
    (1610612736, 1000000)
    """
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise TypeError(f"{name}: got {text!r}, expected bytes or a text such as '6GiB'")
    found = re.fullmatch(r"\s*([0-9.]+(?:[eE][0-9]+)?)\s*([a-zA-Z]*)\s*", str(text))
    if not found or found[2].lower() not in _UNITS or found[1].count(".") > 1:
        raise ValueError(f"{name}: got {text!r}, expected bytes or a text such as '6GiB', '800 MB'")
    size = int(float(found[1]) * _UNITS[found[2].lower()])
    if size <= 0:
        raise ValueError(f"{name}: got {text!r}, expected more than nothing")
    return size


def _may_be_number(value: Any) -> bool:
    """Tell bools and arrays with dimensions, which Python takes for numbers, from what may be one."""
    if isinstance(value, bool):
        return False
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        return True
    return str(dtype) not in ("bool", "torch.bool") and len(value.shape) == 0


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # Python spells no int of more than 4300 digits
        return f"{type(value).__name__} of too many digits to show"
