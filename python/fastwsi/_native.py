"""The extension module and the process-wide settings that it keeps."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastwsi import _core, _gpu

if TYPE_CHECKING:
    from collections.abc import Iterator

# The distributions whose versions a bug report needs; the first one installed of each row is named.
_PACKAGES: dict[str, tuple[str, ...]] = {
    "numpy": ("numpy",),
    "torch": ("torch",),
    "openslide": ("openslide-python",),
    "cupy": ("cupy-cuda13x", "cupy-cuda12x", "cupy"),
}


@dataclass(frozen=True)
class BuildInfo:
    """What this installation is and what it found; ``print`` it into a bug report.

    Attributes
    ----------
    version, compiler, build_type, python, platform : str
        Of the package, the C++ compiler, the CMake build type, the interpreter, the machine.
    cuda_compiled : int
        CUDA runtime inside, as 1000 * major + 10 * minor; 0 in a build without CUDA.
    cuda_architectures : str
        The architectures that the kernels were compiled for, as CMake writes them.
    simd_built, simd_usable : tuple of str
        SIMD levels in the binary, and those that this processor runs.
    simd_chosen : str
        The level in use, or what is wrong with FASTWSI_SIMD.
    threads : int
        Threads that a kernel may use now.
    gpus : tuple of str
        The GPUs that CUDA would see.
    gpus_uncovered : tuple of str
        Those among them that this build has no kernels for.
    driver_cuda : int
        Newest CUDA version that the driver serves; 0 without a driver.
    packages : tuple of (str, str)
        Name and version of the packages that matter here; "" where one is missing.
    """

    version: str
    compiler: str
    build_type: str
    python: str
    platform: str
    cuda_compiled: int
    cuda_architectures: str
    simd_built: tuple[str, ...]
    simd_usable: tuple[str, ...]
    simd_chosen: str
    threads: int
    gpus: tuple[str, ...]
    gpus_uncovered: tuple[str, ...]
    driver_cuda: int
    packages: tuple[tuple[str, str], ...]

    def rows(self) -> list[tuple[str, str]]:
        """Return (subject, finding) pairs for people to read."""
        cuda = "no (built without CUDA)"
        if self.cuda_compiled:
            cuda = f"{cuda_version_text(self.cuda_compiled)} for {self.cuda_architectures}"
        driver = "no driver found"
        if self.driver_cuda:
            driver = f"serves CUDA {cuda_version_text(self.driver_cuda)}"
        return [
            ("fastwsi", self.version),
            ("Python", f"{self.python} on {self.platform}"),
            ("compiled by", f"{self.compiler} ({self.build_type})"),
            ("CUDA compiled in", cuda),
            ("NVIDIA driver", driver),
            ("GPUs seen", ", ".join(self.gpus) or "none"),
            ("SIMD built", ", ".join(self.simd_built)),
            ("SIMD chosen", self.simd_chosen),
            ("threads", str(self.threads)),
            *((name, version or "not installed") for name, version in self.packages),
        ]

    def __str__(self) -> str:
        return "\n".join(f"{subject + ':':<18}{finding}" for subject, finding in self.rows())


def cuda_version_text(number: int) -> str:
    """Spell CUDA's version number.

    Examples
    --------
    >>> cuda_version_text(12040)
    '12.4'
    """
    return f"{number // 1000}.{number % 1000 // 10}"


def _version_of(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _installed(names: tuple[str, ...]) -> str:
    return next(filter(None, map(_version_of, names)), "")


def build_info() -> BuildInfo:
    """Tell what was built, what it runs on, and what was found beside it.

    Examples
    --------
    >>> "baseline" in build_info().simd_built
    True
    """
    found = _gpu.probe()
    try:
        chosen = _core.simd_level()
    except ValueError as error:  # FASTWSI_SIMD names a level that cannot be used: say so, go on
        chosen = str(error)
    gpus = [
        (f"{gpu.name} ({'.'.join(map(str, gpu.compute_capability))})", gpu.compute_capability)
        for gpu in found.gpus
    ]
    architectures = _core.cuda_architectures
    return BuildInfo(
        version=_core.version,
        compiler=re.sub(r"\s+", " ", _core.compiler),
        build_type=_core.build_type,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        cuda_compiled=_core.cuda_runtime_version,
        cuda_architectures=_core.cuda_architectures,
        simd_built=tuple(_core.simd_built()),
        simd_usable=tuple(_core.simd_usable()),
        simd_chosen=chosen,
        threads=_core.num_threads(),
        gpus=tuple(name for name, _ in gpus),
        gpus_uncovered=tuple(
            name
            for name, capability in gpus
            if _core.cuda_runtime_version and not kernels_cover(architectures, capability)
        ),
        driver_cuda=found.driver_cuda,
        packages=tuple((name, _installed(names)) for name, names in _PACKAGES.items()),
    )


def driver_serves(runtime: int, driver: int) -> bool:
    """Tell whether a driver can run a statically linked CUDA runtime.

    Within one major version newer runtimes run on older drivers (from CUDA 11 on), so the major
    version decides.

    Examples
    --------
    >>> driver_serves(runtime=13000, driver=13010), driver_serves(runtime=13000, driver=12080)
    (True, False)
    """
    return driver // 1000 >= runtime // 1000 > 0


def kernels_cover(architectures: str, capability: tuple[int, int]) -> bool:
    """Tell whether kernels compiled for ``architectures`` run on a card.

    Machine code runs on its own major version from its minor version on; PTX ("virtual", and a bare number
    brings it along) on everything newer. A word such as "all-major" stands for all since Turing.

    Examples
    --------
    >>> kernels_cover("75-virtual, 90-real", (8, 6)), kernels_cover("90-real", (8, 6))
    (True, False)
    """
    major, minor = capability
    for word in architectures.split(", "):
        match = re.match(r"(\d+)(\d)[a-z]?(-real|-virtual)?$", word)
        if match is None:
            if capability >= (7, 5):
                return True
            continue
        compiled = (int(match.group(1)), int(match.group(2)))
        machine_code = match.group(3) != "-virtual" and compiled[0] == major and compiled[1] <= minor
        if machine_code or (match.group(3) != "-real" and compiled <= capability):
            return True
    return False


def cuda_available() -> bool:
    """Tell whether fastwsi's CUDA kernels can run here.

    True where the package was built with CUDA, a GPU that its kernels were compiled for is visible, and
    the driver is new enough. CUDA is not initialised by asking, so the process may still fork.

    Examples
    --------
    >>> fastwsi.cuda_available() in (True, False)
    True
    """
    if not _core.cuda_runtime_version:
        return False
    found = _gpu.probe()
    covered = any(kernels_cover(_core.cuda_architectures, gpu.compute_capability) for gpu in found.gpus)
    return covered and driver_serves(_core.cuda_runtime_version, found.driver_cuda)


def set_num_threads(n: int | None) -> None:
    """Set how many threads one kernel call may use, the calling one included.

    Without it: OMP_NUM_THREADS where set, else the processors that this process may run on (affinity
    and cgroup quota); 1 in a torch DataLoader worker unless the worker itself calls this. Results do
    not depend on it.

    Parameters
    ----------
    n : int or None
        At least 1; None goes back to the default.

    Examples
    --------
    >>> fastwsi.set_num_threads(1)
    >>> fastwsi.get_num_threads()
    1
    >>> fastwsi.set_num_threads(None)
    """
    if n is None:
        _core.set_num_threads(0)
        return
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"n: got {type(n).__name__}, expected int or None")
    if not 1 <= n <= 4096:
        raise ValueError(f"n: got {n}, expected 1 to 4096")
    _core.set_num_threads(n)


def get_num_threads() -> int:
    """Return how many threads a kernel call made now may use.

    Examples
    --------
    >>> fastwsi.get_num_threads() >= 1
    True
    """
    return _core.num_threads()


@contextmanager
def simd_level(name: str) -> Iterator[None]:
    """Run the calling thread's kernels at one SIMD level inside a ``with`` block.

    Meant for tests and measurements; the best level is chosen without it. The environment variable
    FASTWSI_SIMD sets the level of a whole process.

    Parameters
    ----------
    name : str
        "baseline" or "avx2"; ValueError where this build or processor lacks it.

    Examples
    --------
    >>> with fastwsi.kernels.simd_level("baseline"):
    ...     fastwsi.build_info().simd_chosen
    'baseline'
    """
    if name not in ("baseline", "avx2", "avx512"):
        raise ValueError(f"name: got {name!r}, expected one of {_core.simd_usable()}")
    previous = _core.set_simd_override(name)
    try:
        yield
    finally:
        _core.set_simd_override(previous)
