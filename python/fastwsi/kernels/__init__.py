"""The native kernels, one module per family.

Arrays may be numpy's, torch's or cupy's, on the CPU or on a GPU; each function answers in kind.
"""

from fastwsi._native import simd_level
from fastwsi.kernels.augment import augment_patches
from fastwsi.kernels.components import Components, components
from fastwsi.kernels.heatmap import Detections, PaddedDetections, nms, nms_capacity
from fastwsi.kernels.hsd import hsd_moments, hsd_normalize
from fastwsi.kernels.hsd_statistics import HsdMoments
from fastwsi.kernels.orientation import inverse_orientation, orient, orient_mean
from fastwsi.kernels.patch_params import PatchParams
from fastwsi.kernels.pixels import scale_shift
from fastwsi.kernels.pooling import dense_pool
from fastwsi.kernels.resizing import area_resize
from fastwsi.kernels.smoothing import smooth
from fastwsi.kernels.stitch_sums import accumulate, average
from fastwsi.kernels.stitching import Stitcher
from fastwsi.kernels.warp_boxes import WarpBox, warp_source_boxes
from fastwsi.kernels.warping import warp

__all__ = [
    "Components",
    "Detections",
    "HsdMoments",
    "PaddedDetections",
    "PatchParams",
    "Stitcher",
    "WarpBox",
    "accumulate",
    "area_resize",
    "augment_patches",
    "average",
    "components",
    "dense_pool",
    "hsd_moments",
    "hsd_normalize",
    "inverse_orientation",
    "nms",
    "nms_capacity",
    "orient",
    "orient_mean",
    "scale_shift",
    "simd_level",
    "smooth",
    "warp",
    "warp_source_boxes",
]
