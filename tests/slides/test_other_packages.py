"""Readers of other packages, where they are installed, beside the fast path: the same pixels."""

from __future__ import annotations

import numpy as np
import pytest

import fastwsi
from fastwsi.slides import SlideError
from slides.pyramids import halved, picture, write

PACKAGES = ["fastslide", "tiffslide", "cucim", "wsidicom"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    image = picture(900, 700)
    path = tmp_path_factory.mktemp("slides") / "slide.tif"
    return write(path, [image, halved(image)], tile=256, compression="zlib")


@pytest.mark.parametrize("package", ["fastslide", "tiffslide", "cucim"])
def test_reads_what_the_fast_path_reads(path, package):
    pytest.importorskip(package)
    with fastwsi.open_slide(path, backend=package, mpp=0.5) as slide, fastwsi.open_slide(path) as ours:
        assert package in repr(slide)
        assert [level.size for level in slide.levels] == [level.size for level in ours.levels]
        for xy, size, options in (
            ((0, 0), (900, 700), {}),
            ((-20, 650), (100, 90), {}),
            ((100, 50), (60, 70), {"level": 1}),
            ((10, 20), (100, 80), {"mpp": 1.7}),
        ):
            apart = np.abs(slide.read(xy, size, **options).astype(int) - ours.read(xy, size, **options))
            assert apart.max() <= 1


@pytest.mark.parametrize("package", PACKAGES)
def test_is_named_where_it_is_not_installed(path, package, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *more: None if name == package else found(name, *more)
    )
    with pytest.raises(
        SlideError, match=rf"backend '{package}' does not read it: {package} is not installed: pip"
    ):
        fastwsi.open_slide(path, backend=package)


def test_urls_are_tiffslides(path):
    with pytest.raises(SlideError, match="URLs are read by 'tiffslide'"):
        fastwsi.open_slide("https://example.org/slide.tif", backend="tiff")
    pytest.importorskip("tiffslide")
    with fastwsi.open_slide(f"file://{path}") as slide, fastwsi.open_slide(path) as ours:
        assert slide.backend == "tiffslide"
        np.testing.assert_array_equal(slide.read((5, 6), 70), ours.read((5, 6), 70))


def test_dicom(tmp_path):
    wsidicom = pytest.importorskip("wsidicom")
    assert wsidicom.__version__
    (tmp_path / "slide.dcm").write_bytes(b"\0" * 128 + b"DICM" + bytes(100))
    with pytest.raises(SlideError, match=r"slide\.dcm: .*(wsidicom|DICOM)"):
        fastwsi.open_slide(tmp_path / "slide.dcm", backend="wsidicom")
