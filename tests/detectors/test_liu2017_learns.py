"""That a small network learns to tell drawn tumour from drawn lymph node, by more than colour."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fastwsi import data
from fastwsi.detectors import Liu2017
from fastwsi.evaluation import roc_auc_score
from fastwsi.slides import SyntheticSet, write_camelyon16

LEAST, MOST_BY_COLOUR, SECONDS = 0.95, 0.70, 300
TESTED = 768


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning")
@pytest.mark.parametrize("seed", [0, 1])
def test_patches_of_slides_that_were_not_seen(tmp_path, seed):
    linear = pytest.importorskip("sklearn.linear_model")
    write_camelyon16(tmp_path / "slides", SyntheticSet(14, 0, (4096, 3072), 0.5, 100 + seed))
    found = data.camelyon16(tmp_path / "slides", validation=0.3, seed=seed)
    recipe = Liu2017.recipes["liu2017-demo"].changed({"seed": seed})
    made = Liu2017(recipe)
    began = time.perf_counter()
    made.fit(found, tmp_path / "run", accelerator="cpu", devices=1, progress=False)
    assert time.perf_counter() - began < SECONDS
    patches = [
        data.balanced_patches(
            found.of(split).records, tissue="gray", seed=seed + 50, size=recipe.patch, centre=recipe.centre,
            mpp=recipe.mpp[0],
        )
        for split in ("train", "validation")
    ]  # fmt: skip
    (seen, known), (new, labels) = (
        (np.stack([each[i].pixels for i in range(TESTED)]), [each[i].label for i in range(TESTED)])
        for each in patches
    )
    assert roc_auc_score(labels, made.score(new)) >= LEAST

    def colours(pixels):
        return np.concatenate([pixels.mean((1, 2)), pixels.std((1, 2))], 1)

    by_colour = linear.LogisticRegression(max_iter=5000).fit(colours(seen), known)
    assert roc_auc_score(labels, by_colour.predict_proba(colours(new))[:, 1]) < MOST_BY_COLOUR
