"""Losses against torch in float64, their exact values, weights, and parts of a batch."""

import numpy as np
import pytest

from fastdl import backend, ops
from fastdl.testing import assert_agree, normal

both_backends = pytest.mark.parametrize("on", ["numba", "numpy"])
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
shapes = pytest.mark.parametrize("shape", [(7,), (7, 1), (5, 3), (40_000, 1), (70, 300), (2, 3, 4, 5)])

# y, t, loss and gradient of one element; delta is 2.
EXACT = {
    "mse": [(3, 1, 4, 4), (-1, 1, 4, -4), (2, 2, 0, 0)],
    "l1": [(3, 1, 2, 1), (-1, 1, 2, -1), (2, 2, 0, 0)],
    "huber": [(3, 1, 2, 2), (9, 1, 14, 2), (-9, 1, 18, -2), (1.5, 1, 0.125, 0.5)],
    "hinge": [(0.25, 1, 0.75, -1), (1, 1, 0, 0), (5, 1, 0, 0), (0.25, -1, 1.25, 1), (-2, -1, 0, 0)],
    "bce": [(0, 1, np.log(2), -0.5), (0, 0, np.log(2), 0.5), (1000, 1, 0, 0), (-1000, 1, 1000, -1), (1000, 0, 1000, 1)],
}


def test_every_loss_is_here():
    assert EXACT.keys() == TORCH.keys() == set(ops.LOSSES)


@both_backends
@both_dtypes
@pytest.mark.parametrize("name, case", [(name, case) for name in EXACT for case in EXACT[name]])
def test_exact_values(name, case, dtype, on):
    y, t = (np.array([[a]], dtype) for a in case[:2])
    with backend.use(on):
        value, gradient = ops.loss(y, t, name, delta=2.0)
    assert_agree(value, [case[2]], scale=1, precision=dtype)
    assert_agree(gradient, [[case[3]]], scale=1)


TORCH = {
    "mse": lambda f, y, t: f.mse_loss(y, t, reduction="none"),
    "l1": lambda f, y, t: f.l1_loss(y, t, reduction="none"),
    "huber": lambda f, y, t: f.huber_loss(y, t, reduction="none", delta=0.7),
    "hinge": lambda f, y, t: (1 - t * y).clamp(min=0),
    "bce": lambda f, y, t: f.binary_cross_entropy_with_logits(y, t, reduction="none"),
}


@both_backends
@both_dtypes
@shapes
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", TORCH)
def test_value_and_gradient_are_torchs(name, weighted, shape, dtype, on, torch):
    y, t = normal(shape, dtype, 0, scale=2), (normal(shape, dtype, 1) > 0).astype(dtype)
    if name == "hinge":
        t = 2 * t - 1
    w = np.abs(normal((shape[0],), dtype, 2))
    w[::3] = 0
    wide = torch.tensor(y.astype(np.float64), requires_grad=True)
    each = TORCH[name](torch.nn.functional, wide, torch.tensor(t.astype(np.float64)))
    if weighted:
        by_row = torch.tensor(w.astype(np.float64)).reshape(-1, *[1] * (len(shape) - 1))
        expected = (each * by_row).sum() / (by_row.sum() * each[0].numel())
    else:
        expected = each.mean()
    expected.backward()
    with backend.use(on):
        value, gradient = ops.loss(y, t, name, delta=0.7, weights=w if weighted else None)
    assert_agree(value, [expected.item()], precision=dtype, scale=1 + expected.item())
    assert_agree(gradient, wide.grad.numpy(), scale=np.abs(wide.grad.numpy()).max() + np.abs(wide.grad.numpy()))


@both_backends
@pytest.mark.parametrize("columns", [1, 2, 5])
def test_rows_of_weight_0_count_for_nothing_not_even_nan(columns, on):
    y, t, w = normal((6, columns), np.float64, 0), np.ones((6, columns)), np.array([1.0, 0, 2, 0, 1, 0])
    y[1], y[3], t[5] = np.nan, np.inf, np.nan
    kept = w > 0
    for name in ops.LOSSES:
        with backend.use(on), np.errstate(all="ignore"):
            value, gradient = ops.loss(y, t, name, weights=w)
            alone, of_kept = ops.loss(y[kept], t[kept], name, weights=w[kept])
        assert_agree(value, alone)
        assert_agree(gradient[kept], of_kept)
        assert (gradient[~kept] == 0).all()
        with backend.use(on), np.errstate(all="ignore"):
            value, gradient = ops.loss(y, t, name, weights=np.zeros(6))
        assert value == 0
        assert (gradient == 0).all()


@both_backends
@pytest.mark.parametrize("name", ops.LOSSES)
def test_batch_in_parts_adds_up_to_the_whole(name, on):
    y, t = normal((7, 4), np.float64, 0), np.sign(normal((7, 4), np.float64, 1))
    scale, total = np.array([1 / 7]), np.zeros(1)
    with backend.use(on):
        whole, gradient = ops.loss(y, t, name)
        parts = [ops.loss(y[a:b], t[a:b], name, scale=scale, total=total)[1] for a, b in ((0, 3), (3, 7))]
    assert_agree(total, whole)
    assert_agree(np.concatenate(parts), gradient)


@both_backends
def test_against_one_outlier_the_l1_fit_moves_less_than_the_l2_fit(on):
    """Of a constant fitted to numbers about 1, one of them wrong."""
    t = normal((50, 1), np.float64, 0, offset=1, scale=0.1)
    t[7] = 100
    fits = {}
    with backend.use(on):
        for name in ("l1", "huber", "mse"):
            c = np.ones((1, 1))
            for step in range(500):
                c -= 0.5 / (1 + step / 20) * ops.loss(np.repeat(c, 50, 0), t, name)[1].sum()
            fits[name] = c.item()
    assert abs(fits["l1"] - 1) < 0.05
    assert abs(fits["huber"] - 1) < 0.1
    assert fits["mse"] > 2.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "l2"}, "name is 'l2', wanted one of 'mse'"),
        ({"delta": 0}, "delta is 0, wanted more than 0"),
        ({"weights": np.ones(3)}, "weights has 3 elements, wanted 2, one a row"),
        ({"targets": np.ones((3, 2))}, r"targets has shape \(3, 2\), wanted \(2, 2\) like outputs"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=f"^loss: {message}"):
        ops.loss(**{"outputs": np.ones((2, 2)), "targets": np.ones((2, 2)), "name": "huber", **options})


@both_backends
@pytest.mark.parametrize("shape", [(40_000,), (40_000, 1)])
def test_each_piece_of_a_long_column_takes_its_own_weights(shape, on):
    y, t, w = normal(shape, np.float64, 0), np.ones(shape), np.abs(normal((40_000,), np.float64, 2))
    with backend.use(on):
        _, gradient = ops.loss(y, t, "mse", weights=w)
    share = w / w.sum()
    assert_agree(gradient.ravel(), 2 * share * (y - t).ravel(), scale=share * (np.abs(y).ravel() + 1))
