"""Tissue told from glass, ink and black borders."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import fastwsi
from fastwsi.slides import TissueMask, tissue_mask
from fastwsi.slides.synthetic.tissues import Tissue
from fastwsi.slides.tissue_colours import hue, otsu, saturation
from slides.pyramids import write

METHODS = ("hsv_otsu", "otsu", "gray")
PINK, PURPLE, GLASS = (205, 140, 185), (120, 80, 150), (243, 242, 244)
INKS = {"green": (30, 130, 70), "blue": (35, 60, 160), "black": (25, 25, 30), "red": (200, 20, 25)}


def scene(noise=2.0, seed=0):
    """Glass with a disc of tissue around (300, 200), 200 pixels wide, purple in its middle."""
    rng = np.random.default_rng(seed)
    image = np.empty((400, 600, 3))
    image[:] = GLASS
    y, x = np.mgrid[:400, :600]
    away = np.hypot(y - 200, x - 300)
    image[away < 100] = PINK
    image[away < 50] = PURPLE
    truth = away < 100
    image += rng.normal(0, noise, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), truth


def opened(image, mpp=8):
    return fastwsi.open_slide(image, mpp=mpp)


@pytest.mark.parametrize("method", METHODS)
def test_finds_a_disc(method):
    image, truth = scene()
    found = tissue_mask(opened(image), method)
    assert found.found
    assert (found.mask != truth).mean() < 0.002
    assert found.area_mm2 == pytest.approx(np.pi * 0.8**2, rel=0.02)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ink", INKS)
def test_ink_is_no_tissue(method, ink):
    image, truth = scene()
    image[40:60, 50:550] = INKS[ink]  # 160 µm thick
    image[20:380, 520:540] = INKS[ink]
    found = tissue_mask(opened(image), method)
    assert (found.mask != truth).mean() < 0.004
    if (method, ink) != ("hsv_otsu", "black"):  # black has no saturation
        assert tissue_mask(opened(image), method, artefacts=True).mask[50, 300]


@pytest.mark.parametrize("method", METHODS)
def test_black_borders_are_no_tissue(method):
    image, truth = scene()
    image[:, :60] = 0
    image[350:] = (8, 5, 3)
    found = tissue_mask(opened(image), method)
    assert (found.mask != truth).mean() < 0.004


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_slide_is_reported(method, caplog):
    image = np.clip(np.random.default_rng(0).normal(GLASS, 2, (200, 300, 3)), 0, 255).astype(np.uint8)
    with caplog.at_level(logging.WARNING):
        found = tissue_mask(opened(image), method)
    assert not found.found
    assert found.area_mm2 == 0
    assert found.remark == f"{method} found no tissue"
    assert "found no tissue" in caplog.text
    assert "found no tissue" in repr(found)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mpp", [0.25, 8])
def test_small_blank_slides_hold_none(method, mpp):
    image = np.clip(np.random.default_rng(0).normal(GLASS, 2, (600, 800, 3)), 0, 255).astype(np.uint8)
    assert not tissue_mask(opened(image, mpp), method).found


def test_small_pieces_and_holes_go_gaps_are_closed():
    image, _ = scene()
    image[20:24, 20:24] = PINK  # 1000 µm²
    image[198:202, 300:304] = GLASS
    image[150:250, 340:342] = GLASS  # a crack of 16 µm
    found = tissue_mask(opened(image))
    assert not found.mask[22, 22]
    assert found.mask[200, 302]
    assert found.mask[200, 341]
    kept = tissue_mask(opened(image), closing=0, min_area=0)
    assert kept.mask[22, 22]
    assert not kept.mask[200, 302]
    assert not kept.mask[200, 341]


def test_closing_is_that_of_a_disc():
    rng = np.random.default_rng(0)
    seeds = rng.random((120, 150)) < 0.02
    image = np.where(seeds[..., None], PINK, GLASS).astype(np.uint8)
    found = tissue_mask(opened(image), closing=8 * 8, min_area=0)
    y, x = np.mgrid[-4:5, -4:5]
    disc = y**2 + x**2 <= 16
    before = tissue_mask(opened(image), closing=0, min_area=0).mask
    wanted = ndimage.binary_closing(np.pad(before, 10), disc)[10:-10, 10:-10]
    np.testing.assert_array_equal(found.mask, wanted)


def test_a_mask_of_ones_own(tmp_path):
    image, truth = scene()
    slide = opened(image)
    for given_mask in (truth, truth.astype(np.uint8) * 255):
        found = tissue_mask(slide, mask=given_mask)
        np.testing.assert_array_equal(found.mask, truth)
    small = truth[::4, ::4]
    found = tissue_mask(slide, mask=small)
    assert found.scale == (4, 4)
    path = write(tmp_path / "mask.tif", [truth.astype(np.uint8)], compression="lzw", tile=128)
    np.testing.assert_array_equal(tissue_mask(slide, mask=path).mask, truth)
    pictures = pytest.importorskip("PIL.Image")
    palette = pictures.fromarray(truth.astype(np.uint8), mode=None).convert("P")
    palette.putpalette([0, 0, 0, 0, 0, 0] + [255] * 762)  # whose colours say nothing
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(tissue_mask(slide, mask=tmp_path / "palette.png").mask, truth)
    with pytest.raises(TypeError, match="mask: got shape"):
        tissue_mask(slide, mask=np.zeros((3, 3, 3)))


@given(st.integers(-50, 650), st.integers(-50, 450), st.integers(1, 300), st.integers(1, 300))
def test_fractions_are_areas(x, y, width, height):
    _, truth = scene()
    mask = TissueMask(truth[::2, ::2], (2.0, 2.0), None)
    whole = np.zeros((1000, 1200), bool)
    whole[100:500, 100:700] = np.kron(truth[::2, ::2], np.ones((2, 2), bool))
    wanted = whole[y + 100 : y + 100 + height, x + 100 : x + 100 + width].mean()
    assert mask.fraction((x, y), (width, height)) == pytest.approx(wanted, abs=1e-9)


def test_errors():
    slide = opened(scene()[0])
    with pytest.raises(ValueError, match="method: got 'magic', expected one of hsv_otsu, otsu, gray"):
        tissue_mask(slide, "magic")
    with pytest.raises(ValueError, match="expected one that leaves at most 64 megapixels"):
        tissue_mask(slide, mpp=0.01)
    with pytest.raises(fastwsi.SlideError, match="no resolution"):
        tissue_mask(fastwsi.open_slide(scene()[0]))


def test_preview(tmp_path):
    slide = opened(scene()[0])
    shown = tissue_mask(slide).preview(slide, tmp_path / "tissue.png", size=300)
    assert shown.shape == (200, 300, 3)
    assert (tmp_path / "tissue.png").read_bytes()[1:4] == b"PNG"
    assert shown[5, 5].max() < 130  # glass is darkened
    assert np.abs(shown[100, 150].astype(int) - PURPLE).max() < 12


@given(st.lists(st.integers(0, 1000).map(lambda n: n / 1000), min_size=2, max_size=60))
def test_otsu_is_the_best_of_all_thresholds(values):
    array = np.array(values, np.float32)
    threshold = otsu(array)

    def between(limit):
        low, high = array[array <= limit].astype(float), array[array > limit].astype(float)
        if not len(low) or not len(high):
            return 0.0
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2

    best = max(between(limit) for limit in array)
    spread = float(array.max() - array.min())
    # 256 bins: a threshold is off by one of them at most.
    assert between(threshold) >= 0.9 * best - len(array) ** 2 * (spread / 256) ** 2


def test_colours():
    pixels = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 10, 10], [0, 0, 0]], np.uint8)[None]
    assert hue(pixels).tolist() == [[0, 120, 240, 0, 0]]
    assert saturation(pixels).tolist() == [[1, 1, 1, 0, 0]]


@pytest.mark.parametrize("seed", range(6))
def test_synthetic_slides(seed):
    """Folds, pen, bubbles and dust among them: what is found is the node, less its fat and pale sinuses."""
    slide = fastwsi.slides.synthetic_slide(seed, size=(2400, 2000), mpp=1.0)
    found = tissue_mask(fastwsi.open_slide(slide.rows(0, 2000), mpp=1.0)).mask
    classes = slide.anatomy.classes
    node = np.isin(classes, [tissue for tissue in Tissue if tissue not in (Tissue.GLASS, Tissue.FAT)])
    rows, columns = (
        np.arange(side) * whole // side for side, whole in zip(found.shape, node.shape, strict=True)
    )
    there = node[np.ix_(rows, columns)]
    assert (found & there).sum() > 0.8 * there.sum()
    assert (found & ~ndimage.binary_dilation(there, iterations=4)).mean() < 0.05
