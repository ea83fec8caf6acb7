"""exp and its kin of the CPU kernels, over the whole range of float32."""

import math

import numpy as np
import pytest
from numba import njit

from fastdl.kernels import _numba_math
from fastdl.kernels._numba import OPTIONS
from fastdl.testing import assert_agree, assert_same_bits

ALL = np.arange(0, 2**32, 4999, dtype=np.uint64).astype(np.uint32).view(np.float32)  # every sign and exponent


def compiled(function):
    @njit(**OPTIONS)
    def apply(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    def call(x):
        y = np.empty_like(x)
        apply(x, y)
        return y

    return call


exp, tanh, sigmoid, log, expm1, softplus = map(
    compiled,
    (_numba_math.exp, _numba_math.tanh, _numba_math.sigmoid, math.log, _numba_math.expm1, _numba_math.softplus),
)


def wide_sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


@pytest.mark.parametrize("x", [ALL, np.linspace(-104, 89, 300_001, dtype=np.float32)], ids=["all", "its range"])
@pytest.mark.parametrize(
    "mine, right",
    [
        (exp, np.exp),
        (log, np.log),
        (tanh, np.tanh),
        (sigmoid, wide_sigmoid),
        (expm1, np.expm1),
        (softplus, lambda x: np.logaddexp(0, x)),
    ],
    ids=["exp", "log", "tanh", "sigmoid", "expm1", "softplus"],
)
def test_float32_is_within_its_bound_everywhere(mine, right, x):
    with np.errstate(all="ignore"):
        assert_agree(mine(x), right(x.astype(np.float64)), kind="function")


@pytest.mark.parametrize("mine, right", [(exp, np.exp), (tanh, np.tanh), (sigmoid, wide_sigmoid)])
def test_float64_is_within_its_bound(mine, right):
    x = np.linspace(-700, 700, 100_001)
    assert_agree(mine(x), right(x), kind="function")


def test_exp_at_its_ends():
    x = np.array([0, -0.0, 88.72, 88.8, np.inf, -87.4, -103.9, -104.1, -np.inf], np.float32)
    y = exp(x)
    assert y[[0, 1]].tolist() == [1, 1]
    assert y[2] < np.inf
    assert y[[3, 4]].tolist() == [np.inf, np.inf]
    assert 0 < y[6] < y[5] < np.finfo(np.float32).tiny  # subnormal
    assert y[[7, 8]].tolist() == [0, 0]
    assert np.isnan(exp(np.float32([np.nan])))


def test_tanh_and_sigmoid_at_their_ends():
    ends = np.array([-np.inf, -200, -0.0, 0, 200, np.inf], np.float32)
    assert_same_bits(tanh(ends), np.array([-1, -1, -0.0, 0, 1, 1], np.float32))
    assert sigmoid(ends).tolist() == [0, 0, 0.5, 0.5, 1, 1]
