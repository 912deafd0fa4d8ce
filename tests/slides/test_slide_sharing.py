"""Slides shared by threads, forks and workers, and the memory that their tiles share."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastwsi
from fastwsi.slides.tile_cache import TileCache
from slides.pyramids import picture, write


def read_in_child(slide, queue):
    queue.put((os.getpid(), slide.read((13, 21), (100, 50))))


def read_by_threads(slide, queue):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: slide.read((13, 21), (100, 50)), range(32)))
    assert all((each == found[0]).all() for each in found)
    queue.put(found[0])


class TestProcesses:
    def test_pickles_reopen(self, slide, image):
        again = pickle.loads(pickle.dumps(slide))
        np.testing.assert_array_equal(again.read((13, 21), (100, 50)), image[21:71, 13:113])
        assert again.backend == slide.backend

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_children_read_by_themselves(self, slide, image, method):
        slide.read((0, 0), 300)
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: it is the point
            children = [context.Process(target=read_in_child, args=(slide, queue)) for _ in range(2)]
            for child in children:
                child.start()
        answers = [queue.get(timeout=60) for _ in children]
        for child in children:
            child.join()
        assert len({pid for pid, _ in answers}) == 2
        for _, pixels in answers:
            np.testing.assert_array_equal(pixels, image[21:71, 13:113])
        np.testing.assert_array_equal(slide.read((13, 21), (100, 50)), image[21:71, 13:113])

    def test_a_forked_childs_threads_open_it_once(self, path, image):
        slide = fastwsi.open_slide(path, threads=2)
        slide.read((0, 0), 300)  # starts the parent's decoding threads
        queue = multiprocessing.get_context("fork").Queue()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = multiprocessing.get_context("fork").Process(target=read_by_threads, args=(slide, queue))
            child.start()
        np.testing.assert_array_equal(queue.get(timeout=60), image[21:71, 13:113])
        child.join(timeout=60)
        assert child.exitcode == 0

    def test_slides_that_nobody_closes_are_closed(self, path):
        handles = Path("/proc/self/fd")
        if not handles.is_dir():
            pytest.skip("this system does not list open files")
        before = len(list(handles.iterdir()))
        for _ in range(20):
            fastwsi.open_slide(path)
        gc.collect()
        assert len(list(handles.iterdir())) <= before + 2

    def test_many_threads(self, slide, image):
        rng = np.random.default_rng(0)
        places = [(int(x), int(y)) for x, y in rng.integers(0, 400, (64, 2))]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda xy: slide.read(xy, 90), places))
        for (x, y), pixels in zip(places, found, strict=True):
            np.testing.assert_array_equal(pixels, image[y : y + 90, x : x + 90])


def kept(cache, key, side=10):
    tile = cache.memory(side, side)
    tile[...] = key
    cache.done(cache.put(key, tile))


def there(cache, key):
    lent = cache.get(key)
    if lent is not None:
        cache.done(lent)
    return lent is not None


class TestCache:
    def test_keeps_to_its_limit_and_to_what_was_used_last(self):
        cache = TileCache(1000)
        for i in range(50):
            kept(cache, i)
            assert cache.bytes <= 1000
        assert [i for i in range(50) if there(cache, i)] == [47, 48, 49]
        assert there(cache, 47)
        kept(cache, 50)
        assert there(cache, 47)  # used since
        assert not there(cache, 48)

    def test_what_is_larger_is_not_kept(self):
        cache = TileCache(1000)
        kept(cache, 1, side=30)
        assert not there(cache, 1)
        assert cache.bytes == 0

    @pytest.mark.parametrize("readers", [1, 2, 3])
    def test_memory_that_is_read_becomes_no_other_tile(self, readers):
        cache = TileCache(1000)
        kept(cache, 1)
        reading = [cache.get(1) for _ in range(readers)]
        for i in range(2, 40):
            kept(cache, i)
        assert not there(cache, 1)
        for lent in reading:
            assert (lent.tile == 1).all()
            cache.done(lent)
            for i in range(40, 50):
                kept(cache, i)
        given = [cache.memory(10, 10) for _ in range(30)]
        addresses = [tile.__array_interface__["data"][0] for tile in given]
        assert len(set(addresses)) == 30

    def test_memory_serves_again(self):
        cache = TileCache(1000)
        addresses = set()
        for i in range(100):
            tile = cache.memory(10, 10)
            addresses.add(tile.__array_interface__["data"][0])
            cache.done(cache.put(i, tile))
        assert len(addresses) <= 5

    def test_many_threads_and_a_small_cache(self, path, image):
        rng = np.random.default_rng(0)
        places = [(int(x), int(y)) for x, y in rng.integers(0, 400, (1500, 2))]
        with fastwsi.open_slide(path, cache="150KB", threads=1) as slide, ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda xy: slide.read(xy, 90), places))
        for (x, y), pixels in zip(places, found, strict=True):
            np.testing.assert_array_equal(pixels, image[y : y + 90, x : x + 90])

    def test_without_a_cache_memory_is_bounded(self, tmp_path):
        path = write(tmp_path / "slide.tif", [picture(2048, 2048)], tile=1024, compression="zlib")
        with fastwsi.open_slide(path, cache=0) as slide:
            for _ in range(3):
                slide.read((5, 5), 1500)
            assert sum(tile.nbytes for tile in slide._opened.backend._cache._spare) <= 1 << 22
