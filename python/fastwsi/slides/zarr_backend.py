"""Zarr folders as slides: one array, or OME-Zarr's multiscale group of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastwsi.slides.array_backend import ArrayBackend
from fastwsi.slides.errors import SlideError, Unsuited

if TYPE_CHECKING:
    from pathlib import Path

    from fastwsi.slides.backend import Options
    from fastwsi.slides.resolution import Resolution

_MICROMETRES = {"micrometer": 1.0, "micron": 1.0, "nanometer": 1e-3, "millimeter": 1e3}


class ZarrBackend(ArrayBackend):
    """Reads zarr arrays (height, width, 3), and OME-Zarr images whose colours come last or first."""

    def __init__(self, path: Path, options: Options) -> None:
        if not path.is_dir():
            raise Unsuited("no folder")
        import zarr  # noqa: PLC0415  (imported where used)

        try:
            node = zarr.open(str(path), mode="r")
            arrays, resolution = _levels(node)
        except (Unsuited, SlideError):
            raise
        except Exception as error:
            raise SlideError(path, f"broken zarr store: {error or type(error).__name__}") from error
        super().__init__(arrays, options, detail="zarr")
        self.resolutions = (("OME-Zarr", resolution),)


class _Colours:
    """An array of colour planes, (..., colour, row, column), seen as rows of pixels."""

    dtype = "uint8"

    def __init__(self, array: Any) -> None:
        self._array, self._before = array, array.ndim - 3
        self.shape = (*array.shape[-2:], array.shape[-3])

    def __getitem__(self, place: tuple[slice, slice]) -> Any:
        others = (0,) * self._before
        index = (*others, slice(None), *place)
        part = self._array[index]
        return part.transpose(1, 2, 0)


def _levels(node: Any) -> tuple[list[Any], Resolution | None]:
    if hasattr(node, "shape"):
        return [node], None
    attributes = dict(node.attrs)
    scales = attributes.get("ome", attributes).get("multiscales")
    if not scales:
        raise Unsuited("a zarr group without OME-Zarr's multiscales")
    first = scales[0]
    arrays = [node[entry["path"]] for entry in first["datasets"]]
    axes = [axis if isinstance(axis, str) else axis.get("name") for axis in first.get("axes", [])]
    if axes and axes[-1] != "c":
        arrays = [_Colours(array) if array.ndim >= 3 else array for array in arrays]
    return arrays, _resolution(first)


def _resolution(multiscale: Any) -> Resolution | None:
    try:
        scale = multiscale["datasets"][0]["coordinateTransformations"][0]["scale"]
        axes = {axis["name"]: i for i, axis in enumerate(multiscale["axes"])}
        units = [_MICROMETRES[multiscale["axes"][axes[name]]["unit"]] for name in "xy"]
        return float(scale[axes["x"]]) * units[0], float(scale[axes["y"]]) * units[1]
    except (KeyError, IndexError, TypeError, ValueError):
        return None
