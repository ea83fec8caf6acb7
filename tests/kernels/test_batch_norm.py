"""Batch norm where naive sums fail, and the conventions of its running averages."""

import numpy as np
import pytest

from fastdl import backend, ops
from fastdl.testing import assert_agree, normal

both_backends = pytest.mark.parametrize("on", ["numba", "numpy"])
both_dtypes = pytest.mark.parametrize("dtype, rel", [(np.float32, 1e-5), (np.float64, 1e-11)])


def right(x, gamma, beta, eps):
    """In numpy's longest float."""
    wide = x.astype(np.longdouble)
    mean, var = wide.mean(0), wide.var(0)
    inverse = 1 / np.sqrt(var + eps)
    return (wide - mean) * inverse * gamma + beta, (mean, var, inverse)


def hard(name, rows, dtype):
    x = normal((rows, 40), np.float64, 0)
    if name == "around 1e4":
        x += 1e4
    elif name == "outlier first":
        x[0] = 1e6
    elif name == "outlier last":
        x[-1] = -1e6
    elif name == "drifting":
        x += np.linspace(0, 1e4, rows)[:, None]
    return x.astype(dtype)


@both_backends
@both_dtypes
@pytest.mark.parametrize("rows", [2, 17, 1500])
@pytest.mark.parametrize("name", ["around 1e4", "outlier first", "outlier last", "drifting"])
def test_hard_columns_keep_their_digits(name, rows, dtype, rel, on):
    x, gamma, beta = hard(name, rows, dtype), normal((40,), dtype, 1, offset=1), normal((40,), dtype, 2)
    with backend.use(on):
        y, statistics = ops.batch_norm(x, gamma, beta, eps=1e-5)
    want, wanted = right(x, gamma, beta, 1e-5)
    np.testing.assert_allclose(statistics.mean, wanted[0].astype(float), rtol=rel, atol=rel * np.abs(x).max() / 100)
    np.testing.assert_allclose(statistics.variance, wanted[1].astype(float), rtol=rel)
    np.testing.assert_allclose(statistics.inverse_deviation, wanted[2].astype(float), rtol=rel)
    # In float32 far stricter than the table, whose scale has the offset in it: sums are float64.
    offset = np.abs(x).max(0) * wanted[2] * np.abs(gamma) if dtype is np.float64 else 0
    assert_agree(y, want.astype(float), kind="normalising", scale=np.abs(want).max(0) + offset)


@both_backends
@both_dtypes
def test_gradients_of_a_column_around_1e4(dtype, rel, on):
    x, dy = hard("around 1e4", 500, dtype), normal((500, 40), dtype, 3, offset=0.5)
    gamma = normal((40,), dtype, 1, offset=1)
    with backend.use(on):
        _, statistics = ops.batch_norm(x, gamma, np.zeros(40, dtype))
        dx, dgamma, dbeta = ops.batch_norm_backward(dy, x, gamma, statistics)
    wide, g = x.astype(np.longdouble), dy.astype(np.longdouble)
    inverse = 1 / np.sqrt(wide.var(0) + 1e-5)
    z = (wide - wide.mean(0)) * inverse
    want = gamma * inverse * (g - g.mean(0) - z * (g * z).mean(0))
    # They feel that the mean was rounded: to float32 by up to half a step at 1e4.
    rounded = inverse * (np.spacing(dtype(1e4)) / 2 if dtype is np.float32 else 1e-12 * 1e4)
    assert (np.abs(dbeta - g.sum(0)) <= rel * np.abs(g).sum(0)).all()
    assert (np.abs(dgamma - (g * z).sum(0)) <= rel * np.abs(g * z).sum(0) + rounded * np.abs(g.sum(0))).all()
    assert (np.abs(dx - want) <= (rel + rounded) * np.abs(gamma * inverse) * (np.abs(g) + np.abs(z) + 1)).all()


@both_backends
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [2, 15, 16, 17, 1000])
def test_constant_column_gives_beta(rows, dtype, on):
    x = np.full((rows, 33), 1e4 / 3, dtype)
    beta = normal((33,), dtype, 0)
    with backend.use(on):
        y, statistics = ops.batch_norm(x, np.ones(33, dtype), beta)
    assert (statistics.variance <= 1e-18 * 1e8).all()
    # Divided by a deviation of sqrt(eps) alone, the roundings of a float64 mean grow 316 times.
    scale = 316 * 1e4 if dtype is np.float64 else 1
    assert_agree(y, np.broadcast_to(beta, y.shape), kind="normalising", scale=scale)


@both_backends
@pytest.mark.parametrize("rows", [5, 1030])
def test_infinite_element_makes_its_column_nan_and_no_other(rows, on):
    x = normal((rows, 33), np.float64, 0)
    x[rows // 2, 5], x[-1, 20] = np.inf, np.nan
    with backend.use(on), np.errstate(invalid="ignore"):
        y, statistics = ops.batch_norm(x, np.ones(33), np.zeros(33))
    spoilt = np.isin(np.arange(33), [5, 20])
    assert (np.isnan(y) == spoilt).all()
    assert (np.isfinite(statistics.mean) == ~spoilt).all()
    assert (np.isnan(statistics.variance) == spoilt).all()


def test_infinite_gamma_gives_what_it_gives_in_numpy():
    x, gamma = np.array([[1.0], [3.0]]), np.array([np.inf])
    results = []
    for on in ("numba", "numpy"):
        with backend.use(on), np.errstate(invalid="ignore"):
            results.append(ops.batch_norm(x, gamma, np.zeros(1), activation="relu")[0].tolist())
    assert results[0] == results[1]


@both_backends
def test_running_averages_decay_by_nine_tenths_and_unbias_the_variances_alone(on):
    averages = np.array([1.0, 2.0, 3.0, 4.0])
    with backend.use(on):
        ops.update_averages(averages, np.array([8.0, 8.0, 8.0, 8.0]), variances=2, unbias=4 / 3)
    assert_agree(averages, 0.9 * np.array([1.0, 2.0, 3.0, 4.0]) + 0.1 * np.array([32 / 3, 32 / 3, 8, 8]))


@both_backends
def test_averages_of_equal_batches_tend_to_numpys_unbiased_variance(on):
    x = normal((9, 3), np.float64, 0)
    averages = np.zeros(6)
    with backend.use(on):
        _, statistics = ops.batch_norm(x, np.ones(3), np.zeros(3))
        for _ in range(400):
            ops.update_averages(
                averages, np.concatenate([statistics.variance, statistics.mean]), variances=3, unbias=9 / 8
            )
    assert_agree(averages, np.concatenate([x.var(0, ddof=1), x.mean(0)]), scale=1)


@both_backends
def test_prediction_with_the_batchs_own_statistics_is_training(on):
    x, gamma, beta = normal((50, 7), np.float64, 0, offset=3), normal((7,), np.float64, 1), normal((7,), np.float64, 2)
    with backend.use(on):
        y, statistics = ops.batch_norm(x, gamma, beta, eps=0.1)
        again = ops.batch_norm_predict(x, gamma, beta, statistics.mean, statistics.variance, eps=0.1)
    assert_agree(again, y, scale=10)
