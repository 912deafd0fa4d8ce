"""Stages of patients held against those of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fastwsi.data import patient_stages, read_stages
from fastwsi.evaluation import PatientKappa, score_patients, stage_patients
from fastwsi.slides import SlideError


def evaluate_stages(
    submission: str | Path,
    truth: str | Path,
    *,
    missing: Literal["error", "worst", "drop"] = "error",
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
    missing : "error", "worst" or "drop"
        What becomes of patients that the submission lacks: an error that names them; the stage farthest from
        the true one; or nothing.
    replicates, confidence, seed
        Of the bootstrap over patients.
    """
    found = read_stages(submission)
    if all("_node_" in name for name in found):
        found = stage_patients(found)
    root = Path(truth)
    told = patient_stages(root) if root.is_dir() else read_stages(root)
    if not any("_node_" not in name for name in told):
        raise SlideError(
            root, "no stages of patients: no stages.csv or stage_labels.csv, or none with patients"
        )
    return score_patients(
        told, found, missing=missing, replicates=replicates, confidence=confidence, seed=seed
    )
