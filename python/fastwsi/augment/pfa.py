"""The augmentation of PFA-ScanNet for patches with masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastwsi import _arrays
from fastwsi.augment import sheet
from fastwsi.augment.draws import Range, check_at_least, check_ranges, check_whole, per_image, uniform
from fastwsi.augment.view import Matrix
from fastwsi.augment.whole_slides import inverse_map
from fastwsi.kernels import PatchParams, augment_patches, warp
from fastwsi.kernels.augment import patch_sizes

if TYPE_CHECKING:
    from fastwsi._arrays import Array


@dataclass(frozen=True)
class PfaAugment(sheet.ShowsSamples):
    """PFA-ScanNet: patches and their masks flipped, scaled, turned and cropped together; colours varied.

    The paper prints no ranges; these are ours.

    Attributes
    ----------
    size : int
        Pixels along each side of a patch.
    mask_size : int
        Pixels along each side of its mask: the patch's centre.
    flip : bool
        Mirror every other patch.
    rotation : (low, high)
        Degrees.
    scale : (low, high)
        Magnification.
    jitter : float
        Pixels that the crop may be off the region's centre.
    brightness, contrast, saturation : (low, high)
        Factors.
    hue : float
        Turns added: from -hue to hue.
    fill : int
        Value of pixels outside the region; masks are 0 there.
    mean, std : three floats
        Floats come out as (x - mean) / std.

    Examples
    --------
    >>> regions = np.random.default_rng(0).integers(90, 250, (2, 800, 800, 3), np.uint8)
    >>> masks = np.zeros((2, 800, 800), np.uint8)
    >>> patches, labels = fastwsi.augment.PfaAugment()(regions, fastwsi.augment.generator(0), masks)
    >>> patches.shape, labels.shape
    ((2, 3, 692, 692), (2, 512, 512))
    """

    size: int = 692
    mask_size: int = 512
    flip: bool = True
    rotation: Range = (0.0, 360.0)
    scale: Range = (0.8, 1.25)
    jitter: float = 32.0
    brightness: Range = (0.8, 1.25)
    contrast: Range = (0.75, 1.25)
    saturation: Range = (0.75, 1.25)
    hue: float = 0.04
    fill: int = 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        check_whole(self, 1, "size", "mask_size")
        check_at_least(self, 0, "jitter", "hue")
        check_ranges(self, "rotation")
        check_ranges(self, "scale", least=0.01, most=100)
        check_ranges(self, "brightness", "contrast", "saturation", least=0)
        if self.mask_size > self.size or (self.size - self.mask_size) % 2:
            raise ValueError(
                f"mask_size: got {self.mask_size} for patches of {self.size} pixels, expected an even margin"
            )

    def draw(self, source: np.random.Generator, region_size: tuple[int, int]) -> tuple[Matrix, PatchParams]:
        """Draw the map and the colours of one patch: (from patch to region, colour steps)."""
        mirrored = bool(source.integers(2))
        angle = uniform(source, self.rotation)
        # A factor and its inverse are equally likely.
        low, high = np.log(self.scale)
        magnified = float(np.exp(source.uniform(low, high)))
        shift = source.uniform(-self.jitter, self.jitter, 2)
        colour = PatchParams(
            brightness_mul=uniform(source, self.brightness),
            saturation_mul=uniform(source, self.saturation),
            hue=uniform(source, (-self.hue, self.hue)),
            contrast=uniform(source, self.contrast),
        )
        (a, b, c), (d, e, f) = inverse_map(
            region_size, (self.size, self.size), angle=angle, flip=self.flip and mirrored, shift=(0.0, 0.0)
        )
        # Scaling about the patch's middle, then the shift, in the region's pixels.
        middle = (self.size - 1) / 2
        rows = []
        for (x, y, offset), moved in zip(((a, b, c), (d, e, f)), shift, strict=True):
            kept = offset + (x + y) * middle * (1 - 1 / magnified)
            rows.append((x / magnified, y / magnified, float(kept + moved)))
        return (rows[0], rows[1]), colour

    def __call__(
        self,
        regions: Array | Sequence[Array],
        generators: np.random.Generator | Sequence[np.random.Generator],
        masks: Array | Sequence[Array] | None = None,
        *,
        dtype: Any = "float32",
        layout: Literal["NCHW", "NHWC"] = "NCHW",
    ) -> tuple[Array, Array | None]:
        """Vary a batch of regions, and their masks with them.

        Parameters
        ----------
        regions : uint8 array (batch, height, width, 3), or a sequence of uint8 arrays (height, width, 3)
            Larger than the patches by what rotation and scale reach for; what is missing is filled.
        generators : numpy.random.Generator, or one per region
            As for the other policies.
        masks : uint8 array (batch, height, width), or a sequence of uint8 arrays (height, width), optional
            Labels of the regions' pixels.

        Returns
        -------
        (patches, masks)
            (batch, 3, size, size) and (batch, mask_size, mask_size) uint8, or None without masks.
        """
        inputs: Any = regions
        labels: Any = masks
        count = len(inputs)
        sizes = patch_sizes(regions)
        if count == 0:
            raise ValueError("regions: got none, expected at least one")
        if labels is not None:
            _check_masks(labels, sizes)
        whole = (self.size, self.size)
        drawn = [
            self.draw(source, size) for source, size in zip(per_image(generators, count), sizes, strict=True)
        ]
        patches = _arrays.empty(inputs[0], (count, *whole, 3), "uint8")
        for region, patch, (matrix, _) in zip(inputs, patches, drawn, strict=True):
            warp(region, matrix, None, patch, size=whole, fill=self.fill)
        scaled: dict[str, Any] = {}
        if _arrays.normalise_dtype(dtype, "dtype") != "uint8":
            scaled = {"mean": self.mean, "std": self.std}
        colour = PatchParams.stack([params for _, params in drawn])
        result = augment_patches(patches, colour, dtype=dtype, layout=layout, **scaled)
        if labels is None:
            return result, None
        margin = (self.size - self.mask_size) // 2
        part = (margin, margin + self.mask_size)
        targets = _arrays.empty(labels[0], (count, self.mask_size, self.mask_size), "uint8")
        for mask, target, (matrix, _) in zip(labels, targets, drawn, strict=True):
            warp(mask, matrix, None, target, size=whole, rows=part, columns=part, fill=0, order=0)
        return result, targets

    def samples(
        self, image: sheet.Pixels | None, sources: Sequence[np.random.Generator], side: int | None
    ) -> list[sheet.Pixels]:
        """Return a region as it is, and one patch for each generator."""
        if image is None:
            image = sheet.example_tissue(self.size * 3 // 2)
        batches = [self(image[None], source, dtype="uint8", layout="NHWC")[0] for source in sources]
        return sheet.cut_to([*sheet.cut_to([image], self.size), *(batch[0] for batch in batches)], side)


def _check_masks(masks: Any, sizes: list[tuple[int, int]]) -> None:
    """Raise what is wrong with the masks of regions of these sizes, before any work."""
    if len(masks) != len(sizes):
        raise ValueError(f"masks: got {len(masks)}, expected {len(sizes)}, one per region")
    for i, (mask, (width, height)) in enumerate(zip(masks, sizes, strict=True)):
        if _arrays.dtype_name(mask) != "uint8":
            raise TypeError(f"image {i}: mask: got dtype {_arrays.dtype_name(mask)}, expected uint8")
        if tuple(mask.shape) != (height, width):
            raise ValueError(
                f"image {i}: mask: got shape {tuple(mask.shape)}, expected {(height, width)}, its region's"
            )
