"""Optimizer updates against their equations in float64, and against torch.optim."""

import numpy as np
import pytest

from fastdl import backend, ops
from fastdl.kernels._pieces import CHUNK
from fastdl.testing import Guarded, assert_agree, normal

both_backends = pytest.mark.parametrize("on", ["numba", "numpy"])
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# Both twins: more than 2^16 parameters run in parallel.
every_size = pytest.mark.parametrize("size", [1, 1000, 70_001])
STEPS = 5


def gradients(size, dtype):
    return [normal((size,), dtype, 10 + t, scale=0.1) for t in range(STEPS)]


# ---------------------------------------------------------------- the equations, written apart from the kernels


def sgd(p, g, t, state, lr):
    return lr * g


def momentum(p, g, t, state, lr, momentum=0.9, dampening=0.0, nesterov=False):
    state["m"] = momentum * state.get("m", 0) + (1 - dampening) * g
    return lr * (momentum * state["m"] + (1 - dampening) * g if nesterov else state["m"])


def adagrad(p, g, t, state, lr, eps=1e-10):
    state["m"] = state.get("m", 0) + g**2
    return lr * g / (np.sqrt(state["m"]) + eps)


def rmsprop(p, g, t, state, lr, beta=0.99, eps=1e-8, eps_inside=False):
    state["m"] = beta * state.get("m", 0) + (1 - beta) * g**2
    return lr * g / (np.sqrt(state["m"] + eps) if eps_inside else np.sqrt(state["m"]) + eps)


def adam(p, g, t, state, lr, betas=(0.9, 0.999), eps=1e-8, eps_inside=False):
    state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
    state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g**2
    mean, square = state["m"] / (1 - betas[0] ** t), state["v"] / (1 - betas[1] ** t)
    return lr * mean / (np.sqrt(square + eps) if eps_inside else np.sqrt(square) + eps)


# Its equation, its moments, and the options it is tried with.
UPDATES = {
    "sgd": (sgd, 0, [{}]),
    "momentum": (
        momentum,
        1,
        [{}, {"momentum": 0.8, "dampening": 0.8}, {"nesterov": True}, {"nesterov": True, "dampening": 0.9}],
    ),
    "adagrad": (adagrad, 1, [{}, {"eps": 1e-3}]),
    "rmsprop": (rmsprop, 1, [{}, {"beta": 0.9, "eps": 1e-3}, {"eps_inside": True, "eps": 1e-3}]),
    "adam": (adam, 2, [{}, {"betas": (0.8, 0.99), "eps": 1e-3}, {"eps_inside": True, "eps": 1e-3}]),
}
every_update = pytest.mark.parametrize(
    "name, options", [(name, options) for name, (_, _, tried) in UPDATES.items() for options in tried]
)
PENALTIES = [
    {},
    {"weight_decay": 0.1},
    {"l1": 0.05},
    {"weight_decay": 0.1, "l1": 0.05},
    {"weight_decay": 0.1, "decoupled": True},
]


def by_equation(name, p, grads, lr, options, weight_decay=0.0, l1=0.0, decoupled=False, decayed=None, clip=1.0):
    step, state, p = UPDATES[name][0], {}, p.astype(np.float64)
    span = np.arange(p.size) < (p.size if decayed is None else decayed)
    for t, g in enumerate(grads, 1):
        g = clip * g.astype(np.float64) + span * l1 * np.sign(p)
        if decoupled:
            p = p - lr * weight_decay * span * p
        else:
            g = g + weight_decay * span * p
        p = p - step(p, g, t, state, lr, **options)
    return p, *state.values()


def by_op(name, p, grads, **options):
    p, moments = p.copy(), [np.zeros_like(p) for _ in range(UPDATES[name][1])]
    update = getattr(ops, f"{name}_update")
    for t, g in enumerate(grads, 1):
        assert update(p, g, *moments, **({"step": t} if name == "adam" else {}), **options) is p
    return p, *moments


