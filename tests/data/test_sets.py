"""Data sets as releases lay them out, in small."""

from __future__ import annotations

import numpy as np
import pytest

from fastwsi import data
from fastwsi.slides import SlideError


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def whole16(root, layout):
    """Every file of Camelyon16, empty, as GigaDB or AWS has them."""
    gigadb = layout == "GigaDB"
    names = []
    for kind, count in (("normal", 160), ("tumor", 111)):
        for i in range(1, count + 1):
            if (kind, i) == ("normal", 86) and not gigadb:
                continue
            name = f"{kind}_{i:03d}"
            names.append(f"training/{kind}/{name.title()}.tif" if gigadb else f"images/{name}.tif")
            if kind == "tumor":
                names.append(
                    f"training/lesion_annotations/{name.title()}.xml" if gigadb else f"annotations/{name}.xml"
                )
            if not gigadb:
                names.append(f"masks/{name}_mask.tif")
    test = "testing/images/Test" if gigadb else "images/test"
    names += [f"{test}_{i:03d}.tif" for i in range(1, 131)]
    return touch(root, *names)


REFERENCE = {
    "GigaDB": "test_001,Tumor,IDC,Macro\ntest_002,Normal,None,None\n",
    "AWS": "image,type,subtype,size\ntest_001.tif,tumor,idc,macro\ntest_002.tif,normal,,\n",
}


class TestCamelyon16:
    @pytest.fixture(params=["GigaDB", "AWS"])
    def root(self, request, tmp_path):
        whole16(tmp_path, request.param)
        (tmp_path / "reference.csv").write_text(REFERENCE[request.param])
        return tmp_path

    def test_the_papers_split(self, root):
        found = data.camelyon16(root)
        counts = {}
        for record in found.records:
            key = record.split, record.label if record.split != "test" else ""
            counts[key] = counts.get(key, 0) + 1
        gigadb = (root / "training").exists()
        # 160 normal slides less 086 and 144, and 111 of tumour; what Liu calls 110 has no copy of 086 yet.
        assert counts["train", "normal"] + counts["validation", "normal"] == 158
        assert counts["train", "tumor"] + counts["validation", "tumor"] == 111
        assert counts["validation", "normal"] == 32
        assert counts["validation", "tumor"] == 22
        assert counts["test", ""] == 129
        left_out = dict(found.left_out)
        assert set(left_out) == {"normal_144", "test_049", *(["normal_086"] if gigadb else [])}

    def test_quirks(self, root):
        found = data.camelyon16(root)
        assert [int(r.name[-3:]) for r in found.records if not r.exhaustive and r.label == "tumor"] == sorted(
            [15, 18, 20, 29, 33, 44, 46, 51, 54, 55, 79, 92, 95, 10, 25, 34, 56, 67, 85, 110]
        )
        assert not found["test_114"].exhaustive
        assert "FROC" in found["test_114"].remarks[0]
        plain = data.camelyon16(root, quirks=False)
        assert all(record.exhaustive for record in plain.records)
        assert plain["normal_144"].split in ("train", "validation")
        assert plain.left_out == ()

    def test_labels_and_files(self, root):
        found = data.camelyon16(root)
        tumor = found["tumor_001"]
        assert tumor.label == "tumor"
        assert tumor.annotation.name.lower() == "tumor_001.xml"
        assert found["Test_001"].label == "tumor"
        assert found["test_002"].label == "normal"
        assert found["test_001"].extra["size"].lower() == "macro"
        assert ("test_003", "label in reference.csv") in found.missing
        assert len([name for name, what in found.missing if what == "label in reference.csv"]) == 127

    def test_seeds(self, root):
        splits = [
            {record.name for record in data.camelyon16(root, seed=seed).of("validation").records}
            for seed in (0, 0, 1)
        ]
        assert splits[0] == splits[1] != splits[2]
        assert len(data.camelyon16(root, validation=0).of("validation")) == 0

    def test_what_is_missing(self, tmp_path):
        touch(tmp_path, "tumor_001.tif", "annotations/tumor_002.xml")
        found = data.camelyon16(tmp_path)
        assert set(found.missing) == {("tumor_001", "annotation"), ("tumor_002", "slide")}

    def test_errors(self, tmp_path):
        with pytest.raises(SlideError, match="no such folder"):
            data.camelyon16(tmp_path / "none")
        with pytest.raises(SlideError, match="no slides of Camelyon16"):
            data.camelyon16(tmp_path)
        touch(tmp_path, "test_001.tif")
        (tmp_path / "reference.csv").write_text("test_001,Maybe\n")
        with pytest.raises(SlideError, match="test_001: got the label 'maybe', expected Normal or Tumor"):
            data.camelyon16(tmp_path)
        with pytest.raises(KeyError, match="tumor_500: no such slide"):
            data.SlideSet("x", tmp_path, ())["tumor_500"]


