"""Plain pictures, PNG and JPEG and their like, as slides of one level, decoded whole."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from fastwsi.slides import resolution
from fastwsi.slides.array_backend import ArrayBackend
from fastwsi.slides.errors import SlideError, Unsuited

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from fastwsi.slides.backend import Options, Pixels
    from fastwsi.slides.resolution import Resolution

# Not all that Pillow knows: for some it starts other programs.
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
_DENSEST = 1 << 12  # pixels that a byte of a picture may stand for: more, and its header lies


class ImageBackend(ArrayBackend):
    """Reads what Pillow reads."""

    def __init__(self, path: Path, options: Options) -> None:
        if path.is_dir():
            raise Unsuited("a folder")
        try:
            from PIL import Image, UnidentifiedImageError  # noqa: PLC0415  (imported where used)
        except ImportError as error:
            raise Unsuited(f"Pillow is not installed ({error})") from error
        try:
            # Pillow warns of large pictures, which slides are, and refuses those of over 178 megapixels.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(path, formats=_FORMATS) as image:
                    _check_size(path, image)
                    tags = _tagged(image)
                    kind = image.format or "picture"
                    pixels = _pixels(image)
        except UnidentifiedImageError:
            raise Unsuited("no picture that Pillow knows") from None
        except Image.DecompressionBombError as error:
            raise SlideError(path, f"too large to be read whole ({error}); make it a tiled TIFF") from None
        except (SlideError, Unsuited, PermissionError):
            raise
        except Exception as error:  # whatever a damaged picture makes Pillow do
            raise SlideError(path, f"broken picture: {error or type(error).__name__}") from error
        super().__init__(pixels, options, detail=f"{kind} picture, decoded whole")
        self.resolutions = (("TIFF tags" if kind == "TIFF" else f"{kind} header", tags),)


def _check_size(path: Path, image: Image) -> None:
    width, height = image.size
    if width * height > _DENSEST * max(1, path.stat().st_size):
        raise SlideError(path, f"{path.stat().st_size} bytes cannot hold {width} x {height} pixels")


def _pixels(image: Image) -> Pixels:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        from PIL import Image as Pictures  # noqa: PLC0415  (beside its twin)

        clear = image.convert("RGBA")
        white = Pictures.new("RGBA", clear.size, (255, 255, 255, 255))
        return np.asarray(Pictures.alpha_composite(white, clear).convert("RGB"))
    if image.mode not in ("1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB", "HSV"):
        raise Unsuited(f"pictures of mode {image.mode}")
    return np.asarray(image.convert("RGB"))


def _tagged(image: Image) -> Resolution | None:
    """Return micrometres per pixel of a picture's dots per inch, where its header has some."""
    dots: Any = image.info.get("dpi")
    try:
        per_x, per_y = float(dots[0]), float(dots[1])
    except (TypeError, ValueError, IndexError):
        return None
    return resolution.from_tags(2, per_x, per_y) if math.isfinite(per_x + per_y) else None
