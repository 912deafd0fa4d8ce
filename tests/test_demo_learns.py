"""The demo's promises: lesions found on slides it has not seen, in the time it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

LEAST_AUC, LEAST_FROC, LESIONS, SLIDES = 0.90, 0.60, 15, 12
MINUTES = {"small": 6, "medium": 60}


def run(folder, size, seed):
    command = [sys.executable, "-m", "fastwsi", "demo", "--size", size, "--seed", str(seed), "--json"]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [*command, "--out", str(folder)], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_small(tmp_path, seed):
    told = run(tmp_path, "small", seed)
    held = told["evaluation"]
    sizes = {row["size"]: row["lesions"] for row in held["froc"]["by_size"]}
    labels = [row["label"] for row in held["slide_scores"]]
    assert len(labels) >= SLIDES
    assert sum(count for size, count in sizes.items() if size != "itc") >= LESIONS
    assert held["auc"]["estimate"] >= LEAST_AUC
    assert held["froc"]["score"] >= LEAST_FROC
    assert sum(told["seconds"].values()) < 60 * MINUTES["small"]


@pytest.mark.slow
def test_medium(tmp_path):
    told = run(tmp_path, "medium", 0)
    assert told["evaluation"]["froc"]["score"] >= 0.80
    assert sum(told["seconds"].values()) < 60 * MINUTES["medium"]
