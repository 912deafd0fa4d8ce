"""Patches in batches: loaded by workers, in an order that depends on numbers alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from fastwsi import _numbers
from fastwsi.data.patches import PatchDataset
from fastwsi.data.shared_memory import Lender, SharedMemory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastwsi.data.patches import PatchSample
    from fastwsi.slides.backend import Pixels


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
    pixels = np.stack([sample.pixels for sample in samples])
    masks = [sample.mask for sample in samples if sample.mask is not None]
    return _batch(
        torch.from_numpy(pixels), torch.from_numpy(np.stack(masks)) if masks else None, *_columns(samples)
    )


def _columns(samples: Sequence[PatchSample]) -> tuple[tuple[Any, ...], ...]:
    """Return what is known of patches beside their pixels."""
    rows = [(each.label, each.share, each.index, each.slide, each.xy) for each in samples]
    return tuple(zip(*rows, strict=True))


def _batch(
    pixels: torch.Tensor, masks: torch.Tensor | None, labels: Any, shares: Any, *others: Any
) -> PatchBatch:
    classes = torch.tensor(labels, dtype=torch.int64)
    return PatchBatch(pixels, classes, torch.tensor(shares, dtype=torch.float32), masks, *others)


class _Batches(Dataset[PatchBatch]):
    """Patches, batch by batch: workers read them straight into the memory in which they are sent.

    torch's own way, from samples to a batch to shared memory, touches three times as much memory, nearly all
    of it new, and takes a third as long as decoding.
    """

    def __init__(self, patches: Any) -> None:
        self._patches = patches
        # Whoever changed what a sample is, has no `sample` that fills memory with it.
        self._into = getattr(type(patches), "__getitem__", None) is PatchDataset.__getitem__
        self._lender = Lender()

    def __len__(self) -> int:
        return len(self._patches)

    def __getitems__(self, indices: list[int]) -> Any:
        if get_worker_info() is None:
            return collate([self._patches[index] for index in indices])
        first = self._patches[indices[0]]
        parts = [first.pixels] if first.mask is None else [first.pixels, first.mask]
        shapes = [(len(indices), *part.shape) for part in parts]
        memory = self._lender.lend(sum(map(math.prod, shapes)))
        try:
            pixels, masks = _cut(memory.bytes, shapes)
            samples = [first, *map(self._read, indices[1:], pixels[1:])]
            pixels[0] = first.pixels
            if masks is not None:
                np.stack([sample.mask for sample in samples], out=masks)
        except BaseException:
            memory.in_use = False
            raise
        return _Sent(memory, shapes, _columns(samples))

    def _read(self, index: int, out: Pixels) -> PatchSample:
        if self._into:
            return cast("PatchDataset", self._patches).sample(index, out)
        found: PatchSample = self._patches[index]
        out[...] = found.pixels
        return found


class _Sent:
    """A batch on its way from a worker: what arrives is a `PatchBatch`."""

    def __init__(self, memory: SharedMemory, shapes: list[tuple[int, ...]], columns: Any) -> None:
        self._parts = memory, shapes, columns

    def __reduce__(self) -> tuple[Any, Any]:
        return _received, self._parts


def _received(memory: torch.Tensor, shapes: list[tuple[int, ...]], columns: Any) -> PatchBatch:
    return _batch(*_cut(memory, shapes), *columns)


def _cut(memory: Any, shapes: list[tuple[int, ...]]) -> tuple[Any, Any]:
    """Return a batch's pixels and its masks, or None, in what holds one behind the other."""
    size = math.prod(shapes[0])
    pixels = memory[:size].reshape(shapes[0])
    return pixels, memory[size:].reshape(shapes[1]) if len(shapes) > 1 else None


def _made(batch: Any) -> Any:
    """Return what `_Batches` made a batch of already."""
    return batch


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
        _Batches(dataset),
        batch_sampler=order,
        num_workers=count,
        collate_fn=_made,
        pin_memory=pin_memory,
        persistent_workers=False,
        prefetch_factor=4 if count else None,
        # Loaders draw a seed for workers; ours must not disturb the run's.
        generator=torch.Generator().manual_seed(0),
    )
