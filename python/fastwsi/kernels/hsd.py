"""HSD stain statistics and normalisation (Liu et al. 2017, appendix A.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastwsi import _arrays, _core
from fastwsi.kernels.hsd_statistics import HsdMoments, colour_transform

if TYPE_CHECKING:
    from fastwsi._arrays import Array

_OUTPUT_DTYPES = ("uint8", "float32", "float16", "bfloat16")
_SUMS = 11  # doubles that the device kernel leaves


def hsd_moments(images: Array, mask: Array | None = None) -> HsdMoments:
    """Measure the colour distribution of pixels in HSD space.

    Parameters
    ----------
    images : uint8 array, shape (..., height, width, 3)
        RGB pixels, in any memory layout; one image, a batch, or none.
    mask : bool or uint8 array, shape (..., height, width), optional
        Pixels to count are those that are not 0.

    Returns
    -------
    HsdMoments
        Of all counted pixels together. Sums are kept in float64 and do not depend on the number of
        threads. For arrays on a GPU this waits for the result once; coordinates are float32 there.
        Under torch.compile it breaks the graph, since the result is not a tensor.

    Examples
    --------
    >>> image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    >>> left, right = image[:, :20], image[:, 20:]
    >>> pooled = fastwsi.kernels.hsd_moments(left) + fastwsi.kernels.hsd_moments(right)
    >>> whole = fastwsi.kernels.hsd_moments(image)
    >>> abs(pooled.density_mean - whole.density_mean) < 1e-12
    True
    """
    _check_pixels(images)
    if mask is not None:
        _check_mask(images, mask)
    if _arrays.is_compiling():
        from fastwsi.kernels.torch_ops import hsd_moments_outside_the_graph  # noqa: PLC0415

        moments: HsdMoments = hsd_moments_outside_the_graph(images, mask)
        return moments
    if not _arrays.is_gpu(images):
        return HsdMoments.from_central(_core.hsd_moments(images, mask))
    workspace = _arrays.empty(images, (_core.hsd_moments_workspace(),), "float64")
    sums = _arrays.empty(images, (_SUMS,), "float64")
    _core.hsd_moments_device(images, mask, workspace, sums, _arrays.stream_of(images))
    return HsdMoments.from_central(_core.hsd_moments_central(sums.tolist()))


def hsd_normalize(
    images: Array,
    source: HsdMoments | Sequence[HsdMoments],
    target: HsdMoments,
    out: Array | None = None,
    *,
    dtype: Any = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Array:
    """Give images the colour distribution of a target, in one pass over memory.

    Chromatic coordinates are moved by the map between the two Gaussians that changes colours least,
    densities by mean and standard deviation.

    Parameters
    ----------
    images : uint8 array, shape (..., height, width, 3)
        RGB pixels, in any memory layout.
    source : HsdMoments, or one for each image along the first axis
        What the pixels look like now, best measured over the whole slide.
    target : HsdMoments
        What they are to look like.
    out : array, optional
        Where to write; its dtype is the dtype asked for. For uint8 it may be ``images`` itself.
    dtype : "uint8", "float32", "float16" or "bfloat16", optional
        uint8 (the default) gives images back, rounded and clipped; the others give a network's input:
        channels before height and width, (intensity / 255 - mean) / std, clipped but not rounded.
        bfloat16 needs torch.
    mean, std : three floats, optional
        For the float dtypes; 0 and 1 without them.

    Returns
    -------
    array
        ``out``, or a new one: shape (..., height, width, 3) for uint8, (..., 3, height, width) else.
        No gradient flows: the input is 8-bit. Floats are within 2e-5 of exact arithmetic on pixels of
        ordinary tissue. The error grows with how far the map stretches colours: 2.3e-5 was seen for a pale
        source, over all colours and with ImageNet's std, and 1e-3 for a source of nearly one colour.

    Warns
    -----
    RuntimeWarning
        Where the source has no spread in colour or density; its variances are then raised to what
        8-bit pixels can resolve.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> image = rng.integers(90, 240, (32, 32, 3), np.uint8)
    >>> source = fastwsi.kernels.hsd_moments(image)
    >>> target = fastwsi.kernels.hsd_moments(rng.integers(60, 200, (32, 32, 3), np.uint8))
    >>> result = fastwsi.kernels.hsd_normalize(image, source, target)
    >>> result.shape, result.dtype.name
    ((32, 32, 3), 'uint8')
    >>> batch = fastwsi.kernels.hsd_normalize(image[None], source, target, dtype="float32")
    >>> batch.shape, batch.dtype.name
    ((1, 3, 32, 32), 'float32')
    """
    _check_pixels(images)
    chosen = _arrays.output_dtype(out, dtype, images, _OUTPUT_DTYPES)
    scale, shift = _plane_scale(mean, std, chosen)
    sources = _sources(images, source)
    if not isinstance(target, HsdMoments):
        raise TypeError(f"target: got {type(target).__name__}, expected HsdMoments")
    if _arrays.is_compiling():
        if out is not None:
            raise ValueError("out: not supported under torch.compile; leave it out")
        from fastwsi.kernels.torch_ops import hsd_normalize_op  # noqa: PLC0415

        # Plain numbers, the sources' first: where source and target are one object, torch guards only the
        # way by which it met the object first, and the target's is the one that seldom changes.
        numbers = [number for moments in (*sources, target) for number in moments.numbers()]
        return hsd_normalize_op(images, numbers, scale, shift, chosen)  # type: ignore[no-any-return]
    transforms: list[float] = []
    for moments in sources:
        transforms += colour_transform(moments, target)
    given = out
    if out is None:
        out = _arrays.empty(images, output_shape(images.shape, chosen), chosen)  # type: ignore[attr-defined]
    _core.hsd_normalize(images, _arrays.plain(out), transforms, scale, shift, _arrays.stream_of(images))
    _arrays.mark_written(given)
    return out


def output_shape(shape: Sequence[int], dtype: str) -> tuple[int, ...]:
    """Return the result's shape for images of ``shape``: channels last for uint8, else before H and W.

    Examples
    --------
    >>> output_shape((8, 64, 48, 3), "float32")
    (8, 3, 64, 48)
    """
    if dtype == "uint8":
        return tuple(shape)
    return (*shape[:-3], 3, *shape[-3:-1])


def _check_pixels(images: Any) -> None:
    _arrays.framework_of(images, "images")
    if _arrays.dtype_name(images) != "uint8":
        raise TypeError(f"images: got dtype {_arrays.dtype_name(images)}, expected uint8")
    if len(images.shape) < 3 or images.shape[-1] != 3:
        raise ValueError(f"images: got shape {tuple(images.shape)}, expected (..., height, width, 3)")


def _check_mask(images: Any, mask: Any) -> None:
    if _arrays.framework_of(mask, "mask") != _arrays.framework_of(images, "images"):
        raise TypeError(
            f"mask: got a {_arrays.framework_of(mask, 'mask')} array, expected a "
            f"{_arrays.framework_of(images, 'images')} one, as images is"
        )
    if _arrays.dtype_name(mask) not in ("bool", "uint8"):
        raise TypeError(f"mask: got dtype {_arrays.dtype_name(mask)}, expected bool or uint8")
    if tuple(mask.shape) != tuple(images.shape[:-1]):
        raise ValueError(f"mask: got shape {tuple(mask.shape)}, expected {tuple(images.shape[:-1])}")


def _three(values: Sequence[float] | None, default: float, name: str) -> list[float]:
    numbers = [default] * 3 if values is None else _arrays.floats(values, name)
    if len(numbers) != 3 or not all(abs(v) < float("inf") for v in numbers):
        raise ValueError(f"{name}: got {values}, expected three finite numbers")
    return numbers


def _plane_scale(
    mean: Sequence[float] | None, std: Sequence[float] | None, dtype: str
) -> tuple[list[float], list[float]]:
    if dtype == "uint8" and (mean is not None or std is not None):
        raise ValueError("mean and std: not for uint8 output; ask for a float dtype")
    means, stds = _three(mean, 0.0, "mean"), _three(std, 1.0, "std")
    if min(stds) <= 0:
        raise ValueError(f"std: got {std}, expected positive numbers")
    scale = [1 / (255 * s) for s in stds]
    return scale, [-m / s for m, s in zip(means, stds, strict=True)]


def _sources(images: Any, source: HsdMoments | Sequence[HsdMoments]) -> list[HsdMoments]:
    """Return one source, or one for each image along the first axis."""
    if isinstance(source, HsdMoments):
        return [source]
    if not isinstance(source, Sequence) or not all(isinstance(s, HsdMoments) for s in source):
        raise TypeError(f"source: got {type(source).__name__}, expected HsdMoments or a sequence of them")
    if len(images.shape) < 4 or len(source) != images.shape[0]:
        raise ValueError(
            f"source: got {len(source)} moments for images of shape {tuple(images.shape)}, "
            "expected one, or one for each image along the first of four or more axes"
        )
    return list(source)
