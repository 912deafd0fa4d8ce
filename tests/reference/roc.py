"""The area under the ROC curve and DeLong's variance, pair by pair, as their definitions say."""

from __future__ import annotations

import numpy as np


def wins(positive, negative):
    """Return 1 where the positive scores higher, a half where both score the same."""
    return 1.0 if positive > negative else 0.5 if positive == negative else 0.0


def split(labels, scores):
    positives = [score for label, score in zip(labels, scores, strict=True) if label]
    negatives = [score for label, score in zip(labels, scores, strict=True) if not label]
    return positives, negatives


def auc(labels, scores):
    positives, negatives = split(labels, scores)
    if not positives or not negatives:
        return float("nan")
    return sum(wins(p, q) for p in positives for q in negatives) / (len(positives) * len(negatives))


def placements(labels, scores):
    """For each positive, the share of negatives that it beats; for each negative, of positives above it."""
    positives, negatives = split(labels, scores)
    beats = np.array([[wins(p, q) for q in negatives] for p in positives])
    return beats.mean(axis=1), beats.mean(axis=0)


def covariance(labels, scores_a, scores_b):
    """DeLong's covariance of the areas of two scores of the same slides."""
    of_positives_a, of_negatives_a = placements(labels, scores_a)
    of_positives_b, of_negatives_b = placements(labels, scores_b)
    total = 0.0
    for a, b in ((of_positives_a, of_positives_b), (of_negatives_a, of_negatives_b)):
        products = [(x - a.mean()) * (y - b.mean()) for x, y in zip(a, b, strict=True)]
        total += sum(products) / (len(a) - 1) / len(a)
    return total


def variance_of_difference(labels, scores_a, scores_b):
    return (
        covariance(labels, scores_a, scores_a)
        + covariance(labels, scores_b, scores_b)
        - 2 * covariance(labels, scores_a, scores_b)
    )


def thresholded(labels, scores, threshold):
    """Return true positives, false positives, true negatives, false negatives at a threshold, one by one."""
    counts = {(True, True): 0, (False, True): 0, (False, False): 0, (True, False): 0}
    for label, score in zip(labels, scores, strict=True):
        counts[bool(label), bool(score >= threshold)] += 1
    return tuple(counts.values())
