"""Synthetic slides: the same from the same seed, whole in any pieces, true to their annotation."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import openslide
import pytest
import tifffile

import fastwsi
from fastwsi import data
from fastwsi.slides import (
    SyntheticSet,
    lesions_of,
    read_asap,
    synthetic_slide,
    tissue_mask,
    write_camelyon16,
    write_labelled,
    write_patch_camelyon,
)
from fastwsi.slides.synthetic.tissues import Tissue

SMALL = {"size": (1400, 1100), "mpp": 1.0}


def whole(slide):
    return slide.rows(0, slide.height)


class TestSlide:
    def test_the_same_seed_is_the_same_slide(self):
        first, again = (whole(synthetic_slide(5, **SMALL, lesions=["micro"])) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        assert (whole(synthetic_slide(6, **SMALL, lesions=["micro"])) != first).mean() > 0.5

    @pytest.mark.parametrize("mpp", [0.5, 0.8, 1.0])
    def test_any_pieces_are_the_whole(self, mpp):
        slide = synthetic_slide(11, size=(1300, 900), mpp=mpp, lesions=["micro", "itc"])
        picture = whole(slide)
        bands = np.concatenate([slide.rows(top, min(top + 170, 900)) for top in range(0, 900, 170)])
        # Interpolation's positions are rounded to 1/32 of 4 µm, from each piece's own corner.
        assert np.abs(bands.astype(int) - picture).max() <= 6
        assert (bands != picture).mean() < 0.02
        part = slide.read(301, 207, 400, 350)
        assert np.abs(part.astype(int) - picture[207:557, 301:701]).max() <= 6

    def test_it_is_mostly_white_and_has_every_part_of_a_node(self):
        slide = synthetic_slide(3, size=(3400, 2600), mpp=1.0, lesions=["micro", "itc"], wrong=False)
        parts = set(np.unique(slide.anatomy.classes).tolist())
        for part in (
            "GLASS",
            "CAPSULE",
            "SINUS",
            "CORTEX",
            "MANTLE",
            "GERMINAL",
            "CORD",
            "FAT",
            "VESSEL",
            "NEST",
        ):
            assert Tissue[part] in parts, part
        with fastwsi.open_slide(whole(slide), mpp=1.0) as opened:
            found = tissue_mask(opened)
            assert 0.15 < found.mask.mean() < 0.75

    def test_lesions_have_the_sizes_that_are_asked_for(self):
        slide = synthetic_slide(2, size=(4400, 3600), mpp=1.0, lesions=["macro", "micro", "itc", "itc"])
        longest = {"macro": (2000, 3100), "micro": (200, 2000), "itc": (30, 200)}
        assert [lesion.size for lesion in slide.anatomy.lesions] == ["macro", "micro", "itc", "itc"]
        for lesion in slide.anatomy.lesions:
            apart = np.hypot(*(lesion.outline[:, None] - lesion.outline[None]).transpose(2, 0, 1)).max()
            assert longest[lesion.size][0] < apart < longest[lesion.size][1]

    def test_the_annotation_is_where_the_tumour_is(self):
        slide = synthetic_slide(4, size=(2400, 2000), mpp=1.0, lesions=["micro"], wrong=False)
        with_tumour = whole(slide)
        without = synthetic_slide(4, size=(2400, 2000), mpp=1.0, wrong=False)
        changed = np.abs(with_tumour.astype(int) - whole(without)).max(2) > 25
        inside = lesions_of(slide).rasterise((0, 0), (2400, 2000)).astype(bool)
        # The plan's steps are of 4 µm, nuclei reach over them, and fibres' directions follow the surface.
        reach = np.zeros_like(inside)
        y, x = np.nonzero(inside)
        reach[max(0, y.min() - 16) : y.max() + 16, max(0, x.min() - 16) : x.max() + 16] = True
        assert changed[inside].mean() > 0.3
        assert changed[~reach].mean() < 0.001

    def test_a_wrong_slide_has_the_same_node(self):
        right, wrong = (synthetic_slide(8, **SMALL, wrong=wrong) for wrong in (False, True))
        np.testing.assert_array_equal(right.anatomy.classes, wrong.anatomy.classes)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"size": 100}, "size: got 100, expected at least 256"),
            ({"mpp": 5}, "mpp: got 5, expected 0.2 to 2"),
            ({"lesions": ["huge"]}, "lesions: got 'huge', expected macro, micro or itc"),
        ],
    )
    def test_arguments_are_checked(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            synthetic_slide(0, **arguments)


def patch_colours(mpp, side, seeds, each=24):
    """Mean and standard deviation of RGB of patches, their labels, and the slide of each."""
    rng = np.random.default_rng(0)
    features, labels, groups = [], [], []
    for seed in seeds:
        lesions = [(), ("micro", "micro", "itc"), ("macro",), ("micro", "itc", "itc")][seed % 4]
        slide = synthetic_slide(
            1000 + seed, size=(int(3200 / mpp), int(2500 / mpp)), mpp=mpp, lesions=lesions
        )
        plan = slide.anatomy
        tissue = (plan.classes > 0) & (plan.classes != Tissue.FAT)
        for label, where in ((0, tissue & (plan.lesion_of == 0)), (1, plan.lesion_of > 0)):
            places = np.argwhere(where)
            for _ in range(each if len(places) else 0):
                row, column = places[rng.integers(len(places))] + 0.5
                x, y = int(column * 4 / mpp) - side // 2, int(row * 4 / mpp) - side // 2
                pixels = slide.read(x, y, side, side).reshape(-1, 3).astype(float)
                features.append(np.concatenate([pixels.mean(0), pixels.std(0)]))
                labels.append(label)
                groups.append(seed)
    return np.array(features), np.array(labels), np.array(groups)


@pytest.mark.parametrize(("mpp", "side"), [(1.0, 96), (0.5, 128)])
def test_the_label_cannot_be_read_from_colour(mpp, side):
    """A logistic regression on patches' mean and deviation of RGB, tested on slides that it has not seen."""
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels, groups = patch_colours(mpp, side, range(20))
    scores = np.zeros(len(labels))
    for train, test in GroupKFold(5).split(features, labels, groups):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        scores[test] = model.fit(features[train], labels[train]).decision_function(features[test])
    found = roc_auc_score(labels, scores)
    assert max(found, 1 - found) < 0.70


