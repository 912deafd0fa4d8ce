"""Scanning equals the slow way, patch by patch, whatever the resolution, the tissue and the batches."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import fastwsi
from engine.scanned import RECIPE, assert_near, detector, lively, slowly
from fastwsi.detectors import Ensemble, Liu2017
from fastwsi.engine import SlideResult, scan
from fastwsi.kernels import hsd_moments
from fastwsi.slides import TissueMask, write_slide
from fastwsi.stain import HsdNormalizer
from reference.orient import orient
from slides.pyramids import picture

IMAGE = picture(403, 301)


@pytest.fixture(scope="module")
def levels(tmp_path_factory):
    """A file with levels of 0.5, 1 and 2 µm, of odd sizes."""
    path = tmp_path_factory.mktemp("slides") / "odd.tif"
    write_slide(path, picture(1203, 901), mpp=0.5)
    return path


def sparse(slide, seed=0):
    """Crumbs of tissue far from each other."""
    mask = np.random.default_rng(seed).random((31, 41)) < 0.02
    return TissueMask.of(slide, mask)


def dense(slide):
    mask = np.ones((31, 41), bool)
    mask[:9, :13] = mask[20:, 35:] = False
    return TissueMask.of(slide, mask)


class TestIsTheSlowWay:
    @pytest.mark.parametrize("mpp", [[], [0.37], [0.74], [1.11], [1.0], [0.2]], ids=str)
    @pytest.mark.parametrize("stride", [25, 17, 40, 90])
    def test_at_any_resolution(self, mpp, stride):
        """Level 0, its own resolution, multiples of it, an awkward ratio, and finer than there is."""
        slide, model = fastwsi.open_slide(IMAGE, mpp=0.37), detector(mpp=mpp)
        if mpp == [0.2]:
            slide = fastwsi.open_slide(IMAGE[:150, :201], mpp=0.37)
        found = scan(model, slide, stride=stride)
        assert_near(found.heatmap, slowly([model], slide, stride=stride))
        scale = (mpp[0] if mpp else 0.37) / 0.37 * stride
        assert found.scale == pytest.approx((scale, scale))
        assert found.patches == found.heatmap.size

    @pytest.mark.parametrize(
        "mpp", [[], [1.0], [2.0], [1.3], [0.5, 2.0], [1.0, 2.0], [1.0, 2.7, 3.0]], ids=str
    )
    @pytest.mark.parametrize("tissue", [sparse, dense])
    def test_on_a_file_with_levels(self, levels, mpp, tissue):
        model = detector(mpp=mpp)
        with fastwsi.open_slide(levels) as slide:
            options = {"stride": 60 if mpp in ([], [0.5, 2.0]) else 30, "tissue": tissue(slide)}
            found = scan(model, slide, **options)
            wanted = slowly([model], slide, **options)
        assert 3 < found.patches < wanted.size
        assert_near(found.heatmap, wanted)

    @pytest.mark.parametrize("least", [0.3, 1.0])
    def test_with_enough_tissue(self, least):
        slide, model = fastwsi.open_slide(IMAGE, mpp=0.5), detector()
        options = {"tissue": dense(slide), "min_tissue": least, "stride": 45}
        assert_near(scan(model, slide, **options).heatmap, slowly([model], slide, **options))

    @pytest.mark.parametrize("mpp", [[], [0.5, 1.1]], ids=str)
    def test_of_all_orientations(self, mpp):
        slide, model = fastwsi.open_slide(IMAGE, mpp=0.5), detector(mpp=mpp)
        turned = scan(model, slide, stride=50, orientations=True).heatmap
        assert_near(turned, slowly([model], slide, stride=50, orientations=True))
        assert np.abs(turned - scan(model, slide, stride=50).heatmap).max() > 1e-3
        own = detector(**{"mpp": mpp, "scan.orientations": True})
        np.testing.assert_array_equal(scan(own, slide, stride=50).heatmap, turned)

    def test_of_an_ensemble(self):
        slide, members = fastwsi.open_slide(IMAGE), [detector(seed) for seed in range(3)]
        found = scan(Ensemble(members), slide, orientations=True, stride=60).heatmap
        assert_near(found, slowly(members, slide, orientations=True, stride=60))
        assert np.abs(found - scan(members[0], slide, orientations=True, stride=60).heatmap).max() > 1e-3

    @pytest.mark.parametrize("mpp", [[], [1.0, 2.0]], ids=str)
    def test_with_stains_normalised(self, levels, mpp):
        model = detector(mpp=mpp, hsd=True)
        colours = HsdNormalizer(hsd_moments(picture(200, 200, seed=4)[::-1] // 2 + 60))
        model.stain = colours
        with fastwsi.open_slide(levels) as slide:
            plain = slowly([model], slide, stride=80, tissue=sparse(slide))
            own = model.colours(slide)
            found = scan(model, slide, stride=80, tissue=sparse(slide)).heatmap
            assert_near(found, slowly([model], slide, stride=80, tissue=sparse(slide), colours=own))
        assert np.nanmax(np.abs(found - plain)) > 1e-3

    def test_with_inception(self):
        torch.manual_seed(1)
        model = lively(Liu2017(RECIPE.changed({"mpp": [1.0]})))
        slide = fastwsi.open_slide(IMAGE, mpp=0.5)
        found = scan(model, slide, stride=41, orientations=True).heatmap
        assert_near(found, slowly([model], slide, stride=41, orientations=True))


@pytest.mark.parametrize("mpp", [[], [1.0, 2.2]], ids=str)
def test_batches_and_readers_change_nothing(levels, mpp):
    model = detector(mpp=mpp)
    with fastwsi.open_slide(levels) as slide:
        tissue = sparse(slide, seed=1)
        wanted = scan(model, slide, tissue=tissue, batch_size=32, readers=1).heatmap
        assert np.isfinite(wanted).sum() > 40
        for readers in (2, 5):
            found = scan(model, slide, tissue=tissue, batch_size=32, readers=readers).heatmap
            np.testing.assert_array_equal(found, wanted)
        for size in (1, 7, 1000):
            found = scan(model, slide, tissue=tissue, batch_size=size, readers=2).heatmap
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def test_progress_is_told():
    slide, seen = fastwsi.open_slide(IMAGE), []
    found = scan(detector(), slide, batch_size=50, progress=lambda *each: seen.append(each))
    assert seen == [(50, 221), (100, 221), (150, 221), (200, 221), (221, 221)]
    told = re.fullmatch(
        r"221 patches in [\d.]+ s, [\d,]+ a second; reader \d+%, host \d+%, device \d+%; "
        r"waited for the reader \d+%",
        str(found),
    )
    assert told, str(found)
    assert 0 < found.device < 1
    assert 0 < found.reader < 1
    assert 0 < found.waited < 1


class TestTurnedSlides:
    """Patches whose margin is even: a flipped cell's patch is the flipped patch, not one pixel beside it."""

    @pytest.mark.parametrize(("mpp", "shape"), [([], (150, 225)), ([1.5], (300, 450))], ids=str)
    def test_the_turned_slides_heatmap_is_the_heatmap_turned(self, mpp, shape):
        image, model = picture(*shape[::-1], seed=2), detector(mpp=mpp)
        options = {"stride": 25, "orientations": True}
        wanted = scan(model, fastwsi.open_slide(image, mpp=0.5), **options).heatmap
        apart = []
        for turn in range(1, 8):
            slide = fastwsi.open_slide(np.ascontiguousarray(orient(image, turn, (0, 1))), mpp=0.5)
            assert_near(scan(model, slide, **options).heatmap, orient(wanted, turn, (0, 1)))
            alone = scan(model, slide, stride=25, orientations=False).heatmap
            apart.append(np.abs(alone - orient(wanted, turn, (0, 1))).max())
        assert min(apart) > 1e-3


