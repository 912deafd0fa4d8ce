"""Threads that read ahead of whoever scores."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from fastwsi.engine.scanning.plan import Indices, Pixels, ScanPlan

_AHEAD_BYTES = 256 << 20  # of pixels that wait to be scored


class ReadAhead:
    """The blocks of a plan with their pixels, in order, read by threads.

    As many blocks are read ahead as 256 MiB hold, so that memory is bounded whatever the slide; one for each
    thread at the least.

    Parameters
    ----------
    plan : ScanPlan
    threads : int
    colours : callable, optional
        What is done to pixels as they come, by the same threads.

    Attributes
    ----------
    busy : float
        Seconds that threads have read, all together.
    waited : float
        Seconds that whoever asked for blocks had to wait.
    """

    def __init__(
        self, plan: ScanPlan, threads: int, colours: Callable[[Pixels], Pixels] | None = None
    ) -> None:
        self._plan, self._threads, self._colours = plan, threads, colours
        self._ahead = max(threads + 1, _AHEAD_BYTES // max(1, plan.block_bytes))
        self._lock = threading.Lock()
        self.busy = self.waited = 0.0

    def __iter__(self) -> Iterator[tuple[Indices, Pixels]]:
        """Yield each block's numbers and pixels; whatever goes wrong in a thread is raised here."""
        blocks = self._plan.blocks()
        queue: deque[tuple[Indices, Future[Pixels]]] = deque()
        with ThreadPoolExecutor(self._threads, "fastwsi-reader") as pool:
            try:
                while True:
                    for block in blocks:
                        queue.append((block, pool.submit(self._read, block)))
                        if len(queue) >= self._ahead:
                            break
                    if not queue:
                        return
                    block, coming = queue.popleft()
                    began = time.perf_counter()
                    pixels = coming.result()
                    self.waited += time.perf_counter() - began
                    yield block, pixels
                    del coming, pixels  # before the next block is begun, not when it comes
            finally:
                for _, coming in queue:
                    coming.cancel()

    def _read(self, block: Any) -> Pixels:
        began = time.perf_counter()
        pixels = self._plan.read(block)
        if self._colours is not None:
            pixels = self._colours(pixels)
        with self._lock:
            self.busy += time.perf_counter() - began
        return pixels
