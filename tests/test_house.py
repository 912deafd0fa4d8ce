"""The house rules, as tests: floors, circles, native layering, names, file sizes. Reads text only."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "python" / "fastwsi"
NATIVE = ROOT / "csrc"
MAX_LINES = 400

# Room to floor. A room imports from lower floors alone; rooms of one floor do not know each other.
FLOORS = {
    "_version": 3,
    "_core": 3,
    "_gpu": 3,
    "_native": 3,
    "_arrays": 3,
    "_files": 3,
    "_layout": 3,
    "_png": 3,
    "_diagnosis": 3,
    "_devices": 3,
    "_ndimage": 3,
    "_numbers": 3,
    "kernels": 4,
    "slides": 5,
    "augment": 5,
    "stain": 5,
    "nn": 5,
    "evaluation": 5,
    "streaming": 6,
    "data": 6,
    "engine": 7,
    "detectors": 8,
    "report": 9,
    "demo": 9,
    "cli": 10,
    "__main__": 11,
}
GROUND = 3  # the private modules of this floor may use each other, without circles


def python_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports_of(path: Path) -> set[str]:
    """Every fastwsi module that a file names in an import, wherever in the file it stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import; the whole name tells the floor"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "fastwsi" and "." in name}


def existing_module(name: str) -> str:
    """Strip names inside a module from `package.module.name`."""
    modules = {module_name(path) for path in python_files()} | {"fastwsi._core"}
    while name not in modules:
        name = name.rpartition(".")[0]
    return name


def test_every_room_has_a_floor():
    rooms = {room_of(module_name(path)) for path in python_files()} - {""}
    assert rooms <= FLOORS.keys(), f"give {sorted(rooms - FLOORS.keys())} a floor"


@pytest.mark.parametrize("path", python_files(), ids=module_name)
def test_imports_go_down(path):
    room = room_of(module_name(path))
    if not room:
        return  # the package itself only names what it lazily offers
    for imported in imports_of(path):
        target = room_of(imported)
        same = target == room
        below = FLOORS[target] < FLOORS[room]
        ground = FLOORS[target] == FLOORS[room] == GROUND
        assert same or below or ground, f"{module_name(path)} (floor {FLOORS[room]}) imports {imported}"


def test_no_circles():
    graph = {
        module_name(path): {existing_module(name) for name in imports_of(path)} - {module_name(path)}
        for path in python_files()
        if room_of(module_name(path))
    }
    # A package's __init__ gathers its own modules; only what is imported when a module loads counts
    # between the two, and that runs into an ImportError by itself.
    for module, imported in graph.items():
        graph[module] = {name for name in imported if not module.startswith(f"{name}.")}
    lazy = {  # imported inside functions, when torch asks for it
        ("fastwsi.kernels.augment", "fastwsi.kernels.augment_torch_ops"),
        ("fastwsi.kernels.hsd", "fastwsi.kernels.torch_ops"),
        ("fastwsi.kernels.orientation", "fastwsi.kernels.orientation_torch_ops"),
        ("fastwsi.kernels.pixels", "fastwsi.kernels.torch_ops"),
        ("fastwsi.kernels.pooling", "fastwsi.kernels.pooling_torch_ops"),
        ("fastwsi.kernels.warping", "fastwsi.kernels.augment_torch_ops"),
        ("fastwsi.stain.hsd", "fastwsi.stain.module"),
    }
    for importer, imported in lazy:
        assert imported in graph[importer], f"{importer} no longer imports {imported}: drop the row"
        graph[importer].discard(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' -> '.join(error.args[1])}")


def test_tests_reference_is_independent():
    for path in (ROOT / "tests" / "reference").glob("*.py"):
        assert imports_of(path) == set(), f"{path.name} must not know what it is the reference of"


@pytest.mark.parametrize("folder", ["python", "csrc", "tests", "benchmarks", "cmake"])
def test_files_are_small(folder):
    suffixes = {".py", ".pyi", ".h", ".cpp", ".cu", ".cuh", ".inl", ".c", ".cmake"}
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes
    }
    assert lengths
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def native_files() -> list[Path]:
    return sorted(path for path in NATIVE.rglob("*") if path.is_file())


