"""Activations and softmax: exact values, their ends, and torch."""

import numpy as np
import pytest

from fastdl import backend, ops
from fastdl.testing import assert_agree, assert_same_bits, normal

both_backends = pytest.mark.parametrize("on", ["numba", "numpy"])
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
INF, NAN = np.inf, np.nan

# What they give at -infinity, -100, -0.0, 0, 100, infinity and NaN.
ENDS = {
    "relu": [0, 0, -0.0, 0, 100, INF, NAN],
    "leaky_relu": [-INF, -1, -0.0, 0, 100, INF, NAN],
    "sigmoid": [0, 3.720075976020836e-44, 0.5, 0.5, 1, 1, NAN],
    "tanh": [-1, -1, -0.0, 0, 1, 1, NAN],
    "elu": [-1, -1, -0.0, 0, 100, INF, NAN],
    "gelu": [NAN, -0.0, -0.0, 0, 100, INF, NAN],  # -infinity times 0
    "silu": [NAN, -3.720075976020836e-42, -0.0, 0, 100, INF, NAN],
    "softplus": [0, 3.720075976020836e-44, np.log(2), np.log(2), 100, INF, NAN],
}
# And their derivatives there.
SLOPES = {
    "relu": [0, 0, 0, 0, 1, 1, 1],  # NaN is not below 0, so that its gradient passes, as in torch
    "leaky_relu": [0.01, 0.01, 0.01, 0.01, 1, 1, 1],
    "sigmoid": [0, 3.720075976020836e-44, 0.25, 0.25, 0, 0, NAN],
    "tanh": [0, 0, 1, 1, 0, 0, NAN],
    "elu": [0, 0, 1, 1, 1, 1, NAN],
    "gelu": [NAN, 0, 0.5, 0.5, 1, NAN, NAN],  # infinity times 0
    "silu": [NAN, -3.6828752162606276e-42, 0.5, 0.5, 1, NAN, NAN],
    "softplus": [0, 3.720075976020836e-44, 0.5, 0.5, 1, 1, NAN],
}
TORCH = {
    "relu": "relu",
    "leaky_relu": "leaky_relu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "elu": "elu",
    "gelu": "gelu",
    "silu": "silu",
    "softplus": "softplus",
}


def test_every_activation_is_here():
    assert ENDS.keys() == SLOPES.keys() == TORCH.keys() == set(ops.ACTIVATIONS)


@both_backends
@both_dtypes
@pytest.mark.parametrize("name", ENDS)
def test_values_at_the_ends(name, dtype, on):
    x = np.array([-INF, -100, -0.0, 0, 100, INF, NAN], dtype)
    with backend.use(on), np.errstate(all="ignore"):
        y = ops.activation(x, name)
    assert_agree(y, ENDS[name], scale=np.abs(ENDS[name]) + 1e-37)
    signed = ~np.isnan(x) & (x == 0)
    if name not in ("relu", "elu"):  # where NumPy's maximum, or minimum, of -0 and 0 is either
        assert_same_bits(np.signbit(y[signed]), np.signbit(np.array(ENDS[name])[signed]))


@both_backends
@both_dtypes
@pytest.mark.parametrize("name", SLOPES)
def test_derivatives_at_the_ends(name, dtype, on):
    x = np.array([-INF, -100, -0.0, 0, 100, INF, NAN], dtype)
    with backend.use(on), np.errstate(all="ignore"):
        dx = ops.activation_backward(np.ones_like(x), name, x=x, y=ops.activation(x, name))
    assert_agree(dx, SLOPES[name], scale=np.abs(SLOPES[name]) + 1e-37)


