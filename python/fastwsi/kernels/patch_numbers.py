"""The parameters of a batch as one row of numbers, and back: what a compiled graph passes on.

torch's compiler makes constants of a float that goes into an operator, and of a 64-bit seed that fits no
int64 it makes nothing at all; an array of float64 it takes as it comes, whatever is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# Field: numbers that one value of it takes. Those of seeds are their two 32-bit halves.
_WIDTHS = {
    "origin": 2,
    "orientation": 1,
    "brightness_mul": 1,
    "brightness_add": 1,
    "saturation_mul": 1,
    "saturation_add": 1,
    "hue": 1,
    "contrast": 1,
    "contrast_mean": 3,
    "noise_fraction": 1,
    "noise_sigma": 1,
    "noise_seed": 2,
    "lch_mul": 3,
}
# In front of a field's values stands how many there are, one per image; or one of these.
_NONE, _SHARED = -2.0, -1.0


def flatten(fields: Any) -> list[float]:
    """Return checked parameters, whose sequences are tuples, as numbers.

    Examples
    --------
    >>> flatten(fastwsi.kernels.PatchParams(origin=[(3, 4), (5, 6)], noise_seed=2**64 - 1))[:7]
    [0.0, 2.0, 3.0, 4.0, 5.0, 6.0, -2.0]
    """
    numbers = [float(fields.contrast_first)]
    for name, width in _WIDTHS.items():
        value = getattr(fields, name)
        if value is None:
            numbers.append(_NONE)
            continue
        vector = width > 1 and name != "noise_seed"
        each = isinstance(value, tuple) and (not vector or not value or isinstance(value[0], tuple))
        numbers.append(float(len(value)) if each else _SHARED)
        for one in value if each else (value,):
            if vector:
                numbers.extend(map(float, one))
            elif name == "noise_seed":
                numbers.extend((float(one & 0xFFFFFFFF), float(one >> 32)))
            else:
                numbers.append(float(one))
    return numbers


def unflatten(numbers: Sequence[float]) -> dict[str, Any]:
    """Return the fields that ``flatten`` made numbers of.

    Examples
    --------
    >>> unflatten(flatten(fastwsi.kernels.PatchParams(noise_seed=2**64 - 1)))
    {'contrast_first': False, 'noise_seed': 18446744073709551615}
    """
    fields: dict[str, Any] = {"contrast_first": bool(numbers[0])}
    at = 1
    for name, width in _WIDTHS.items():
        count, at = numbers[at], at + 1
        if count == _NONE:
            continue
        values = []
        for _ in range(1 if count == _SHARED else int(count)):
            values.append(_value(name, numbers[at : at + width]))
            at += width
        fields[name] = values[0] if count == _SHARED else values
    return fields


def _value(name: str, numbers: Sequence[float]) -> Any:
    if name == "noise_seed":
        return int(numbers[0]) | int(numbers[1]) << 32
    return numbers[0] if len(numbers) == 1 else tuple(numbers)
