"""Building blocks of networks, as torch modules.

Examples
--------
>>> fastwsi.nn.DensePool2d(32, train_stride=128).stride
(128, 128)
"""

from fastwsi.nn.dense_pool import DensePool2d, set_dense_alpha
from fastwsi.nn.resnet import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    BasicBlock,
    Bottleneck,
    ResNet,
    resnet18,
    resnet34,
    resnet50,
)
from fastwsi.nn.splitting import split

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "BasicBlock",
    "Bottleneck",
    "DensePool2d",
    "ResNet",
    "resnet18",
    "resnet34",
    "resnet50",
    "set_dense_alpha",
    "split",
]