def includes_of(path: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", native_files(), ids=lambda path: str(path.relative_to(NATIVE)))
def test_native_layers(path):
    layer, *rest = path.relative_to(NATIVE).parts
    forbidden = {
        "base": ("kernels/", "bindings/", "pybind11", "torch", "ATen", "c10", "Python.h"),
        "kernels": ("bindings/", "pybind11", "torch", "ATen", "c10", "Python.h"),
        "bindings": ("torch", "ATen", "c10"),
    }[layer]
    for include in includes_of(path):
        assert not include.startswith(forbidden), f"{path.name} includes {include}"
        if layer == "kernels" and include.startswith("kernels/"):
            assert include.split("/")[1] == rest[0], f"{path.name} includes another family's {include}"
    text = path.read_text()
    assert "using namespace std" not in text
    if path.name not in ("parallel.cpp", "processors.cpp"):
        assert not re.search(r"\bstd::(thread|async)\b|#\s*pragma\s+omp|\bpthread_create\b", text), (
            f"{path.name}: threads go through base/parallel.h"
        )


def operations() -> list[str]:
    text = (ROOT / "CMakeLists.txt").read_text()
    return re.search(r"set\(FASTWSI_OPERATIONS\s+([^)]*)\)", text).group(1).split()


@pytest.mark.parametrize("operation", operations())
def test_one_operation_has_one_name_in_every_room(operation):
    family, name = operation.split("/")
    stem = NATIVE / "kernels" / family / name
    files = [f"{stem}{end}" for end in (".h", "_cpu.cpp", "_avx2.cpp", "_cuda.cu", "_cuda_stub.cpp")]
    files += [NATIVE / "bindings" / f"bind_{family}.cpp", PACKAGE / "kernels" / f"{family}.py"]
    files += [
        ROOT / "tests" / "kernels" / f"test_{name}.py",
        ROOT / "tests" / "reference" / f"{family}.py",
    ]
    assert [str(path) for path in files if not Path(path).is_file()] == []
    benches = [ROOT / "benchmarks" / f"bench_{room}.py" for room in (family, name)]
    assert any(path.is_file() for path in benches), "has no benchmark of its own or of its family"
    assert f'"{name}"' in (PACKAGE / "kernels" / "__init__.py").read_text(), "not in kernels.__all__"
    assert f"`{name}`" in (ROOT / "benchmarks" / "CUDA_STATUS.md").read_text(), "not in CUDA_STATUS.md"
    assert any(f"kernels.{name}(" in path.read_text() for path in (ROOT / "tests" / "cuda").glob("*.py")), (
        "has no test on a GPU"
    )


def test_kernels_on_disk_are_kernels_in_the_build():
    on_disk = {
        f"{path.parent.name}/{path.name.removesuffix('_cpu.cpp')}"
        for path in (NATIVE / "kernels").rglob("*_cpu.cpp")
    }
    assert on_disk == set(operations())


def test_wide_units_hold_nothing_but_their_shared_code():
    """A wide unit that instantiates a std template may give its wide copy to everyone."""
    for path in NATIVE.rglob("*_avx2.cpp"):
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        assert lines == [f'#include "{path.relative_to(NATIVE).parent}/{path.name[:-9]}_rows.inl"']
    allowed = {"cstdint", "cstring", "immintrin.h"}
    for path in [*NATIVE.rglob("*.inl"), *NATIVE.rglob("*_math.h"), NATIVE / "base" / "simd.h"]:
        assert {name for name in includes_of(path) if "/" not in name} <= allowed, path.name


def test_readme_has_its_two_commands():
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert [block.strip().count("\n") for block in blocks[:2]] == [0, 0], "two commands, a line each"
    assert "fastwsi demo" in blocks[0]
    assert "pytest" in blocks[1]
