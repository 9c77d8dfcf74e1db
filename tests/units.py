"""Scheduling units: tests that one worker runs in a row because they share fixtures and caches."""
from pathlib import PurePosixPath
from zlib import crc32

BACKENDS = {"reference", "wasm", "webgpu"}
# Files that are too long for one unit, with the number of units. A test belongs to the unit of its
# first parameter that is no backend, so the expected values of an operation are computed once.
DIVIDED = {"tests/test_op_cases.py": 12}
# Files with few tests that take long. They begin early, so that all workers end at about the same
# time.
LONG = {f"tests/test_{name}.py" for name in (
    "build", "devices", "gpu_counts", "gpu_faults", "gpu_gemm", "keras_training", "lint_and_types",
    "memory_leaks", "wgsl_validation")}
PAGES = PurePosixPath("tests/web"), PurePosixPath("tests/browsers")


def unit_of(nodeid: str) -> str:
    """The unit of a test: its file, or a part of a divided file."""
    path, _, name = nodeid.partition("::")
    if path not in DIVIDED:
        return path
    parameters = name.partition("[")[2].rstrip("]").split("-")
    subject = next((each for each in parameters if each not in BACKENDS), "")
    return f"{path} {crc32(subject.encode()) % DIVIDED[path]}"


def drives_page(unit: str) -> bool:
    """Whether the tests of a unit mostly wait for a browser."""
    return not set(PAGES).isdisjoint(PurePosixPath(unit).parents)
