"""Policies for whole slides, and the views that they make."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from fastwsi import kernels
from fastwsi.augment import AugmentedView, ChuangAugment, ImageReader, PinckaersAugment, generator
from fastwsi.augment.elastic import elastic_field
from fastwsi.augment.whole_slides import inverse_map
from fastwsi.kernels import PatchParams
from kernels.arrays import tissue
from reference.augment import colour_steps

SLIDE = tissue(np.random.default_rng(0), (170, 230))
CHUANG = ChuangAugment(size=300, translation=7)
PINCKAERS = PinckaersAugment(size=256, elastic_alpha=60, elastic_sigma=20, elastic_spacing=8)
POLICIES = [CHUANG, PINCKAERS]


class Reader:
    """Reads rectangles of an array, and keeps count."""

    def __init__(self, array):
        self.array, self.pixels, self.largest = array, 0, 0

    @property
    def size(self):
        return self.array.shape[1], self.array.shape[0]

    def read(self, x, y, width, height):
        assert x >= 0
        assert y >= 0
        assert x + width <= self.size[0]
        assert y + height <= self.size[1]
        self.pixels += width * height
        self.largest = max(self.largest, width * height)
        return self.array[y : y + height, x : x + width]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
@pytest.mark.parametrize("seed", range(4))
def test_bands_of_an_array_or_of_a_reader_are_the_whole(policy, seed):
    view = policy.view(SLIDE, generator(seed))
    whole = view.rows(0, policy.size)
    assert view.shape == whole.shape == (policy.size, policy.size, 3)
    reader = Reader(SLIDE)
    assert isinstance(reader, ImageReader)
    seen = policy.view(reader, generator(seed))
    cuts = [0, 1, 64, 65, 200, policy.size]
    for first, end in pairwise(cuts):
        np.testing.assert_array_equal(view.rows(first, end), whole[first:end])
        np.testing.assert_array_equal(seen.rows(first, end), whole[first:end])
    floats = view.rows(0, policy.size, dtype="float32", layout="CHW")
    np.testing.assert_array_equal(seen.rows(0, policy.size, dtype="float32", layout="CHW"), floats)
    back = np.moveaxis(floats, 0, -1) * policy.std + policy.mean
    assert np.abs(back * 255 - whole).max() < 0.5001
    out = np.empty((3, 10, policy.size), np.float32)
    assert seen.rows(30, 40, dtype="float32", layout="CHW", out=out) is out
    np.testing.assert_array_equal(out, floats[:, 30:40])


def test_torch_slides_give_torch_rows():
    view = PINCKAERS.view(torch.from_numpy(SLIDE), generator(0))
    rows = view.rows(0, 256)
    assert isinstance(rows, torch.Tensor)
    np.testing.assert_array_equal(rows.numpy(), PINCKAERS.view(SLIDE, generator(0)).rows(0, 256))
    chuang = CHUANG.view(torch.from_numpy(SLIDE), generator(0)).rows(0, 30)
    np.testing.assert_array_equal(chuang.numpy(), CHUANG.view(SLIDE, generator(0)).rows(0, 30))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_labels_move_with_the_pixels(policy):
    labels = (np.indices((17, 23)).sum(axis=0) % 3).repeat(10, axis=0).repeat(10, axis=1).astype(np.uint8)
    plain = replace(
        policy,
        **(
            {"contrast": (1, 1), "brightness": (1, 1), "hue": 0, "saturation": 0}
            if policy is CHUANG
            else {"lightness": (1, 1), "chroma": (1, 1), "hue": (1, 1)}
        ),
    )
    slide = np.stack([labels * 100] * 3, axis=-1)
    view = plain.view(slide, generator(4))
    rows, moved = view.rows(0, policy.size)[..., 0], view.labels(labels, 0, policy.size, fill=9)
    np.testing.assert_array_equal(view.labels(Reader(labels), 0, policy.size, fill=9), moved)
    sharp = np.isin(rows, (0, 100, 200, 255))
    assert sharp.mean() > 0.6
    expected = np.where(rows == 255, 9, rows // 100)
    assert (expected == moved)[sharp].mean() > 0.99  # a mixture may look like a label now and then


def test_chuangs_colours_are_the_papers_steps_in_its_order():
    """Contrast about the padded slide's mean, then brightness, then hue and saturation together."""
    view = CHUANG.view(SLIDE, generator(11))
    still = replace(view, colour=PatchParams()).rows(0, 300, dtype="float32") * view.std + view.mean
    mean = still.mean(axis=(0, 1))
    np.testing.assert_allclose(view.contrast_mean, mean, atol=1e-6)
    x = (still - mean) * view.colour.contrast + mean
    x = x * view.colour.brightness_mul
    spread = np.ptp(x, axis=-1)
    x = colour_steps(
        x, np.arange(90000).reshape(300, 300), hue=view.colour.hue, saturation_add=view.colour.saturation_add
    )
    found = view.rows(0, 300, dtype="float32") * view.std + view.mean
    clear = (spread > 1e-2) | (view.colour.saturation_add <= 0)
    assert clear.mean() > 0.2
    assert np.abs(found - np.clip(x, 0, 1))[clear].max() < 3e-5


