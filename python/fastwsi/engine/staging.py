"""Stages of patients held against those of a data set."""

from __future__ import annotations

from pathlib import Path

from fastwsi.data import patient_stages, read_stages
from fastwsi.evaluation import PatientKappa, score_patients, stage_patients


def evaluate_stages(
    submission: str | Path,
    truth: str | Path,
    *,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> PatientKappa:
    """Return the quadratic weighted kappa of a submission to Camelyon17.

    Parameters
    ----------
    submission : path
        A CSV file of patients' stages; where it has slides' alone, patients' follow from them.
    truth : path
        Such a file, or the data set's folder.
    replicates, confidence, seed
        Of the bootstrap over patients.
    """
    found = read_stages(submission)
    if all("_node_" in name for name in found):
        found = stage_patients(found)
    root = Path(truth)
    told = patient_stages(root) if root.is_dir() else read_stages(root)
    return score_patients(told, found, replicates=replicates, confidence=confidence, seed=seed)
