"""What all policies for batches of patches share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastwsi import _arrays
from fastwsi.augment import sheet
from fastwsi.augment.draws import Range, per_image
from fastwsi.kernels import PatchParams, augment_patches
from fastwsi.kernels.augment import patch_sizes

if TYPE_CHECKING:
    from fastwsi._arrays import Array

_NOISE = ("noise_fraction", "noise_sigma")
LCH = ("lightness", "chroma", "hue_angle")
STEPS = (
    *LCH,
    "brightness_mul",
    "brightness_add",
    "saturation_mul",
    "saturation_add",
    "hue",
    "contrast",
    *_NOISE,
)


class PatchPolicy(sheet.ShowsSamples):
    """Draws parameters for patches and applies them, whole batches in one call of a kernel.

    Subclasses are frozen dataclasses with at least these fields.

    Attributes
    ----------
    size : (width, height) or None
        Of the patches that come out; None for the images' own.
    jitter : int
        Pixels by which the crop may be off the image's centre, along x and along y.
    orientations : bool
        Whether patches are turned and flipped, all eight ways alike.
    mean, std : three floats
        Floats come out as (x - mean) / std with x in [0, 1].
    """

    size: tuple[int, int] | None
    jitter: int
    orientations: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @abstractmethod
    def ranges(self) -> dict[str, Range]:
        """Return what each parameter is drawn from, uniformly; those of ``lch_mul`` by their own names."""

    def draw(self, source: np.random.Generator, image_size: tuple[int, int]) -> PatchParams:
        """Draw the parameters of one image.

        Parameters
        ----------
        source : numpy.random.Generator
            What to draw from.
        image_size : (width, height)
            Of the image that the patch is cut from.
        """
        self._check_room(image_size)
        # One random number each, needed or not: a range more or less must not change the other draws.
        turn, right, down, noise, *others = source.random(4 + len(STEPS))
        share = dict(zip(STEPS, others, strict=True))
        drawn: dict[str, Any] = {
            name: float(low + share[name] * (high - low)) for name, (low, high) in self.ranges().items()
        }
        if any(name in drawn for name in LCH):
            drawn["lch_mul"] = tuple(drawn.pop(name, 1.0) for name in LCH)
        if any(name in drawn for name in _NOISE):
            drawn["noise_seed"] = int(noise * 2**53)
        orientation = int(turn * 8) if self.orientations else 0
        if self.orientations:
            drawn["orientation"] = orientation
        if self.size is not None:
            shift = [int(number * (2 * self.jitter + 1)) - self.jitter for number in (right, down)]
            crop = self.size if orientation % 2 == 0 else self.size[::-1]
            drawn["origin"] = tuple((image_size[k] - crop[k]) // 2 + shift[k] for k in range(2))
        return PatchParams(**drawn)

    def _check_room(self, image_size: tuple[int, int], where: str = "") -> None:
        """ValueError unless an image has room for every crop that may be drawn."""
        if self.size is None:
            return
        crops = [self.size, self.size[::-1]] if self.orientations else [self.size]
        least = [max(crop[axis] for crop in crops) + 2 * self.jitter for axis in range(2)]
        if image_size[0] < least[0] or image_size[1] < least[1]:
            raise ValueError(
                f"{where}got {image_size[0]} x {image_size[1]} pixels, expected at least {least[0]} x "
                f"{least[1]}, for a size of {self.size[0]} x {self.size[1]} and a jitter of {self.jitter} "
                "pixels each way"
            )

    def draw_batch(
        self,
        generators: np.random.Generator | Sequence[np.random.Generator],
        image_sizes: Sequence[tuple[int, int]],
    ) -> PatchParams:
        """Draw the parameters of a batch: one generator for all images in turn, or one for each."""
        sources = per_image(generators, len(image_sizes))
        for i, size in enumerate(image_sizes):
            self._check_room(size, f"image {i}: ")
        return PatchParams.stack([self.draw(s, size) for s, size in zip(sources, image_sizes, strict=True)])

    def __call__(
        self,
        images: Array | Sequence[Array],
        generators: np.random.Generator | Sequence[np.random.Generator],
        out: Array | None = None,
        *,
        dtype: Any = None,
        layout: Literal["NCHW", "NHWC"] = "NCHW",
    ) -> Array:
        """Vary a batch; arguments as in ``fastwsi.kernels.augment_patches``.

        Parameters
        ----------
        images : uint8 array (batch, height, width, 3), or a sequence of uint8 arrays (height, width, 3)
            On the CPU or on a GPU.
        generators : numpy.random.Generator, or one per image
            One for all is drawn from in the images' order. One each (``fastwsi.augment.generator``) makes an
            image independent of the batch that it comes in.
        """
        target: Any = out
        sizes = patch_sizes(images)
        wanted = None if dtype is None else _arrays.normalise_dtype(dtype, "dtype")
        if wanted is None and target is not None:
            wanted = _arrays.dtype_name(target)
        params = self.draw_batch(generators, sizes)
        scaled: dict[str, Any] = {}
        if wanted != "uint8":
            scaled = {"mean": self.mean, "std": self.std}
        return augment_patches(images, params, out, size=self.size, dtype=dtype, layout=layout, **scaled)

    def samples(
        self, image: sheet.Pixels | None, sources: Sequence[np.random.Generator], side: int | None
    ) -> list[sheet.Pixels]:
        """Return an image as it is, and one sample for each generator."""
        if image is None:
            image = sheet.example_tissue(max(self.size or (224, 224)) + 2 * self.jitter)
        plain = augment_patches(image[None], size=self.size, dtype="uint8", layout="NHWC")[0]
        varied = [self(image[None], source, dtype="uint8", layout="NHWC")[0] for source in sources]
        return sheet.cut_to([plain, *varied], side)
