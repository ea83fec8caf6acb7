"""Ops in several processes: after a fork, in a pool, and sharing the folder of compiled kernels."""

import hashlib
import importlib
import os
import pickle
import shutil
from pathlib import Path

import pytest

from fastdl import ops

POOL = """
import multiprocessing
import numpy as np
from fastdl import backend, ops

def work(seed):
    x = np.random.default_rng(0).standard_normal((400, 400))
    with backend.deterministic():
        loss, dlogits = ops.softmax_cross_entropy(ops.matmul(x, ops.activation(x, "tanh")), np.arange(400))
    return float(loss[0]), float(dlogits.sum())

if __name__ == "__main__":
    here = work(0)  # in parallel: its threads are not there in a child of fork
    with multiprocessing.get_context("{method}").Pool(2) as pool:
        there = pool.map_async(work, range(4)).get(timeout=100)
    assert there == [here] * 4, (here, there)
    assert work(0) == here
    print("same")
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_pool_after_a_parallel_kernel_gets_the_same_bits(method, run_python):
    assert run_python(POOL.format(method=method)) == "same\n"


THREADS = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parent / "kernels")!r}]
import threading
import numba
import numpy as np
from test_ops_contracts import LARGE, TABLE, Call

def results():
    return [a.tobytes() for name in TABLE for a in Call(name, np.float32, LARGE)().values()]

right, wrong, start = results(), [], threading.Barrier(8)

def work():
    start.wait(100)
    for _ in range(3):
        wrong.extend(at for at, (a, b) in enumerate(zip(results(), right, strict=True)) if a != b)

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(numba.threading_layer(), wrong)
"""


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["omp", "tbb", "workqueue"])
def test_eight_threads_at_once_get_what_one_gets(layer, run_python):
    if layer == "tbb":
        pytest.importorskip("numba.np.ufunc.tbbpool", exc_type=ImportError)
    environment = {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
    assert run_python(THREADS, **environment) == f"{layer} []\n"


THREAD_COUNTS = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parent / "kernels")!r}]
import hashlib
import numpy as np
from fastdl import backend
from test_ops_contracts import LARGE, TABLE, Call

