"""Batches: which samples come when, and in what form."""

from __future__ import annotations

import pickle
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch

from fastwsi.data import Consecutive, PatchBatch, PatchSample, collate, patch_loader
from fastwsi.data.shared_memory import Lender


class Numbers(torch.utils.data.Dataset):
    """Patches that show their numbers."""

    def __init__(self, *, mask=False, broken=None):
        self.mask, self.broken = mask, broken

    def __len__(self):
        return 1000

    def __getitem__(self, index):
        if index == self.broken:
            raise IndexError(f"sample {index}")
        mask = np.full((4, 4), index % 2, np.uint8) if self.mask else None
        return PatchSample(
            np.full((4, 4, 3), index, np.uint8), index % 2, 0.5, mask, f"s{index}", (index, 7), index, "any"
        )


def test_batches():
    batch = collate([Numbers(mask=True)[i] for i in (3, 4)])
    assert batch.pixels.dtype == torch.uint8
    assert batch.pixels[:, 0, 0, 0].tolist() == [3, 4]
    assert (batch.labels.tolist(), batch.shares.tolist()) == ([1, 0], [0.5, 0.5])
    assert batch.masks.shape == (2, 4, 4)
    assert (batch.indices, batch.slides, batch.places) == ((3, 4), ("s3", "s4"), ((3, 7), (4, 7)))
    assert len(batch) == 2
    moved = batch.to("meta")
    assert moved.pixels.device.type == moved.masks.device.type == "meta"
    assert collate([Numbers()[1]]).to("cpu").masks is None


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("done", [0, 2])
def test_ranks_share_what_comes_and_what_was_done_is_not_done_again(ranks, done):
    orders = [list(Consecutive(5, 4, done=done, rank=rank, ranks=ranks)) for rank in range(ranks)]
    seen = sorted(i for order in orders for batch in order for i in batch)
    assert seen == list(range(done * 4 * ranks, 5 * 4 * ranks))
    assert all(len(order) == 5 - done for order in orders)
    assert len(Consecutive(5, 4, done=done)) == 5


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_are_the_same_for_any_number_of_workers(workers):
    state = torch.get_rng_state()
    loader = patch_loader(Numbers(), Consecutive(6, 5, done=1), workers=workers)
    assert [batch.indices for batch in loader] == [tuple(range(5 * k, 5 * k + 5)) for k in range(1, 6)]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_kept_batches_keep_their_pixels(context, mask):
    """Workers fill memory again, but never what somebody still has."""
    loader = patch_loader(Numbers(mask=mask), Consecutive(50, 5), workers=2)
    loader.multiprocessing_context = context
    kept = []
    for k, batch in enumerate(loader):
        if k % 3 == 0:
            kept.append(batch)
        elif k % 3 == 1:
            kept.append((batch.pixels[2:, :1], batch.indices[2:]))  # a part outlives the whole
        elif mask:
            kept.append((batch.masks.view(5, 16), [number % 2 for number in batch.indices]))
    for each in kept:
        numbers, pixels = (each.indices, each.pixels) if isinstance(each, PatchBatch) else each[::-1]
        assert pixels.flatten(1).tolist() == [[n] * pixels[0].numel() for n in numbers]
        if isinstance(each, PatchBatch) and mask:
            assert each.masks.flatten(1).tolist() == [[n % 2] * 16 for n in numbers]
    assert (batch.masks is not None) == mask


def test_memory_is_free_once_nothing_is_left_of_it():
    lender = Lender()
    sent = lender.lend(12)
    sent.bytes[:] = range(12)
    arrived = pickle.loads(bytes(ForkingPickler.dumps(sent)))
    assert arrived.tolist() == list(range(12))
    part = arrived.view(3, 4)[1:, ::2]
    del arrived
    assert sent.in_use
    assert lender.lend(12) is not sent
    assert part.tolist() == [[4, 6], [8, 10]]
    del part
    assert not sent.in_use
    assert lender.lend(13) is not sent
    assert lender.lend(12) is sent
    assert sent.in_use


def test_workers_keep_few_pieces_of_memory():
    lender = Lender()
    pieces = [lender.lend(3) for _ in range(40)]
    assert len({id(piece) for piece in pieces}) == 40
    assert len(lender._kept) == 16
    assert lender._kept == pieces[-16:]


def test_what_goes_wrong_with_a_sample_is_raised():
    with pytest.raises(IndexError, match="sample 7"):
        list(patch_loader(Numbers(broken=7), Consecutive(4, 3), workers=1))


def test_arguments():
    with pytest.raises(ValueError, match="rank: got 2, expected less than ranks, 2"):
        Consecutive(1, 1, rank=2, ranks=2)
    with pytest.raises(ValueError, match="batch_size: got 0"):
        Consecutive(1, 0)