def test_chuang_draws_what_the_paper_says():
    policy = ChuangAugment()
    source = generator(0)
    slide = np.zeros((20, 30, 3), np.uint8)
    views = [policy.view(slide, source) for _ in range(2000)]
    for name, low, high in (
        ("contrast", 0.5, 1.5),
        ("brightness_mul", 0.65, 1.35),
        ("hue", -32 / 255, 32 / 255),
        ("saturation_add", -32, 32),
    ):
        values = np.array([getattr(view.colour, name) for view in views])
        assert low <= values.min() < low + 0.01 * (high - low), name
        assert high - 0.01 * (high - low) < values.max() <= high, name
    linear = np.array([view.matrix for view in views])[:, :, :2]
    np.testing.assert_allclose(np.abs(np.linalg.det(linear)), 1, atol=1e-12)
    mirrored = np.linalg.det(linear) < 0
    assert 0.45 < mirrored.mean() < 0.55
    angles = np.arctan2(linear[:, 1, 0], linear[:, 1, 1])
    assert np.abs(np.histogram(angles, 8)[0] / 2000 - 1 / 8).max() < 0.03
    # Where the middle of the slide comes to lie in the view: at most 500 pixels off the middle.
    matrices = np.array([view.matrix for view in views])
    at = np.linalg.solve(matrices[:, :, :2], np.array([14.5, 9.5])[:, None] - matrices[:, :, 2:])[..., 0]
    shift = at - (21500 - 1) / 2
    assert (np.abs(shift).max(axis=0) > 490).all()
    assert np.abs(shift).max() <= 501
    assert abs(np.corrcoef(shift.T)[0, 1]) < 0.1


def test_shift_moves_right_and_down_and_angles_turn_counter_clockwise():
    image = np.zeros((40, 60), np.uint8)
    image[10, 50] = 1  # right of the middle, above it

    def place(**how):
        matrix = inverse_map((60, 40), (80, 80), **{"angle": 0, "flip": False, "shift": (0, 0), **how})
        (y,), (x,) = np.nonzero(kernels.warp(image, matrix, size=(80, 80), order=0, fill=0))
        return x, y

    assert place() == (10 + 50, 20 + 10)
    assert place(shift=(5, -3)) == (65, 27)
    assert place(flip=True) == (79 - 60, 30)
    turned = place(angle=90)
    assert turned == (30, 79 - 60), "what was right is above"
    assert place(angle=180) == (79 - 60, 79 - 30)
    assert place(angle=270) == (79 - 30, 60)
    assert place(angle=90, flip=True) == (30, 60), "flipped first, then turned"


