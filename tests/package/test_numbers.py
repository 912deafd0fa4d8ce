"""What counts as a number, whichever function asks."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from fastwsi import _numbers

NO_NUMBERS = [
    True, np.True_, np.array(True), torch.tensor(True), None, "1", b"1", bytearray(b"1"), [1], (1,), 1j,
    np.ones(1), np.ones(2), np.ones((1, 1), int), torch.ones(1), torch.ones(2),
    torch.ones(1, dtype=torch.int64), torch.tensor(1j), object(),
]  # fmt: skip


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value).split(" at ")[0])
@pytest.mark.parametrize("ask", [_numbers.real, _numbers.finite, _numbers.whole])
def test_no_numbers(ask, value):
    with pytest.raises(TypeError, match=r"^x: got .*, expected (a number|an integer)"):
        ask(value, "x")


@pytest.mark.parametrize(
    "value",
    [0.5, np.float16(0.5), np.float64(0.5), np.array(0.5), torch.tensor(0.5), torch.tensor(0.5).bfloat16(),
     Fraction(1, 2), Decimal("0.5")],
    ids=repr,
)  # fmt: skip
def test_reals(value):
    for ask in (_numbers.real, _numbers.finite):
        found = ask(value, "x")
        assert type(found) is float
        assert found == 0.5
    with pytest.raises(TypeError, match=r"^x: got .*, expected an integer"):
        _numbers.whole(value, "x")


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3), torch.tensor(3)], ids=repr)
def test_wholes(value):
    assert type(_numbers.whole(value, "x")) is int
    assert _numbers.whole(value, "x", 3) == 3
    assert _numbers.real(value, "x") == 3
    with pytest.raises(ValueError, match=r"^x: got .*3.*, expected at least 4"):
        _numbers.whole(value, "x", 4)


def test_numbers_without_bound():
    for value in (math.inf, -math.inf):
        assert _numbers.real(value, "x") == value
    assert math.isnan(_numbers.real(np.float32("nan"), "x"))
    for value in (math.inf, -math.inf, math.nan, np.float32("inf")):
        with pytest.raises(ValueError, match=r"^x: got .*, expected a finite number$"):
            _numbers.finite(value, "x")
    with pytest.raises(ValueError, match=r"^x: got -0.5, expected a finite number >= 0"):
        _numbers.finite(-0.5, "x", 0)
    for huge in (10**400, 10**5000):
        for ask in (_numbers.real, _numbers.finite):
            with pytest.raises(ValueError, match=r"^x: got .*, expected a number that fits float64"):
                ask(huge, "x")
    assert _numbers.whole(10**400, "x", 1) == 10**400
