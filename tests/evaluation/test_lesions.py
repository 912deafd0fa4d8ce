"""Lesions of masks: Camelyon16's, number for number, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastwsi.evaluation import label_lesions
from reference import froc as reference

MPP = 0.243 * 32


def disk(shape, x, y, radius):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def same_as_the_script(mask, mpp):
    found = label_lesions(mask, mpp=mpp)
    wanted = reference.lesion_mask(mask, mpp)
    np.testing.assert_array_equal(found.labels, wanted)
    assert (np.flatnonzero(found.itc) + 1).tolist() == reference.isolated(wanted, mpp)
    return found


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    mpp=st.sampled_from([MPP, 0.2275 * 32, 0.25 * 64, 3.0, 1.5, 40.0, 100.0]),
    kind=st.sampled_from(["specks", "disks", "rings", "noise", "edges"]),
)
def test_any_mask_is_labelled_as_the_script_does(seed, size, mpp, kind):
    rng = np.random.default_rng(seed)
    height, width = size
    mask = np.zeros(size, bool)
    for _ in range(rng.integers(1, 7)):
        x, y, radius = rng.integers(0, width), rng.integers(0, height), rng.integers(0, 25)
        if kind == "specks":
            mask[y, x] = True
        elif kind == "noise":
            mask |= rng.random(size) < 0.002
        elif kind == "edges":
            mask[:, min(x, width - 1)] = True
            mask[y, : rng.integers(0, width + 1)] = True
        else:
            mask |= disk(size, x, y, radius)
            if kind == "rings":
                mask &= ~disk(size, x, y, radius - 3)
    same_as_the_script(mask, mpp)


def test_a_lesion_in_the_hole_of_another_is_part_of_it():
    shape = (400, 400)
    mask = disk(shape, 200, 200, 150) & ~disk(shape, 200, 200, 140)
    mask |= disk(shape, 200, 200, 20)
    assert len(same_as_the_script(mask, MPP)) == 1


def test_a_lesion_in_the_bend_of_another_is_its_own():
    shape = (400, 400)
    ring = disk(shape, 200, 200, 150) & ~disk(shape, 200, 200, 140)
    ring[180:220, 300:] = False
    found = same_as_the_script(ring | disk(shape, 200, 200, 20), MPP)
    assert len(found) == 2


def longest(mask):
    """Between corners of pixels, by trying all pairs."""
    y, x = np.nonzero(mask)
    corners = np.concatenate([np.stack([y + dy, x + dx], 1) for dy in (0, 1) for dx in (0, 1)])
    return np.sqrt(((corners[:, None] - corners[None]) ** 2).sum(2).max())


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_lengths_are_of_the_tumour_itself(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((60, 60), bool)
    for _ in range(4):
        mask |= disk(mask.shape, rng.integers(60), rng.integers(60), rng.integers(0, 9))
    found = label_lesions(mask)
    wanted = [longest(mask & (found.labels == i + 1)) * MPP for i in range(len(found))]
    assert found.lengths == pytest.approx(np.array(wanted), rel=2e-4)


def test_a_long_thin_lesion_is_what_it_measures():
    """4 √λ₁ of a bar is longer than the bar: it does not decide what is macro."""
    for pixels, size in ((250, "micro"), (260, "macro")):  # 1.94 and 2.02 mm
        mask = np.zeros((40, 400), bool)
        mask[20:23, 20 : 20 + pixels] = True
        assert label_lesions(mask).size_classes == (size,)


def test_a_mask_full_of_tumour():
    """Runs of pixels, not pixels, are what costs."""
    found = same_as_the_script(np.ones((300, 200), bool), MPP)
    assert len(found) == 1
    assert found.areas[0] == 60_000 * MPP**2


def test_what_is_nearer_than_75_micrometres_is_one():
    """Level 5: up to 4 pixels on each side, dx² + dy² ≤ 23."""
    for gap, lesions in ((8, 1), (9, 2)):
        mask = np.zeros((60, 60), bool)
        mask[30, 20] = mask[30, 20 + gap + 1] = True
        assert len(same_as_the_script(mask, MPP)) == lesions
    dot = np.zeros((21, 21), bool)
    dot[10, 10] = True
    rows, columns = np.mgrid[-10:11, -10:11]
    np.testing.assert_array_equal(label_lesions(dot).labels > 0, columns**2 + rows**2 <= 23)


def test_sizes_by_hand():
    """A bar of n pixels grows by 4 at each end; its class is of its own length."""
    for length, wanted in ((10, "itc"), (60, "micro"), (300, "macro")):
        mask = np.zeros((40, 400), bool)
        mask[20, 20 : 20 + length] = True
        found = label_lesions(mask)
        assert found.size_classes == (wanted,)
        assert found.itc.tolist() == [wanted == "itc"]
        assert found.areas[0] == (found.labels > 0).sum() * MPP**2
        # 4 √λ₁ of a bar is 2/√3 of its length; rounded ends take a little.
        assert found.major_axes[0] == pytest.approx(2 / np.sqrt(3) * (length + 8) * MPP, rel=0.12)


@pytest.mark.parametrize("one", [True, 1, 255, 1.0])
def test_kinds_of_masks(one):
    mask = np.zeros((30, 40), type(one))
    mask[5:9, 5:9] = one
    assert len(label_lesions(mask)) == 1
    assert len(label_lesions(np.zeros_like(mask))) == 0


def test_no_lesions():
    for mask in (np.zeros((50, 50), bool), np.zeros((0, 7), bool)):
        found = label_lesions(mask)
        assert len(found) == 0
        assert found.rows() == []
        assert not found.labels.any()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.array([[0, 2]]), "mask: got the values 0, 2, expected only 0 and 1, or only 0 and 255"),
        (np.array([[0, 1, 255]]), "mask: got the values 0, 1, 255"),
        (np.array([[-1, 1]]), "mask: got the values -1, 1"),
        (np.array([[np.nan, 1]]), "mask: got the values"),
        (np.zeros((2, 2, 3)), r"mask: got shape \(2, 2, 3\), expected \(height, width\)"),
    ],
)
def test_other_masks_are_refused(mask, message):
    with pytest.raises(ValueError, match=message):
        label_lesions(mask)


def test_arguments():
    mask = np.zeros((5, 5), bool)
    with pytest.raises(TypeError, match="mask: got <U1"):
        label_lesions(np.array([["a"]]))
    for name in ("mpp", "downsample"):
        with pytest.raises(ValueError, match=f"{name}: got 0, expected more than 0"):
            label_lesions(mask, **{name: 0})


def test_printed_and_saved(tmp_path):
    found = label_lesions(disk((100, 100), 50, 50, 30))
    assert repr(found) == "<Lesions 1 lesions, 0 of them ITC, on 100 x 100 pixels>"
    found.save(tmp_path / "lesions.csv")
    header, row = (tmp_path / "lesions.csv").read_text().splitlines()
    assert header == "label,size,length_um,grown_area_um2,grown_major_axis_um"
    assert row.startswith("1,micro,")
    assert found.to_dict()["lesions"][0]["label"] == 1
