"""The order of work on memory that several CUDA streams use, played by fakes of cupy and torch."""

from __future__ import annotations

import sys
import types
from contextlib import nullcontext

import pytest

from fastwsi._devices import StreamOrder


class Stream:
    def __init__(self, ptr, log):
        self.ptr = self.cuda_stream = ptr
        self.log = log

    def wait_event(self, event):
        self.log.append(("wait", self, event.at))


class Gpu:
    """Which stream is current, and what was asked of streams and events."""

    def __init__(self):
        self.log = []
        self.stream = self.new_stream(7)

    def new_stream(self, ptr):
        return Stream(ptr, self.log)

    def event(self, **_):
        gpu = self

        class Event:
            at = None

            def record(self, stream):
                self.at = stream
                gpu.log.append(("record", stream))

            def synchronize(self):
                gpu.log.append(("synchronize", self.at))

        return Event()


@pytest.fixture(params=["cupy", "torch"])
def world(request, monkeypatch):
    """(Gpu, array): an array of a framework that is made up."""
    gpu = Gpu()
    device = nullcontext()

    class Array:
        is_cuda = True

    array = Array()
    array.device = device
    cuda = types.SimpleNamespace(
        Event=gpu.event,
        get_current_stream=lambda: gpu.stream,
        current_stream=lambda device: gpu.stream,
    )
    other = {"cupy": "torch", "torch": "cupy"}[request.param]
    monkeypatch.setitem(
        sys.modules, request.param, types.SimpleNamespace(cuda=cuda, ndarray=Array, Tensor=Array)
    )
    monkeypatch.delitem(sys.modules, other, raising=False)
    return gpu, array


def test_each_turn_waits_for_the_one_before_and_release_for_the_last(world):
    gpu, array = world
    home = gpu.stream
    order = StreamOrder(array)
    streams = [gpu.new_stream(ptr) for ptr in (8, 9)]
    for gpu.stream in streams:
        with order:
            gpu.log.append(("work", gpu.stream))
    order.release()
    order.release()
    first, second = streams
    assert gpu.log == [
        ("record", home),
        ("wait", first, home),
        ("work", first),
        ("record", first),
        ("wait", second, first),
        ("work", second),
        ("record", second),
        ("wait", home, second),
    ]


@pytest.mark.parametrize("number", [0, 1, 2, 8])
def test_a_number_is_no_proof_of_the_same_stream(world, number):
    """A destroyed stream's may be another's, and 2 is a stream of its own in each thread."""
    gpu, array = world
    order = StreamOrder(array)
    streams = [gpu.new_stream(number) for _ in range(2)]
    for gpu.stream in streams:
        with order:
            pass
    assert ("wait", streams[1], streams[0]) in gpu.log


@pytest.mark.parametrize("number", [0, 2, 7])
def test_memory_goes_back_after_the_work_wherever_it_came_from(world, number):
    gpu, array = world
    home = gpu.stream = gpu.new_stream(number)
    order = StreamOrder(array)
    if number != 2:
        gpu.stream = gpu.new_stream(number)
    with order:
        pass
    last = gpu.stream
    order.release()
    # A thread cannot name another's default stream, so the host waits for that one.
    assert gpu.log[-1] == (("synchronize", last) if number == 2 else ("wait", home, last))
