"""What `check` finds in data sets of a few files."""

from __future__ import annotations

import warnings

import h5py
import numpy as np
import pytest
import tifffile

from fastwsi import data
from fastwsi.slides import write_slide
from slides.pyramids import picture

XML = """<?xml version="1.0"?><ASAP_Annotations><Annotations>
<Annotation Name="first" Type="Polygon" PartOfGroup="_0"><Coordinates>{points}</Coordinates></Annotation>
</Annotations><AnnotationGroups/></ASAP_Annotations>"""
BOW = [(0, 0), (60, 60), (60, 0), (0, 60)]  # crosses itself


def kinds(found):
    return {(trouble.kind, trouble.name) for trouble in found.troubles}


def break_tile(path, number):
    """Overwrite one tile of the finest level."""
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[number], file.pages[0].databytecounts[number]
    content = bytearray(path.read_bytes())
    content[offset : offset + count] = bytes(count)
    path.write_bytes(content)


@pytest.fixture
def root(tmp_path):
    """One tumour slide, its annotation in want of repair, and a mask."""
    for folder in ("images", "annotations", "masks"):
        (tmp_path / folder).mkdir()
    write_slide(tmp_path / "images" / "tumor_001.tif", picture(1500, 900), mpp=0.5)
    points = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(BOW))
    (tmp_path / "annotations" / "tumor_001.xml").write_text(XML.format(points=points))
    mask = np.zeros((900, 1500), np.uint8)
    mask[:60, :60] = 1
    tifffile.imwrite(
        tmp_path / "masks" / "tumor_001_mask.tif", mask, tile=(256, 256), compression="zlib", metadata=None
    )
    return tmp_path


def test_repairs_are_remarks(root):
    found = data.check(root)
    assert found.usable
    assert found.counts == {"train tumor": 1}
    (trouble,) = found.troubles
    assert (trouble.kind, trouble.name) == ("remark", "tumor_001")
    assert "first" in trouble.reason


def test_other_warnings_are_not_swallowed(root, monkeypatch):
    def warns(self):
        warnings.warn("of another kind", FutureWarning, stacklevel=1)

    monkeypatch.setattr(data.SlideRecord, "annotations", warns)
    with pytest.warns(FutureWarning, match="of another kind"):
        assert data.check(root).usable


@pytest.mark.parametrize("which", ["images/tumor_001.tif", "masks/tumor_001_mask.tif"])
def test_every_tile(root, which):
    """A tile in a corner of one level: a sample does not meet it."""
    break_tile(root / which, 5)
    assert ("unreadable", "tumor_001") in kinds(data.check(root, every_tile=True))


def test_copies_of_a_name_are_told(root):
    copy = root / "other" / "Tumor_001.tif"
    copy.parent.mkdir()
    write_slide(copy, picture(300, 300), mpp=0.5)
    (root / "zlink").symlink_to(root / "images")  # the same file by another way is no copy
    found = data.check(root)
    (told,) = [trouble.reason for trouble in found.troubles if trouble.kind == "left out"]
    assert str(copy) in told
    assert "images" in told
    assert len(data.camelyon16(root)) == 1


def test_a_train_csv_of_ones_own_is_no_panda(tmp_path):
    write_slide(tmp_path / "a.tif", picture(300, 300), mpp=0.5)
    (tmp_path / "train.csv").write_text("slide,label\na.tif,tumor\n")
    assert data.recognise(tmp_path).name != "PANDA"
    (tmp_path / "train.csv").write_text("image_id,isup_grade\na,1\n")
    assert data.recognise(tmp_path).name == "PANDA"


class TestPatches:
    IMAGES = np.random.default_rng(0).integers(0, 256, (9, 96, 96, 3), np.uint8)

    def test_splits(self, tmp_path):
        for kind, value in (("x", self.IMAGES), ("y", np.arange(9).reshape(9, 1, 1, 1) % 2)):
            with h5py.File(tmp_path / f"camelyonpatch_level_2_split_train_{kind}.h5", "w") as file:
                file.create_dataset(kind, data=value, chunks=(1, *value.shape[1:]), compression="gzip")
        found = data.check(tmp_path, every_tile=True)
        assert found.counts == {"train normal": 5, "train tumor": 4}
        assert kinds(found) == {("missing", "validation"), ("missing", "test")}
        path = tmp_path / "camelyonpatch_level_2_split_train_x.h5"
        with h5py.File(path) as file:
            chunk = file["x"].id.get_chunk_info(6)
        content = bytearray(path.read_bytes())
        content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
        path.write_bytes(content)
        assert ("unreadable", "train, patch 6") not in kinds(data.check(tmp_path))
        assert ("unreadable", "train, patch 6") in kinds(data.check(tmp_path, every_tile=True))

    def test_kaggles(self, tmp_path):
        names = [f"{i:040x}" for i in range(len(self.IMAGES))]
        (tmp_path / "train").mkdir()
        for name, image in zip(names, self.IMAGES, strict=True):
            tifffile.imwrite(tmp_path / "train" / f"{name}.tif", image)
        rows = [f"{name},{i % 2}" for i, name in enumerate(names)]
        (tmp_path / "train_labels.csv").write_text("\n".join(["id,label", *rows]))
        assert data.check(tmp_path).usable
        (tmp_path / "train" / f"{names[0]}.tif").write_bytes(b"nothing")
        assert kinds(data.check(tmp_path)) == {("unreadable", "train, patch 0")}
        (tmp_path / "train" / f"{names[0]}.tif").unlink()
        (trouble,) = data.check(tmp_path).troubles
        assert trouble.kind == "unreadable"
        assert "1 ids have an image or a label only" in trouble.reason
