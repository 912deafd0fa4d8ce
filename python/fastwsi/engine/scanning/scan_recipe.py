"""How slides are scanned: settings that a model carries, and that anyone may change."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from fastwsi.engine.recipe import Recipe, setting

Tissue = Literal["gray", "hsv_otsu", "otsu", "all"]
Precision = Literal["auto", "32", "bf16", "16"]


class ScanRecipe(Recipe):
    """Settings of a scan, and of the detections that are taken from its heatmap.

    Examples
    --------
    >>> ScanRecipe(stride=64).changed({"nms_radius": 4}).nms_radius
    4.0
    """

    stride: int = setting(
        0, "between patches' middles; 0: the side of the middle that labels are of", unit="pixels", ge=0
    )
    tissue: Tissue = setting("hsv_otsu", "what is scanned: tissue, by which rule, or all")
    min_tissue: float = setting(0.0, "of a cell; 0: any", unit="part", ge=0, le=1)
    orientations: bool = setting(False, "mean over eight orientations")
    nms_radius: float = setting(6.0, "in which a detection suppresses others", unit="cells", ge=0)
    nms_threshold: float = setting(0.5, "which detections exceed", ge=0)
    precision: Annotated[Precision, pydantic.BeforeValidator(str)] = setting(
        "auto", "of activations; auto: float16 on a GPU, float32 on a CPU"
    )
