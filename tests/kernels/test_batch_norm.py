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


@pytest.mark.numba
def test_infinite_gamma_gives_what_it_gives_in_numpy():
    x, gamma = np.array([[1.0], [3.0]]), np.array([np.inf])
    results = []
    for on in ("numba", "numpy"):
        with backend.use(on), np.errstate(invalid="ignore"):
            results.append(ops.batch_norm(x, gamma, np.zeros(1), activation="relu")[0].tolist())
    assert results[0] == results[1]


@both_backends
def test_running_averages_decay_by_nine_tenths(on):
    averages = np.array([1.0, 2.0, 3.0])
    with backend.use(on):
        ops.update_averages(averages, np.array([8.0, 8.0, 8.0]))
    assert_agree(averages, 0.9 * np.array([1.0, 2.0, 3.0]) + 0.8)


@both_backends
@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("shape", [(9, 3), (2, 3, 5, 4)])
def test_variance_has_the_correction_asked_for_and_outputs_do_not(shape, correction, on):
    x, over = normal(shape, np.float64, 0), tuple(a for a in range(len(shape)) if a != 1)
    with backend.use(on):
        y, statistics = ops.batch_norm(x, np.ones(3), np.zeros(3), eps=0.0, correction=correction)
    assert_agree(statistics.variance, x.var(over, ddof=correction))
    assert_agree(statistics.inverse_deviation, 1 / x.std(over))
    assert_agree(y.var(over), np.ones(3))


@both_backends
@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (2, 1, 1, 2), (33, 7, 16, 16), (3, 64, 40, 41), (4, 3, 9)])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_images_are_rows_of_pixels(shape, activation, on):
    x, dy = normal(shape, np.float64, 0, offset=2), normal(shape, np.float64, 1)
    c = shape[1]
    gamma, beta = normal((c,), np.float64, 2), normal((c,), np.float64, 3)

    def rows(a):
        return np.ascontiguousarray(np.moveaxis(a, 1, -1).reshape(-1, c))

    with backend.use(on):
        y, statistics = ops.batch_norm(x, gamma, beta, activation=activation)
        flat, of_rows = ops.batch_norm(rows(x), gamma, beta, activation=activation)
        assert_agree(rows(y), flat, scale=10)
        assert_agree(statistics.variance, of_rows.variance)
        through = {"y": y} if activation else {}
        of_flat = {"y": flat} if activation else {}
        dx, dgamma, dbeta = ops.batch_norm_backward(dy, x, gamma, statistics, **through)
        dflat, of_gamma, of_beta = ops.batch_norm_backward(rows(dy), rows(x), gamma, of_rows, **of_flat)
        assert_agree(rows(dx), dflat, scale=100)
        assert_agree(dgamma, of_gamma, scale=100 + np.abs(of_gamma))
        assert_agree(dbeta, of_beta, scale=100 + np.abs(of_beta))
        mean, variance = statistics.mean, statistics.variance
        predicted = ops.batch_norm_predict(x, gamma, beta, mean, variance, activation=activation)
        assert_agree(predicted, y, scale=10)


@both_backends
@pytest.mark.parametrize("shape", [(64, 10), (4, 3, 6, 5)])
def test_forward_and_backward_are_torchs(shape, on, torch):
    x, dy = normal(shape, np.float64, 0, offset=3), normal(shape, np.float64, 1)
    c = shape[1]
    gamma, beta = normal((c,), np.float64, 2), normal((c,), np.float64, 3)
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
    mean, variance = torch.zeros(c, dtype=torch.float64), torch.ones(c, dtype=torch.float64)
    out = torch.nn.functional.batch_norm(theirs[0], mean, variance, *theirs[1:], training=True, momentum=0.1)
    out.backward(torch.tensor(dy))
    averages = np.concatenate([np.zeros(c), np.ones(c)])
    with backend.use(on):
        y, statistics = ops.batch_norm(x, gamma, beta, correction=1)
        ops.update_averages(averages, np.concatenate([statistics.mean, statistics.variance]))
        found = ops.batch_norm_backward(dy, x, gamma, statistics)
    assert_agree(y, out.detach().numpy(), scale=10)
    for mine, tensor in zip(found, theirs, strict=True):
        assert_agree(mine, tensor.grad.numpy(), scale=100)
    assert_agree(averages, np.concatenate([mean.numpy(), variance.numpy()]), scale=10)


@both_backends
@pytest.mark.parametrize("shape", [(4, 0), (4, 0, 3, 5)])
def test_no_channels_give_nothing(shape, on):
    none = np.zeros(0)
    with backend.use(on):
        y, statistics = ops.batch_norm(np.zeros(shape), none, none)
        dx, *_ = ops.batch_norm_backward(np.zeros(shape), np.zeros(shape), none, statistics)
        assert y.shape == dx.shape == ops.batch_norm_predict(y, none, none, none, none).shape == shape


@both_backends
def test_prediction_with_the_batchs_own_statistics_is_training(on):
    x, gamma, beta = normal((50, 7), np.float64, 0, offset=3), normal((7,), np.float64, 1), normal((7,), np.float64, 2)
    with backend.use(on):
        y, statistics = ops.batch_norm(x, gamma, beta, eps=0.1)
        again = ops.batch_norm_predict(x, gamma, beta, statistics.mean, statistics.variance, eps=0.1)
    assert_agree(again, y, scale=10)


@both_backends
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 1e17])
@pytest.mark.parametrize("images", [False, True])
def test_constant_channels_have_no_variance_below_0(images, size, dtype, on):
    x = np.tile((np.linspace(1, 10, 300) * size).astype(dtype), (91, 1))  # 1 / 91 is rounded up
    if images:
        x = x.reshape(13, 7, 300).transpose(0, 2, 1).copy()
    with backend.use(on):
        y, statistics = ops.batch_norm(x, np.ones(300, dtype), np.zeros(300, dtype))
    assert (statistics.variance >= 0).all()
    assert np.isfinite(y).all()


@both_backends
@pytest.mark.parametrize("word", [1, -1, 2**40])
def test_status_keeps_every_byte_of_the_averages(word, on):
    averages = normal((5,), np.float32, 0)
    before = averages.copy()
    with backend.use(on):
        ops.update_averages(averages, normal((5,), np.float32, 1), decay=0.9, status=np.array([word]))
    assert (averages == before).all()
