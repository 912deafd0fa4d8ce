"""A small pyramid without loss, and a slide opened by each of the two main readers."""

from __future__ import annotations

import pytest

import fastwsi
from slides.pyramids import halved, picture, write


@pytest.fixture(scope="module")
def image():
    return picture(700, 500)


@pytest.fixture(scope="module")
def path(tmp_path_factory, image):
    levels = [image, halved(image), halved(halved(image))]
    return write(tmp_path_factory.mktemp("slides") / "slide.tif", levels, tile=128, compression="zlib")


@pytest.fixture(params=["tiff", "openslide"])
def slide(request, path):
    with fastwsi.open_slide(path, backend=request.param) as slide:
        yield slide
