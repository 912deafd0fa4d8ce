"""One measurement of the streaming benchmark, in a process of its own.

``python -m benchmarks.streaming_step SPEC FILE`` takes a Spec as JSON, prints the figures as JSON and writes
the gradients to FILE. Imports torch and numpy only, and what the method needs.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.metadata
import json
import os
import sys
import threading
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.streaming_methods import Contender, UnavailableError, contender
from benchmarks.streaming_subject import Spec, image_of

if TYPE_CHECKING:
    from types import TracebackType

PROCESS = Path("/proc/self")
WARM_UP = 256
SAMPLING_S = 0.002


@dataclass(frozen=True)
class Figures:
    """What one step took.

    Attributes
    ----------
    cpu, wall : float
        Seconds.
    peak : int
        Bytes of memory over what the process had after the warm-up.
    outputs : int
        Bytes of the features, without their gradient, which takes as many.
    estimate : int, optional
        The peak that the method itself expects.
    setting : str
        What the method chose.
    versions : str
    """

    cpu: float
    wall: float
    peak: int
    outputs: int
    estimate: int | None
    setting: str
    versions: str


def resident() -> int:
    """Return the bytes of memory that the process has."""
    return int((PROCESS / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Peak:
    """The most memory that the process has while this is entered.

    The kernel's own high-water mark where it can be set back; else the largest of samples.
    """

    def __enter__(self) -> Peak:
        self.bytes = 0
        self._sampler: threading.Thread | None = None
        self._done = threading.Event()
        try:
            (PROCESS / "clear_refs").write_text("5")
        except OSError:
            self._sampler = threading.Thread(target=self._sample, daemon=True)
            self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sampler is None:
            status = (PROCESS / "status").read_text()
            (line,) = (row for row in status.splitlines() if row.startswith("VmHWM:"))
            self.bytes = int(line.split()[1]) * 1024
        else:
            self._done.set()
            self._sampler.join()

    def _sample(self) -> None:
        while not self._done.wait(SAMPLING_S):
            self.bytes = max(self.bytes, resident())


def give_back_memory() -> None:
    """Hand back what the C library keeps of freed memory, or whoever left more would seem to need less."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def measured_step(ready: Contender, spec: Spec) -> Figures:
    """Do a small step, then the one that counts."""
    image = image_of(spec, spec.height, spec.width)
    ready.step(image_of(spec, WARM_UP, WARM_UP))
    ready.zero_grad()
    estimate = ready.estimate(spec.height, spec.width) if ready.estimate else None
    give_back_memory()
    before = resident()
    with Peak() as peak:
        wall, cpu = time.perf_counter(), time.process_time()
        features = ready.step(image)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    outputs = features.numel() * features.element_size()
    return Figures(cpu, wall, peak.bytes - before, outputs, estimate, ready.setting, versions(spec))


def versions(spec: Spec) -> str:
    """Return what a reader needs to know of an environment that is not fastwsi's."""
    if spec.method != "lightstream":
        return ""
    return f"lightstream {importlib.metadata.version('lightstream')} with torch {torch.__version__}"


def gradients(ready: Contender) -> dict[str, torch.Tensor]:
    found = {name: each.grad for name, each in ready.parameters.items() if each.requires_grad}
    missing = [name for name, grad in found.items() if grad is None]
    if missing:
        raise RuntimeError(f"no gradient of {', '.join(missing)}")
    return {name: grad.contiguous() for name, grad in found.items() if grad is not None}


def main(arguments: list[str]) -> int:
    given, save = arguments
    fields: dict[str, Any] = json.loads(given)
    spec = Spec(**fields)
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    warnings.simplefilter("ignore")  # lightstream's, of a GPU that is not there
    try:
        ready = contender(spec)
        figures = measured_step(ready, spec)
    except UnavailableError as error:
        sys.stdout.write(json.dumps({"unavailable": str(error)}))
        return 0
    torch.save(gradients(ready), save)
    sys.stdout.write(json.dumps(asdict(figures)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