WANTED = SyntheticSet(4, 4, (1400, 1100), 1.0, seed=3)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic")
    seen = []
    paths = write_camelyon16(root, WANTED, progress=lambda *told: seen.append(told))
    assert len(paths) == 8
    assert seen[-1][1:] == (8, 8)
    return root


class TestCamelyon16:
    def test_is_read_as_camelyon16(self, root):
        found = data.camelyon16(root)
        assert len(found) == 8
        assert found.missing == ()
        assert [record.label for record in found.records].count("tumor") == 4
        assert {record.label for record in found.of("test").records} == {"normal", "tumor"}

    def test_annotations_lie_within_the_slide(self, root):
        for record in data.camelyon16(root).records:
            drawn = record.annotations()
            assert (len(drawn) > 0) == (record.label == "tumor")
            for shape in drawn:
                left, top, right, bottom = shape.bounds
                assert 0 <= left < right <= 1400
                assert 0 <= top < bottom <= 1100
                assert shape.group == "_0"

    def test_openslide_reads_it(self, root):
        for path in sorted(root.rglob("*.tif")):
            with openslide.OpenSlide(path) as handle, fastwsi.open_slide(path) as slide:
                assert slide.backend == "tiff"
                assert float(handle.properties["openslide.mpp-x"]) == pytest.approx(1.0, rel=1e-4)
                assert list(handle.level_dimensions) == [level.size for level in slide.levels]
                assert len(slide.levels) > 1
                theirs = np.asarray(handle.read_region((300, 200), 0, (300, 300)))[..., :3]
                np.testing.assert_array_equal(slide.read((300, 200), 300), theirs)

    def test_patches_of_both_classes_can_be_drawn(self, root):
        records = data.camelyon16(root, validation=0).of("train").records
        maps = []
        for record in records:
            with record.open() as slide:
                maps.append(data.class_map(record, slide, data.labels_of(record, slide)))
        dataset = data.PatchDataset(records, data.BalancedPatchSampler(maps), 96, 32, length=40)
        assert {dataset[i].label for i in range(40)} == {0, 1}

    def test_what_is_there_is_kept_and_the_rest_made(self, root):
        before = {path: path.stat().st_mtime_ns for path in root.rglob("*.tif")}
        digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in before}
        gone = sorted(before)[2]
        gone.unlink()
        write_camelyon16(root, WANTED)
        assert hashlib.sha256(gone.read_bytes()).hexdigest() == digests[gone]
        assert all(path.stat().st_mtime_ns == before[path] for path in before if path != gone)

    def test_another_set_in_the_same_folder_is_refused(self, root):
        with pytest.raises(FileExistsError, match="holds a synthetic set made with other settings"):
            write_camelyon16(root, SyntheticSet(4, 4, (1400, 1100), 1.0, seed=4))

    def test_a_deleted_annotation_is_restored(self, root):
        path = next(root.rglob("*.xml"))
        before = path.read_text()
        path.unlink()
        write_camelyon16(root, WANTED)
        assert path.read_text() == before

    def test_resolution_tags(self, root):
        with tifffile.TiffFile(next(root.rglob("*.tif"))) as file:
            assert [page.subfiletype for page in file.pages] == [0] + [1] * (len(file.pages) - 1)
            x = file.pages[0].tags["XResolution"].value
            assert x[0] / x[1] == pytest.approx(10000)
            assert file.pages[0].tags["ResolutionUnit"].value == 3


