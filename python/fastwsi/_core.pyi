# The native extension. Arrays are anything that speaks DLPack; outputs are allocated by the caller.
# `stream` is the caller's CUDA stream as an integer, 0 on the CPU.
from collections.abc import Sequence
from typing import Any

version: str
compiler: str
build_type: str
cuda_runtime_version: int
cuda_architectures: str

class NmsResult:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...  # raises: it comes from nms()
    @property
    def counts(self) -> list[int]: ...
    def fill(self, index: int, x: Any, y: Any, score: Any) -> None: ...
    def fill_counts(self, count: Any) -> None: ...

def simd_built() -> list[str]: ...
def simd_usable() -> list[str]: ...
def simd_level() -> str: ...
def set_simd_override(name: str) -> str: ...
def set_num_threads(n: int) -> None: ...
def num_threads() -> int: ...
def default_threads() -> int: ...
def cgroup_quota(groups_file: str, root: str) -> float: ...
def use_exchange_api(use: bool) -> None: ...
def accumulate(
    state: Any, count: Any, tiles: Any, x: Sequence[int], y: Sequence[int], maximum: bool, stream: int
) -> None: ...
def average(state: Any, count: Any, out: Any, empty: float, maximum: bool, stream: int) -> None: ...
def area_resize(
    image: Any, out: Any, origin: Sequence[float], scale: Sequence[float], stream: int
) -> None: ...
def augment_patches(
    images: Any, out: Any, channels_first: bool, table: Any, workspace: Any, stream: int
) -> None: ...
def augment_patches_workspace(count: int, height: int, width: int) -> int: ...
def hsd_normalize(
    images: Any,
    out: Any,
    transforms: Sequence[float],
    scale: Sequence[float],
    shift: Sequence[float],
    stream: int,
) -> None: ...
def hsd_moments(images: Any, mask: Any) -> tuple[float, float, float, float, float, float, float, float]: ...
def hsd_moments_device(images: Any, mask: Any, workspace: Any, result: Any, stream: int) -> None: ...
def hsd_moments_workspace() -> int: ...
def hsd_moments_central(
    sums: Sequence[float],
) -> tuple[float, float, float, float, float, float, float, float]: ...
def nms(heatmap: Any, radius: float, threshold: float, shape: str, max_points: int) -> NmsResult: ...
def nms_capacity(height: int, width: int, radius: float, shape: str) -> int: ...
def nms_device(
    heatmap: Any,
    radius: float,
    threshold: float,
    shape: str,
    keys: Any,
    count: Any,
    scratch: Any,
    stream: int,
) -> None: ...
def nms_read_device(
    heatmap: Any, place: Any, x: Any, y: Any, score: Any, count: Any, stream: int
) -> None: ...
def nms_scratch_bytes(maps: int, height: int, width: int, radius: float, shape: str) -> int: ...
def rounded_threshold(threshold: float, dtype_name: str) -> float: ...
def orient(
    images: Any, out: Any, orientations: Sequence[int], row_axis: int, column_axis: int, stream: int
) -> None: ...
def orient_mean(
    predictions: Sequence[Any], out: Any, row_axis: int, column_axis: int, stream: int
) -> None: ...
def dense_pool(
    x: Any, out: Any, window: Sequence[int], stride: Sequence[int], scratch: Any, stream: int
) -> None: ...
def dense_pool_backward(
    grad: Any, out: Any, window: Sequence[int], stride: Sequence[int], scratch: Any, stream: int
) -> None: ...
def dense_pool_scratch(
    planes: int, size: Sequence[int], window: Sequence[int], stride: Sequence[int], backward: bool
) -> int: ...
def row_affine_act(
    x: Any,
    scale: Any,
    shift: Any,
    residual: Any,
    out: Any,
    act: str,
    slope: float,
    contract: bool,
    channels_last: bool,
    stream: int,
) -> None: ...
def row_act_gate(
    grad: Any, value: Any, out: Any, sums: Any, act: str, slope: float, channels_last: bool, stream: int
) -> None: ...
def row_max_pool(
    x: Any,
    y: Any,
    index: Any,
    pads: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    channels_last: bool,
    stream: int,
) -> None: ...
def row_max_pool_backward(
    out: Any,
    grad: Any,
    index: Any,
    pads: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    channels_last: bool,
    stream: int,
) -> None: ...
def move_rows(buffer: Any, source: int, target: int, count: int, channels_last: bool) -> None: ...
def scale_shift(x: Any, out: Any, scale: Sequence[float], shift: Sequence[float], stream: int) -> None: ...
def warp(
    source: Any,
    out: Any,
    matrix: Sequence[float],
    displacement: Any,
    cubic: bool,
    bilinear: bool,
    geometry: Sequence[int],
    fill: Sequence[int],
    channels_first: bool,
    table: Any,
    stream: int,
) -> None: ...