class TestLittleToScan:
    def test_no_tissue(self, levels):
        with fastwsi.open_slide(levels) as slide:
            none = TissueMask.of(slide, np.zeros((9, 12), bool))
            seen = []
            found = scan(detector(), slide, tissue=none, progress=lambda *each: seen.append(each))
            assert (found.heatmap.shape, found.patches, seen) == ((37, 49), 0, [])
            assert np.isnan(found.heatmap).all()
            assert str(found).startswith("0 patches")
            result = SlideResult.of(
                found.heatmap, name="none", scale=found.scale, slide_size=slide.dimensions, radius=1,
                threshold=0.5,
            )  # fmt: skip
        assert (result.score, len(result.detections)) == (0.0, 0)

    @pytest.mark.parametrize("size", [(40, 30), (1, 1), (200, 10)])
    def test_a_slide_smaller_than_a_patch(self, size):
        slide, model = fastwsi.open_slide(picture(*size), mpp=0.5), detector(mpp=[1.0, 2.0])
        found = scan(model, slide)
        assert found.heatmap.shape == (-(-size[1] // 50), -(-size[0] // 50))
        np.testing.assert_allclose(found.heatmap, slowly([model], slide), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 0}, "stride: got 0"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"readers": 0}, "readers: got 0"),
        ({"min_tissue": 2}, "min_tissue: got 2, expected 0 to 1"),
        ({"device": "tpu"}, "device: got 'tpu', expected auto, cpu, cuda or cuda:1"),
        ({"device": "meta"}, "device: got 'meta'"),
        ({"device": "cuda:99"}, r"device: got 'cuda:99', and torch sees \d+ GPUs here"),
        ({"precision": "8"}, "precision: got '8', expected one of auto, 32, bf16, 16"),
        ({"precision": "16"}, "precision: got '16' on a CPU"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        scan(detector(), fastwsi.open_slide(IMAGE), **{"device": "cpu", **options})


def test_half_precision_is_near():
    slide, model = fastwsi.open_slide(IMAGE), detector()
    exact = scan(model, slide, stride=60, device="cpu").heatmap
    half = scan(model, slide, stride=60, device="cpu", precision="bf16").heatmap
    assert 0 < np.abs(half - exact).max() < 0.02


def test_a_slide_without_resolution():
    with pytest.raises(fastwsi.SlideError, match="no resolution"):
        scan(detector(mpp=[1.0]), fastwsi.open_slide(IMAGE))
