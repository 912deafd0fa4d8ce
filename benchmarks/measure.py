"""How a measurement is taken and what is written down about it."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

Role = Literal["ours", "peer", "ceiling"]


@dataclass(frozen=True)
class Entry:
    """One line of a table: who was timed, on how much work, and what is asked of the result.

    Attributes
    ----------
    group, contender : str
        The table and the line.
    role : "ours", "peer" or "ceiling"
        A ceiling is what the hardware gives: a copy of the same bytes.
    pixels, bytes : int
        Of one call; bytes are those that must be read and written, each once. 0 for a call on so few
        pixels that only its overhead counts.
    floor : float, optional
        Of a peer: how many times faster ours is to be. Of ours beside a ceiling: the share of the
        ceiling's bandwidth to reach. Of ours among calls without pixels: microseconds allowed above
        the peer.
    note : str
        What a reader must know to judge the line.
    limit : float, optional
        Of ours: seconds that a call may take. Groups in which there is one tell times alone.
    """

    group: str
    contender: str
    role: Role
    pixels: int = 0
    bytes: int = 0
    floor: float | None = None
    note: str = ""
    limit: float | None = None


def time_call(
    benchmark: BenchmarkFixture,
    function: Callable[[], object],
    entry: Entry,
    *,
    rounds: int,
    iterations: int = 1,
    warm_up: bool = True,
) -> None:
    """Time a function on the CPU: ``rounds`` rounds of ``iterations`` calls, after a warm-up or without."""
    benchmark.group = entry.group
    benchmark.extra_info.update(asdict(entry))
    # The first calls fault in memory and fill caches.
    warm_ups = min(3, rounds) if warm_up else 0
    benchmark.pedantic(function, rounds=rounds, iterations=iterations, warmup_rounds=warm_ups)


class Launches:
    """``count`` calls between two CUDA events; called once per round, it keeps seconds per call.

    Events are stamped by the GPU itself, so the host's own noise stays out as long as it keeps the
    queue filled.
    """

    def __init__(self, function: Callable[[], object], count: int) -> None:
        import torch

        self._function = function
        self._count = count
        self._first = torch.cuda.Event(enable_timing=True)
        self._last = torch.cuda.Event(enable_timing=True)
        self.seconds: list[float] = []

    def __call__(self) -> None:
        self._first.record()
        for _ in range(self._count):
            self._function()
        self._last.record()
        self._last.synchronize()
        self.seconds.append(self._first.elapsed_time(self._last) / 1000 / self._count)


def time_on_gpu(
    benchmark: BenchmarkFixture,
    function: Callable[[], object],
    entry: Entry,
    *,
    rounds: int = 20,
    count: int = 50,
) -> None:
    """Time a function that launches work on torch's current stream, by CUDA events.

    pytest-benchmark's statistics are of whole rounds by the host's clock; the table prefers the
    seconds per call noted here.
    """
    warm_up = 2
    launches = Launches(function, count)
    benchmark.group = entry.group
    benchmark.pedantic(launches, rounds=rounds, warmup_rounds=warm_up)
    timed = launches.seconds[warm_up:]
    extra: dict[str, Any] = {
        **asdict(entry),
        "calls_per_round": count,
        "seconds_median": statistics.median(timed),
        "seconds_min": min(timed),
    }
    benchmark.extra_info.update(extra)
