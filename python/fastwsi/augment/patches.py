"""What all policies for batches of patches share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastwsi.augment import sheet
from fastwsi.augment.draws import Range, per_image
from fastwsi.kernels import PatchParams, augment_patches

if TYPE_CHECKING:
    from fastwsi._arrays import Array

_NOISE = ("noise_fraction", "noise_sigma")
STEPS = (
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
        """Return what each field of ``PatchParams`` is drawn from, uniformly."""

    def draw(self, source: np.random.Generator, image_size: tuple[int, int]) -> PatchParams:
        """Draw the parameters of one image.

        Parameters
        ----------
        source : numpy.random.Generator
            What to draw from.
        image_size : (width, height)
            Of the image that the patch is cut from.
        """
        # One random number each, needed or not: a range more or less must not change the other draws.
        turn, right, down, noise, *others = source.random(4 + len(STEPS))
        share = dict(zip(STEPS, others, strict=True))
        drawn: dict[str, Any] = {
            name: float(low + share[name] * (high - low)) for name, (low, high) in self.ranges().items()
        }
        if any(name in drawn for name in _NOISE):
            drawn["noise_seed"] = int(noise * 2**53)
        orientation = int(turn * 8) if self.orientations else 0
        if self.orientations:
            drawn["orientation"] = orientation
        if self.size is not None:
            shift = [int(number * (2 * self.jitter + 1)) - self.jitter for number in (right, down)]
            drawn["origin"] = self._origin(image_size, orientation, shift)
        return PatchParams(**drawn)

    def _origin(self, image_size: tuple[int, int], orientation: int, shift: list[int]) -> tuple[int, int]:
        assert self.size is not None
        crop = self.size if orientation % 2 == 0 else self.size[::-1]
        room = [whole - part for whole, part in zip(image_size, crop, strict=True)]
        if min(room) < 2 * self.jitter:
            least = [part + 2 * self.jitter for part in crop]
            raise ValueError(
                f"images: got {image_size[0]} x {image_size[1]} pixels, expected at least "
                f"{least[0]} x {least[1]}, for a size of {self.size[0]} x {self.size[1]} and a jitter of "
                f"{self.jitter} pixels each way"
            )
        return room[0] // 2 + shift[0], room[1] // 2 + shift[1]

    def draw_batch(
        self,
        generators: np.random.Generator | Sequence[np.random.Generator],
        image_sizes: Sequence[tuple[int, int]],
    ) -> PatchParams:
        """Draw the parameters of a batch: one generator for all images in turn, or one for each."""
        sources = per_image(generators, len(image_sizes))
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
        given: Any = images
        target: Any = out
        wanted = str(target.dtype if dtype is None and target is not None else dtype)
        params = self.draw_batch(generators, [(image.shape[1], image.shape[0]) for image in given])
        scaled: dict[str, Any] = {}
        if not wanted.endswith("uint8"):
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
