"""Slides that cannot be read, or not everywhere: a training run goes on, or ends with one clear message."""

from __future__ import annotations

import logging
import pickle

import numpy as np
import pytest
import torch

from fastwsi import SlideError
from fastwsi.data import BalancedPatchSampler, ClassMap, Consecutive, PatchDataset, SlideRecord, patch_loader
from fastwsi.slides import Slide, write_slide

SIDE = 16


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    rng = np.random.default_rng(0)
    found = []
    for name in ("normal_001", "normal_002"):
        write_slide(folder / f"{name}.tif", rng.integers(90, 250, (256, 256, 3), np.uint8), mpp=0.5)
        found.append(SlideRecord(name, folder / f"{name}.tif", "normal", "train"))
    return found


def dataset(records):
    maps = [ClassMap(4, 4, (64.0, 64.0), {"normal": np.arange(16, dtype=np.int32)}) for _ in records]
    return PatchDataset(records, BalancedPatchSampler(maps, {"normal": 1}, seed=4), SIDE, 8)


@pytest.fixture
def damaged(monkeypatch):
    """The right half of the second slide cannot be read, as when a disk fails; nor all of it, if told so."""
    fill_rows, worst = Slide.fill_rows, {"limit": 128}

    def failing(self, sampling, first, out):
        if self.name == "normal_002" and sampling.x + SIDE > worst["limit"]:
            raise SlideError(self.path, "the file cannot be read: Input/output error")
        fill_rows(self, sampling, first, out)

    monkeypatch.setattr(Slide, "fill_rows", failing)
    return worst


def batches(patches, workers):
    return list(patch_loader(patches, Consecutive(4, 8), workers=workers))


class TestPlaces:
    def test_the_next_attempt_is_taken(self, records, damaged, caplog):
        patches = dataset(records)
        with caplog.at_level(logging.WARNING):
            samples = [patches[i] for i in range(40)]
        retried = 0
        for i, sample in enumerate(samples):
            draws = [patches.sampler.draw(i, attempt) for attempt in range(32)]
            corners = [tuple(int(np.floor(c - SIDE / 2)) for c in draw.centre) for draw in draws]
            bad = sample.slide == "normal_002"
            expected = next(xy for xy in corners if not bad or xy[0] + SIDE <= 128)
            assert sample.xy == expected
            retried += expected != corners[0]
        assert retried > 5
        (warning,) = caplog.records
        assert warning.levelno == logging.WARNING
        assert warning.name == "fastwsi.data.patches"
        assert "normal_002.tif: the file cannot be read: Input/output error" in warning.getMessage()

    def test_the_same_for_any_number_of_workers(self, records, damaged):
        expected = batches(dataset(records), 0)
        for workers in (1, 2):
            for a, b in zip(expected, batches(dataset(records), workers), strict=True):
                assert (a.indices, a.slides, a.places) == (b.indices, b.slides, b.places)
                assert torch.equal(a.pixels, b.pixels)

    @pytest.mark.parametrize("workers", [0, 1, 2])
    def test_a_slide_of_which_nothing_can_be_read_is_an_error(self, records, damaged, workers):
        damaged["limit"] = -1000
        with pytest.raises(SlideError) as caught:
            batches(dataset(records), workers)
        assert caught.value.path == records[1].path
        assert caught.value.reason == (
            "no patch of the slide can be read: the file cannot be read: Input/output error"
        )
        assert str(caught.value) == f"{caught.value.path}: {caught.value.reason}"

    def test_a_file_that_is_gone_is_an_error(self, records, tmp_path):
        gone = [records[0], SlideRecord("normal_003", tmp_path / "gone.tif", "normal", "train")]
        with pytest.raises(SlideError, match=r"gone\.tif: no patch of the slide can be read"):
            batches(dataset(gone), 1)

    def test_memory_is_free_again_after_an_error(self, records, damaged):
        """A worker that goes on has not lost a piece of its memory."""
        patches = dataset(records)
        damaged["limit"] = -1000
        loader = patch_loader(patches, Consecutive(4, 8), workers=1)
        whole = loader.dataset
        indices = [next(i for i in range(40) if patches.sampler.draw(i).slide == slide) for slide in (0, 1)]
        # In this process, as in a worker.
        info = torch.utils.data._utils.worker.WorkerInfo(id=0, num_workers=1, seed=0, dataset=whole)
        torch.utils.data._utils.worker._worker_info = info
        try:
            for _ in range(3):
                with pytest.raises(SlideError):
                    whole.__getitems__(indices)
        finally:
            torch.utils.data._utils.worker._worker_info = None
        assert [memory.in_use for memory in whole._lender._kept] == [False]


class TestErrors:
    @pytest.mark.parametrize(
        ("path", "reason"),
        [
            ("/data/tumor_001.tif", "the file is empty"),
            ("/data/a: b.tif", "openslide: no such level: 3"),
            ("https://host/slide.svs", "lines\n  in: two"),
        ],
    )
    def test_torch_raises_it_again_from_its_text(self, path, reason):
        error = SlideError(path, reason)
        try:
            raise error
        except SlideError:
            wrapper = torch._utils.ExceptionWrapper(where="in DataLoader worker process 0")
        again = pickle.loads(pickle.dumps(wrapper))
        with pytest.raises(SlideError) as caught:
            again.reraise()
        assert str(caught.value) == str(error)
        if ": " not in path:
            assert (caught.value.path, caught.value.reason) == (error.path, error.reason)

    def test_it_survives_pickling_by_itself(self):
        error = pickle.loads(pickle.dumps(SlideError("/data/a.tif", "why: because")))
        assert (str(error), error.reason) == ("/data/a.tif: why: because", "why: because")

    def test_errors_of_both_kinds_come_through_a_plain_loader(self, records, damaged):
        damaged["limit"] = -1000
        loader = torch.utils.data.DataLoader(dataset(records), batch_size=8, num_workers=1, collate_fn=list)
        with pytest.raises(SlideError, match="no patch of the slide can be read"):
            list(loader)
