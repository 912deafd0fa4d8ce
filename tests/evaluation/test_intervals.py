"""Wilson's interval, against its definition, statsmodels and numbers worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastwsi.evaluation.intervals import Interval, normal_quantile, wilson_interval

SHARES = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(SHARES, st.floats(0.5, 0.999))
def test_equals_statsmodels(share, confidence):
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    k, n = share
    low, high = proportion.proportion_confint(k, n, alpha=1 - confidence, method="wilson")
    found = wilson_interval(k, n, confidence=confidence)
    assert found.estimate == k / n
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


@given(SHARES)
def test_bounds_are_where_the_score_test_turns(share):
    k, n = share
    found = wilson_interval(k, n)
    z = normal_quantile(0.95)
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    for bound in (found.low, found.high):
        if 0 < bound < 1:
            assert (k - n * bound) ** 2 == pytest.approx(z * z * n * bound * (1 - bound), rel=1e-7)


@given(SHARES)
def test_mirrored(share):
    k, n = share
    found, mirrored = wilson_interval(k, n), wilson_interval(n - k, n)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-12)


def test_by_hand():
    # One standard deviation, z = 1: (k + 1/2 +- sqrt(k (n - k) / n + 1/4)) / (n + 1).
    one = math.erf(1 / math.sqrt(2))
    found = wilson_interval(1, 4, confidence=one)
    assert (found.low, found.high) == pytest.approx((0.1, 0.5), abs=1e-12)
    found = wilson_interval(81, 100)
    assert (round(found.low, 4), round(found.high, 4)) == (0.7222, 0.8749)
    found = wilson_interval(81, 263)  # the first example of Newcombe (1998)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    found = wilson_interval(15, 148)  # his second
    assert (round(found.low, 4), round(found.high, 4)) == (0.0624, 0.1605)


def test_ends():
    found = wilson_interval(0, 20)
    assert (found.low, found.estimate) == (0, 0)
    assert round(found.high, 4) == 0.1611  # Newcombe's third
    assert wilson_interval(29, 29).high == 1
    none = wilson_interval(0, 0)
    assert not none.estimable
    assert json.loads(none.to_json())["estimate"] is None
    assert wilson_interval(np.int64(3), np.uint8(4)) == wilson_interval(3, 4)


def test_more_confidence_is_wider():
    spans = [wilson_interval(7, 10, confidence=each) for each in (0.5, 0.9, 0.95, 0.99)]
    widths = [each.high - each.low for each in spans]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


@pytest.mark.parametrize(
    ("k", "n", "confidence", "kind", "text"),
    [
        (5, 4, 0.95, ValueError, r"^k: got 5, expected at most n, which is 4$"),
        (-1, 4, 0.95, ValueError, r"^k: got -1, expected at least 0$"),
        (1, -4, 0.95, ValueError, r"^n: got -4, expected at least 0$"),
        (0.5, 4, 0.95, TypeError, r"^k: got 0.5, expected an integer$"),
        (1, 4, 1.0, ValueError, r"^confidence: got 1.0, expected more than 0 and less than 1$"),
        (1, 4, math.nan, ValueError, r"^confidence: got nan, expected a finite number$"),
    ],
)
def test_refused(k, n, confidence, kind, text):
    with pytest.raises(kind, match=text):
        wilson_interval(k, n, confidence=confidence)


def test_texts():
    assert str(wilson_interval(3, 4)).startswith("0.7500 [0.3006, 0.9544] (95% Wilson")
    assert "3 of 4" in repr(Interval(0.75, math.nan, math.nan, 0.95, "none", "3 of 4"))
    assert "interval not estimable" in repr(Interval(0.75, math.nan, math.nan, 0.95, "none"))
