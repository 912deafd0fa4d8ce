"""Slides' heatmaps as vectors of features."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastwsi.evaluation.slide_features import slide_features

pytest.importorskip("skimage")

NAMES = (
    "area_um2", "major_axis_moment_um", "solidity", "eccentricity", "extent", "perimeter_um", "mean", "max",
)  # fmt: skip


@pytest.fixture
def heatmap():
    """20 x 30 cells: 4 x 6 of 0.75, among them 2 x 2 of 1, 1 x 5 of 0.875, and a single one of 0.5."""
    values = np.zeros((20, 30), np.float32)
    values[2:6, 3:9] = 0.75
    values[3:5, 4:6] = 1
    values[10, 10:15] = 0.875
    values[15, 2] = 0.5
    return values


class TestNames:
    def test_pfa(self, heatmap):
        found = slide_features(heatmap, mpp=10, kind="pfa")
        assert found.names == (
            "largest.major_axis_moment_um@0.5", "largest.area_um2@0.5",
            "largest.major_axis_moment_um@0.9", "largest.area_um2@0.9",
        )  # fmt: skip
        assert found.values.dtype == np.float64
        # Variances of 0 … 5 and of 0, 1.
        assert found.values == pytest.approx([40 * np.sqrt(35 / 12), 2400, 40 * np.sqrt(1 / 4), 400])

    def test_wang(self, heatmap):
        found = slide_features(heatmap, mpp=10, thresholds=[0.625], kind="wang")
        assert found.names == (
            "tumour_share@0.625", "regions@0.625",
            *(f"largest.{name}@0.625" for name in NAMES), *(f"second.{name}@0.625" for name in NAMES),
            "max", "mean",
        )  # fmt: skip
        expected = [29 / 600, 2]
        expected += [2400, 40 * np.sqrt(35 / 12), 1, np.sqrt(1 - 15 / 35), 1, 160, (20 * 0.75 + 4) / 24, 1]
        expected += [500, 40 * np.sqrt(2), 1, 1, 1, 30, 0.875, 0.875]
        expected += [1, (20 * 0.75 + 4 + 5 * 0.875 + 0.5) / 600]
        assert found.values == pytest.approx(expected)

    def test_all_holds_both(self, heatmap):
        whole = slide_features(heatmap, mpp=10)
        for kind in ("pfa", "wang"):
            part = slide_features(heatmap, mpp=10, kind=kind)
            assert set(part.names) < set(whole.names)
            assert all(part[name] == whole[name] for name in part.names)
        assert whole["largest.major_axis_feret_um@0.5"] == pytest.approx(10 * np.hypot(4, 6))
        assert (whole["largest.min@0.9"], whole["second.min@0.5"], whole["second.std@0.5"]) == (1, 0.875, 0)
        assert len(whole.names) == len(set(whole.names)) == 2 * (2 + 2 * 11) + 2

    def test_thresholds_keep_their_order_and_spelling(self, heatmap):
        found = slide_features(heatmap, mpp=1, thresholds=(0.9, 0.5, 1 / 3), kind="pfa")
        assert [name.split("@")[1] for name in found.names[::2]] == ["0.9", "0.5", "0.3333333333333333"]
        assert found.thresholds == (0.9, 0.5, 1 / 3)


class TestAbsent:
    @pytest.mark.parametrize("shape", [(0, 0), (5, 0), (6, 6)])
    @pytest.mark.parametrize("kind", ["pfa", "wang", "all"])
    def test_nothing_is_zeros(self, shape, kind, heatmap):
        found = slide_features(np.zeros(shape, np.float16), mpp=1, kind=kind)
        assert not found.values.any()
        assert found.names == slide_features(heatmap, mpp=1, kind=kind).names
        assert not slide_features(np.full(shape, np.nan), mpp=1, kind=kind).values.any()

    def test_no_second(self, heatmap):
        found = slide_features(heatmap, mpp=1)
        assert found["regions@0.9"] == 1
        assert all(found[name] == 0 for name in found.names if name.startswith("second") and "0.9" in name)
        assert found["second.area_um2@0.5"] == 5


class TestTissue:
    def test_the_rest_is_not_scanned(self, heatmap):
        tissue = np.zeros(heatmap.shape, bool)
        tissue[:8, :10] = True
        found = slide_features(heatmap, mpp=1, tissue=tissue)
        assert found["tumour_share@0.5"] == 24 / 80
        assert found["regions@0.5"] == 1
        assert found["mean"] == pytest.approx((20 * 0.75 + 4) / 80)
        unscanned = np.where(tissue, heatmap, np.nan)
        assert (slide_features(unscanned, mpp=1).values == found.values).all()
        assert not slide_features(heatmap, mpp=1, tissue=~tissue & (heatmap > 2)).values.any()

    def test_torch(self, heatmap):
        import torch

        tensor, tissue = torch.tensor(heatmap), torch.tensor(heatmap) >= 0
        expected = slide_features(heatmap, mpp=1)
        assert (slide_features(tensor, mpp=1, tissue=tissue).values == expected.values).all()
        assert slide_features(tensor.bfloat16() * 0 + 0.9, mpp=1)["tumour_share@0.9"] == 1


@settings(max_examples=40)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        elements=st.sampled_from([0.0, 0.3, 0.6, 0.95, np.nan]),
    )
)
def test_properties(heatmap):
    found = slide_features(heatmap, mpp=4)
    assert np.isfinite(found.values).all()
    assert (found.values >= 0).all()
    scanned = heatmap[~np.isnan(heatmap)].astype(np.float64)
    for level in (0.5, 0.9):
        assert found[f"tumour_share@{level}"] == pytest.approx(
            (scanned >= level).mean() if scanned.size else 0
        )
        assert found[f"largest.area_um2@{level}"] >= found[f"second.area_um2@{level}"]
        assert (found[f"regions@{level}"] >= 2) == (found[f"second.area_um2@{level}"] > 0)
    assert found["largest.area_um2@0.5"] >= found["largest.area_um2@0.9"]
    padded = np.pad(heatmap, 2, constant_values=np.nan)
    assert slide_features(padded, mpp=4).values == pytest.approx(found.values)


def test_reads_and_saves(heatmap, tmp_path):
    found = slide_features(heatmap, mpp=10, kind="pfa")
    assert repr(found) == (
        "<SlideFeatures 4 (pfa): largest.major_axis_moment_um@0.5 68.31, largest.area_um2@0.5 2400, "
        "largest.major_axis_moment_um@0.9 20, largest.area_um2@0.9 400>"
    )
    found.save(tmp_path / "features.json")
    saved = json.loads((tmp_path / "features.json").read_text())
    assert saved["values"][3] == 400
    assert saved["names"][3] == "largest.area_um2@0.9"
    header, row = found.to_csv().splitlines()
    assert header.split(",") == list(found.names)
    assert float(row.split(",")[1]) == 2400
    with pytest.raises(KeyError, match="expected one of largest"):
        found["area"]
    with pytest.raises(ValueError, match="read-only"):
        found.values[0] = 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"kind": "liu"}, ValueError, "kind: got 'liu', expected 'pfa', 'wang' or 'all'"),
        ({"thresholds": []}, ValueError, r"thresholds: got \[\], expected one at least"),
        ({"thresholds": [0.5, 0.5]}, ValueError, "each once"),
        ({"thresholds": 0.5}, TypeError, "thresholds: got 0.5, expected a sequence"),
        ({"thresholds": ["0.5"]}, TypeError, "threshold: got '0.5'"),
        (
            {"tissue": np.ones((2, 2), bool)},
            ValueError,
            r"tissue: got shape \(2, 2\), expected .* \(20, 30\)",
        ),
        ({"tissue": np.ones((20, 30))}, TypeError, "tissue: got dtype float64, expected bool"),
        ({"mpp": -1}, ValueError, "mpp: got -1"),
        ({"heatmap": np.full((2, 2), -np.inf)}, ValueError, "heatmap: got -inf"),
        ({"heatmap": np.zeros((2, 2, 2))}, ValueError, "heatmap: got shape"),
    ],
)
def test_errors(heatmap, change, error, message):
    arguments = {"heatmap": heatmap, "mpp": 1.0} | change
    with pytest.raises(error, match=message):
        slide_features(arguments.pop("heatmap"), **arguments)
