"""What is drawn on slides, and masks of them: read, write, paint."""

from fastwsi.slides.annotations.asap import read_asap, write_asap
from fastwsi.slides.annotations.geojson import read_geojson, write_geojson
from fastwsi.slides.annotations.masks import LabelMask
from fastwsi.slides.annotations.repair import AnnotationWarning
from fastwsi.slides.annotations.shapes import Annotation, Annotations

__all__ = [
    "Annotation",
    "AnnotationWarning",
    "Annotations",
    "LabelMask",
    "read_asap",
    "read_geojson",
    "write_asap",
    "write_geojson",
]
