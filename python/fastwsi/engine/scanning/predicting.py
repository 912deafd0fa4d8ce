"""A slide to its result: scanned, its detections found, its score taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from fastwsi.engine.devices import device_of
from fastwsi.engine.scanning.scan import PatchModel, Scan, precision_of, scan
from fastwsi.engine.slide_result import SlideResult
from fastwsi.slides import tissue_mask

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from fastwsi.engine.scanning.scan_recipe import ScanRecipe
    from fastwsi.slides import Slide


_OTHER = 1.15  # times a resolution: from here on it is another one


class Predictor(PatchModel, Protocol):
    """A model whose results can be told from another's: detectors and ensembles."""

    @property
    def identity(self) -> dict[str, Any]:
        """What it is, as JSON has it: another one's is another."""

    @property
    def scan_recipe(self) -> ScanRecipe:
        """How it is meant to scan."""


def settings_of(model: Predictor, recipe: ScanRecipe, device: torch.device) -> dict[str, Any]:
    """Return everything that a slide's result hangs on beside the slide, as JSON has it."""
    asked = recipe.model_dump(mode="json")
    asked["stride"] = recipe.stride or model.input.centre
    asked["precision"] = precision_of(recipe.precision, device)
    detections = {"radius": asked.pop("nms_radius"), "threshold": asked.pop("nms_threshold")}
    return {"model": model.identity, "scan": asked, "nms": detections}


def predict(
    model: Predictor,
    slide: Slide,
    recipe: ScanRecipe | None = None,
    *,
    name: str | None = None,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    readers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    settings: dict[str, Any] | None = None,
) -> tuple[SlideResult, Scan]:
    """Return a slide's heatmap, detections and score, and how the scan went.

    Parameters
    ----------
    model : Predictor
        A detector, or an ensemble.
    slide : Slide
    recipe : ScanRecipe, optional
        Default: the model's.
    name : str, optional
        Default: the slide's.
    device, batch_size, readers, progress
        As of `scan`.
    settings : dict, optional
        What to keep with the result: `settings_of`, which goes over all weights, and more if wanted.
    """
    how = model.scan_recipe if recipe is None else recipe
    where = device_of(device)
    kept = settings_of(model, how, where) if settings is None else settings
    tissue = None if how.tissue == "all" else tissue_mask(slide, how.tissue)
    found = scan(
        model, slide, stride=how.stride or model.input.centre, tissue=tissue, min_tissue=how.min_tissue,
        orientations=how.orientations, device=where, precision=how.precision, batch_size=batch_size,
        readers=readers, progress=progress,
    )  # fmt: skip
    result = SlideResult.of(
        found.heatmap, name=slide.name if name is None else name, scale=found.scale,
        slide_size=slide.dimensions, radius=how.nms_radius, threshold=how.nms_threshold,
        mpp=slide.mpp_xy if slide.has_mpp else None, bounds=(slide.bounds.x, slide.bounds.y),
        remarks=_remarks(model, slide, found), settings=kept,
    )  # fmt: skip
    return result, found


def _remarks(model: Predictor, slide: Slide, found: Scan) -> list[str]:
    """Return what a slide's score does not tell."""
    said = []
    if not found.patches:
        said.append("nothing was scanned: no tissue was found")
    if slide.corrupt:
        count = len(slide.corrupt)
        said.append(f"{count} unreadable tile{' was' if count == 1 else 's were'} scanned as blank")
    meant = getattr(model, "trained_mpp", None)
    if meant and slide.has_mpp and not model.input.mpp:  # scanned at level 0, whatever it is
        own = slide.mpp
        if max(meant, own) > _OTHER * min(meant, own):
            said.append(f"level 0 has {own:.3g} µm per pixel, and the model was trained at {meant:.3g}")
    return said
