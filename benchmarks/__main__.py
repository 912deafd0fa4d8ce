"""``python -m benchmarks``: run the measurements with the options that they need."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
PREFIX = "bench_"

logger = logging.getLogger("benchmarks")


def families() -> list[str]:
    """Return what can be asked for by name: one family per file."""
    return sorted(path.stem.removeprefix(PREFIX) for path in HERE.glob(f"{PREFIX}*.py"))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time fastwsi's kernels beside their peers, on one thread, and print the ratios.",
        epilog="Every answer is checked against float64 numpy before it is timed. The exit status is "
        "0 where all answers were right; a missed floor is printed and does not change it.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"families to run, of: {', '.join(families())} (default: all of them)",
    )
    parser.add_argument(
        "--cuda",
        action="store_true",
        help="run the measurements that need a GPU, and only those",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        help="also write every round's time to FILE, in pytest-benchmark's format",
    )
    parser.add_argument(
        "--details",
        action="store_true",
        help="also print pytest-benchmark's own table: spread, outliers and rounds",
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(families()))
    if unknown:
        parser.error(f"got {', '.join(unknown)}, expected names of: {', '.join(families())}")
    return options


def pytest_arguments(options: argparse.Namespace) -> list[str]:
    files = [str(HERE / f"{PREFIX}{name}.py") for name in options.names or families()]
    arguments = [
        *files,
        "--quiet",
        f"--override-ini=python_files={PREFIX}*.py",
        "--override-ini=testpaths=benchmarks",
        # The test suite makes warnings errors; a peer's deprecation must not end a measurement.
        "--override-ini=filterwarnings=default",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",  # where it is installed, it would be imported for nothing
        "-m",
        "cuda" if options.cuda else "not cuda",
        "--benchmark-disable-gc",
        "--benchmark-group-by=group",
        "--benchmark-sort=fullname",
        "--benchmark-columns=min,median,iqr,outliers,rounds,iterations",
    ]
    if not options.details:
        arguments.append("--benchmark-quiet")
    if options.json:
        arguments.append(f"--benchmark-json={options.json}")
    return arguments


def main(arguments: list[str] | None = None) -> int:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    options = parse(arguments)
    needed = {"pytest": "pytest", "pytest_benchmark": "pytest-benchmark"}
    missing = [package for module, package in needed.items() if importlib.util.find_spec(module) is None]
    if missing:
        logger.error('missing: %s; try: pip install ".[bench]"', ", ".join(missing))
        return 2
    # Before numpy loads its BLAS, which reads these once; torch and fastwsi are pinned in conftest.py.
    for library in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM"):
        os.environ[f"{library}_NUM_THREADS"] = "1"

    import pytest

    status = pytest.main(pytest_arguments(options))
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        needs = "needs a GPU" if options.cuda else "runs without a GPU"
        logger.error("nothing to run: no measurement in these families %s", needs)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
