"""What all tests share: how hypothesis draws, and Python processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Two workers of pytest share the cores, so that a thread which spins for its next work takes the other worker's time:
# sleeping ones make the suite take less than half as long. Read when OpenMP starts, so before Numba is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from fastdl import backend

ROOT = Path(__file__).parents[1]

# The same examples in every run; FASTDL_FUZZ_EXAMPLES=1000 draws so many new ones of everything instead.
SHARED = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
FUZZ = int(os.environ.get("FASTDL_FUZZ_EXAMPLES", "0"))
settings.register_profile("ci", derandomize=True, max_examples=20, **SHARED)
settings.register_profile("thorough", max_examples=FUZZ or 1000, **SHARED)
settings.load_profile("thorough" if FUZZ else "ci")


# Without Numba the reference kernels run, and what is about compiled ones has nothing to look at.
NUMBA = backend.numba_missing() is None
if not NUMBA:
    # Those of CUDA have run with Numba, on which nothing in them depends.
    of_kernels = "agreement", "math", "philox", "streaming", "cuda", "cuda_compiles"
    collect_ignore = ["test_ops_processes.py", "test_cuda_step.py", "test_gpu.py", "emulator"]
    collect_ignore += [f"kernels/test_{name}.py" for name in of_kernels]


def pytest_collection_modifyitems(items):
    missing = backend.cuda_missing() if any(item.get_closest_marker("gpu") for item in items) else None
    if missing and os.environ.get("FASTDL_REQUIRE_CUDA"):
        raise pytest.UsageError(f"FASTDL_REQUIRE_CUDA is set, and no GPU can be used: {missing}")
    for item in items:
        if missing and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=missing))
    for item in items if not NUMBA else ():
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if item.get_closest_marker("numba") or any(isinstance(p, str) and p == "numba" for p in parameters):
            item.add_marker(pytest.mark.skip(reason="Numba is missing"))


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture
def start_python(tmp_path):
    """Start `code` as a script of a Python of its own; what is returned waits for it and gives what it printed."""

    def start(code, **environment):
        script = tmp_path / f"script{len(list(tmp_path.glob('*.py')))}.py"
        script.write_text(code)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        process = subprocess.Popen(
            [sys.executable, script],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, **environment},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

        def finish():
            try:
                out, err = process.communicate(timeout=300)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                pytest.fail(f"the process hung, after it had printed {out!r} and {err!r}")
            assert process.returncode == 0, err
            return out

        return finish

    return start


@pytest.fixture
def run_python(start_python):
    """Run `code` as a script of a Python of its own, and return what it printed."""
    return lambda code, **environment: start_python(code, **environment)()


@pytest.fixture(scope="session")
def torch():
    """PyTorch as an oracle; the tests that want it are skipped without it, unless FASTDL_REQUIRE_TORCH is set."""
    if os.environ.get("FASTDL_REQUIRE_TORCH"):
        import torch

        return torch
    return pytest.importorskip("torch")
