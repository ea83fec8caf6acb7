"""Every gradient against central differences of the op it belongs to, in float64."""

import numpy as np
import pytest

from fastdl import backend, ops
from fastdl.testing import normal, numerical_gradient

both_backends = pytest.mark.parametrize("on", ["numba", "numpy"])


def data(*shape, seed=0):
    """Numbers away from 0, where ReLU has a kink."""
    x = normal(shape, np.float64, seed)
    return x + 0.2 * np.sign(x)


def check(actual, function, x):
    """`function` gives the op's result y from x; the gradient is that of sum(dy y)."""
    expected = numerical_gradient(function, x)
    np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-8 * max(1, np.abs(expected).max()))


@both_backends
@pytest.mark.parametrize("kernel", ["blas", "loops"])
def test_matmul(kernel, on):
    x, w, b, dy = data(4, 5), data(5, 3, seed=1), data(3, seed=2), data(4, 3, seed=3)
    with backend.use(on):

        def loss():
            return (dy * ops.matmul(x, w, b, kernel=kernel)).sum()

        check(ops.matmul_backward_input(dy, w, kernel=kernel), loss, x)
        dw, db = ops.matmul_backward_weights(x, dy, kernel=kernel)
        check(dw, loss, w)
        check(db, loss, b)


@both_backends
@pytest.mark.parametrize("name", ops.ACTIVATIONS)
def test_activation(name, on):
    x, dy = data(4, 5), data(4, 5, seed=1)
    with backend.use(on):
        y = ops.activation(x, name, slope=0.3, alpha=0.7)
        check(
            ops.activation_backward(dy, name, y=y, x=x, slope=0.3, alpha=0.7),
            lambda: (dy * ops.activation(x, name, slope=0.3, alpha=0.7)).sum(),
            x,
        )


@both_backends
def test_softmax(on):
    x, dy = data(4, 5), data(4, 5, seed=1)
    with backend.use(on):
        check(ops.softmax_backward(dy, ops.softmax(x)), lambda: (dy * ops.softmax(x)).sum(), x)


@both_backends
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("shape", [(2, 4), (7, 4), (3, 4, 2, 2)])
def test_batch_norm(shape, activation, on):
    x, gamma, beta, dy = data(*shape), data(4, seed=1), data(4, seed=2), data(*shape, seed=3)
    with backend.use(on):

        def loss():
            return (dy * ops.batch_norm(x, gamma, beta, eps=0.1, activation=activation)[0]).sum()

        y, statistics = ops.batch_norm(x, gamma, beta, eps=0.1, activation=activation)
        if activation:
            assert 0 < (y > 0).sum() < y.size
            assert np.abs(ops.batch_norm(x, gamma, beta, eps=0.1)[0]).min() > 1e-3  # no kink within a step
        found = ops.batch_norm_backward(dy, x, gamma, statistics, y=y if activation else None)
        for gradient, by in zip(found, (x, gamma, beta), strict=True):
            check(gradient, loss, by)


@both_backends
def test_batch_norm_accumulates_the_gradients_of_its_parameters(on):
    x, gamma, dy = data(6, 4), data(4, seed=1), data(6, 4, seed=3)
    held = [data(4, seed=4), data(4, seed=5)]
    before = [a.copy() for a in held]
    with backend.use(on):
        _, statistics = ops.batch_norm(x, gamma, np.zeros(4))
        dx, dgamma, dbeta = ops.batch_norm_backward(dy, x, gamma, statistics)
        again = ops.batch_norm_backward(dy, x, gamma, statistics, accumulate=True, out_gamma=held[0], out_beta=held[1])
    np.testing.assert_allclose(held[0], before[0] + dgamma, rtol=1e-14)
    np.testing.assert_allclose(held[1], before[1] + dbeta, rtol=1e-14)
    assert (again[0] == dx).all()


@both_backends
def test_dropout(on):
    x, dy = data(9, 8), data(9, 8, seed=1)
    options = {"rate": 0.4, "seed": 3, "stream": 1, "step": 2}
    with backend.use(on):
        _, mask = ops.dropout(x, **options)
        for given in ({"mask": mask, "rate": 0.4}, options):
            check(ops.dropout_backward(dy, **given), lambda: (dy * ops.dropout(x, **options)[0]).sum(), x)


@both_backends
@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("soft", [False, True], ids=["labels", "shares"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_softmax_cross_entropy(classes, soft, weighted, on):
    logits, labels = 3 * data(6, classes), np.arange(6) % classes
    options = {"ignored": 0} if weighted and not soft else {}
    if weighted:
        options |= {"smoothing": 0.2, "class_weights": abs(data(classes, seed=1)), "weights": abs(data(6, seed=2))}
    if soft:
        labels = abs(data(6, classes, seed=3))
    with backend.use(on):
        check(
            ops.softmax_cross_entropy(logits, labels, **options)[1],
            lambda: float(ops.softmax_cross_entropy(logits, labels, **options)[0][0]),
            logits,
        )


@both_backends
@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3)])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", ops.LOSSES)
def test_losses(name, weighted, shape, on):
    y, t = 1.5 * data(*shape), np.sign(data(*shape, seed=1))
    options = {"delta": 0.7} | ({"weights": abs(data(6, seed=2))} if weighted else {})
    with backend.use(on):
        check(ops.loss(y, t, name, **options)[1], lambda: float(ops.loss(y, t, name, **options)[0][0]), y)


def test_every_gradient_is_here():
    tested = {"activation_backward", "batch_norm_backward", "dropout_backward", "softmax_backward"}
    tested |= {"matmul_backward_input", "matmul_backward_weights"}
    assert {name for name in vars(ops) if "_backward" in name} == tested
