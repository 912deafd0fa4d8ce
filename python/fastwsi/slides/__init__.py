"""Slides: open, read at any resolution, find tissue, annotate, cut into patches, and make synthetic ones.

Places are (x, y) at level 0, sizes (width, height), resolutions micrometres per pixel.
"""

from fastwsi.slides.annotations import (
    Annotation,
    Annotations,
    AnnotationWarning,
    LabelMask,
    read_asap,
    read_geojson,
    write_asap,
    write_geojson,
)
from fastwsi.slides.describing import describe
from fastwsi.slides.errors import SlideError
from fastwsi.slides.geometry import Level, Region
from fastwsi.slides.grid import Patch, PatchGrid
from fastwsi.slides.lattice import Lattice
from fastwsi.slides.pictures import write_picture
from fastwsi.slides.registry import backends
from fastwsi.slides.rows import SlideRows
from fastwsi.slides.slide import Slide, open_slide
from fastwsi.slides.synthetic.sets import (
    SyntheticSet,
    write_camelyon16,
    write_labelled,
    write_patch_camelyon,
)
from fastwsi.slides.synthetic.slides import lesions_of, synthetic_slide
from fastwsi.slides.tissue import tissue_mask
from fastwsi.slides.tissue_mask import TissueMask
from fastwsi.slides.writing import write_slide

__all__ = [
    "Annotation",
    "AnnotationWarning",
    "Annotations",
    "LabelMask",
    "Lattice",
    "Level",
    "Patch",
    "PatchGrid",
    "Region",
    "Slide",
    "SlideError",
    "SlideRows",
    "SyntheticSet",
    "TissueMask",
    "backends",
    "describe",
    "lesions_of",
    "open_slide",
    "read_asap",
    "read_geojson",
    "synthetic_slide",
    "tissue_mask",
    "write_asap",
    "write_camelyon16",
    "write_geojson",
    "write_labelled",
    "write_patch_camelyon",
    "write_picture",
    "write_slide",
]
