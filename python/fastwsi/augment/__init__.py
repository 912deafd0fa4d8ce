"""How training images are varied: policies over the augmentation kernels, named after what they reproduce.

A policy is a small frozen dataclass of ranges. It draws from a generator that it is given and keeps no state:
the same generator gives the same image, in whatever process, thread or order. Make one per image with
``generator(seed, epoch, index)``.
"""

from fastwsi.augment.chuang2021 import ChuangAugment
from fastwsi.augment.draws import generator
from fastwsi.augment.general import Augment
from fastwsi.augment.liu2017 import Liu2017Augment
from fastwsi.augment.pcam import PcamAugment
from fastwsi.augment.pfa import PfaAugment
from fastwsi.augment.pinckaers2020 import PinckaersAugment
from fastwsi.augment.view import AugmentedView, ImageReader

__all__ = [
    "Augment",
    "AugmentedView",
    "ChuangAugment",
    "ImageReader",
    "Liu2017Augment",
    "PcamAugment",
    "PfaAugment",
    "PinckaersAugment",
    "generator",
]
