"""Building blocks of networks, as torch modules.

Examples
--------
>>> fastwsi.nn.DensePool2d(32, train_stride=128).stride
(128, 128)
"""

from fastwsi.nn.dense_pool import DensePool2d, set_dense_alpha

__all__ = ["DensePool2d", "set_dense_alpha"]
