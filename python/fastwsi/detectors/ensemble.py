"""Several detectors as one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fastwsi.detectors.predicting import Predicts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fastwsi.detectors.base import Detector
    from fastwsi.engine import PatchInput, ScanRecipe
    from fastwsi.slides import Slide


_MEMBER = "member-"


class Ensemble(Predicts):
    """The mean of several detectors' probabilities.

    Parameters
    ----------
    members : iterable of Detector
        Which take the same patches.

    Examples
    --------
    >>> from fastwsi.detectors import Ensemble, Liu2017
    >>> demo = Liu2017.recipes["liu2017-demo"]
    >>> both = Ensemble(Liu2017(demo.changed({"seed": seed})) for seed in (0, 1))
    >>> both.score(np.full((1, 107, 107, 3), 240, np.uint8)).shape
    (1,)
    """

    def __init__(self, members: Iterable[Detector]) -> None:
        self.members = tuple(members)
        if not self.members:
            raise ValueError("members: got none, expected one detector at least")
        self.trained_mpp = self.members[0].trained_mpp
        for member in self.members:
            if member.input != self.input:
                raise ValueError(f"members: got {member.input} beside {self.input}, expected the same")
            if getattr(member, "stain", None) != getattr(self.members[0], "stain", None):
                raise ValueError("members: got several references of stain, expected one for all")

    @property
    def input(self) -> PatchInput:
        """What patches are like."""
        return self.members[0].input

    @property
    def identity(self) -> dict[str, Any]:
        """Those of all members."""
        return {"members": [member.identity for member in self.members]}

    @property
    def scan_recipe(self) -> ScanRecipe:
        """The first member's."""
        return self.members[0].scan_recipe

    @property
    def device(self) -> torch.device:
        """Where the members are."""
        return self.members[0].device

    def to(self, device: Any) -> Ensemble:
        """Move all members to a device; return the ensemble."""
        for member in self.members:
            member.to(device)
        return self

    def scorer(
        self, device: torch.device, *, precision: str = "32", orientations: bool | None = None
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return what takes patches to mean probabilities, each patch moved to the device once."""
        own = [each.scorer(device, precision=precision, orientations=orientations) for each in self.members]
        return lambda pixels: torch.stack([score(pixels) for score in own]).mean(0)

    def colours(self, slide: Slide) -> Callable[[Any], Any] | None:
        """Return what normalises a slide's stain, the same for all members."""
        return self.members[0].colours(slide)

    def save(self, folder: str | Path) -> None:
        """Write a folder for each member, ``member-0`` and so on, as ``fastwsi train --members`` does."""
        for number, member in enumerate(self.members):
            own = member_folder(folder, number)
            own.mkdir(parents=True, exist_ok=True)
            member.save(own / "model.safetensors")


def member_folder(folder: str | Path, number: int) -> Path:
    """Return a member's folder in an ensemble's."""
    return Path(folder) / f"{_MEMBER}{number}"


def member_files(folder: str | Path) -> tuple[Path, ...]:
    """Return the models of a folder's members, in the order of their numbers; none where it holds no members.

    ValueError where a member has no model yet: a part of an ensemble is another ensemble.
    """
    begun = [path for path in Path(folder).glob(f"{_MEMBER}*") if path.is_dir()]
    without = sorted(path.name for path in begun if not (path / "model.safetensors").exists())
    if without:
        raise ValueError(
            f"{folder}: {', '.join(without)} of {len(begun)} members have no model.safetensors yet"
        )
    found = {
        path.parent.name[len(_MEMBER) :]: path for path in Path(folder).glob(f"{_MEMBER}*/model.safetensors")
    }
    return tuple(found[number] for number in sorted(filter(str.isdigit, found), key=int))
