"""The global norm: no overflow, the same bits on any number of threads, and the factor that clips."""

import numpy as np
import pytest

from fastdl import backend, ops
from fastdl.testing import assert_agree, normal

both_backends = pytest.mark.parametrize("on", ["numba", "numpy"])
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@both_backends
@both_dtypes
@pytest.mark.parametrize("size", [1, 5, 16383, 16384, 16385, 300_001])
@pytest.mark.parametrize("scale", [1, 1e30, 1e-30])
def test_norm_is_right_at_any_scale(scale, size, dtype, on):
    x = normal((size,), dtype, 0, scale=scale)
    with backend.use(on):
        norm, factor = ops.global_norm(x, limit=0.5)
    wide = x.astype(np.longdouble)
    right = float(np.sqrt((wide * wide).sum()))
    assert norm[0] == pytest.approx(right, rel=1e-13)
    assert factor[0] == pytest.approx(min(1, 0.5 / right), rel=1e-13)


@both_backends
@pytest.mark.parametrize("value", [1e200, 1e-200, 5e-324, 1.7e308])
def test_float64_beyond_its_squares(value, on):
    x = np.zeros(40_000)
    x[[3, 20_000]] = 3 * value if value < 1e300 else value, -4 * value if value < 1e300 else 0
    with backend.use(on):
        assert_agree(ops.global_norm(x)[0], [5 * value if value < 1e300 else value])


@both_backends
@both_dtypes
@pytest.mark.parametrize(
    ("numbers", "norm", "factor"),
    [
        ([0, 0], 0, 1),
        ([3, -4], 5, 0.4),
        ([0, 2], 2, 1),
        ([np.inf, 1], np.inf, 0),
        ([1, -np.inf], np.inf, 0),
        ([np.nan, 1], np.nan, np.nan),
        ([np.nan, np.inf], np.nan, np.nan),
    ],
)
def test_exact_values(numbers, norm, factor, dtype, on):
    with backend.use(on), np.errstate(all="ignore"):
        found = ops.global_norm(np.array(numbers, dtype), limit=2.0)
    np.testing.assert_array_equal(np.concatenate(found), [norm, factor])


def test_clipping_brings_the_gradient_to_the_limit_and_leaves_smaller_ones_alone():
    params, grads = np.zeros(3), np.array([6.0, 0.0, 8.0])
    for limit, moved in ((5.0, 5.0), (20.0, 10.0)):
        params[...] = 0
        ops.sgd_update(params, grads, lr=1.0, clip=ops.global_norm(grads, limit=limit)[1])
        assert np.linalg.norm(params) == pytest.approx(moved, rel=1e-15)


@pytest.mark.parametrize("limit", [0, -1, np.nan])
def test_limits_that_cannot_be_are_refused(limit):
    with pytest.raises(ValueError, match=f"^global_norm: limit is {limit}, wanted more than 0"):
        ops.global_norm(np.ones(2), limit=limit)
