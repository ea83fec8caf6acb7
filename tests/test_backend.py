"""Which kernels run, and what is said where one cannot."""

import ctypes
import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from fastdl import backend, ops


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.numba
def test_use_holds_within_its_block_and_its_thread():
    assert backend.active() == "numba"
    with backend.use("numpy"):
        assert backend.active() == "numpy"
        with backend.use("numba"):
            assert backend.active() == "numba"
        assert backend.active() == "numpy"
    assert backend.active() == "numba"
    with pytest.raises(ValueError, match="got 'torch', wanted 'numpy' or 'numba'"), backend.use("torch"):
        pass


def test_without_numba_the_reference_runs_and_says_so_once():
    code = (
        "import sys, warnings; sys.modules['numba'] = None\n"
        "import numpy as np\n"
        "from fastdl import ops, backend\n"
        "with warnings.catch_warnings(record=True) as said:\n"
        "    warnings.simplefilter('always')\n"
        "    y = [ops.activation(np.array([-1.0, 2.0]), 'relu') for _ in range(3)]\n"
        "print(y[0], len(said), said[0].category.__name__, backend.active())\n"
    )
    found = run(code)
    assert found.stdout.strip() == "[0. 2.] 1 FallbackWarning numpy", found.stderr


def test_without_numba_a_network_trains():
    code = (
        "import sys, warnings; sys.modules['numba'] = None; warnings.simplefilter('ignore')\n"
        "from fastdl import recipes\n"
        "from fastdl.config import Config\n"
        "print(recipes.train(Config(epochs=3)).test['accuracy'] > 0.9)\n"
    )
    found = run(code)
    assert found.stdout.strip() == "True", found.stderr


@pytest.mark.numba
def test_without_scipys_blas_the_loops_take_its_place():
    code = (
        "import sys; sys.modules['scipy.linalg.cython_blas'] = None; sys.modules['scipy'] = None\n"
        "import numpy as np\n"
        "from fastdl import ops\n"
        "from fastdl.kernels import _blas\n"
        "x, w = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)\n"
        "print(_blas.missing is not None, (ops.matmul(x, w) == x @ w).all())\n"
    )
    found = run(code)
    assert found.stdout.strip() == "True True", found.stderr


@pytest.mark.numba
def test_training_on_the_reference_agrees_with_numba():
    from fastdl import losses, nn, optim
    from fastdl.step import TrainStep

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 9)), rng.integers(0, 4, 64)
    model = nn.Sequential(nn.Linear(8, bias=False), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.3), nn.Linear(4))
    curves = []
    for name in ("numpy", "numba"):
        with backend.use(name):
            step = TrainStep(model, losses.SoftmaxCrossEntropy(), optim.Adam(0.01), batch_size=32, dtype=np.float64)
            curves.append([step(x[at : at + 32], y[at : at + 32]) for at in (0, 32) * 20])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-12)


def test_cuda_without_a_gpu_gives_its_reason():
    assert backend.device("auto") == "cpu"
    with pytest.raises(RuntimeError, match=r"device='cuda': .*; use device='cpu'"):
        backend.device("cuda")


@pytest.fixture
def missing():
    """`cuda_missing`, asked anew."""
    backend.cuda_missing.cache_clear()
    yield backend.cuda_missing
    backend.cuda_missing.cache_clear()


def test_without_cupy_the_reason_names_what_to_install(missing, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert missing() == (
        "CuPy is not installed (pip install -e '.[cuda13]' in a clone, elsewhere pip install 'cupy-cuda13x[ctk]')"
    )


def test_without_a_driver_the_reason_names_it_and_the_containers_option(missing, monkeypatch):
    def absent(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(ctypes, "CDLL", absent)
    reason = missing()
    assert reason.startswith("no NVIDIA driver, libcuda cannot be loaded")
    assert "install NVIDIA's driver for CUDA 13" in reason
    assert "--gpus all" in reason


def test_arrays_that_are_no_numpy_arrays_are_refused():
    class Foreign:
        __module__ = "cupy"

    with pytest.raises(TypeError, match=r"activation: x must be a numpy\.ndarray, got cupy"):
        ops.activation(Foreign(), "relu")
