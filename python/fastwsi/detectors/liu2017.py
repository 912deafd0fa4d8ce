"""Liu et al. 2017: Inception-V3 that tells tumour from normal tissue, patch by patch."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from fastwsi import _numbers, data
from fastwsi.augment import generator
from fastwsi.detectors.base import Detector
from fastwsi.detectors.buffers import Buffers
from fastwsi.detectors.liu2017_recipe import RECIPES, Liu2017Recipe
from fastwsi.detectors.model_file import read_model
from fastwsi.detectors.scoring import PRECISIONS, PatchScorer
from fastwsi.detectors.towers import Towers
from fastwsi.engine import PatchInput, ScanRecipe, is_first_rank, train
from fastwsi.nn import classifier_of, for_inference, inception_v3
from fastwsi.stain import HsdNormalizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from fastwsi.data import PatchBatch, PatchDataset, SlideSet
    from fastwsi.engine import RunFolder
    from fastwsi.slides import Slide

_AUGMENTING = 1  # beside the seed: other draws than the sampler's
_VALIDATION = 2017  # seed of patches that are validated on: the same for all seeds of training


class Liu2017(Detector):
    """A patch classifier by Liu et al. (2017), trained on balanced patches.

    Parameters
    ----------
    recipe : Liu2017Recipe, optional
        Default: the paper's 40X network. `recipes` has others, such as the small one.
    network : torch.nn.Module, optional
        Yours, torchvision's or timm's, with two outputs, in place of the recipe's Inception-V3; for several
        resolutions a sequence of networks, of which copies without classifiers are taken.

    Examples
    --------
    >>> small = fastwsi.detectors.Liu2017(fastwsi.detectors.Liu2017.recipes["liu2017-small"])
    >>> sum(weight.numel() for weight in small.network.parameters())
    281775
    """

    system: ClassVar[str] = "liu2017"
    recipes: ClassVar[dict[str, Any]] = RECIPES
    recipe: Liu2017Recipe

    def __init__(self, recipe: Liu2017Recipe | None = None, *, network: Any = None) -> None:
        super().__init__(recipe, network=network)
        self.stain: HsdNormalizer | None = None  # the reference, where the recipe asks for one
        self._samples: dict[bool, PatchDataset | None] = {}
        self._data: dict[str, Any] = {}
        self._buffers = Buffers()
        self._ready: nn.Module = self.network
        self._ready_for: Any = None

    def build(self) -> nn.Module:
        """Return Inception-V3, or one for each resolution with a common classifier."""
        recipe = self.recipe
        weights = recipe.weights or None
        if recipe.towers == 1:
            return inception_v3(width=recipe.width, num_classes=2, dropout=recipe.dropout, weights=weights)
        towers = [inception_v3(width=recipe.width, num_classes=2, weights=weights) for _ in recipe.mpp]
        return Towers(towers, 2, recipe.dropout)

    def adopt(self, network: Any) -> nn.Module:
        """Return a network that was given, once it is known to fit."""
        towers = self.recipe.towers
        given = [network] if isinstance(network, nn.Module) else list(network)
        if len(given) != towers:
            raise ValueError(f"network: got {len(given)}, expected {towers}, one for each resolution")
        own = given[0] if towers == 1 else Towers(copy.deepcopy(given), 2, self.recipe.dropout)
        side = self.recipe.patch
        shape = (1, 3, side, side) if towers == 1 else (1, towers, 3, side, side)
        training = own.training
        with torch.no_grad():
            found = own.eval()(torch.zeros(shape, device=next(own.parameters()).device))
        own.train(training)
        if tuple(found.shape) != (1, 2):
            raise ValueError(
                f"network: got outputs of shape {tuple(found.shape)}, expected (1, 2): two logits"
            )
        return own

    @property
    def input(self) -> PatchInput:
        """What patches are like."""
        return PatchInput(self.recipe.patch, self.recipe.centre, self.recipe.mpp)

    @property
    def scan_recipe(self) -> ScanRecipe:
        """The recipe's part for scanning."""
        return self.recipe.scan

    def fit(
        self,
        data_set: SlideSet,
        out: str | Path,
        *,
        reading: Callable[[str, int, int], None] | None = None,
        **options: Any,
    ) -> RunFolder:
        """Train on the slides of the split "train", validated on those of "validation".

        Parameters
        ----------
        data_set : SlideSet
        out : path
            The run's folder; ``model.safetensors`` in it is what came out.
        reading : callable, optional
            Called with a slide's name, slides done, and slides in all, while annotations are read.
        options
            Those of `fastwsi.engine.train`.
        """
        records = data_set.of("train").records
        if not records:
            raise ValueError(f"data: {data_set.name} has no slides of the split 'train'")
        self.trained_mpp = None if self.recipe.mpp else data.median_mpp(records)
        if self.recipe.hsd:
            self.stain = data.stain_reference(records)
        self._samples = {True: self._patches(records, self.recipe.seed, reading), False: None}
        aside = data_set.of("validation").records
        if aside and self.recipe.validate_every:
            try:
                self._samples[False] = self._patches(aside, _VALIDATION, reading)
            except ValueError as error:
                raise ValueError(f"validation: {error}") from None
        self._data = {
            "name": data_set.name,
            "train": [record.name for record in records],
            "validation": [record.name for record in aside],
        }
        folder = train(self, out, system=self.system, **options)
        self._buffers = Buffers()
        if is_first_rank():  # batch norms differ between ranks: one's are kept
            best = folder.path / "best.safetensors"
            if self.recipe.keep == "best" and best.exists():
                self.network.load_state_dict(read_model(best).weights)
            self.save(folder.path / "model.safetensors")
        return folder

    def _patches(self, records: Any, seed: int, reading: Any) -> PatchDataset:
        recipe = self.recipe
        return data.balanced_patches(
            records, tissue="gray", seed=seed, progress=reading, size=recipe.patch + 2 * recipe.jitter,
            centre=recipe.centre, mpp=recipe.mpp[0] if recipe.mpp else None, context=recipe.mpp[1:],
            stains=None if self.stain is None else data.stains_of(records, self.stain),
        )  # fmt: skip

    # What a training run asks for: see `fastwsi.engine.Task`.

    def data(self) -> dict[str, Any]:
        """Return names of slides by split."""
        return self._data

    def samples(self, *, training: bool) -> PatchDataset | None:
        """Return patches with a margin for the jitter."""
        return self._samples.get(training)

    def pixels(self, batch: PatchBatch, *, training: bool) -> torch.Tensor:
        """Return patches varied, cropped and on [-1, 1]: each by its own number.

        The memory is used again two calls later: a step's batch is gone by then, and new memory for each
        would cost as much as the variation itself.
        """
        policy, seed = self.recipe.policy(training=training), self.recipe.seed
        towers = batch.pixels.unsqueeze(1) if batch.pixels.ndim == 4 else batch.pixels
        # Channels last in memory, which is what networks are fastest on.
        shape = (towers.shape[1], len(batch), self.recipe.patch, self.recipe.patch, 3)
        out = self._buffers.lend(shape, batch.pixels.device)
        for images, varied in zip(towers.unbind(1), out, strict=True):
            # Towers see one place alike: their generators begin anew.
            generators = [generator(seed, _AUGMENTING, index) for index in batch.indices]
            policy(images, generators, out=varied, layout="NHWC")
        found = out.permute(1, 0, 4, 2, 3)
        return found[:, 0] if batch.pixels.ndim == 4 else found

    def loss(self, logits: torch.Tensor, batch: PatchBatch) -> torch.Tensor:
        """Return the cross-entropy with labels, or with the tumour's part of the centre."""
        if not self.recipe.soft_labels:
            return nn.functional.cross_entropy(logits, batch.labels)
        return nn.functional.cross_entropy(logits, torch.stack([1 - batch.shares, batch.shares], 1))

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Return probabilities of tumour."""
        return logits.softmax(1)[:, 1]

    def classifier(self) -> Iterable[nn.Parameter]:
        """Return the last layer's weights."""
        return classifier_of(self.network)[1].parameters()

    def scorer(
        self, device: torch.device, *, precision: str = "32", orientations: bool | None = None
    ) -> PatchScorer:
        """Return what takes patches, uint8 on the device, to probabilities; see `Predicts.scorer`."""
        turned = self.recipe.scan.orientations if orientations is None else orientations
        # Made ready once for weights as they are; torch counts changes in place.
        own = self.network.state_dict(keep_vars=True).values()
        weights = tuple((id(each), each._version) for each in own)  # noqa: SLF001  (torch's own counter)
        if (device, precision, weights) != self._ready_for:
            self._ready = for_inference(self.network, dtype=PRECISIONS[precision]).to(device)
            self._ready_for = device, precision, weights
        return PatchScorer(self._ready, self.scores, orientations=turned)

    def colours(self, slide: Slide) -> HsdNormalizer | None:
        """Return what takes a slide's stain to the reference's, with the recipe's ``hsd``."""
        return data.stain_of(slide, self._reference()) if self.recipe.hsd else None

    def texts(self) -> dict[str, str]:
        """Return the stain's reference, where the recipe asks for one, and the resolution of level 0."""
        found = {"stain": self._reference().to_json()} if self.recipe.hsd else {}
        if self.trained_mpp is not None:
            found["trained_mpp"] = repr(self.trained_mpp)
        return found

    def _reference(self) -> HsdNormalizer:
        if self.stain is None:
            raise ValueError("hsd: got no reference to normalise to, expected fit or load before")
        return self.stain

    @classmethod
    def load(cls, path: str | Path, *, network: Any = None) -> Liu2017:
        """Read what `save` wrote. Nothing in the file is executed; what does not fit is refused.

        ``network``: for the weights of one that was given, the same again.
        """
        made, more = cls.read(path, {"stain", "trained_mpp"}, network)
        if "trained_mpp" in more:
            try:
                made.trained_mpp = _numbers.finite(float(more["trained_mpp"]), "trained_mpp", 0)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
        if made.recipe.hsd:
            try:
                made.stain = HsdNormalizer.from_json(more.get("stain", ""))
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
        return made