class TestCamelyon17:
    @pytest.mark.parametrize("folders", ["training/center_{c}/{n}", "images/{n}"])
    @pytest.mark.parametrize("form", ["with endings", "plain"])
    def test_both_forms(self, tmp_path, folders, form):
        names = [f"patient_{p:03d}_node_{n}" for p in (0, 20, 99, 100) for n in range(5)]
        touch(tmp_path, *(folders.format(c=0, n=f"{name}.tif") for name in names))
        touch(tmp_path, "lesion_annotations/patient_020_node_1.xml")
        zipped, ending = (".zip", ".tif") if form == "with endings" else ("", "")
        lines = ["patient,stage"]
        for p, stage in ((0, "pN0"), (20, "pN1mi"), (99, "pN0(i+)")):
            lines.append(f"patient_{p:03d}{zipped},{stage}")
            lines += [
                f"patient_{p:03d}_node_{n}{ending},{'negative' if n != 1 else 'micro'}" for n in range(5)
            ]
        (tmp_path / ("stages.csv" if zipped else "stage_labels.csv")).write_text("\n".join(lines))
        found = data.camelyon17(tmp_path)
        assert len(found) == 20
        assert found["patient_020_node_1"].label == "micro"
        assert found["patient_020_node_1"].exhaustive
        assert not found["patient_000_node_1"].exhaustive
        assert found["patient_000_node_0"].exhaustive
        assert [found[f"patient_{p}_node_0"].extra["center"] for p in ("000", "020", "099")] == [
            "0",
            "1",
            "4",
        ]
        assert found["patient_100_node_0"].split == "test"
        assert found.missing == ()
        stages = data.patient_stages(tmp_path)
        assert stages == {"patient_000": "pN0", "patient_020": "pN1mi", "patient_099": "pN0(i+)"}

    def test_missing_nodes_are_named(self, tmp_path):
        touch(tmp_path, "patient_001_node_0.tif")
        found = data.camelyon17(tmp_path)
        assert ("patient_001_node_4", "slide") in found.missing
        assert ("patient_001_node_0", "stage") in found.missing

    def test_wrong_stages(self, tmp_path):
        touch(tmp_path, "patient_001_node_0.tif")
        (tmp_path / "stages.csv").write_text("patient_001_node_0.tif,huge\n")
        with pytest.raises(SlideError, match="got the stage 'huge', expected one of negative, itc"):
            data.camelyon17(tmp_path)


def test_panda(tmp_path):
    touch(tmp_path, "train_images/0005f7aa.tiff", "train_label_masks/0005f7aa_mask.tiff")
    (tmp_path / "train.csv").write_text(
        "image_id,data_provider,isup_grade,gleason_score\n0005f7aa,karolinska,0,0+0\n000920ad,radboud,5,4+5\n"
    )
    found = data.panda(tmp_path)
    (record,) = found.records
    assert (record.label, record.extra["gleason_score"]) == ("0", "0+0")
    assert record.mask.name == "0005f7aa_mask.tiff"
    assert record.tumour_values == (2,)
    assert found.missing == (("000920ad", "slide"),)
    (tmp_path / "train.csv").write_text("image_id,isup_grade\n0005f7aa,9\n")
    with pytest.raises(SlideError, match="got isup_grade '9'"):
        data.panda(tmp_path)


