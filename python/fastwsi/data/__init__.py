"""From slides on disk to batches: data sets, maps of classes, samplers, patches."""

from fastwsi.data.camelyon16 import camelyon16
from fastwsi.data.camelyon17 import camelyon17, patient_stages
from fastwsi.data.checking import Checked, Trouble, check, recognise
from fastwsi.data.class_maps import ClassMap, Labels, class_map, labels_of
from fastwsi.data.panda import panda
from fastwsi.data.patch_camelyon import PatchCamelyon
from fastwsi.data.patches import PatchDataset, PatchSample
from fastwsi.data.records import SlideRecord, SlideSet
from fastwsi.data.sampling import BalancedPatchSampler, Draw
from fastwsi.data.table import slide_table

__all__ = [
    "BalancedPatchSampler",
    "Checked",
    "ClassMap",
    "Draw",
    "Labels",
    "PatchCamelyon",
    "PatchDataset",
    "PatchSample",
    "SlideRecord",
    "SlideSet",
    "Trouble",
    "camelyon16",
    "camelyon17",
    "check",
    "class_map",
    "labels_of",
    "panda",
    "patient_stages",
    "recognise",
    "slide_table",
]