digest = hashlib.sha256()
with backend.deterministic():
    for name in TABLE:
        for size in (LARGE, (3000, 70, 33)):
            for a in Call(name, np.float32, size)().values():
                digest.update(a.tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_any_number_of_threads_gives_the_same_bits(run_python):
    assert len({run_python(THREAD_COUNTS, NUMBA_NUM_THREADS=count) for count in ("1", "2", "3", "5")}) == 1


@pytest.mark.slow
def test_after_warmup_nothing_is_left_to_compile(start_python, tmp_path):
    """Of two ops, in a cache of their own; that `calls` chooses every kernel is held by the next test."""
    cache = {"FASTDL_CACHE_DIR": str(tmp_path / "cache")}
    warm = "from fastdl.cli import main; main(['warmup', 'norm', 'softmax'])"
    assert "6 kernels are compiled" in start_python(warm, **cache)()
    chosen = EVERY_KERNEL.replace("in KERNELS:", "in [k for k in KERNELS if k[0] in ('norm', 'softmax')]:")
    assert start_python(chosen, **cache)().split()[1] == "0"


def test_warmup_chooses_every_kernel():
    from fastdl import kernels, recorder, warmup
    from fastdl.kernels._numba import Kernel

    chosen = set()
    for dtype in ("float32", "float64"):
        for _, call in warmup.calls(dtype):
            with recorder.divert(lambda kernel, args, dtype=dtype: chosen.add((kernel.name, dtype))):
                call()
    names = set()
    for path in Path(kernels.__file__).parent.glob("*/cpu.py"):
        module = importlib.import_module(f"fastdl.kernels.{path.parent.name}.cpu")
        names |= {k.name for k in vars(module).values() if isinstance(k, Kernel)}
    for dtype in ("float32", "float64"):
        assert {name for name, of in chosen if of == dtype} == names


def test_warmup_of_no_op_is_told(capsys):
    from fastdl.cli import main

    assert main(["warmup", "softmx"]) == 2
    assert "no op is named softmx; there are activation, add, batch_norm" in capsys.readouterr().err


# ---------------------------------------------------------------- the cache

# Prints how many compilations there were, and the warnings.
COUNTED = """
import sys, warnings
import numpy as np
from numba.core import event
from fastdl import ops

x = np.array([-2.0, 0.5])
right = {"relu": np.maximum(x, 0), "tanh": np.tanh(x), "sigmoid": 1 / (1 + np.exp(-x)), "leaky_relu": [-0.02, 0.5]}
with warnings.catch_warnings(record=True) as said, event.install_recorder("numba:compile") as compiled:
    warnings.simplefilter("always")
    for name in %s:
        assert np.allclose(ops.activation(x, name), right[name], rtol=1e-14), name
kernels = {e.data["dispatcher"].py_func.__name__ for _, e in compiled.buffer if e.is_start}
print("forward" in kernels, *[f"{w.category.__name__}: {w.message}" for w in said], sep="\\n")
"""
ONE, FOUR = COUNTED % ["relu"], COUNTED % ["relu", "tanh", "sigmoid", "leaky_relu"]
COMPILED, LOADED = "True\n", "False\n"


def kept(cache):
    return sorted(cache.glob("*/*.kernel"))


@pytest.mark.slow
def test_cold_processes_share_a_folder_that_others_cannot_write_to(start_python, tmp_path):
    cache = tmp_path / "cache"
    both = [start_python(FOUR, FASTDL_CACHE_DIR=str(cache)) for _ in range(2)]
    assert [finish() for finish in both] == [COMPILED] * 2
    assert len(kept(cache)) == len(list(cache.glob("*/*"))) == 4  # nothing half-written beside them
    assert all(path.parent.stat().st_mode & 0o777 == 0o700 for path in kept(cache))
    assert start_python(FOUR, FASTDL_CACHE_DIR=str(cache))() == LOADED


# Applies some activations at the end of a product and by themselves, and says which come out wrong.
FAMILY = """
import numpy as np
from fastdl import backend, ops

x = np.linspace(-3, 3, 300 * 600, dtype=np.float32).reshape(300, 600)
wrong = []
for name in {names}:
    calls = [lambda: ops.activation(x, name), lambda: ops.activation_backward(x, name, x=x, y=x)]
    calls += [lambda: ops.matmul(x, x.T.copy(), activation=name)] if name in ops.EPILOGUES else []
    for call in calls:
        found = call()
        with backend.use("numpy"):
            wrong += [] if np.allclose(found, call(), rtol=1e-3, atol=1e-2) else [name]
print(wrong)
"""


@pytest.mark.slow
def test_kernels_that_different_processes_compiled_are_not_taken_for_each_other(start_python, tmp_path):
    """All of them come from three factories, and every process compiles another one first."""
    cache = {"FASTDL_CACHE_DIR": str(tmp_path / "cache")}
    for pair in zip(ops.ACTIVATIONS[::2], ops.ACTIVATIONS[1::2], strict=True):
        both = [start_python(FAMILY.format(names=[name]), **cache) for name in pair]
        assert [finish() for finish in both] == ["[]\n"] * 2
    assert start_python(FAMILY.format(names=ops.ACTIVATIONS), **cache)() == "[]\n"


@pytest.mark.slow
def test_damaged_files_are_compiled_again_and_written_over(run_python, tmp_path):
    cache = tmp_path / "cache"
    run_python(FOUR, FASTDL_CACHE_DIR=str(cache))
    half, flipped, empty, spoilt = kept(cache)
    half.write_bytes(half.read_bytes()[:2000])
    for path, at in ((flipped, -1), (spoilt, len(spoilt.read_bytes()) // 2)):
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)
    empty.write_bytes(b"")
    assert run_python(FOUR, FASTDL_CACHE_DIR=str(cache)) == COMPILED
    assert run_python(FOUR, FASTDL_CACHE_DIR=str(cache)) == LOADED


CONTENTS = {"foreign": pickle.dumps({"not": "a kernel"}), "empty": b"", "no pickle": b"fastdl", "cut": None}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_file_with_a_right_digest_and_a_wrong_content_does_no_harm(content, run_python, tmp_path):
    cache = tmp_path / "cache"
    run_python(ONE, FASTDL_CACHE_DIR=str(cache))
    (path,) = kept(cache)
    content = path.read_bytes()[32:-100] if content is None else content
    path.write_bytes(hashlib.sha256(content).digest() + content)
    first, warned = run_python(ONE, FASTDL_CACHE_DIR=str(cache)).splitlines()
    assert first == "True"
    assert warned.startswith("CacheWarning: ")


def test_where_no_folder_can_be_made_it_warns_once_and_computes(run_python, tmp_path):
    (tmp_path / "cache").write_text("a file stands in its place")
    first, *warned = run_python(FOUR, FASTDL_CACHE_DIR=str(tmp_path / "cache")).splitlines()
    assert first == "True"
    assert [line.partition(":")[0] for line in warned] == ["CacheWarning"]
    assert str(tmp_path / "cache") in warned[0]
    assert "Set FASTDL_CACHE_DIR to a folder of your own" in warned[0]


def test_folder_that_others_can_write_to_is_not_used(run_python, tmp_path):
    cache = tmp_path / "cache"
    run_python(ONE, FASTDL_CACHE_DIR=str(cache))
    (folder,) = cache.iterdir()
    folder.chmod(0o777)
    first, *warned = run_python(ONE, FASTDL_CACHE_DIR=str(cache)).splitlines()
    assert first == "True"  # a file there may be anyone's: unpickling it runs code
    assert len(warned) == 1
    assert "can be written by another user" in warned[0]


@pytest.mark.slow
def test_an_edited_callee_is_not_overlooked(run_python, root, tmp_path):
    """Of a kernel whose own file did not change."""
    copy = tmp_path / "copy"
    for folder in ("fastdl", "kernels"):
        shutil.copytree(root / folder, copy / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"FASTDL_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(copy)}
    code = (
        "import numpy as np; from fastdl import ops; print(ops.matmul(np.eye(2), -np.eye(2), activation='relu').sum())"
    )
    assert run_python(code, **environment) == "0.0\n"
    source = copy / "kernels" / "activation" / "cpu.py"
    source.write_text(source.read_text().replace("return zero if x < zero else x", "return x"))
    assert run_python(code, **environment) == "-2.0\n"


EVERY_KERNEL = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent / "kernels")!r})
import numpy as np
from numba.core import event
from cases import simplest
from test_agreement import KERNELS, compiled, run

