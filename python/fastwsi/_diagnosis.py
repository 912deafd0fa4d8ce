"""What a user can do about what is missing: the findings that ``fastwsi doctor`` shows."""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fastwsi import _native

if TYPE_CHECKING:
    from fastwsi._native import BuildInfo

_MODULES = {"opencv-python-headless": "cv2", "openslide-python": "openslide", "pyyaml": "yaml"}
_TOLD_APART = {"torch", "openslide-python", "openslide-bin"}  # with what they are for

Severity = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis.

    Attributes
    ----------
    severity : "ok", "note" or "problem"
        "problem": something that is there does not work. "note": something is not there.
    subject : str
        What it is about.
    text : str
        What it means, and what to do.
    """

    severity: Severity
    subject: str
    text: str


@dataclass(frozen=True)
class Surroundings:
    """Facts beside the build that the diagnosis goes by.

    Attributes
    ----------
    torch_cuda : str or None
        CUDA version of the installed torch, "" for a CPU build, None without torch.
    hidden_gpus : int
        GPUs that CUDA_VISIBLE_DEVICES takes away.
    has_openslide_library : bool
        Whether openslide-bin, which brings the native library, is installed.
    missing : tuple of str
        Packages that this one needs, and that are not installed.
    simd_request, threads_request : str
        FASTWSI_SIMD and OMP_NUM_THREADS, "" where unset.
    """

    torch_cuda: str | None
    hidden_gpus: int
    has_openslide_library: bool
    missing: tuple[str, ...]
    simd_request: str
    threads_request: str


def torch_cuda_version() -> str | None:
    """Return the CUDA version that torch was built for, without importing torch.

    Examples
    --------
    >>> torch_cuda_version() is None or isinstance(torch_cuda_version(), str)
    True
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return ""
    match = re.search(r"^cuda\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    return match.group(1) if match else ""


def missing_packages(name: str = "fastwsi") -> tuple[str, ...]:
    """Return the packages that one needs, whatever extras, and that are not installed.

    Examples
    --------
    >>> missing_packages()
    ()
    """
    try:
        needed = metadata.requires(name) or []
    except metadata.PackageNotFoundError:  # used from its source folder
        return ()
    names = [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in needed if ";" not in text]
    return tuple(each for each in names if not _is_there(each))


def _is_there(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        # OpenCV comes under several names.
        return importlib.util.find_spec(_MODULES.get(package, package.replace("-", "_"))) is not None
    return True


def look_around() -> Surroundings:
    """Collect the facts of this process."""
    from fastwsi import _gpu  # noqa: PLC0415

    return Surroundings(
        torch_cuda=torch_cuda_version(),
        hidden_gpus=_gpu.probe().hidden,
        missing=missing_packages(),
        has_openslide_library=importlib.util.find_spec("openslide_bin") is not None,
        simd_request=os.environ.get("FASTWSI_SIMD", ""),
        threads_request=os.environ.get("OMP_NUM_THREADS", ""),
    )


def diagnose(info: BuildInfo, around: Surroundings) -> list[Finding]:
    """Say what works, what does not, what is missing for what, and what to do about it.

    Parameters
    ----------
    info : BuildInfo
        From ``fastwsi.build_info()``.
    around : Surroundings
        From ``look_around()``.

    Examples
    --------
    >>> findings = diagnose(fastwsi.build_info(), look_around())
    >>> [finding.severity for finding in findings if finding.subject == "kernels"]
    ['ok']
    """
    return [*_processor(info, around), *_gpu_findings(info, around), *_packages(info, around)]


def _processor(info: BuildInfo, around: Surroundings) -> list[Finding]:
    if info.simd_chosen not in info.simd_usable:
        return [Finding("problem", "kernels", f"{info.simd_chosen}; unset FASTWSI_SIMD or change it")]
    findings = [
        Finding(
            "ok",
            "kernels",
            f"run on the CPU with {info.simd_chosen} code and {info.threads} threads",
        )
    ]
    best = info.simd_usable[-1]
    if around.simd_request and info.simd_chosen != best:
        findings.append(
            Finding(
                "note",
                "SIMD",
                f"FASTWSI_SIMD={around.simd_request} holds kernels back: this processor can run {best}",
            )
        )
    if around.threads_request and not re.match(r"\s*[1-9]\d{0,3}\b", around.threads_request):
        findings.append(
            Finding(
                "note",
                "threads",
                f"OMP_NUM_THREADS={around.threads_request!r} is not a number of threads and is ignored",
            )
        )
    return findings


def _gpu_findings(info: BuildInfo, around: Surroundings) -> list[Finding]:
    findings: list[Finding] = []
    version = _native.cuda_version_text
    if not info.gpus:
        if around.hidden_gpus:
            hider = f"CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', '')!r}"
            text = f"{around.hidden_gpus} hidden by {hider}; unset it to use them"
        elif info.driver_cuda:
            text = "the NVIDIA driver is there but shows no GPU; check nvidia-smi"
        else:
            text = "no NVIDIA driver found: everything runs on the CPU, training and scanning slowly"
        return [Finding("note", "GPU", text)]
    if not info.cuda_compiled:
        findings.append(
            Finding(
                "note",
                "GPU",
                "a GPU is here, but fastwsi was built without CUDA, so its kernels run on the CPU: install"
                " the CUDA toolkit, put nvcc on PATH, and from the clone run"
                " pip install --force-reinstall --no-deps .",
            )
        )
    elif not _native.driver_serves(info.cuda_compiled, info.driver_cuda):
        findings.append(
            Finding(
                "problem",
                "NVIDIA driver",
                f"older than the CUDA runtime inside fastwsi: it serves CUDA {version(info.driver_cuda)},"
                f" fastwsi needs {info.cuda_compiled // 1000}.0 or newer; update the driver, or build"
                " fastwsi with an older CUDA toolkit",
            )
        )
    elif info.gpus_uncovered:
        findings.append(
            Finding(
                "problem",
                "GPU",
                f"no kernels for {', '.join(info.gpus_uncovered)}: compiled for {info.cuda_architectures};"
                " hide it with CUDA_VISIBLE_DEVICES, or build fastwsi on this machine (Turing, 7.5, is the"
                " oldest that it serves)",
            )
        )
    else:
        findings.append(Finding("ok", "GPU", f"kernels run on {', '.join(info.gpus)}"))
    if around.torch_cuda == "":
        findings.append(
            Finding(
                "note",
                "torch",
                "a GPU is here, but this torch is a CPU build: networks will not use the GPU; install a"
                " CUDA build (https://pytorch.org/get-started/locally)",
            )
        )
    if not dict(info.packages)["cupy"]:
        findings.append(
            Finding(
                "note",
                "cupy",
                "not installed: needed for cupy arrays alone; pip install 'fastwsi[cuda]'",
            )
        )
    return findings


def _packages(info: BuildInfo, around: Surroundings) -> list[Finding]:
    findings: list[Finding] = []
    installed = dict(info.packages)
    others = [name for name in around.missing if name not in _TOLD_APART]
    if others:
        findings.append(
            Finding(
                "problem",
                "packages",
                f"{', '.join(others)}: not installed, and commands need them; pip install {' '.join(others)}",
            )
        )
    if not installed["torch"]:
        findings.append(
            Finding(
                "problem",
                "torch",
                "not installed: kernels work on numpy arrays; networks, training and scanning need it;"
                " pip install torch",
            )
        )
    if not installed["openslide"]:
        findings.append(
            Finding(
                "note",
                "openslide",
                "not installed: needed to read slide files (SVS, NDPI, MRXS and others);"
                " pip install openslide-python openslide-bin",
            )
        )
    elif not around.has_openslide_library:
        findings.append(
            Finding(
                "note",
                "openslide",
                "openslide-bin is not installed: the system's OpenSlide library is used, where there is"
                " one; pip install openslide-bin brings a current one",
            )
        )
    return findings