@pytest.mark.parametrize("angle", [0, 90, 180, 270, 360, -90])
def test_quarter_turns_move_pixels_onto_pixels(angle):
    matrix = inverse_map((60, 40), (80, 80), angle=angle, flip=False, shift=(0, 0))
    padded = np.full((80, 80, 3), 255, np.uint8)
    padded[20:60, 10:70] = SLIDE[:40, :60]
    found = kernels.warp(np.ascontiguousarray(SLIDE[:40, :60]), matrix, size=(80, 80))
    np.testing.assert_array_equal(found, np.rot90(padded, angle // 90))


def test_large_biopsies_are_cropped_at_random_and_at_the_centre():
    policy = PinckaersAugment(
        size=64, elastic_alpha=0, rotation=(0, 0), flip=False, lightness=(1, 1), chroma=(1, 1), hue=(1, 1)
    )
    assert policy.view(SLIDE, generator(0)).displacement is None
    centre = replace(policy, crop=False).view(SLIDE, generator(0)).rows(0, 64)
    np.testing.assert_array_equal(centre, SLIDE[53 : 53 + 64, 83 : 83 + 64])
    offsets = np.array([np.array(policy.view(SLIDE, generator(i)).matrix)[:, 2] for i in range(300)])
    assert offsets.min() >= 0
    assert (offsets.max(axis=0) <= (230 - 64, 170 - 64)).all()
    assert (np.ptp(offsets, axis=0) > (150, 95)).all()


def test_crops_of_turned_biopsies_show_the_biopsy():
    """A long biopsy, on its side in the view: no crop may slide off it."""
    biopsy = np.full((150, 900, 3), 100, np.uint8)
    policy = PinckaersAugment(
        size=128, elastic_alpha=0, rotation=(90, 90), lightness=(1, 1), chroma=(1, 1), hue=(1, 1)
    )
    middles = []
    for seed in range(20):
        view = policy.view(biopsy, generator(seed))
        assert (view.rows(0, 128) == 100).mean() > 0.95
        middles.append((np.array(view.matrix) @ [63.5, 63.5, 1])[0])
    assert np.ptp(middles) > 500


def test_pinckaers_draws_every_factor_turn_and_flip():
    policy = PinckaersAugment(size=64, elastic_alpha=0)
    views = [policy.view(SLIDE, generator(i)) for i in range(400)]
    factors = np.array([view.colour.lch_mul for view in views])
    assert (factors.min(axis=0) < 0.955).all()
    assert (factors.max(axis=0) > 1.045).all()
    assert (np.abs(np.corrcoef(factors.T) - np.eye(3)) < 0.15).all()
    linear = np.array([view.matrix for view in views])[:, :, :2]
    assert 0.4 < (np.linalg.det(linear) < 0).mean() < 0.6
    angles = np.arctan2(linear[:, 1, 0], linear[:, 1, 1])
    assert np.histogram(angles, 4, (-np.pi, np.pi))[0].min() > 60


def test_the_mean_is_that_of_the_pixels_after_lch():
    colour = PatchParams(contrast=0.5, contrast_first=True, lch_mul=(0.8, 1.2, 1))
    view = AugmentedView(SLIDE, (230, 170), ((1, 0, 0), (0, 1, 0)), colour=colour)
    whole = kernels.augment_patches(SLIDE[None], PatchParams(lch_mul=(0.8, 1.2, 1)), layout="NHWC")[0]
    np.testing.assert_allclose(view.contrast_mean, whole.mean(axis=(0, 1), dtype=float), atol=2e-5)


def test_elastic_fields_do_not_depend_on_threads_of_other_libraries():
    """A whole process each, as such libraries read their settings once."""
    code = (
        "import hashlib; from fastwsi.augment import generator;"
        "from fastwsi.augment.elastic import elastic_field;"
        "field = elastic_field(generator(0), (9000, 8000), alpha=1000, sigma=150, spacing=16);"
        "print(hashlib.sha256(field.tobytes()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OPENBLAS_NUM_THREADS": n, "OMP_NUM_THREADS": n, "MKL_NUM_THREADS": n},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for n in ("1", "2")
    }
    assert len(found) == 1


def test_readers_and_arrays_answer_alike():
    array, reader = PINCKAERS.view(SLIDE, generator(1)), PINCKAERS.view(Reader(SLIDE), generator(1))
    for view in (array, reader):
        assert view.rows(5, 5).shape == (0, 256, 3)
        out = np.empty((20, 256, 3), np.float32)
        assert view.rows(40, 60, out=out) is out
        np.testing.assert_array_equal(out, array.rows(40, 60, dtype="float32"))
        np.testing.assert_array_equal(view.rows(0, 9, dtype=np.uint8), array.rows(0, 9))
        with pytest.raises(ValueError, match="out: got shape"):
            view.rows(0, 9, out=np.empty((9, 300, 3), np.uint8))
        with pytest.raises(ValueError, match="source: got labels of 230 x 169 pixels, expected 230 x 170"):
            view.labels(np.zeros((169, 230), np.uint8), 0, 9)


def test_readers_are_never_asked_for_nothing():
    class Strict(Reader):
        def read(self, x, y, width, height):
            assert width > 0
            assert height > 0
            return super().read(x, y, width, height)

    view = ChuangAugment(size=2000, translation=0).view(Strict(SLIDE), generator(0))
    plain = replace(view, colour=PatchParams())
    assert (plain.rows(0, 200) == 255).all()
    np.testing.assert_array_equal(plain.rows(900, 1000), replace(plain, source=SLIDE).rows(900, 1000))


def test_elastic_fields_have_the_amplitude_and_reach_asked_for():
    field = elastic_field(generator(0), (4000, 3000), alpha=1000, sigma=150, spacing=16)
    assert field.shape == (189, 251, 2)
    # White noise of variance 1/3 after a Gaussian of s nodes: standard deviation alpha / (s sqrt(12 pi)).
    expected = 1000 / (150 / 16 * np.sqrt(12 * np.pi))
    assert 0.8 * expected < field.std() < 1.2 * expected
    near = np.mean(field[:, 1:] * field[:, :-1]) / np.mean(field**2)
    far = np.mean(field[:, 60:] * field[:, :-60]) / np.mean(field**2)
    assert near > 0.99
    assert abs(far) < 0.25
    np.testing.assert_array_equal(
        field, elastic_field(generator(0), (4000, 3000), alpha=1000, sigma=150, spacing=16)
    )


def test_bands_of_a_huge_view_touch_only_what_they_need():
    """21,500 pixels square without ever existing: a band reads little more than its own area."""
    reader = Reader(np.broadcast_to(SLIDE[:1, :1], (18000, 21000, 3)))
    view = replace(ChuangAugment().view(reader, generator(3)), colour=PatchParams())
    band = view.rows(10_000, 10_064)
    assert band.shape == (64, 21500, 3)
    assert reader.pixels < 8 * 64 * 21500
    assert reader.largest < 600 * 600


def test_contact_sheets(tmp_path):
    for policy in (ChuangAugment(), PinckaersAugment()):
        path = tmp_path / f"{type(policy).__name__}.png"
        sheet = policy.contact_sheet(path, rows=2, columns=2, side=100)
        assert sheet.shape == (212, 212, 3)
        assert path.read_bytes().startswith(b"\x89PNG")
        assert len({sheet[4:104, 4:104].tobytes(), sheet[4:104, 108:208].tobytes()}) == 2


def test_what_is_wrong_is_said():
    with pytest.raises(TypeError, match="source: got ndarray, expected a uint8 array"):
        CHUANG.view(SLIDE[..., 0], generator(0))
    with pytest.raises(ValueError, match=r"rows: got \(290, 301\), expected"):
        CHUANG.view(SLIDE, generator(0)).rows(290, 301)
    late = AugmentedView(SLIDE, (10, 10), ((1, 0, 0), (0, 1, 0)), colour=PatchParams(contrast=0.5))
    with pytest.raises(ValueError, match="expected contrast_first=True or a mean"):
        late.rows(0, 10)
    with pytest.raises(ValueError, match="size: got 0, expected"):
        ChuangAugment(size=0)
    with pytest.raises(ValueError, match="rotation: got"):
        PinckaersAugment(rotation=(10, 0))
