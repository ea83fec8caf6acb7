"""Optimizer updates against their equations in float64, and against torch.optim."""

import numpy as np
import pytest

from fastdl import backend, ops
from fastdl.kernels._numba import CHUNK
from fastdl.testing import Guarded, assert_agree, normal

both_backends = pytest.mark.parametrize("on", ["numba", "numpy"])
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# Both twins: more than 2^16 parameters run in parallel.
every_size = pytest.mark.parametrize("size", [1, 1000, 70_001])
STEPS = 5


def gradients(size, dtype):
    return [normal((size,), dtype, 10 + t, scale=0.1) for t in range(STEPS)]


def sgd_by_equation(p, grads, lr, decay, decayed):
    p = p.astype(np.float64)
    span = np.arange(p.size) < decayed
    for g in grads:
        p = p - lr * (g + decay * span * p)
    return p


def adam_by_equation(p, grads, lr, betas, eps, decay, decayed):
    p, m, v = p.astype(np.float64), 0.0, 0.0
    span = np.arange(p.size) < decayed
    for t, g in enumerate(grads, 1):
        g = g + decay * span * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p, m, v


def sgd(p, grads, **options):
    p = p.copy()
    for g in grads:
        assert ops.sgd_update(p, g, **options) is p
    return p


def adam(p, grads, **options):
    p, m, v = p.copy(), np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        assert ops.adam_update(p, g, m, v, step=t, **options) is p
    return p, m, v


@both_backends
@both_dtypes
@every_size
@pytest.mark.parametrize("decay", [0, 0.1])
def test_sgd_follows_its_equation(size, decay, dtype, on):
    p, grads = normal((size,), dtype, 0), gradients(size, dtype)
    with backend.use(on):
        actual = sgd(p, grads, lr=0.3, weight_decay=decay, decayed=size // 3)
    assert_agree(actual, sgd_by_equation(p, grads, 0.3, decay, size // 3), scale=1 + np.abs(p))


@both_backends
@both_dtypes
@every_size
@pytest.mark.parametrize("decay", [0, 0.1])
def test_adam_follows_its_equation(size, decay, dtype, on):
    p, grads = normal((size,), dtype, 0), gradients(size, dtype)
    with backend.use(on):
        actual = adam(p, grads, lr=0.01, weight_decay=decay, decayed=size // 3)
    expected = adam_by_equation(p, grads, 0.01, (0.9, 0.999), 1e-8, decay, size // 3)
    for name, a, e in zip("pmv", actual, expected, strict=True):
        assert_agree(a, e, scale=1 + np.abs(p), name=name)


@both_backends
@pytest.mark.parametrize("size", [10, 3 * CHUNK + 7, 5 * CHUNK + 1])
@pytest.mark.parametrize("at", ["0", "1", "chunk - 1", "chunk", "chunk + 1", "end - 1", "end"])
def test_weight_decay_ends_exactly_where_it_is_told(at, size, on):
    where, _, by = at.partition(" ")
    decayed = {"chunk": CHUNK, "end": size}.get(where, 0) + (int(where) if where.isdigit() else 0)
    decayed = min(size, decayed + int(by.replace(" ", "") or 0))
    p, g = np.ones(size), np.zeros(size)
    with backend.use(on):
        ops.sgd_update(p, g, lr=0.5, weight_decay=0.5, decayed=decayed)
        m, v = np.zeros(size), np.zeros(size)
        ops.adam_update(np.ones(size), g, m, v, weight_decay=0.5, decayed=decayed)
    assert (p == np.where(np.arange(size) < decayed, 0.75, 1)).all()
    assert ((m > 0) == (np.arange(size) < decayed)).all()
    assert ((v > 0) == (np.arange(size) < decayed)).all()


@both_backends
@both_dtypes
@pytest.mark.parametrize("size", [3, 70_000])
@pytest.mark.parametrize("word", [1, -1, 2**40])
def test_status_keeps_every_byte(word, size, dtype, on):
    guarded = [Guarded.of(normal((size,), dtype, i)) for i in range(4)]
    before = [g.memory.copy() for g in guarded]
    p, g, m, v = (x.array for x in guarded)
    status = np.array([word])
    with backend.use(on):
        ops.sgd_update(p, g, lr=0.1, weight_decay=0.1, status=status)
        ops.adam_update(p, g, m, v, lr=0.1, weight_decay=0.1, status=status)
        ops.update_averages(p, g, variances=size // 2, unbias=1.5, status=status)
    assert all((x.memory == old).all() for x, old in zip(guarded, before, strict=True))
    assert status.tolist() == [word]


def test_adam_scalars_are_exact_in_float64():
    scalars = ops.adam_scalars(3, 0.1, (0.9, 0.999), 1e-8, 0.01)
    assert scalars == (0.1, 0.01, 0.9, 1 - 0.9, 0.999, 1 - 0.999, 1e-8, 1 / (1 - 0.9**3), 1 / np.sqrt(1 - 0.999**3))


def test_scalars_take_the_place_of_the_numbers():
    p, g = normal((9,), np.float32, 0), normal((9,), np.float32, 1)
    q, moments = p.copy(), [np.zeros((2, 9), np.float32) for _ in range(2)]
    ops.adam_update(p, g, *moments[0], step=4, lr=0.1, betas=(0.8, 0.9), eps=0.1, weight_decay=0.3)
    scalars = np.array(ops.adam_scalars(4, 0.1, (0.8, 0.9), 0.1, 0.3))
    ops.adam_update(q, g, *moments[1], scalars=scalars)
    assert (p == q).all()
    with pytest.raises(ValueError, match=r"^adam_update: scalars has 2 elements, wanted 9"):
        ops.adam_update(p, g, *moments[0], scalars=np.zeros(2))


def test_step_0_raises():
    with pytest.raises(ValueError, match=r"^adam_update: step is 0, wanted 1 or more"):
        ops.adam_update(np.ones(1), np.ones(1), np.ones(1), np.ones(1), step=0)


def test_negative_decayed_is_refused():
    with pytest.raises(ValueError, match="decayed"):
        ops.sgd_update(np.ones(4), np.ones(4), weight_decay=0.1, decayed=-1)


# ---------------------------------------------------------------- torch.optim


def by_torch(torch, make, p, grads):
    """Parameters after each gradient, by an optimizer of torch's."""
    parameter = torch.nn.Parameter(torch.tensor(p))
    optimizer = make([parameter])
    for g in grads:
        parameter.grad = torch.tensor(g)
        optimizer.step()
    return parameter.detach().numpy()


@both_dtypes
@pytest.mark.parametrize("decay", [0, 0.1])
def test_sgd_is_torchs(decay, dtype, torch):
    p, grads = normal((999,), dtype, 0), gradients(999, dtype)
    expected = by_torch(torch, lambda params: torch.optim.SGD(params, lr=0.3, weight_decay=decay), p, grads)
    assert_agree(sgd(p, grads, lr=0.3, weight_decay=decay), expected, scale=1 + np.abs(p))


@both_dtypes
@pytest.mark.parametrize("options", [{}, {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.1}])
def test_adam_is_torchs_and_so_are_the_defaults(options, dtype, torch):
    p, grads = normal((999,), dtype, 0), gradients(999, dtype)
    expected = by_torch(torch, lambda params: torch.optim.Adam(params, **options), p, grads)
    assert_agree(adam(p, grads, **options)[0], expected, scale=1 + np.abs(p))
