"""Streaming stores: the same bits wherever an array begins and ends, and chosen only where they help."""

import os

import numpy as np
import pytest

from fastdl.kernels import _numba
from fastdl.kernels._processor import last_cache
from fastdl.kernels.activation import cpu as activation
from fastdl.kernels.add import cpu as add
from fastdl.testing import Guarded, normal

SIZES = 0, 1, 3, 4, 63, 64, 127, 128, 129, 1000, (1 << 14) + 5


@pytest.mark.parametrize("offset", range(5))  # elements beyond a boundary of 64 bytes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_element_is_written_once_and_nothing_else(dtype, offset):
    for size in SIZES:
        guard = Guarded.of(np.full(size + offset, 7, dtype))
        x, y = normal((size,), dtype, size), guard.array[offset:]
        activation.relu.streaming(x, 0.0, y)
        np.testing.assert_array_equal(y, np.maximum(x, 0))
        assert (guard.array[:offset] == 7).all()
        assert guard.intact()
        add.forward.streaming(x, x, y)
        np.testing.assert_array_equal(y, x + x)
        assert guard.intact()


def test_the_twin_is_chosen_by_the_size_of_the_result(monkeypatch):
    monkeypatch.setattr(_numba, "last_cache", lambda: 1 << 20)
    x = np.zeros(1 << 18, np.float32)  # 1 MiB
    y, relu = np.empty_like(x), activation.relu
    assert relu.twin((x, 0.0, y)) is relu.streaming
    assert relu.twin((x[1:], 0.0, y[1:])) is relu.parallel
    assert relu.twin((x, 0.0, x)) is relu.parallel  # in place: its lines are read anyway
    assert relu.twin((x[:5], 0.0, y[:5])) is relu.serial
    assert activation.tanh.twin((x, 0.0, y)) is activation.tanh.parallel  # which arithmetic bounds
    y.fill(7)
    relu(x - 1, 0.0, y)
    assert not y.any()


def test_one_thread_does_not(monkeypatch):
    monkeypatch.setattr(_numba, "last_cache", lambda: 1 << 20)
    monkeypatch.setattr(_numba.threads, "count", 1)
    x = np.zeros(1 << 18, np.float32)
    assert activation.relu.twin((x, 0.0, np.empty_like(x))) is activation.relu.serial


IN_A_CHILD = """
import os
import numpy as np
from fastdl.kernels import _numba
from fastdl.kernels.activation import cpu as activation

_numba.last_cache = lambda: 1 << 20
x = np.ones(1 << 18, np.float32)
for streams in (True, False):
    y = np.full_like(x, 7)
    assert (activation.relu.twin((x, 0.0, y)) is activation.relu.streaming) is streams
    activation.relu(x, 0.0, y)
    assert (y == 1).all()
    if streams and (child := os.fork()):
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_of_fork_enters_no_parallel_region(run_python):
    assert run_python(IN_A_CHILD, NUMBA_NUM_THREADS="2").split() == ["0"]


def test_the_last_cache_has_a_size():
    assert 1 << 18 <= last_cache() <= 1 << 32
