"""What works with numpy and torch alone."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
for name in ("scipy", "skimage", "sklearn", "cv2", "shapely", "openslide", "tifffile", "typer"):
    sys.modules[name] = None
from fastwsi import evaluation as e
match = e.match_detections([(0.9, 1, 1)], None)
curve = e.froc([match, e.SlideMatch([0.5], [0.8, 0.3], 2)])
e.froc_interval([match, e.SlideMatch([0.5], [0.8, 0.3], 2)], replicates=10)
labels, scores = [0, 0, 1, 1], [0.1, 0.6, 0.4, 0.8]
print(curve.score, e.roc_auc_score(labels, scores), e.delong_interval(labels, scores).estimate)
e.bootstrap_interval(labels, scores, replicates=10), e.operating_point(labels, scores, sensitivity=1.0)
e.subgroup_auc(labels, scores, ["", "", "a", "b"]), e.binary_metrics(labels, scores)
print(e.quadratic_kappa_score([0, 1], [0, 1], labels=[0, 1]), e.pn_stage(["negative"] * 4 + ["micro"]))
"""


def test_all_but_lesions_and_shapes():
    """Those two label regions, for which scipy and scikit-image are."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.split()[1:] == ["0.75", "0.75"]
    assert second == "1.0 pN1mi"
