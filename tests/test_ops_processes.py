"""Ops in several processes: after a fork, in a pool, and sharing the folder of compiled kernels."""

import hashlib
import pickle
from pathlib import Path

import pytest

POOL = """
import multiprocessing
import numpy as np
from fastdl import ops

def work(seed):
    x = np.random.default_rng(0).standard_normal((400, 400))
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


THREADS = """
import threading
import numba
import numpy as np
from fastdl import ops

x = np.random.default_rng(0).standard_normal((400, 400))
right = ops.activation(x, "tanh")
results = []

def work():
    results.extend((ops.activation(x, "tanh") == right).all() for _ in range(50))

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(numba.threading_layer(), len(results), all(results))
"""


def test_four_threads_take_turns_on_the_layer_that_two_at_once_would_abort(run_python):
    assert run_python(THREADS, NUMBA_THREADING_LAYER="workqueue", NUMBA_NUM_THREADS="2") == "workqueue 200 True\n"


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
            for twin in (kernel.serial, kernel.parallel):
                run(twin, case, kernel.within)
print(len(KERNELS), len(compilations.buffer))
"""


@pytest.mark.slow
def test_second_process_compiles_no_kernel_at_all(run_python):
    run_python(EVERY_KERNEL)  # compiles what other tests have not yet
    kernels, compilations = map(int, run_python(EVERY_KERNEL).split())
    assert kernels > 30
    assert compilations == 0
