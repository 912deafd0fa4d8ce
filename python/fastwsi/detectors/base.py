"""What every detector can do: be trained, score patches, be saved and loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch

from fastwsi.detectors.model_file import read_model, write_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    import numpy as np
    from torch import nn

    from fastwsi.data import SlideSet
    from fastwsi.engine import RunFolder, TrainingRecipe

Self = TypeVar("Self", bound="Detector")


class Detector(ABC):
    """A network with its recipe.

    Parameters
    ----------
    recipe : Recipe, optional
        Default: the paper's.

    Attributes
    ----------
    system : str
        Its name in the registry.
    recipes : dict
        Recipes by name; the system's own name is the paper's.
    """

    system: ClassVar[str]
    recipes: ClassVar[dict[str, Any]]

    def __init__(self, recipe: Any = None) -> None:
        self.recipe: TrainingRecipe = self.recipes[self.system] if recipe is None else recipe
        expected = type(self.recipes[self.system])
        if not isinstance(self.recipe, expected):
            raise TypeError(f"recipe: got {type(recipe).__name__}, expected {expected.__name__}")
        with torch.random.fork_rng():  # initial weights are the recipe's, whatever was drawn before
            torch.manual_seed(self.recipe.seed)
            self.network = self.build()

    @abstractmethod
    def build(self) -> nn.Module:
        """Return the network that the recipe describes, with initial weights."""

    @abstractmethod
    def fit(self, data_set: SlideSet, out: str | Path, **options: Any) -> RunFolder:
        """Train on a data set; the folder keeps the run, and ``model.safetensors`` in it what came out.

        Options are those of `fastwsi.engine.train`.
        """

    @abstractmethod
    def predict(self, pixels: Any) -> np.ndarray[Any, Any]:
        """Return each patch's probability of tumour: uint8 (n, height, width, 3) in, float32 (n,) out."""

    def save(self, path: str | Path) -> None:
        """Write weights and recipe to one ``.safetensors`` file."""
        self.write(path, {})

    @classmethod
    def load(cls: type[Self], path: str | Path) -> Self:
        """Read what `save` wrote. Nothing in the file is executed; what does not fit is refused."""
        return cls.read(path, frozenset())[0]

    def write(self, path: str | Path, more: Mapping[str, str]) -> None:
        """Write a file with further texts, for those that override `save`."""
        write_model(path, self.system, self.recipe.model_dump(mode="json"), self.network.state_dict(), more)

    @classmethod
    def read(cls: type[Self], path: str | Path, known: AbstractSet[str]) -> tuple[Self, dict[str, str]]:
        """Read a file and the further texts in it; those that are not ``known`` are refused."""
        found = read_model(path)
        if found.system != cls.system:
            raise ValueError(f"{path}: holds the detector {found.system!r}, expected {cls.system!r}")
        unknown = sorted(set(found.more) - known)
        if unknown:
            raise ValueError(f"{path}: got unknown metadata {', '.join(unknown[:5])}")
        try:
            recipe = type(cls.recipes[cls.system]).checked(found.recipe)
            # Weights to begin with are no part of a model that is trained, and may not be there any more.
            plain = recipe.model_copy(update={"weights": ""}) if hasattr(recipe, "weights") else recipe
            with torch.device("meta"):  # shapes alone: a recipe may claim a network of any size
                own = {name: tuple(value.shape) for name, value in cls(plain).network.state_dict().items()}
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        theirs = {name: tuple(value.shape) for name, value in found.weights.items()}
        wrong = sorted(name for name in own.keys() | theirs.keys() if own.get(name) != theirs.get(name))
        if wrong:
            raise ValueError(
                f"{path}: {len(wrong)} tensors do not fit its recipe: {wrong[0]}: got "
                f"{theirs.get(wrong[0], 'none')}, expected {own.get(wrong[0], 'none')}"
            )
        made = cls(plain)
        made.recipe = recipe
        made.network.load_state_dict(found.weights)
        return made, found.more
