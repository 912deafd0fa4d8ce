"""All that is known of a slide's file, as JSON has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastwsi.slides.slide import Slide

# Of hundreds of properties, those that a person asks for: by the ends of their names.
_OF_INTEREST = (
    ".scanscope id", ".date", ".time", ".datetime", ".filename", ".comment", ".quickhash-1", ".barcode",
    ".manufacturer", ".model", ".software", ".make", ".serialnumber", ".imagedescription",
)  # fmt: skip
_ASSOCIATED = "openslide.associated."


def describe(slide: Slide, *, every_property: bool = False) -> dict[str, Any]:
    """Return what is known of a slide: sizes, resolution and where it is from, readers, properties.

    Parameters
    ----------
    slide : Slide
    every_property : bool
        Take all of the file's properties, not only those of interest: scanner, dates, comment.

    Examples
    --------
    >>> told = fastwsi.slides.describe(fastwsi.open_slide(np.zeros((30, 40, 3), np.uint8), mpp=0.5))
    >>> told["size"], told["mpp"], told["mpp_source"], told["levels"][0]["downsample"]
    ([40, 30], [0.5, 0.5], 'given', 1.0)
    """
    return {
        "path": str(slide.path or slide.name),
        "name": slide.name,
        "size": [*slide.dimensions],
        "mpp": [*slide.mpp_xy] if slide.has_mpp else None,
        "mpp_source": slide.mpp_source,
        "objective_power": slide.objective_power,
        "vendor": slide.properties.get("openslide.vendor"),
        "backend": slide.backend,
        "detail": slide.detail,
        "passed_over": [{"backend": name, "reason": reason} for name, reason in slide.passed_over],
        "bounds": [*slide.bounds],
        "levels": [
            {
                "size": [*level.size],
                "downsample": level.downsample,
                "tile": None if level.tile is None else [*level.tile],
            }
            for level in slide.levels
        ],
        "associated": _associated(slide),
        "properties": {
            name: value
            for name, value in sorted(slide.properties.items())
            if every_property or name.lower().endswith(_OF_INTEREST)
        },
    }


def _associated(slide: Slide) -> list[str]:
    """Return the names of pictures beside the slide's: label, macro."""
    names = (name.removeprefix(_ASSOCIATED) for name in slide.properties if name.startswith(_ASSOCIATED))
    return sorted({name.rpartition(".")[0] for name in names if name.endswith(".width")})
