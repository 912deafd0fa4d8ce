"""Camelyon16's evaluation step by step, as its published script reckons: on whole masks and with loops."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage import measure

RATES = (0.25, 0.5, 1, 2, 4, 8)


def lesion_mask(tumour, mpp):
    """Numbers of lesions: grown by the distance to the nearest tumour, filled, labelled over corners."""
    if not tumour.any():
        return np.zeros(tumour.shape, int)  # where the script finds a lesion in the corner
    distance = ndimage.distance_transform_edt(~tumour)
    near = distance < 75 / (mpp * 2)
    return measure.label(ndimage.binary_fill_holes(near), connectivity=2)


def isolated(labels, mpp):
    """Labels whose longest axis is short."""
    return [each.label for each in measure.regionprops(labels) if each.axis_major_length < 275 / mpp]


def matched(detections, labels, itc, downsample):
    """False scores, best true score of each label in float32, and how many labels count."""
    if labels is None:
        return [float(p) for p, _, _ in detections], np.zeros(0, np.float32), 0
    false, best = [], np.zeros(labels.max(), np.float32)
    for p, x, y in detections:
        hit = labels[int(y / downsample), int(x / downsample)]
        if hit == 0:
            false.append(float(p))
        elif hit not in itc and p > best[hit - 1]:
            best[hit - 1] = p
    return false, best, len(best) - len(itc)


def curve(slides):
    """Thresholds one after the other: false positives per slide, and sensitivity.

    The script was written for numpy 1: single float32 and float64 numbers are compared in float64 there, an
    array of float32 with a Python float in float32. numpy 2 would compare the single ones in float32, too.
    """
    false = [score for scores, _, _ in slides for score in scores]
    true = [score for _, scores, _ in slides for score in scores]
    rates, sensitivities = [], []
    for threshold in sorted({float(score) for score in false + true})[1:]:
        rates.append((np.asarray(false) >= threshold).sum())
        sensitivities.append((np.asarray(true) >= threshold).sum())
    rates.append(0)
    sensitivities.append(0)
    lesions = sum(count for _, _, count in slides)
    return np.asarray(rates) / float(len(slides)), np.asarray(sensitivities) / float(lesions)


def score(slides):
    """Sensitivities at the challenge's six rates."""
    rates, sensitivities = curve(slides)
    return np.interp(RATES, rates[::-1], sensitivities[::-1])
