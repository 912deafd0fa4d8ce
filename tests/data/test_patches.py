"""Maps of classes, draws from them, and the patches that come of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from fastwsi.data import (
    BalancedPatchSampler,
    ClassMap,
    Consecutive,
    PatchDataset,
    SlideRecord,
    class_map,
    collate,
    labels_of,
    patch_loader,
    stain_reference,
    stains_of,
)
from fastwsi.slides import Annotation, Annotations, write_asap, write_slide

GLASS, TISSUE, TUMOUR = (244, 243, 244), (200, 140, 180), (150, 100, 170)
MPP = 0.5


def slide_with(folder, name, tumours=(), label=None, holes=()):
    """1600 x 1200 pixels: tissue in the middle, squares of tumour on it, annotated."""
    rng = np.random.default_rng(len(name))
    image = np.full((1200, 1600, 3), GLASS, np.float64)
    image[200:1000, 200:1400] = TISSUE
    for x, y, side in tumours:
        image[y : y + side, x : x + side] = TUMOUR
    image = np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
    path = folder / f"{name}.tif"
    write_slide(path, image, mpp=MPP, quality=95, subsampling="4:4:4")

    def square(x, y, side):
        return np.array([(x, y), (x + side, y), (x + side, y + side), (x, y + side)], np.float64)

    shapes = [Annotation("polygon", square(*each), "_0") for each in tumours]
    shapes += [Annotation("polygon", square(*each), "_2") for each in holes]
    annotation = None
    if shapes:
        annotation = folder / f"{name}.xml"
        write_asap(annotation, Annotations(tuple(shapes)))
    return SlideRecord(name, path, label or ("tumor" if tumours else "normal"), "train", annotation)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("slides")


@pytest.fixture(scope="module")
def records(folder):
    return [
        slide_with(folder, "normal_001"),
        slide_with(folder, "tumor_001", [(400, 400, 500)], holes=[(500, 500, 100)]),
        slide_with(folder, "tumor_002", [(900, 600, 100)]),
    ]


@pytest.fixture(scope="module")
def maps(records):
    found = []
    for record in records:
        with record.open() as slide:
            found.append(class_map(record, slide, labels_of(record, slide)))
    return found


class TestMaps:
    def test_where_classes_are(self, maps):
        normal, large, small = maps
        assert (normal.columns, normal.rows) == (25, 19)  # of 64 pixels
        assert {name: len(cells) > 0 for name, cells in normal.cells.items()} == {
            "normal": True, "tumor": False, "boundary": False, "itc": False,
        }  # fmt: skip
        assert len(large.cells["tumor"]) >= (500 / 64) ** 2 - (100 / 64) ** 2
        assert len(large.cells["itc"]) == 0
        assert len(small.cells["itc"]) == len(small.cells["tumor"]) > 0  # 50 µm
        assert not set(large.cells["normal"]) & set(large.cells["tumor"])

    def test_what_is_not_annotated_everywhere_gives_no_normal_patches(self, folder):
        record = slide_with(folder, "tumor_015", [(400, 400, 500)]).with_remark("not", exhaustive=False)
        with record.open() as slide:
            found = class_map(record, slide, labels_of(record, slide))
        assert len(found.cells["normal"]) == 0
        assert len(found.cells["tumor"]) > 0

    def test_tumour_without_annotation_gives_nothing(self, folder):
        record = slide_with(folder, "test_050", label="tumor")
        with record.open() as slide:
            found = class_map(record, slide, labels_of(record, slide))
        assert not any(len(cells) for cells in found.cells.values())
        assert found.remark == "no cell of any class"

    def test_a_lesion_smaller_than_a_cell_is_not_lost(self, folder):
        record = slide_with(folder, "tumor_060", [(700, 700, 18)])
        with record.open() as slide:
            found = class_map(record, slide, labels_of(record, slide))
        assert len(found.cells["tumor"]) >= 1


def assert_even(seen, values, shares=None):
    """Each value comes as often as its share says, all alike by default, and no other comes at all."""
    counts = [seen.count(value) for value in values]
    assert sum(counts) == len(seen)
    expected = (
        len(seen) * np.full(len(values), 1 / len(values)) if shares is None else len(seen) * np.array(shares)
    )
    # The draws are the seed's, so this passes always or never; one of a thousand right seeds would not.
    chance = stats.chisquare(counts, expected).pvalue
    assert chance > 1e-3, f"chi-square: p = {chance:.2g}"


class TestSampler:
    def test_class_then_slide_then_place(self):
        """Classes alike, slides alike whatever their size, places alike within each."""
        sizes = [(900, 10), (9, 0), (90, 90)]
        maps = []
        for normal, tumour in sizes:
            cells = {"normal": np.arange(normal), "tumor": np.arange(900, 900 + tumour)}
            maps.append(ClassMap(40, 40, (10.0, 20.0), cells))
        sampler = BalancedPatchSampler(maps, seed=3)
        draws = [sampler.draw(i) for i in range(20_000)]
        assert_even([draw.stream for draw in draws], ("normal", "tumor"))
        for stream, slides in (("normal", (0, 1, 2)), ("tumor", (0, 2))):
            own = [draw for draw in draws if draw.stream == stream]
            assert_even([draw.slide for draw in own], slides)
            for slide in slides:
                places = np.array([draw.centre for draw in own if draw.slide == slide])
                cells = (places // (10, 20)) @ (1, 40)
                assert_even(cells.tolist(), maps[slide].cells[stream].tolist())
                # And within a cell, along x and along y.
                for along in (places % (10, 20) // (2, 4)).T:
                    assert_even(along.tolist(), range(5))

    def test_weights(self):
        cells = {name: np.arange(5) for name in ("normal", "tumor", "itc")}
        sampler = BalancedPatchSampler(
            [ClassMap(5, 1, (1.0, 1.0), cells)], {"normal": 1, "itc": 3, "tumor": 0}
        )
        assert_even([sampler.draw(i).stream for i in range(10_000)], ("normal", "itc"), (0.25, 0.75))

    def test_an_uneven_sampler_would_be_noticed(self):
        """Of the tests above: a slide that comes 8 % too often fails them."""
        rng = np.random.default_rng(0)
        with pytest.raises(AssertionError, match="chi-square"):
            assert_even(rng.choice(3, 20_000, p=[0.36, 0.32, 0.32]).tolist(), (0, 1, 2))

    def test_attempts_share_the_slide(self, maps):
        sampler = BalancedPatchSampler(maps, seed=5)
        for i in range(50):
            draws = [sampler.draw(i, attempt) for attempt in range(4)]
            assert len({(draw.slide, draw.stream) for draw in draws}) == 1
            assert len({draw.centre for draw in draws}) == 4

    def test_a_draw_depends_on_its_number_alone(self, maps):
        one, two = BalancedPatchSampler(maps, seed=5), BalancedPatchSampler(maps, seed=5)
        first = [one.draw(i) for i in range(50)]
        assert [two.draw(i) for i in reversed(range(50))] == first[::-1]
        assert [BalancedPatchSampler(maps, seed=6).draw(i) for i in range(50)] != first
        assert one.draw(7, 1) != one.draw(7)
        assert one.draw(7, 1).stream == one.draw(7).stream

    def test_streams(self, maps):
        sampler = BalancedPatchSampler.pfa(maps)
        assert sampler.streams == ("normal", "tumor", "boundary", "itc")
        streams = [sampler.draw(i).stream for i in range(10_000)]
        assert_even(streams, ("normal", "tumor", "boundary", "itc"), (0.3, 0.3, 0.2, 0.2))
        assert BalancedPatchSampler.pfa(maps[:1]).streams == ("normal",)

    def test_errors(self, maps):
        with pytest.raises(ValueError, match="none of 1 slides holds a cell of 'tumor'"):
            BalancedPatchSampler(maps[:1])
        with pytest.raises(ValueError, match="weights: got none above 0"):
            BalancedPatchSampler(maps, {"normal": 0})


class TestPatches:
    def test_labels_are_exact(self, records, maps):
        dataset = PatchDataset(records, BalancedPatchSampler(maps, seed=1), 96, 32, length=200, mask=True)
        seen = set()
        for i in range(200):
            sample = dataset[i]
            centre = sample.mask[32:64, 32:64]
            assert sample.label == int(centre.any())
            assert sample.share == centre.mean()
            assert sample.label == (sample.stream == "tumor")
            assert sample.pixels.shape == (96, 96, 3)
            seen.add((sample.slide, sample.label))
            # The pixels are those of the label: tumour is darker, and the hole in it is annotated as none.
            tumour = sample.pixels[sample.mask == 1]
            if sample.slide == "tumor_002" and len(tumour):
                assert np.abs(tumour.mean(0) - TUMOUR).max() < 12
        assert len(seen) == 5

    def test_slides_count_alike_however_small_their_tumour(self, folder):
        records = [
            slide_with(folder, "tumor_070", [(400, 300, 600)]),
            slide_with(folder, "tumor_071", [(700, 700, 12)]),
        ]
        maps = []
        for record in records:
            with record.open() as slide:
                maps.append(class_map(record, slide, labels_of(record, slide)))
        dataset = PatchDataset(records, BalancedPatchSampler(maps, {"tumor": 1}), 32, 16, length=200)
        assert_even([dataset[i].slide for i in range(200)], ("tumor_070", "tumor_071"))

    def test_nothing_unannotated_counts_as_normal(self, folder):
        record = slide_with(folder, "tumor_018", [(400, 400, 300)]).with_remark("not", exhaustive=False)
        with record.open() as slide:
            own = class_map(record, slide, labels_of(record, slide))
        sampler = BalancedPatchSampler([own], {"tumor": 1, "boundary": 1})
        dataset = PatchDataset([record], sampler, 64, 32, length=60)
        assert {dataset[i].label for i in range(60)} == {1}

    def test_files_are_closed_again(self, folder, records, maps, monkeypatch):
        monkeypatch.setattr("fastwsi.data.patches._MOST_OPEN", 1)
        dataset = PatchDataset(records, BalancedPatchSampler(maps), 32, 16, length=30)
        for i in range(30):
            assert dataset[i].pixels.shape == (32, 32, 3)
            assert len(dataset._open) <= 1

    def test_the_same_for_any_number_of_workers(self, records, maps):
        dataset = PatchDataset(records, BalancedPatchSampler(maps, seed=1), 64, 32, length=24)
        batches = []
        for workers in (0, 2):
            loader = torch.utils.data.DataLoader(
                dataset, batch_size=8, num_workers=workers, collate_fn=lambda samples: samples
            )
            batches.append([sample for batch in loader for sample in batch])
        for a, b in zip(*batches, strict=True):
            assert (a.slide, a.xy, a.label, a.index) == (b.slide, b.xy, b.label, b.index)
            np.testing.assert_array_equal(a.pixels, b.pixels)

    @pytest.mark.parametrize("workers", [1, 2])
    @pytest.mark.parametrize("options", [{"mask": True}, {"context": (1.0, 2.0)}, {"mpp": 0.7}, "stains"])
    def test_batches_are_the_samples_for_any_number_of_workers(self, records, maps, workers, options):
        if options == "stains":
            options = {"stains": stains_of(records, stain_reference(records))}
        dataset = PatchDataset(records, BalancedPatchSampler(maps, seed=1), 48, 32, **options)
        expected = collate([dataset[i] for i in range(7, 28)])
        loader = patch_loader(dataset, Consecutive(4, 7, done=1), workers=workers)
        found = list(loader)
        for name in ("pixels", "labels", "shares", "masks"):
            parts = [getattr(batch, name) for batch in found]
            whole = getattr(expected, name)
            assert parts == [None] * 3 if whole is None else torch.equal(torch.cat(parts), whole)
        for name in ("indices", "slides", "places"):
            assert sum((getattr(batch, name) for batch in found), ()) == getattr(expected, name)

    def test_at_another_resolution(self, records, maps):
        dataset = PatchDataset(records, BalancedPatchSampler(maps, seed=1), 48, 16, mpp=1.0, length=20)
        for i in range(20):
            sample = dataset[i]
            with records[[r.name for r in records].index(sample.slide)].open() as slide:
                np.testing.assert_array_equal(slide.read(sample.xy, 48, mpp=1.0), sample.pixels)

    def test_masks_do_instead_of_annotations(self, folder, records, maps):
        import tifffile

        mask = np.zeros((1200, 1600), np.uint8)
        mask[400:900, 400:900] = 1
        mask[500:600, 500:600] = 2
        tifffile.imwrite(folder / "mask.tif", mask, tile=(128, 128), compression="zlib", metadata=None)
        record = SlideRecord("tumor_001", records[1].path, "tumor", "train", None, folder / "mask.tif")
        with record.open() as slide:
            labels = labels_of(record, slide)
            found = class_map(record, slide, labels)
            np.testing.assert_array_equal(labels.window((0, 0), (1600, 1200)), mask == 1)
        for name in ("tumor", "normal", "itc"):
            np.testing.assert_array_equal(found.cells[name], maps[1].cells[name])

    def test_arguments_are_checked(self, records, maps):
        sampler = BalancedPatchSampler(maps)
        with pytest.raises(ValueError, match="records: got 1, expected 3"):
            PatchDataset(records[:1], sampler)
        with pytest.raises(ValueError, match="centre: got 50, expected at most the size, 20"):
            PatchDataset(records, sampler, 20, 50)
