"""Evaluation: lesions of a mask, FROC of a test set, and bootstraps, beside Camelyon16's way of doing it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks.measure import Entry, time_call
from fastwsi.evaluation import (
    bootstrap_interval,
    froc,
    froc_interval,
    label_lesions,
    match_detections,
    roc_auc_score,
)

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from fastwsi.evaluation import Froc, Lesions, SlideMatch

HEIGHT, WIDTH = 3000, 6000  # of a slide at level 5
DOWN = 32
SLIDES, WITH_TUMOUR, DETECTIONS = 130, 50, 50_000
REPLICATES, AUC_SLIDES, AUC_REPLICATES, FEW = 2000, 535, 10_000, 500


@pytest.fixture(scope="module")
def mask() -> np.ndarray[Any, Any]:
    """A dozen deposits of all sizes."""
    rng = np.random.default_rng(0)
    found = np.zeros((HEIGHT, WIDTH), np.uint8)
    for _ in range(12):
        x, y, radius = rng.integers(300, WIDTH - 300), rng.integers(300, HEIGHT - 300), rng.integers(3, 250)
        rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        disk = columns**2 + rows**2 * rng.uniform(0.5, 1) <= radius**2
        found[y - radius : y + radius + 1, x - radius : x + radius + 1][disk] = 1
    return found


@pytest.fixture(scope="module")
def lesions(mask: np.ndarray[Any, Any]) -> Lesions:
    return label_lesions(mask)


@pytest.fixture(scope="module")
def detections() -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(1)
    each = np.diff(np.linspace(0, DETECTIONS, SLIDES + 1).astype(int))
    return [
        np.c_[rng.random(n), rng.integers(0, WIDTH * DOWN, n), rng.integers(0, HEIGHT * DOWN, n)]
        for n in each
    ]


def entry_of(group: str, who: str, limit: float) -> Entry:
    """Return a line of a table in which ours has a time to keep."""
    ours = who == "fastwsi"
    return Entry(group, who, "ours" if ours else "peer", limit=limit if ours else None)


def matched(detections: list[np.ndarray[Any, Any]], lesions: Lesions) -> list[SlideMatch]:
    return [match_detections(each, lesions if i < WITH_TUMOUR else None) for i, each in enumerate(detections)]


def scripted_labels(mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The whole mask at once, as the challenge's script has it."""
    from scipy import ndimage
    from skimage import measure

    near = ndimage.distance_transform_edt(mask == 0) < 75 / (0.243 * 32 * 2)
    return np.asarray(measure.label(ndimage.binary_fill_holes(near), connectivity=2))


@pytest.mark.parametrize("who", ["fastwsi", "whole mask"])
def test_lesions(benchmark: BenchmarkFixture, mask: np.ndarray[Any, Any], who: str) -> None:
    np.testing.assert_array_equal(label_lesions(mask).labels, scripted_labels(mask))
    entry = entry_of(f"lesions of a mask, {WIDTH} x {HEIGHT}", who, 0.15)
    time_call(
        benchmark, partial(label_lesions if who == "fastwsi" else scripted_labels, mask), entry, rounds=5
    )


def test_memory_of_lesions(mask: np.ndarray[Any, Any]) -> None:
    """No more than 200 MB, the labels' own 72 MB included."""
    import tracemalloc

    tracemalloc.start()
    label_lesions(mask)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


def scripted_froc(matches: list[SlideMatch]) -> np.ndarray[Any, Any]:
    """One threshold after the other, as the challenge's script has it."""
    false = np.concatenate([match.fp_scores for match in matches])
    true = np.concatenate([match.tp_scores for match in matches]).astype(np.float32)
    lesions = sum(match.n_lesions for match in matches)
    rates, found = [0.0], [0.0]
    for threshold in np.unique(np.concatenate([false, true]))[:0:-1]:
        rates.append((false >= threshold).sum() / len(matches))
        found.append((true >= np.float32(threshold)).sum() / lesions)
    return np.interp((0.25, 0.5, 1, 2, 4, 8), rates, found)


@pytest.mark.parametrize("who", ["fastwsi", "threshold by threshold"])
def test_froc(
    benchmark: BenchmarkFixture, detections: list[np.ndarray[Any, Any]], lesions: Lesions, who: str
) -> None:
    def ours() -> Froc:
        return froc(matched(detections, lesions), "official")

    def theirs() -> np.ndarray[Any, Any]:
        return scripted_froc(matched(detections, lesions))

    np.testing.assert_array_equal(ours().sensitivities, theirs())
    entry = entry_of(f"FROC of {DETECTIONS:,} detections on {SLIDES} slides", who, 0.2)
    time_call(benchmark, ours if who == "fastwsi" else theirs, entry, rounds=3 if who == "fastwsi" else 1)


@pytest.mark.parametrize("mode", ["clean", "official"])
@pytest.mark.parametrize("resample", ["slides", "points"])
def test_froc_bootstrap(
    benchmark: BenchmarkFixture,
    detections: list[np.ndarray[Any, Any]],
    lesions: Lesions,
    resample: Any,
    mode: Any,
) -> None:
    matches = matched(detections, lesions)
    group = f"FROC, {REPLICATES:,} replicates over {resample}, {SLIDES} slides"
    entry = Entry(group, mode, "ours", limit=5.0)
    time_call(
        benchmark,
        partial(froc_interval, matches, mode, resample=resample, replicates=REPLICATES),
        entry,
        rounds=2,
    )


@pytest.mark.parametrize("who", ["fastwsi", "scikit-learn, a loop"])
@pytest.mark.parametrize("replicates", [AUC_REPLICATES, FEW])
def test_auc_bootstrap(benchmark: BenchmarkFixture, replicates: int, who: str) -> None:
    from sklearn.metrics import roc_auc_score as theirs

    if who != "fastwsi" and replicates != FEW:
        pytest.skip("a loop takes too long")
    rng = np.random.default_rng(2)
    labels = rng.random(AUC_SLIDES) < 0.4
    scores = (rng.standard_normal(AUC_SLIDES) + labels).round(2)
    assert abs(roc_auc_score(labels, scores) - theirs(labels, scores)) < 1e-12

    def loop() -> list[float]:
        rows = rng.integers(AUC_SLIDES, size=(replicates, AUC_SLIDES))
        return [float(theirs(labels[row], scores[row])) for row in rows]

    ours = partial(bootstrap_interval, labels, scores, replicates=replicates)
    entry = entry_of(f"AUC, {replicates:,} replicates of {AUC_SLIDES} slides", who, 1.0)
    time_call(benchmark, ours if who == "fastwsi" else loop, entry, rounds=3 if who == "fastwsi" else 1)
