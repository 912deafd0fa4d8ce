"""Networks and building blocks of networks, as torch modules.

Examples
--------
>>> fastwsi.nn.DensePool2d(32, train_stride=128).stride
(128, 128)
"""

from fastwsi.nn.classifiers import classifier_of, without_classifier
from fastwsi.nn.dense_pool import DensePool2d, set_dense_alpha
from fastwsi.nn.inception import InceptionV3, inception_v3
from fastwsi.nn.inference import for_inference, freeze_batch_norm
from fastwsi.nn.inputs import fold_normalisation
from fastwsi.nn.mobilenet import MobileNetV2, mobilenet_v2
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
from fastwsi.nn.vgg import VGG16Valid, vgg16_valid
from fastwsi.nn.weights import load_weights

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "BasicBlock",
    "Bottleneck",
    "DensePool2d",
    "InceptionV3",
    "MobileNetV2",
    "ResNet",
    "VGG16Valid",
    "classifier_of",
    "fold_normalisation",
    "for_inference",
    "freeze_batch_norm",
    "inception_v3",
    "load_weights",
    "mobilenet_v2",
    "resnet18",
    "resnet34",
    "resnet50",
    "set_dense_alpha",
    "split",
    "vgg16_valid",
    "without_classifier",
]
