"""From slides on disk to batches: data sets, maps of classes, samplers, patches."""

from fastwsi.data.any_slides import slides_at
from fastwsi.data.balanced import (
    balanced_patches,
    median_mpp,
    stain_moments,
    stain_of,
    stain_reference,
    stains_of,
)
from fastwsi.data.batches import Consecutive, PatchBatch, collate, patch_loader
from fastwsi.data.camelyon16 import camelyon16
from fastwsi.data.camelyon17 import camelyon17, holds_stages, patient_stages, read_stages
from fastwsi.data.checking import Checked, Trouble, check, recognise
from fastwsi.data.class_maps import ClassMap, Labels, class_map, labels_of
from fastwsi.data.detections import find_detections, read_detections, read_scores, write_detections
from fastwsi.data.normalising import Normalized, normalize_slide, normalize_slides
from fastwsi.data.panda import panda
from fastwsi.data.patch_camelyon import PatchCamelyon
from fastwsi.data.patches import PatchDataset, PatchSample
from fastwsi.data.records import SlideRecord, SlideSet
from fastwsi.data.sampling import BalancedPatchSampler, Draw
from fastwsi.data.slide_results import ResultPaths, find_results
from fastwsi.data.table import slide_table
from fastwsi.data.truth import LesionMask, is_tumour, lesion_mask, read_truth, slide_size

__all__ = [
    "BalancedPatchSampler",
    "Checked",
    "ClassMap",
    "Consecutive",
    "Draw",
    "Labels",
    "LesionMask",
    "Normalized",
    "PatchBatch",
    "PatchCamelyon",
    "PatchDataset",
    "PatchSample",
    "ResultPaths",
    "SlideRecord",
    "SlideSet",
    "Trouble",
    "balanced_patches",
    "camelyon16",
    "camelyon17",
    "check",
    "class_map",
    "collate",
    "find_detections",
    "find_results",
    "holds_stages",
    "is_tumour",
    "labels_of",
    "lesion_mask",
    "median_mpp",
    "normalize_slide",
    "normalize_slides",
    "panda",
    "patch_loader",
    "patient_stages",
    "read_detections",
    "read_scores",
    "read_stages",
    "read_truth",
    "recognise",
    "slide_size",
    "slide_table",
    "slides_at",
    "stain_moments",
    "stain_of",
    "stain_reference",
    "stains_of",
    "write_detections",
]
