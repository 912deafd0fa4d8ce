"""Exact streaming beside the whole image, checkpointing, lightstream: time and memory of a training step.

``python -m benchmarks.bench_streaming`` measures each in a process of its own and writes a table. What
``python -m benchmarks`` collects here is a small form of it: the times, on an image that is soon done.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from benchmarks.conftest import machine
from benchmarks.measure import Entry, time_call
from benchmarks.streaming_methods import contender
from benchmarks.streaming_step import Figures, gradients
from benchmarks.streaming_subject import Spec, image_of
from benchmarks.streaming_table import Result, layout_name, name_of, report, size_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_benchmark.fixture import BenchmarkFixture

ROOT = Path(__file__).parents[1]
PEERS = ("whole", "checkpoint", "lightstream")
LAYOUTS = {"nchw": False, "nhwc": True}
WIDE = 256
TALL = (65536, 4096)
ISLAND = 8192
# Float32 gradients of deep networks differ by 1e-5 and more between right orders of summation; where a border
# or a tile is wrong, by far more.
TOLERANCE = 1e-2

logger = logging.getLogger("benchmarks")


def plain_specs(size: int, options: argparse.Namespace) -> Iterable[Spec]:
    """List the measurements at one size, those first with which others are compared."""
    for layout in options.layouts:
        common: dict[str, Any] = {"height": size, "width": size, "channels_last": LAYOUTS[layout]}
        if "whole" in options.peers:
            yield Spec("whole", **common)
        if "checkpoint" in options.peers:
            yield Spec("checkpoint", **common)
            yield Spec("checkpoint with stem", **common)
        if "lightstream" in options.peers and options.lightstream_python:
            yield from (Spec("lightstream", across=each, **common) for each in options.across)
        yield from (Spec("streamed", rows=rows, **common) for rows in options.rows)
    for case in ({"trained_affine": True}, {"silu": True}):
        if "whole" in options.peers:
            yield Spec("whole", size, size, **case)
        yield from (Spec("streamed", size, size, rows=rows, **case) for rows in [max(options.rows)])


def specs(options: argparse.Namespace) -> list[Spec]:
    """List all measurements that are asked for."""
    chosen = [spec for size in options.sizes for spec in plain_specs(size, options)]
    if options.tall:
        height, width = TALL
        chosen += [Spec("streamed", side, width, rows=WIDE, image="generated") for side in (width, height)]
    if options.background:
        common: dict[str, Any] = {"height": ISLAND, "width": ISLAND, "rows": WIDE, "image": "island"}
        chosen += [Spec("streamed", **common), Spec("streamed", **common, skipping=True)]
    return chosen


def reference_key(spec: Spec) -> tuple[object, ...]:
    """Return what two measurements have in common whose gradients are the same."""
    return spec.height, spec.width, spec.trained_affine, spec.silu, spec.image


class Runner:
    """Measures in processes of their own, and compares gradients with those of the first of each kind."""

    def __init__(self, lightstream_python: Path | None, folder: Path, limit: float) -> None:
        self._lightstream_python = lightstream_python
        self._limit = limit
        self._folder = folder
        self._references: dict[tuple[object, ...], dict[str, torch.Tensor]] = {}

    def run(self, spec: Spec) -> tuple[Figures | None, float | None, str]:
        """Return the figures, how far the gradients are off, and what went wrong."""
        saved = self._folder / "gradients.pt"
        saved.unlink(missing_ok=True)
        python, environment = Path(sys.executable), dict(os.environ)
        for library in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM"):
            environment[f"{library}_NUM_THREADS"] = "1"
        if spec.image == "generated":
            # What is flat in height is what is held. The C library keeps tens of megabytes of what was freed,
            # now more and now less, unless it is told to give all back; that costs time, which is not asked
            # for here.
            environment.update(MALLOC_MMAP_THRESHOLD_="131072", MALLOC_TRIM_THRESHOLD_="131072")
        if spec.method == "lightstream":
            assert self._lightstream_python is not None
            python = self._lightstream_python
            environment.pop("PYTHONPATH", None)  # it may lead to packages of this environment
        command = [str(python), "-m", "benchmarks.streaming_step", json.dumps(asdict(spec)), str(saved)]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
                timeout=self._limit,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return None, None, f"stopped after {self._limit:.0f} s"
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return None, None, f"failed ({done.returncode}): {last}"
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        if "unavailable" in answer:
            return None, None, answer["unavailable"]
        found = torch.load(saved)
        reference = self._references.setdefault(reference_key(spec), found)
        return Figures(**answer), None if reference is found else difference(found, reference), ""


def difference(found: dict[str, torch.Tensor], reference: dict[str, torch.Tensor]) -> float:
    """Return the largest relative difference of a parameter's gradient; NaN where there is one."""
    assert found.keys() == reference.keys()
    apart = [(found[name] - reference[name]).norm() / reference[name].norm() for name in found]
    return float(torch.stack(apart).max())