def test_slides_with_labels_alone(tmp_path):
    write_labelled(tmp_path, SyntheticSet(2, 2, (700, 600), 1.5, seed=1))
    found = data.slide_table(tmp_path / "slides.csv")
    assert len(found) == 4
    assert [record.annotation for record in found.records] == [None] * 4
    assert {record.label for record in found.records} == {"normal", "tumor"}
    assert {record.split for record in found.records} == {"train", "test"}
    assert json.loads((tmp_path / "synthetic.json").read_text())["layout"] == "labelled"


def test_patch_camelyon(tmp_path):
    pytest.importorskip("h5py")
    counts = {"train": 24, "valid": 8, "test": 8}
    write_patch_camelyon(tmp_path / "a", counts, seed=2)
    write_patch_camelyon(tmp_path / "b", counts, seed=2)
    for split, count in (("train", 24), ("validation", 8), ("test", 8)):
        one, two = (data.PatchCamelyon(tmp_path / name, split) for name in "ab")
        assert len(one) == count
        assert set(one.labels.tolist()) == {0, 1}
        for i in range(count):
            np.testing.assert_array_equal(one[i][0], two[i][0])
            assert one[i][1] == two[i][1]


def test_annotations_are_camelyons(tmp_path):
    write_camelyon16(tmp_path, SyntheticSet(2, 0, (900, 800), 1.5, seed=5))
    drawn = read_asap(tmp_path / "training" / "lesion_annotations" / "tumor_001.xml")
    assert drawn.groups == ("_0",)
    assert not (tmp_path / "testing").exists()


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "testing").mkdir()
    (tmp_path / "testing" / "reference.csv").write_text("test_001,Tumor")
    with pytest.raises(FileExistsError, match="is not empty, and holds no synthetic set"):
        write_camelyon16(tmp_path, SyntheticSet(1, 0, (600, 500), 1.5))
    assert (tmp_path / "testing" / "reference.csv").read_text() == "test_001,Tumor"


def test_overwriting_leaves_nothing_of_the_older_set(tmp_path):
    write_camelyon16(tmp_path, SyntheticSet(3, 1, (600, 500), 1.5))
    write_camelyon16(tmp_path, SyntheticSet(1, 0, (600, 500), 1.5, seed=4), overwrite=True)
    assert [path.name for path in tmp_path.rglob("*.tif")] == ["normal_001.tif"]
    assert not list(tmp_path.rglob("*.xml"))
    assert not list(tmp_path.rglob("reference.csv"))


def test_bad_arguments_leave_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="size: got 100"):
        SyntheticSet(1, 1, (100, 100))
    with pytest.raises(ValueError, match="no tumour finds room"):
        write_camelyon16(tmp_path / "a", SyntheticSet(2, 0, (256, 256), 0.2))
