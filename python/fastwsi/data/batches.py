"""Patches in batches: loaded by workers, in an order that depends on numbers alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler, get_worker_info

from fastwsi import _numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch.utils.data import Dataset

    from fastwsi.data.patches import PatchSample


@dataclass(frozen=True, eq=False)
class PatchBatch:
    """Patches that are trained on together; pixels stay uint8 until they are where the network is.

    Attributes
    ----------
    pixels : uint8 tensor, shape (batch, size, size, 3)
    labels : int64 tensor, shape (batch,)
        1 where any pixel of the centre is tumour.
    shares : float32 tensor, shape (batch,)
        The part of the centre that is.
    masks : uint8 tensor, shape (batch, size, size), or None
    indices : tuple of int
        Each sample's number.
    slides : tuple of str
        Where each is from.
    places : tuple of (int, int)
        Each one's corner at level 0.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    shares: torch.Tensor
    masks: torch.Tensor | None
    indices: tuple[int, ...]
    slides: tuple[str, ...]
    places: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.indices)

    def to(self, device: Any, *, non_blocking: bool = False) -> PatchBatch:
        """Return the batch with its tensors on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> PatchBatch:
        """Return the batch in memory from which a GPU reads by itself."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Any) -> PatchBatch:
        masks = None if self.masks is None else change(self.masks)
        return replace(
            self,
            pixels=change(self.pixels),
            labels=change(self.labels),
            shares=change(self.shares),
            masks=masks,
        )


def collate(samples: Sequence[PatchSample]) -> PatchBatch:
    """Put samples of a `PatchDataset` together.

    Examples
    --------
    >>> from fastwsi.data import PatchSample
    >>> patch = PatchSample(np.zeros((8, 8, 3), np.uint8), 1, 0.25, None, "tumor_001", (40, 80), 7, "tumor")
    >>> batch = fastwsi.data.collate([patch, patch])
    >>> batch.pixels.shape, batch.labels.tolist(), batch.indices
    (torch.Size([2, 8, 8, 3]), [1, 1], (7, 7))
    """
    masks = [sample.mask for sample in samples if sample.mask is not None]
    return PatchBatch(
        _stacked([sample.pixels for sample in samples]),
        torch.tensor([sample.label for sample in samples], dtype=torch.int64),
        torch.tensor([sample.share for sample in samples], dtype=torch.float32),
        _stacked(masks) if masks else None,
        tuple(sample.index for sample in samples),
        tuple(sample.slide for sample in samples),
        tuple(sample.xy for sample in samples),
    )


def _stacked(arrays: Sequence[np.ndarray[Any, np.dtype[np.uint8]]]) -> torch.Tensor:
    """Return arrays as one tensor; in a loader's worker in shared memory at once, not copied there later."""
    shape = (len(arrays), *arrays[0].shape)
    if get_worker_info() is None:
        out = torch.empty(shape, dtype=torch.uint8)
    else:
        new_shared: Any = torch.UntypedStorage._new_shared  # noqa: SLF001  (as torch's collate does)
        storage = new_shared(math.prod(shape))
        out = torch.empty(0, dtype=torch.uint8)
        out.set_(storage, 0, shape)  # type: ignore[call-overload]  # torch's stubs
    np.stack(arrays, out=out.numpy())
    return out


class Consecutive(Sampler[list[int]]):
    """Numbers of samples, batch after batch: those of one rank among several.

    Batch k of rank r holds the numbers from (k ranks + r) batch_size on, so that all ranks together see each
    number once, and a run that goes on after k batches sees what an undisturbed one would.

    Parameters
    ----------
    batches : int
        In all, those done included.
    batch_size : int
    done : int
        Batches that were seen already.
    rank, ranks : int

    Examples
    --------
    >>> list(Consecutive(3, 2, done=1, rank=1, ranks=2))
    [[6, 7], [10, 11]]
    """

    def __init__(
        self, batches: int, batch_size: int, *, done: int = 0, rank: int = 0, ranks: int = 1
    ) -> None:
        self.batches = _numbers.whole(batches, "batches", 0)
        self.batch_size = _numbers.whole(batch_size, "batch_size", 1)
        self.done = _numbers.whole(done, "done", 0)
        self.ranks = _numbers.whole(ranks, "ranks", 1)
        self.rank = _numbers.whole(rank, "rank", 0)
        if self.rank >= self.ranks:
            raise ValueError(f"rank: got {rank}, expected less than ranks, {ranks}")

    def __iter__(self) -> Iterator[list[int]]:
        for batch in range(self.done, self.batches):
            first = (batch * self.ranks + self.rank) * self.batch_size
            yield list(range(first, first + self.batch_size))

    def __len__(self) -> int:
        return self.batches  # those done included, as trainers count


def patch_loader(
    dataset: Dataset[Any], order: Consecutive, *, workers: int = 0, pin_memory: bool = False
) -> DataLoader[Any]:
    """Return a loader of batches whose content depends on their numbers, not on workers.

    Workers are processes that read, decode and crop; what they send is uint8. Nothing is drawn from torch's
    own random state.

    Parameters
    ----------
    dataset : PatchDataset
        Or any whose samples `collate` understands.
    order : Consecutive
    workers : int
        0: batches are made where they are asked for.
    pin_memory : bool
        For a GPU.
    """
    count = _numbers.whole(workers, "workers", 0)
    return DataLoader(
        dataset,
        batch_sampler=order,
        num_workers=count,
        collate_fn=collate,
        pin_memory=pin_memory,
        persistent_workers=False,
        prefetch_factor=4 if count else None,
        # Loaders draw a seed for workers; ours must not disturb the run's.
        generator=torch.Generator().manual_seed(0),
    )