def measure(
    chosen: Sequence[Spec], rounds: int, runner: Runner, keep: Callable[[list[Result]], None]
) -> list[Result]:
    """Measure all, then all again: what else the machine does then disturbs not one alone.

    The largest whole image is run once before, unmeasured: the first to use so much memory may wait for the
    host.
    """
    results = {spec: Result(spec) for spec in chosen}
    wholes = [spec for spec in chosen if spec.method == "whole"]
    if wholes:
        runner.run(max(wholes, key=lambda spec: spec.height))
    for i in range(rounds):
        for spec, before in results.items():
            if before.problem:
                continue
            found, apart, problem = runner.run(spec)
            figures = [] if found is None else [*before.rounds, found]
            results[spec] = Result(spec, figures, apart, problem)
            label = f"[{i + 1}/{rounds}] {size_name(spec)}, {layout_name(spec)}, {name_of(spec)}"
            told = problem if found is None else f"{found.cpu:.2f} s CPU, {found.peak / 2**30:.3f} GiB"
            logger.info("%s: %s", label, told)
            keep([each for each in results.values() if each.rounds or each.problem])
    return list(results.values())


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_streaming",
        description="Measure a training step of ResNet-18 through layer3, streamed and by its peers.",
        epilog="The exit status is 1 where a measurement failed or gradients are wrong; a missed floor is "
        "printed and does not change it.",
    )
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[2048, 4096], help="sides of the square images"
    )
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[64, 128, WIDE], help="band heights of fastwsi"
    )
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, default=list(PEERS), help="whom to measure beside it"
    )
    parser.add_argument(
        "--lightstream-python",
        type=Path,
        metavar="PATH",
        help="the interpreter of an environment that has lightstream (README.md); without it, it is left out",
    )
    parser.add_argument(
        "--across",
        type=int,
        nargs="+",
        default=[2, 3, 4],
        help="lightstream: tiles along a side, each is measured",
    )
    parser.add_argument(
        "--rounds", type=int, default=1, help="how often to measure everything; medians are shown"
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=1800,
        metavar="SECONDS",
        help="a measurement that takes longer is given up",
    )
    parser.add_argument("--tall", action="store_true", help=f"also {TALL[0]} high x {TALL[1]} wide, minutes")
    parser.add_argument("--background", action="store_true", help=f"also {ISLAND}² with and without skipping")
    parser.add_argument("--quick", action="store_true", help="one size of 512, to see that all of it runs")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the table to FILE")
    options = parser.parse_args(arguments)
    if options.quick:
        options.sizes, options.rows, options.across = [512], [64, 128], [2]
    return options


def main(arguments: list[str] | None = None) -> int:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    options = parse(arguments)
    facts = {
        **machine(with_gpu=False),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "rounds": f"{options.rounds}",
    }

    def text_of(results: list[Result]) -> str:
        environments = {each.versions for result in results for each in result.rounds} - {""}
        told = [*(f"{name} {value}" for name, value in facts.items()), *sorted(environments)]
        return report(", ".join(told), results)

    def keep(results: list[Result]) -> None:
        if options.out:  # after each measurement: the run may take an hour
            options.out.write_text(text_of(results), encoding="utf-8")

    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(options.lightstream_python, Path(folder), options.limit)
        results = measure(specs(options), options.rounds, runner, keep)
    sys.stdout.write(text_of(results))
    wrong = [each for each in results if each.difference is not None and not each.difference <= TOLERANCE]
    for each in wrong:
        logger.error("wrong gradients: %s, %s", size_name(each.spec), name_of(each.spec))
    return int(bool(wrong) or any(each.problem.startswith("failed") for each in results))


SMALL, ROUNDS = 512, 3
SMALL_SPECS = [
    Spec(method, SMALL, SMALL, channels_last=layout, rows=rows)
    for layout in LAYOUTS.values()
    for method, rows in (("whole", 0), ("checkpoint", 0), ("streamed", 64), ("streamed", 128))
]


@pytest.mark.parametrize("spec", SMALL_SPECS, ids=lambda spec: f"{layout_name(spec)}, {name_of(spec)}")
def test_step(benchmark: BenchmarkFixture, spec: Spec) -> None:
    """A training step on a small image. Memory, and what floors are for, take processes of their own."""
    image = image_of(spec, SMALL, SMALL)
    found, expected = contender(spec), contender(Spec("whole", SMALL, SMALL))
    found.step(image)
    expected.step(image)
    assert difference(gradients(found), gradients(expected)) <= TOLERANCE
    role: Any = "ours" if spec.method == "streamed" else "peer"
    note = "floors: python -m benchmarks.bench_streaming" if role == "ours" else ""
    group = f"training step, ResNet-18 through layer3, {SMALL} x {SMALL}, {layout_name(spec)}"
    entry = Entry(group, name_of(spec), role, SMALL * SMALL, 3 * 4 * SMALL * SMALL, note=note)
    time_call(benchmark, lambda: found.step(image), entry, rounds=ROUNDS, warm_up=False)


if __name__ == "__main__":
    sys.exit(main())
