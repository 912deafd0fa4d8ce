"""What is varied, resampled and turned, how the lines are described, and how answers are checked."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import fastwsi
from benchmarks import augment_reference as reference
from benchmarks.measure import Entry, Role
from benchmarks.pictures import smooth_field, stained_tissue
from fastwsi.kernels import PatchParams, simd_level

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

PATCHES, SIZE, MARGIN = 64, 299, 8
SLIDE, SMALL = 4096, 1024
MEAN = STD = 0.5  # Liu et al. (2017): network input from -1 to 1
FEW_ROUNDS = {"skimage HSV", "kornia", "scipy"}  # they take seconds
NOTES = {
    "torch, whole batch": "planes, few passes, in place",
    "torch, image by image": "the same on planes that fit the cache",
    "numpy, image by image": "the same on planes that fit the cache",
    "skimage HSV": "rgb2hsv and hsv2rgb in float32, image by image",
    "albumentations": "ColorJitter (8-bit, steps in any order) and Normalize; other colours, not compared",
    "kornia": "conversion, ColorJitter (steps in any order) and Normalize; other colours, not compared",
    "OpenCV": "resize of the displacement, maps, remap",
    "OpenCV, hand-tuned": "maps by products of small matrices, in bands of rows that fit the cache",
    "scipy": "zoom of the displacement, map_coordinates",
    "torch, in place": "one sum that the maps are added to",
}


@dataclass(frozen=True)
class Scene:
    """A slide, and patches of it that are larger than needed by a margin."""

    slide: np.ndarray
    patches: np.ndarray
    colours: reference.Colours

    @classmethod
    def drawn(cls) -> Scene:
        slide = np.tile(stained_tissue(SLIDE // 2, seed=3), (2, 2, 1))
        step = SIZE + MARGIN
        places = [(y * step, x * step) for y in range(8) for x in range(8)]
        patches = np.stack([slide[y : y + step, x : x + step] for y, x in places])
        return cls(slide, patches, reference.Colours.drawn(PATCHES, seed=4))

    @property
    def images(self) -> np.ndarray:
        """The middle of each patch."""
        edge = MARGIN // 2
        return np.ascontiguousarray(self.patches[:, edge : edge + SIZE, edge : edge + SIZE])


def drawn_labels() -> np.ndarray:
    """Draw (SLIDE, SLIDE) uint8: four labels in patches of some tens of pixels."""
    field = smooth_field(np.random.default_rng(7), SLIDE, SLIDE // 32)
    return np.digitize(field, [0.3, 0.5, 0.7]).astype(np.uint8)


def bend_of(size: int) -> reference.Bend:
    return reference.Bend.drawn(size, degrees=30, nodes=17, seed=6)


def params_of(colours: reference.Colours, **places: Any) -> PatchParams:
    return PatchParams(
        brightness_add=colours.brightness,
        saturation_mul=colours.saturation,
        hue=colours.hue,
        contrast=colours.contrast,
        **places,
    )


def is_ours(contender: str) -> bool:
    return contender.startswith("fastwsi")


def level_of(contender: str) -> AbstractContextManager[None]:
    """Hold fastwsi to its portable code where the contender says so."""
    return simd_level("baseline") if contender == "fastwsi, baseline" else nullcontext()


def rounds_of(contender: str) -> int:
    return 40 if contender == "fastwsi, best" else 2 if contender in FEW_ROUNDS else 11


def entry(group: str, contender: str, pixels: int, bytes_per_pixel: int, floor: float | None = None) -> Entry:
    role: Role = "ours" if is_ours(contender) else "peer"
    shown = contender.replace("best", fastwsi.build_info().simd_chosen)
    return Entry(group, shown, role, pixels, bytes_per_pixel * pixels, floor, NOTES.get(contender, ""))


def gpu_entry(
    group: str, contender: str, pixels: int, bytes_per_pixel: int, floor: float | None = None
) -> Entry:
    """Describe a line on a GPU; the floor is ours, beside the copy."""
    group += " on the GPU"
    if contender == "copy":
        note = "device to device, of as many bytes"
        return Entry(group, contender, "ceiling", pixels, bytes_per_pixel * pixels, note=note)
    return entry(group, contender, pixels, bytes_per_pixel, floor if is_ours(contender) else None)


def check_warp(
    found: np.ndarray, image: np.ndarray, bend: reference.Bend, contender: str, *, nearly: float
) -> None:
    """Compare two parts of a warp, the middle and a band that leaves the image on both sides.

    Ours to the level, peers to ``nearly`` levels on average. The packages interpolate the displacement by
    other splines, and OpenCV's resize takes the nodes for the middles of cells: in the middle of the image
    this makes no difference, so only there are their answers compared.
    """
    size = bend.size
    middle = slice(size // 2 - 32, size // 2 + 32)
    parts = [(middle, middle)]
    if contender not in ("OpenCV", "scipy"):
        parts.append((slice(size // 4, size // 4 + 32), slice(0, size)))
    sampled = bend.nearest if image.ndim == 2 else bend.bilinear
    for part in parts:
        wanted = sampled(image, *part, fill=255)
        if is_ours(contender):
            reference.check_bytes(found[part], wanted, equal=0.999)
        else:
            reference.check_nearly(found[part], wanted, nearly)