class TestTable:
    def test_columns(self, tmp_path):
        touch(tmp_path, "a.tif", "sub/b.svs", "b.geojson")
        (tmp_path / "slides.csv").write_text(
            "\ufeffSlide;Label;Annotation;mpp;split;exhaustive;Scanner\n"
            "a.tif;normal;;0,25;train;;P\nsub/b.svs;tumor;b.geojson;;Valid;no;Q\n\n"
        )
        first, second = data.slide_table(tmp_path / "slides.csv").records
        assert (first.name, first.mpp, first.split, first.exhaustive) == ("a", 0.25, "train", True)
        assert (second.split, second.exhaustive, second.extra) == ("validation", False, {"scanner": "Q"})
        assert second.annotation == tmp_path / "b.geojson"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "the file is empty"),
            ("slide\na.tif\n", "expected also label"),
            ("slide,label\na.tif,x\na.tif,y\n", "row 3: a is listed twice"),
            ("slide,label\n,x\n", "row 2: got no slide"),
            ("slide,label,mpp\na.tif,x,40\n", "row 2: got mpp '40', expected 0.05 to 20"),
            ("slide,label,split\na.tif,x,foo\n", "row 2: got the split 'foo'"),
            ("slide,label,exhaustive\na.tif,x,perhaps\n", "got exhaustive 'perhaps'"),
            ("slide,label\na.tif,x,y\n", "row 2: got 3 cells, expected 2"),
        ],
    )
    def test_errors(self, tmp_path, text, message):
        (tmp_path / "slides.csv").write_text(text)
        with pytest.raises(SlideError, match=message):
            data.slide_table(tmp_path / "slides.csv")

    def test_missing_files_are_named(self, tmp_path):
        (tmp_path / "slides.csv").write_text("slide,label,mask\na.tif,x,m.tif\n")
        assert data.slide_table(tmp_path / "slides.csv").missing == (("a", "slide"), ("a", "mask"))


class TestPatchCamelyon:
    @pytest.fixture
    def images(self):
        return np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3), np.uint8)

    def test_splits(self, tmp_path, images):
        h5py = pytest.importorskip("h5py")
        stem = "camelyonpatch_level_2_split_valid"
        with h5py.File(tmp_path / f"{stem}_x.h5", "w") as file:
            file["x"] = images
        with h5py.File(tmp_path / f"{stem}_y.h5", "w") as file:
            file["y"] = np.array([0, 1, 1, 0, 1], np.uint8).reshape(5, 1, 1, 1)
        found = data.PatchCamelyon(tmp_path, "validation")
        assert found.labels.tolist() == [0, 1, 1, 0, 1]
        pixels, label = found[2]
        np.testing.assert_array_equal(pixels, images[2])
        assert label == 1
        np.testing.assert_array_equal(found[-1][0], images[4])
        with pytest.raises(IndexError, match="index: got 5, expected below 5"):
            found[5]
        with pytest.raises(SlideError, match="no PatchCamelyon train"):
            data.PatchCamelyon(tmp_path, "train")

    def test_in_workers(self, tmp_path, images):
        h5py = pytest.importorskip("h5py")
        torch = pytest.importorskip("torch")
        with h5py.File(tmp_path / "camelyonpatch_level_2_split_train_x.h5", "w") as file:
            file["x"] = images
        found = data.PatchCamelyon(tmp_path)
        found[0]
        loader = torch.utils.data.DataLoader(found, batch_size=2, num_workers=2)
        pixels = torch.cat([batch[0] for batch in loader]).numpy()
        np.testing.assert_array_equal(pixels, images)

    def test_kaggle(self, tmp_path, images):
        pictures = pytest.importorskip("PIL.Image")
        (tmp_path / "train").mkdir()
        ids = [f"{i:040x}" for i in range(5)]
        for name, image in zip(ids, images, strict=True):
            pictures.fromarray(image).save(tmp_path / "train" / f"{name}.tif")
        table = tmp_path / "train_labels.csv"
        table.write_text("id,label\n" + "".join(f"{name},{i % 2}\n" for i, name in enumerate(ids)))
        found = data.PatchCamelyon(tmp_path)
        assert found.names == tuple(ids)
        assert found.labels.tolist() == [0, 1, 0, 1, 0]
        np.testing.assert_array_equal(found[3][0], images[3])
        table.write_text("id,label\n" + "".join(f"{name},0\n" for name in ids[:4]))
        with pytest.raises(SlideError, match="1 ids have an image or a label only"):
            data.PatchCamelyon(tmp_path)

    def test_broken(self, tmp_path):
        pytest.importorskip("h5py")
        (tmp_path / "camelyonpatch_level_2_split_test_x.h5").write_bytes(b"no")
        with pytest.raises(SlideError, match="no HDF5 of images"):
            data.PatchCamelyon(tmp_path, "test")
