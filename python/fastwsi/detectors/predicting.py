"""What detectors and ensembles have in common: patches in, scores out; a slide in, its result out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastwsi.detectors.scoring import score_in_batches
from fastwsi.engine.scanning.predicting import predict
from fastwsi.slides import Slide, open_slide

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch

    from fastwsi.engine import PatchInput, ScanRecipe, SlideResult


class Predicts(ABC):
    """A model of patches, as `fastwsi.engine.scan` takes it, with which slides can be scanned.

    Attributes
    ----------
    trained_mpp : float or None
        Micrometres per pixel of what it was trained on, where that is not in its recipe but is known.
    """

    trained_mpp: float | None = None

    @property
    @abstractmethod
    def input(self) -> PatchInput:
        """What patches are like."""

    @property
    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What it is, as JSON has it: another model's is another."""

    @property
    @abstractmethod
    def scan_recipe(self) -> ScanRecipe:
        """How it is meant to scan."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where it is."""

    @abstractmethod
    def scorer(
        self, device: torch.device, *, precision: str = "32", orientations: bool | None = None
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return what takes patches, uint8 (n, *`PatchInput.shape`) on the device, to n probabilities.

        Parameters
        ----------
        device : torch.device
        precision : str
            "32", "bf16" or "16", of activations.
        orientations : bool, optional
            Whether to take the mean over eight. Default: as the recipe has it.
        """

    def colours(self, slide: Slide) -> Callable[[Any], Any] | None:
        """Return what normalises a slide's stain, if the model does that."""
        del slide  # this one does not
        return None

    def score(self, pixels: Any) -> np.ndarray[Any, Any]:
        """Return the probability of tumour of each patch.

        Parameters
        ----------
        pixels : uint8 array, shape (n, *`PatchInput.shape`)
            For models that normalise stains, with `colours` applied.

        Returns
        -------
        float32 array, shape (n,)
        """
        return score_in_batches(self, pixels, self.device)

    def predict(
        self,
        slide: str | Path | Slide | Any,
        *,
        device: str | torch.device = "auto",
        batch_size: int | None = None,
        readers: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        **settings: Any,
    ) -> SlideResult:
        """Scan a slide: its heatmap, its detections, its score.

        Parameters
        ----------
        slide : path, Slide, or whatever `fastwsi.open_slide` takes
        device : str or torch.device
            "auto": a GPU where torch sees one.
        batch_size : int, optional
            Patches that are scored at once. Default: 16 on a CPU, 32 on a GPU.
        readers : int, optional
            Threads that read.
        progress : callable, optional
            Called with patches done, and patches in all.
        settings
            What is to be otherwise than in `scan_recipe`: ``stride``, ``tissue``, ``orientations``,
            ``nms_radius``, ``nms_threshold`` …
        """
        if not isinstance(slide, Slide):
            with open_slide(slide) as opened:
                return self.predict(
                    opened, device=device, batch_size=batch_size, readers=readers, progress=progress,
                    **settings,
                )  # fmt: skip
        recipe = self.scan_recipe.changed(settings)
        found, _ = predict(
            self, slide, recipe, device=device, batch_size=batch_size, readers=readers, progress=progress
        )
        return found