with event.install_recorder("numba:compile") as compilations:
    for op, name in KERNELS:
        for dtype in (np.float32, np.float64):
            kernel, case = compiled(op)[name], simplest(op, name, dtype)
            for twin in kernel.twins.values():
                run(twin, case, kernel.within)
print(len(KERNELS), len(compilations.buffer))
"""


@pytest.mark.slow
def test_second_process_compiles_no_kernel_at_all(run_python):
    run_python(EVERY_KERNEL)  # compiles what other tests have not yet
    kernels, compilations = map(int, run_python(EVERY_KERNEL).split())
    assert kernels > 30
    assert compilations == 0


TIMEOUTS = """
import os, threading
import numpy as np
from fastdl import backend, ops
from fastdl.kernels import _blas

def timeouts():
    found = [_blas._function(b, "openblas_thread_timeout") for b in _blas._loaded() if b.internal_api == "openblas"]
    return sorted({int(ask()) for ask in found if ask})

x = np.random.default_rng(0).standard_normal((300, 300))
product, before = x @ x, timeouts()
counts = [b.num_threads for b in _blas._loaded()]
if "BESIDE" in os.environ:
    waiting = threading.Event()
    threading.Thread(target=waiting.wait, daemon=True).start()
ops.matmul(x, x)
assert (x @ x == product).all()
assert [b.num_threads for b in _blas._loaded()] == counts
print(before, timeouts(), os.environ.get("OPENBLAS_THREAD_TIMEOUT"))
"""


@pytest.mark.numba
def test_threads_of_openblas_sleep_soon_unless_the_user_chose_or_other_threads_run(run_python):
    before, after, kept = run_python(TIMEOUTS).split()
    if before == "[]":
        pytest.skip("no OpenBLAS that can be asked")
    assert (before, after, kept) == ("[0]", "[16]", "None")
    assert run_python(TIMEOUTS, BESIDE="1").split() == ["[0]", "[0]", "None"]
    assert run_python(TIMEOUTS, OPENBLAS_THREAD_TIMEOUT="20").split() == ["[20]", "[20]", "20"]


TRAIN = """
import hashlib, os, sys
if "ONE_CORE" in os.environ:
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
import numpy as np
import fastdl as fd
from fastdl import nn

def train(seed):
    x = np.random.default_rng(seed).standard_normal((256, 100), np.float32)
    model = nn.Sequential(nn.Linear(200, bias=False), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.2), nn.Linear(10))
    parts = model, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam()
    trainer = fd.Trainer(*parts, device="cpu", seed=seed, deterministic=True)
    trainer.fit(x, np.arange(256) % 10, epochs=2, batch_size=128, progress=False)
    return hashlib.sha256(trainer.weights.flat.tobytes() + trainer.predict(x).tobytes()).hexdigest()
"""


@pytest.mark.numba
@pytest.mark.slow
def test_training_is_the_same_under_any_setting_of_threads(run_python):
    code = TRAIN + "print(train(0))"
    settings = [{}, {"OMP_NUM_THREADS": "1"}, {"NUMBA_NUM_THREADS": "1"}, {"OPENBLAS_NUM_THREADS": "1"}]
    if hasattr(os, "sched_setaffinity"):
        settings.append({"ONE_CORE": "1"})
    assert len({run_python(code, **setting) for setting in settings}) == 1


@pytest.mark.numba
@pytest.mark.slow
def test_joblib_trains_what_one_process_trains(run_python, root, tmp_path):
    pytest.importorskip("joblib")
    (tmp_path / "training.py").write_text(TRAIN)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import joblib, training\n"
        "here = [training.train(seed) for seed in range(3)]\n"
        "there = joblib.Parallel(n_jobs=2)(joblib.delayed(training.train)(seed) for seed in range(3))\n"
        "print(here == there)\n"
    )
    assert run_python(code, PYTHONPATH=os.pathsep.join([str(root), str(tmp_path)])) == "True\n"
