"""What every detector can do: be trained, score patches, be saved and loaded."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch

from fastwsi.detectors.model_file import read_model, write_model
from fastwsi.detectors.predicting import Predicts

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from torch import nn

    from fastwsi.data import SlideSet
    from fastwsi.engine import RunFolder, TrainingRecipe

Self = TypeVar("Self", bound="Detector")


_NETWORK = "network"  # in a file: whose weights it has, if not those of the recipe's network


class Detector(Predicts):
    """A network with its recipe.

    Parameters
    ----------
    recipe : Recipe, optional
        Default: the paper's.
    network : torch.nn.Module, optional
        Yours, torchvision's or timm's, in place of the recipe's.

    Attributes
    ----------
    system : str
        Its name in the registry.
    recipes : dict
        Recipes by name; the system's own name is the paper's.
    """

    system: ClassVar[str]
    recipes: ClassVar[dict[str, Any]]

    def __init__(self, recipe: Any = None, *, network: Any = None) -> None:
        self.recipe: TrainingRecipe = self.recipes[self.system] if recipe is None else recipe
        expected = type(self.recipes[self.system])
        if not isinstance(self.recipe, expected):
            raise TypeError(f"recipe: got {type(recipe).__name__}, expected {expected.__name__}")
        self.given = type(network).__name__ if network is not None else ""
        with torch.random.fork_rng():  # initial weights are the recipe's, whatever was drawn before
            torch.manual_seed(self.recipe.seed)
            self.network: nn.Module = self.build() if network is None else self.adopt(network)

    @abstractmethod
    def build(self) -> nn.Module:
        """Return the network that the recipe describes, with initial weights."""

    @abstractmethod
    def adopt(self, network: Any) -> nn.Module:
        """Return a network that was given, once it is known to fit."""

    @abstractmethod
    def fit(self, data_set: SlideSet, out: str | Path, **options: Any) -> RunFolder:
        """Train on a data set; the folder keeps the run, and ``model.safetensors`` in it what came out.

        Options are those of `fastwsi.engine.train`.
        """

    @property
    def identity(self) -> dict[str, Any]:
        """The system, and fingerprints of recipe and weights."""
        weights = hashlib.sha256()
        for name, value in sorted(self.network.state_dict().items()):
            weights.update(name.encode())
            weights.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        for name, text in sorted({**self.texts(), _NETWORK: self.given}.items()):
            weights.update(f"{name}={text}".encode())
        recipe = self.recipe.fingerprint
        return {"system": self.system, "recipe": recipe, "weights": weights.hexdigest()[:16]}

    def texts(self) -> dict[str, str]:
        """Return what beside recipe and weights makes the detector, to be kept in its file."""
        return {}

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def to(self: Self, device: Any) -> Self:
        """Move the network to a device, such as "cuda", where `score` works then; return the detector."""
        self.network.to(device)
        return self

    def save(self, path: str | Path) -> None:
        """Write weights, recipe and whatever else makes the detector to one ``.safetensors`` file."""
        texts = {**self.texts(), **({_NETWORK: self.given} if self.given else {})}
        recipe = self.recipe.model_dump(mode="json")
        write_model(path, self.system, recipe, self.network.state_dict(), texts)

    @classmethod
    def load(cls: type[Self], path: str | Path, *, network: Any = None) -> Self:
        """Read what `save` wrote. Nothing in the file is executed; what does not fit is refused.

        ``network``: for the weights of one that was given, the same again.
        """
        return cls.read(path, frozenset(), network)[0]

    @classmethod
    def read(
        cls: type[Self], path: str | Path, known: AbstractSet[str], network: Any = None
    ) -> tuple[Self, dict[str, str]]:
        """Read a file and the further texts in it; those that are not ``known`` are refused."""
        found = read_model(path)
        if found.system != cls.system:
            raise ValueError(f"{path}: holds the detector {found.system!r}, expected {cls.system!r}")
        unknown = sorted(set(found.more) - known - {_NETWORK})
        if unknown:
            raise ValueError(f"{path}: got unknown metadata {', '.join(unknown[:5])}")
        if (_NETWORK in found.more) != (network is not None):
            whose = found.more.get(_NETWORK, "")
            raise ValueError(
                f"{path}: holds the weights of a network of your own, {whose}: pass it as network="
                if whose
                else f"{path}: holds the weights of the recipe's network, got another as network="
            )
        try:
            recipe = type(cls.recipes[cls.system]).checked(found.recipe)
            # Weights to begin with are no part of a model that is trained, and may not be there any more.
            plain = recipe.model_copy(update={"weights": ""}) if hasattr(recipe, "weights") else recipe
            with torch.device("meta"):  # shapes alone: a recipe may claim a network of any size
                made = cls(plain) if network is None else None
            made = made or cls(plain, network=network)
            own = {name: tuple(value.shape) for name, value in made.network.state_dict().items()}
        except (ValueError, TypeError, RuntimeError, OverflowError) as error:
            raise ValueError(f"{path}: {error}") from None
        theirs = {name: tuple(value.shape) for name, value in found.weights.items()}
        broken = [name for name, value in found.weights.items() if not _is_finite(value)]
        if broken:
            raise ValueError(f"{path}: {len(broken)} tensors hold values that are no numbers: {broken[0]}")
        wrong = sorted(name for name in own.keys() | theirs.keys() if own.get(name) != theirs.get(name))
        if wrong:
            raise ValueError(
                f"{path}: {len(wrong)} tensors do not fit its recipe: {wrong[0]}: got "
                f"{theirs.get(wrong[0], 'none')}, expected {own.get(wrong[0], 'none')}"
            )
        if network is None:
            made = cls(plain)
        made.recipe = recipe
        made.network.load_state_dict(found.weights)
        return made, found.more


def _is_finite(value: torch.Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())
