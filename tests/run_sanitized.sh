#!/usr/bin/env bash
# Builds the extension with AddressSanitizer and UndefinedBehaviorSanitizer and runs the kernel and boundary
# tests against it; then the thread pool alone under ThreadSanitizer. Run it in an environment that has the
# test dependencies and scikit-build-core, pybind11, cmake and ninja; it leaves that environment as it was.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "== AddressSanitizer and UndefinedBehaviorSanitizer"
"$python" -m pip install --quiet --no-deps --no-build-isolation --target "$work/site" \
    -C build-dir="$work/build" -C cmake.build-type=RelWithDebInfo \
    -C cmake.define.FASTWSI_CUDA=OFF -C cmake.define.FASTWSI_SANITIZE=address,undefined .

grep -q libasan < <(readelf -d "$work"/site/fastwsi/_core*.so) || { echo "the sanitizers are not in"; exit 1; }

# The interpreter is not instrumented, so the runtimes are loaded before it; libstdc++ too, or the
# interception of exceptions fails. Leaks are left to the tests that count: Python itself never frees all.
runtime() { "${CXX:-g++}" -print-file-name="$1"; }
# Left out: what counts memory, and torch's compiler, which takes minutes here and runs no other kernel code.
LD_PRELOAD="$(runtime libasan.so) $(runtime libubsan.so) $(runtime libstdc++.so)" \
ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:allocator_may_return_null=1 \
UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
PYTHONPATH="$work/site" HYPOTHESIS_MAX_EXAMPLES=40 \
    "$python" -m pytest -q -n auto -p no:cacheprovider tests/kernels tests/boundary tests/stain tests/streaming/test_row_*.py \
    --deselect tests/boundary/test_disassembly.py \
    -k "not million and not leak and not compile and not exports and not graph and not opcheck"

echo "== ThreadSanitizer on the thread pool"
"${CXX:-g++}" -std=c++17 -O1 -g -fsanitize=thread -Icsrc -o "$work/parallel_stress" \
    tests/native/parallel_stress.cpp csrc/base/parallel.cpp csrc/base/processors.cpp -pthread
"$work/parallel_stress"
