"""Batches: which samples come when, and in what form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastwsi.data import Consecutive, PatchSample, collate, patch_loader


class Numbers(torch.utils.data.Dataset):
    """Patches that show their numbers."""

    def __init__(self, *, mask=False):
        self.mask = mask

    def __len__(self):
        return 1000

    def __getitem__(self, index):
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


def test_arguments():
    with pytest.raises(ValueError, match="rank: got 2, expected less than ranks, 2"):
        Consecutive(1, 1, rank=2, ranks=2)
    with pytest.raises(ValueError, match="batch_size: got 0"):
        Consecutive(1, 0)
