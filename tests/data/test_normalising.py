"""Slides with another stain: the pixels of the whole slide normalised at once, in the memory of bands."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

import fastwsi
from fastwsi.data import SlideRecord, normalize_slide, normalize_slides, stain_moments, stain_reference
from fastwsi.slides import synthetic_slide, write_slide
from fastwsi.stain import HsdNormalizer

SIZE = 900, 700


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stains")
    for seed in range(3):
        write_slide(
            folder / f"s{seed}.tif", synthetic_slide(seed, size=SIZE, mpp=1.0), mpp=(1.0, 1.02), quality=95
        )
    write_slide(folder / "glass.tif", np.full((300, 300, 3), 240, np.uint8), mpp=1.0)
    return folder


def records(folder, *names):
    return [SlideRecord(name, folder / f"{name}.tif") for name in names]


@pytest.fixture(scope="module")
def reference(folder):
    return stain_reference(records(folder, "s1", "s2"))


def pixels_of(path, **options):
    with fastwsi.open_slide(path, **options) as slide:
        return slide.read((0, 0), slide.dimensions)


class _Kept:
    """What `write_slide` is given, kept as it is: JPEG would blur the comparison."""

    def __call__(self, path, rows, **options):
        height = rows.height
        self.bands = [rows.rows(top, min(top + 256, height)) for top in range(0, height, 256)]
        self.options = options


def test_bands_are_the_whole_slide_normalised_at_once(folder, reference, tmp_path, monkeypatch):
    kept = _Kept()
    monkeypatch.setattr("fastwsi.data.normalising.write_slide", kept)
    with fastwsi.open_slide(folder / "s0.tif") as slide:
        assert normalize_slide(slide, tmp_path / "a.tif", reference) == ""
        whole = reference.for_slide(stain_moments(slide))(slide.read((0, 0), slide.dimensions))
        assert kept.options["mpp"] == slide.mpp_xy
    assert len(kept.bands) == 3
    assert np.array_equal(np.concatenate(kept.bands), whole)


def test_the_file_has_the_references_colours_and_the_slides_place(folder, reference, tmp_path):
    seen = []
    with fastwsi.open_slide(folder / "s0.tif") as slide:
        normalize_slide(
            slide, tmp_path / "a.tif", reference, quality=95, progress=lambda *at: seen.append(at)
        )
        before = stain_moments(slide)
        expected = reference.for_slide(before)(slide.read((0, 0), slide.dimensions))
    assert seen[-1] == (SIZE[1], SIZE[1])
    assert seen == sorted(seen)
    with fastwsi.open_slide(tmp_path / "a.tif") as made:
        assert made.dimensions == SIZE
        assert made.mpp_xy == pytest.approx((1.0, 1.02), rel=1e-5)
        assert len(made.levels) > 1
        after = stain_moments(made)
    assert np.abs(pixels_of(tmp_path / "a.tif").astype(int) - expected).mean() < 6  # JPEG, half its colours
    wanted = reference.reference
    gap = abs(before.density_mean - wanted.density_mean)
    assert gap > 0.03
    assert abs(after.density_mean - wanted.density_mean) < gap / 3


def test_a_slide_without_tissue_keeps_its_colours_and_says_so(folder, reference, tmp_path):
    found = normalize_slides(records(folder, "glass"), tmp_path / "glass.tif", reference)
    assert found.remarks == {"glass": "no tissue: its colours are left as they are"}
    assert np.abs(pixels_of(tmp_path / "glass.tif").astype(int) - 240).max() <= 1


def test_what_is_done_is_skipped_and_never_taken_for_another(folder, reference, tmp_path):
    out = tmp_path / "out"
    slides = records(folder, "s0", "s1")
    assert normalize_slides(slides[:1], out, reference).done == {"s0": out / "s0.tif"}
    before = (out / "s0.tif").stat().st_mtime_ns
    again = normalize_slides(slides, out, reference)
    assert (again.done, again.skipped) == ({"s1": out / "s1.tif"}, {"s0": out / "s0.tif"})
    assert (out / "s0.tif").stat().st_mtime_ns == before
    other = HsdNormalizer(stain_moments(slides[0]))
    with pytest.raises(
        ValueError, match=r"s0\.tif: is there, and of other settings.*--overwrite replaces it"
    ):
        normalize_slides(slides, out, other)
    with pytest.raises(ValueError, match="of other settings"):
        normalize_slides([SlideRecord("s0", folder / "s2.tif")], out, reference)
    bytes_of_the_first = (out / "s0.tif").read_bytes()
    assert set(normalize_slides(slides, out, other, overwrite=True).done) == {"s0", "s1"}
    assert (out / "s0.tif").read_bytes() != bytes_of_the_first
    normalize_slides(slides[:1], out, reference, overwrite=True)
    assert (out / "s0.tif").read_bytes() == bytes_of_the_first


def test_what_is_there_of_others_is_kept(folder, reference, tmp_path):
    (tmp_path / "s0.tif").write_text("mine")
    with pytest.raises(ValueError, match=r"is there, and no normalised slide of ours"):
        normalize_slides(records(folder, "s0"), tmp_path, reference)
    assert (tmp_path / "s0.tif").read_text() == "mine"


def test_a_slide_is_never_written_over(folder, reference):
    for out in (folder, folder / "s0.tif"):
        with pytest.raises(ValueError, match=r"s0\.tif is the slide itself"):
            normalize_slides(records(folder, "s0"), out, reference, overwrite=True)


def test_names_and_files_that_cannot_be(folder, reference, tmp_path):
    with pytest.raises(ValueError, match=r"out: got the file .*a\.tif for 2 slides, expected a folder"):
        normalize_slides(records(folder, "s0", "s1"), tmp_path / "a.tif", reference)
    with pytest.raises(ValueError, match="slides: two have the name s0"):
        normalize_slides(records(folder, "s0", "s0"), tmp_path, reference)


def test_a_broken_slide_stops_no_other_and_leaves_nothing(folder, reference, tmp_path):
    (tmp_path / "cut.tif").write_bytes((folder / "s0.tif").read_bytes()[:20_000])
    slides = [SlideRecord("cut", tmp_path / "cut.tif"), *records(folder, "s1")]
    found = normalize_slides(slides, tmp_path / "out", reference)
    assert set(found.done) == {"s1"}
    assert "cut.tif" in found.failed["cut"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["s1.tif"]


def test_each_slide_is_known_by_its_own_colours(folder, reference, tmp_path):
    """A reference that was saved with some slide's own colours is still only a reference."""
    foreign = reference.for_slide(stain_moments(records(folder, "s2")[0]))
    normalize_slides(records(folder, "s0"), tmp_path / "a.tif", foreign)
    normalize_slides(records(folder, "s0"), tmp_path / "b.tif", reference)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_a_resolution_that_is_given_is_the_files(folder, reference, tmp_path):
    def at(mpp):
        return [SlideRecord("s0", folder / "s0.tif", mpp=mpp)]

    normalize_slides(at(0.5), tmp_path / "a.tif", reference)
    with fastwsi.open_slide(tmp_path / "a.tif") as slide:
        assert slide.mpp == pytest.approx(0.5, rel=1e-5)
        assert json.loads(slide.properties["tiff.ImageDescription"])["mpp"] == 0.5
    assert normalize_slides(at(0.5), tmp_path / "a.tif", reference).skipped
    with pytest.raises(ValueError, match="of other settings"):
        normalize_slides(at(0.6), tmp_path / "a.tif", reference)


class _Tall:
    """A slide of many rows that are made when they are read."""

    def __init__(self, height):
        self.shape, self.dtype = (height, 1024, 3), np.dtype(np.uint8)
        self._band = np.random.default_rng(0).integers(60, 250, (64, 1024, 3), np.uint8)

    def __getitem__(self, place):
        rows, columns = place
        return self._band[np.arange(rows.start, rows.stop) % 64][:, columns]


def test_memory_does_not_grow_with_the_height(reference, tmp_path):
    peaks = []
    source = reference.for_slide(reference.reference)
    for height in (2048, 8192):
        with fastwsi.open_slide(_Tall(height), mpp=0.5) as slide:
            tracemalloc.start()
            normalize_slide(slide, tmp_path / f"{height}.tif", source, quality=10)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
    assert peaks[1] < 8192 * 1024 * 3 / 2
