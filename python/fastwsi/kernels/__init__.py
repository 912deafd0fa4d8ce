"""The native kernels, one module per family.

Arrays may be numpy's, torch's or cupy's, on the CPU or on a GPU; each function answers in kind.
"""

from fastwsi._native import simd_level
from fastwsi.kernels.hsd import hsd_moments, hsd_normalize
from fastwsi.kernels.hsd_statistics import HsdMoments
from fastwsi.kernels.orient import inverse_orientation, orient, orient_mean
from fastwsi.kernels.pixels import scale_shift

__all__ = [
    "HsdMoments",
    "hsd_moments",
    "hsd_normalize",
    "inverse_orientation",
    "orient",
    "orient_mean",
    "scale_shift",
    "simd_level",
]