@both_backends
@both_dtypes
@pytest.mark.parametrize("name", TORCH)
def test_values_and_gradients_are_torchs(name, dtype, on, torch):
    x, dy = normal((3000,), dtype, 0, scale=3), normal((3000,), dtype, 1)
    wide = torch.tensor(x.astype(np.float64), requires_grad=True)
    theirs = getattr(torch.nn.functional, TORCH[name])(wide)
    theirs.backward(torch.tensor(dy.astype(np.float64)))
    with backend.use(on):
        y = ops.activation(x, name)
        dx = ops.activation_backward(dy, name, x=x, y=y)
    # Torch's softplus is x itself beyond 20, and its gelu loses digits far below 0.
    bound = {"softplus": 1e4, "gelu": np.abs(x)}.get(name, 0)
    assert_agree(y, theirs.detach().numpy(), scale=np.abs(theirs.detach().numpy()) + 1e-7 + bound)
    assert_agree(dx, wide.grad.numpy(), scale=np.abs(dy) * (1 + np.abs(x)) + bound)


@both_dtypes
@pytest.mark.parametrize("name", ["elu", "softplus", "silu", "gelu"])
def test_small_inputs_keep_their_digits(name, dtype):
    x = np.array([-1e-3, -1e-6, 1e-6, 1e-3], dtype)
    wide = x.astype(np.longdouble)
    right = {
        "elu": np.where(x > 0, wide, np.expm1(wide)),
        "softplus": np.log1p(np.exp(wide)),
        "silu": wide / (1 + np.exp(-wide)),
        "gelu": wide / 2 + (wide**2 - wide**4 / 6) / np.sqrt(2 * np.longdouble(np.pi)),
    }[name]
    assert_agree(ops.activation(x, name), right.astype(float))


@pytest.mark.parametrize("name", ops.ACTIVATIONS)
def test_gradient_wants_what_it_needs(name):
    x, other = np.ones(3), {"x": "y", "y": "x"}
    wanted = "x" if name in ops.FROM_INPUT else "y"
    with pytest.raises(TypeError, match=f"^activation_backward: {wanted} must be given for '{name}'"):
        ops.activation_backward(x, name, **{other[wanted]: x})


@pytest.mark.parametrize("call", [ops.activation, lambda x, name, **o: ops.activation_backward(x, name, y=x, **o)])
def test_constants_below_0_are_refused(call):
    with pytest.raises(ValueError, match=r"slope is -0.1, wanted 0 or more"):
        call(np.ones(3), "leaky_relu", slope=-0.1)
    with pytest.raises(ValueError, match="alpha is nan, wanted 0 or more"):
        call(np.ones(3), "elu", alpha=np.nan)


# ---------------------------------------------------------------- softmax


@both_backends
@both_dtypes
@pytest.mark.parametrize("shape", [(1, 1), (3, 10), (5, 32), (5, 33), (7, 100), (4, 1001), (300, 64)])
def test_rows_of_softmax_sum_to_one_and_keep_their_order(shape, dtype, on):
    x = normal(shape, dtype, 0, scale=4)
    with backend.use(on):
        y = ops.softmax(x)
    e = np.exp(x.astype(np.longdouble))
    assert_agree(y, (e / e.sum(1, keepdims=True)).astype(float))
    assert_agree(y.sum(1, dtype=np.float64), np.ones(shape[0]), precision=dtype)
    assert (y.argmax(1) == x.argmax(1)).all()


@both_backends
@both_dtypes
@pytest.mark.parametrize("classes", [3, 100])
def test_logits_of_1e4_give_no_infinity(classes, dtype, on):
    x = np.zeros((2, classes), dtype)
    x[0, 1], x[1, 2] = 1e4, -1e4
    with backend.use(on):
        y = ops.softmax(x)
    rest = 1 / (classes - 1)
    assert_agree(y, np.where(np.arange(classes) == [[1], [2]], [[1], [0]], [[0], [rest]]))


@both_backends
@pytest.mark.parametrize("classes", [3, 33, 100])
@pytest.mark.parametrize("spoilt", [NAN, INF])
def test_what_is_no_number_spoils_its_row_alone(spoilt, classes, on):
    for at in range(classes):
        x = np.zeros((2, classes))
        x[0, at] = spoilt
        with backend.use(on), np.errstate(all="ignore"):
            y = ops.softmax(x)
        assert np.isnan(y[0]).all()
        assert (y[1] == 1 / classes).all()