@both_backends
@both_dtypes
@every_size
@every_update
def test_update_follows_its_equation(name, options, size, dtype, on):
    p, grads = normal((size,), dtype, 0), gradients(size, dtype)
    for penalty in PENALTIES:
        with backend.use(on):
            actual = by_op(name, p, grads, lr=0.02, decayed=size // 3, **options, **penalty)
        # Where l1 decides by the sign of a parameter near 0, rounding decides.
        sure = np.abs(p) > 0.3 if "l1" in penalty else np.ones(size, bool)
        for a, e in zip(actual, by_equation(name, p, grads, 0.02, options, decayed=size // 3, **penalty), strict=True):
            assert_agree(a[sure], e[sure], scale=(1 + np.abs(p))[sure], name=f"{penalty}")


@both_backends
@both_dtypes
@every_update
def test_clip_multiplies_the_gradient_and_not_the_penalty(name, options, dtype, on):
    p, grads = normal((500,), dtype, 0), gradients(500, dtype)
    with backend.use(on):
        actual = by_op(name, p, grads, lr=0.02, weight_decay=0.1, clip=np.array([0.25]), **options)[0]
    expected = by_equation(name, p, grads, 0.02, options, weight_decay=0.1, clip=0.25)[0]
    assert_agree(actual, expected, scale=1 + np.abs(p))


@both_backends
def test_l1_pulls_towards_zero_and_leaves_zero_alone(on):
    p = np.array([2.0, -2.0, 0.0, np.nan])
    with backend.use(on):
        ops.sgd_update(p, np.zeros(4), lr=1.0, l1=0.5)
    np.testing.assert_array_equal(p, [1.5, -1.5, 0, np.nan])


@both_backends
@pytest.mark.parametrize("size", [10, 3 * CHUNK + 7, 5 * CHUNK + 1])
@pytest.mark.parametrize("at", ["0", "1", "chunk - 1", "chunk", "chunk + 1", "end - 1", "end"])
def test_penalties_end_exactly_where_it_is_told(at, size, on):
    where, _, by = at.partition(" ")
    decayed = {"chunk": CHUNK, "end": size}.get(where, 0) + (int(where) if where.isdigit() else 0)
    decayed = min(size, decayed + int(by.replace(" ", "") or 0))
    span = np.arange(size) < decayed
    for name in UPDATES:
        p, g, moments = np.ones(size), np.zeros(size), [np.zeros(size) for _ in range(UPDATES[name][1])]
        for penalty in ({"weight_decay": 0.5}, {"l1": 0.5}, {"weight_decay": 0.5, "decoupled": True}):
            p[...] = 1
            with backend.use(on):
                getattr(ops, f"{name}_update")(p, g, *moments, lr=0.5, decayed=decayed, **penalty)
            assert ((p < 1) == span).all()
            assert (p[~span] == 1).all()


@both_backends
@both_dtypes
@pytest.mark.parametrize("size", [3, 70_000])
@pytest.mark.parametrize("word", [1, -1, 2**40])
def test_status_keeps_every_byte(word, size, dtype, on):
    guarded = [Guarded.of(normal((size,), dtype, i)) for i in range(4)]
    before = [g.memory.copy() for g in guarded]
    p, g, *moments = (x.array for x in guarded)
    status = np.array([word])
    with backend.use(on):
        for name, (_, count, _) in UPDATES.items():
            getattr(ops, f"{name}_update")(p, g, *moments[:count], lr=0.1, weight_decay=0.1, status=status)
        ops.momentum_update(p, g, moments[0], nesterov=True, status=status)
        ops.update_averages(p, g, status=status)
    assert all((x.memory == old).all() for x, old in zip(guarded, before, strict=True))
    assert status.tolist() == [word]


def test_adam_scalars_are_exact_in_float64():
    scalars = ops.adam_scalars(3, 0.1, (0.9, 0.999), 1e-8, weight_decay=0.01, l1=0.2)
    common = 0.1, 0.01, 0.2, 1.0
    assert scalars == (*common, 0.9, 1 - 0.9, 0.999, 1 - 0.999, 1e-8, 0.0, 1 / (1 - 0.9**3), 1 / (1 - 0.999**3))
    assert ops.sgd_scalars(0.1, 0.01, decoupled=True) == (0.1, 0.0, 0.0, 1 - 0.1 * 0.01)


@every_update
def test_scalars_take_the_place_of_the_numbers(name, options):
    p, g = normal((9,), np.float32, 0), normal((9,), np.float32, 1)
    q, count = p.copy(), UPDATES[name][1]
    moments = [np.zeros((count, 9), np.float32) for _ in range(2)]
    update, make = getattr(ops, f"{name}_update"), getattr(ops, f"{name}_scalars")
    numbers = {"lr": 0.1, "weight_decay": 0.3, "l1": 0.1, "decoupled": True}
    more = {"step": 4} if name == "adam" else {}
    kind = {"nesterov": options["nesterov"]} if "nesterov" in options else {}
    own = {k: v for k, v in options.items() if k != "nesterov"}
    if name == "momentum":
        own = {"momentum": 0.9, **own}
    update(p, g, *moments[0], **more, **numbers, **own, **kind)
    scalars = np.array(make(*more.values(), **numbers, **own))
    update(q, g, *moments[1], scalars=scalars, **kind)
    assert (p == q).all()
    with pytest.raises(ValueError, match=rf"^{name}_update: scalars has 2 elements, wanted {scalars.size}"):
        update(p, g, *moments[0], scalars=np.zeros(2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: ops.adam_update(one, one, one, one, step=0), "adam_update: step is 0, wanted 1 or more"),
        (lambda one: ops.adam_update(one, one, one, one, betas=(1, 0)), r"adam_update: betas\[0\] is 1, wanted"),
        (lambda one: ops.momentum_update(one, one, one, momentum=1), "momentum_update: momentum is 1, wanted"),
        (lambda one: ops.rmsprop_update(one, one, one, beta=-1), "rmsprop_update: beta is -1, wanted"),
        (lambda one: ops.sgd_update(one, one, decayed=-1), "sgd_update: decayed is -1, wanted an integer, 0 to 4"),
        (lambda one: ops.sgd_update(one, one, decayed=1.5), "sgd_update: decayed is 1.5, wanted an integer"),
        (lambda one: ops.sgd_update(one, one, clip=np.ones(2)), "sgd_update: clip has 2 elements, wanted 1"),
    ],
)
def test_numbers_that_cannot_be_are_refused(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call(np.ones(4))


# ---------------------------------------------------------------- torch.optim


def by_torch(torch, make, p, grads):
    """Parameters after the gradients, by an optimizer of torch's."""
    parameter = torch.nn.Parameter(torch.tensor(p))
    optimizer = make([parameter])
    for g in grads:
        parameter.grad = torch.tensor(g)
        optimizer.step()
    return parameter.detach().numpy()


SAME = [
    ("sgd", "SGD", {"lr": 0.3}, {}),
    ("sgd", "SGD", {"lr": 0.3, "weight_decay": 0.1}, {}),
    ("momentum", "SGD", {"lr": 0.1, "momentum": 0.9}, {}),
    ("momentum", "SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, {}),
    ("adagrad", "Adagrad", {"lr": 0.1, "weight_decay": 0.1}, {}),
    ("rmsprop", "RMSprop", {"lr": 0.01, "weight_decay": 0.1}, {}),
    ("rmsprop", "RMSprop", {"lr": 0.01, "eps": 1e-3}, {"alpha": 0.9, "beta": 0.9}),
    ("adam", "Adam", {}, {}),
    ("adam", "Adam", {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.1}, {}),
    ("adam", "AdamW", {"lr": 0.05, "weight_decay": 0.1}, {"decoupled": True}),
]


@both_dtypes
@pytest.mark.parametrize("name, theirs, options, apart", SAME)
def test_update_is_torchs_and_so_are_the_defaults(name, theirs, options, apart, dtype, torch):
    p, grads = normal((999,), dtype, 0), gradients(999, dtype)
    alpha = {"alpha": apart["alpha"]} if "alpha" in apart else {}
    own = {k: v for k, v in apart.items() if k != "alpha"}
    expected = by_torch(torch, lambda params: getattr(torch.optim, theirs)(params, **options, **alpha), p, grads)
    assert_agree(by_op(name, p, grads, **options, **own)[0], expected, scale=1 + np.abs(p))
