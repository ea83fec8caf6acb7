"""Arguments for every kernel, and how close each of its outputs must come to the reference.

`CASES[op][function]` takes hypothesis' `draw`, a dtype, and whether the work is to be large enough
for several pieces. A new kernel without an entry here fails the tests.
"""

from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdl import ops
from fastdl.testing import floats, labels, normal, shapes, sizes

CHUNKS = (1 << 14) - 1, 1 << 14, 3 * (1 << 14) + 5  # flat sizes around the edges of an element-wise chunk


class Case(NamedTuple):
    args: dict
    """All arguments by name, in order."""
    bounds: dict
    """By the name of an output, what `assert_agree` is told. Other arrays but scratch are inputs."""
    scratch: tuple = ()


def flat(draw, large):
    return (draw(st.sampled_from(CHUNKS) if large else sizes(1)),)


def empty(*shape, dtype):
    return np.full(shape, 7, dtype)  # not zeros: an output must not depend on what it held


def scalar(draw, *values):
    return draw(st.sampled_from(values))


# ---------------------------------------------------------------- activation


def activation(kind):
    def case(draw, dtype, large):
        x = draw(floats(flat(draw, large), dtype))
        args = {"x": x, "slope": scalar(draw, 0.01, 0.3), "y": empty(*x.shape, dtype=dtype)}
        return Case(args, {"y": {"kind": kind}})

    return case


def activation_backward(draw, dtype, large):
    shape = flat(draw, large)
    dy, y = draw(floats(shape, dtype)), draw(floats(shape, dtype, offsets=[0.0], scales=[0.5, 1.0]))
    args = {"dy": dy, "y": y, "slope": scalar(draw, 0.01, 0.3), "dx": empty(*shape, dtype=dtype)}
    return Case(args, {"dx": {"scale": np.abs(dy) * (1 + y * y)}})  # 1 - y^2 may cancel


# ---------------------------------------------------------------- batch norm


def matrix(draw, large, minimum):
    wide = [(65, 520), (1030, 33), (257, 1025)]  # of several strips
    return draw(st.sampled_from(wide) if large else shapes(2, minimum=minimum))


def columns(draw, dtype, c, offset=0.0):
    return draw(floats((c,), dtype, offsets=[offset], scales=[1.0]))


def normalising(args, scales):
    bounds = {name: {"kind": "normalising", "scale": scale} for name, scale in scales.items()}
    return Case(args, bounds, ("sums", "terms"))


def scratch(c, dtype):
    return {"sums": empty(3, c, dtype=np.float64), "terms": empty(3, c, dtype=dtype)}


def batch_norm(draw, dtype, large):
    n, c = matrix(draw, large, (1, 1))
    x = draw(floats((n, c), dtype, offsets=[0.0, 1.0, -1e4], scales=[1.0, 30.0]))
    gamma, beta, eps = columns(draw, dtype, c, 1.0), columns(draw, dtype, c), scalar(draw, 1e-5, 0.1)
    args = {"x": x, "gamma": gamma, "beta": beta, "eps": eps}
    args |= {statistic: empty(c, dtype=dtype) for statistic in ("mean", "var", "inv_std")}
    args |= {**scratch(c, dtype), "y": empty(n, c, dtype=dtype)}
    wide = x.astype(np.float64)
    largest, spread = np.abs(wide).max(0), np.abs(wide - wide.mean(0)).max(0)
    inverse = 1 / np.sqrt(wide.var(0) + eps)
    scales = {
        "mean": largest,
        "var": spread**2 + eps,
        "inv_std": inverse * (1 + spread**2 * inverse**2),
        "y": largest * inverse * np.abs(gamma) + np.abs(beta),
    }
    return normalising(args, scales)


def batch_norm_backward(through_relu):
    def case(draw, dtype, large):
        n, c = matrix(draw, large, (1, 1))
        x, dy = draw(floats((n, c), dtype, offsets=[0.0, -1e4])), draw(floats((n, c), dtype))
        gamma, mean = columns(draw, dtype, c, 1.0), x.mean(0)
        inverse = np.abs(columns(draw, dtype, c)) + dtype(0.1)
        accumulate = draw(st.booleans())
        args = {"dy": dy} | ({"y": draw(floats((n, c), dtype))} if through_relu else {})
        args |= {"x": x, "gamma": gamma, "mean": mean, "inv_std": inverse, "accumulate": accumulate}
        args |= {**scratch(c, dtype), "dgamma": empty(c, dtype=dtype), "dbeta": empty(c, dtype=dtype)}
        args |= {"dx": empty(n, c, dtype=dtype)}
        size, z = np.abs(dy).astype(np.float64), np.abs(x - mean) * inverse
        scales = {
            "dgamma": (size * z).sum(0) + 7 * accumulate,
            "dbeta": size.sum(0) + 7 * accumulate,
            "dx": np.abs(gamma) * inverse * (size + size.mean(0) + z * (size * z).mean(0)),
        }
        return normalising(args, scales)

    return case


def batch_norm_predict(draw, dtype, large):
    n, c = matrix(draw, large, (1, 1))
    x = draw(floats((n, c), dtype, offsets=[0.0, 1.0, -1e4]))
    gamma, beta, eps = columns(draw, dtype, c, 1.0), columns(draw, dtype, c), scalar(draw, 1e-5, 0.1)
    mean, var = columns(draw, dtype, c), np.abs(columns(draw, dtype, c))
    args = {"x": x, "gamma": gamma, "beta": beta, "eps": eps, "mean": mean, "var": var}
    args |= {"terms": empty(3, c, dtype=dtype), "y": empty(n, c, dtype=dtype)}
    scale = np.abs(x.astype(np.float64) - mean) * np.abs(gamma) / np.sqrt(var + eps) + np.abs(beta)
    return normalising(args, {"y": scale})


def status(draw):
    """Mostly 0; else the word stops the kernel."""
    return np.array([draw(st.sampled_from([0, 0, 0, 5]))])


def running(draw, dtype, large):
    shape = flat(draw, large)
    batch, averages = draw(floats(shape, dtype)), draw(floats(shape, dtype))
    unbias = scalar(draw, 1.0, 1.5)
    args = {"batch": batch, "decay": scalar(draw, 0.9, 0.5), "variances": draw(st.integers(0, shape[0]))}
    args |= {"unbias": unbias, "status": status(draw), "averages": averages}
    return Case(args, {"averages": {"scale": np.abs(averages) + unbias * np.abs(batch)}})


# ---------------------------------------------------------------- dropout


def stream(draw):
    """threshold, stream, width and draw of a mask."""
    words = st.sampled_from([0, 1, 2**31 + 5, 2**32 - 1])
    threshold = draw(st.sampled_from([0, 1, 2**31, 858993459, 2**32 - 1]))
    first_row = draw(st.integers(0, 200) | st.just(2**34 + 3))  # beyond 32 bits of block number
    numbers = [draw(words), draw(words), draw(words), first_row]
    return threshold, draw(words), draw(st.sampled_from([1, 3, 64])), np.array(numbers, np.int64)


def dropout_mask(draw, dtype, large):
    threshold, word, width, numbers = stream(draw)
    mask = empty(*flat(draw, large), dtype=np.uint8)
    args = {"threshold": threshold, "stream": word, "width": width, "draw": numbers, "mask": mask}
    return Case(args, {"mask": {"kind": "exact"}})


def dropout_forward(draw, dtype, large):
    x = draw(floats(flat(draw, large), dtype))
    threshold, word, width, numbers = stream(draw)
    args = {"x": x, "threshold": threshold, "scale": 1.25, "stream": word, "width": width, "draw": numbers}
    args |= {"kept": empty(*x.shape, dtype=np.uint8), "y": empty(*x.shape, dtype=dtype)}
    return Case(args, {"kept": {"kind": "exact"}, "y": {}})


def dropout_backward(draw, dtype, large):
    dy = draw(floats(flat(draw, large), dtype))
    kept = draw(labels(dy.size, 2, np.uint8))
    return Case({"dy": dy, "kept": kept, "scale": 1.25, "dx": empty(*dy.shape, dtype=dtype)}, {"dx": {}})


# ---------------------------------------------------------------- gather


def gather(draw, dtype, large):
    rows, width = draw(sizes(1)), draw(sizes(1, 65))
    taken = 1 + CHUNKS[2] // width if large else draw(sizes(0, 65))
    first = draw(st.integers(0, 3))
    args = {"data": normal((rows, width), dtype, 0), "order": draw(labels(first + taken, rows))}
    args |= {"start": np.array([first]), "out": empty(taken, width, dtype=dtype)}
    return Case(args, {"out": {"kind": "exact"}})


# ---------------------------------------------------------------- matmul

PARALLEL = (64, 784, 130), (300, 20, 300), (33, 1100, 33), (1, 1024, 1040), (1040, 1024, 1), (2100, 16, 40)


def product(draw, large, lowest):
    """n, k, m: ragged, or beyond the 2^20 multiply-adds from which panels are cut."""
    small = shapes(3, minimum=lowest, elements=1 << 20)
    return draw(st.sampled_from(PARALLEL) if large else small)


def matmul(steps):
    """`steps`: of the activation after the product. None is steeper than 1; its own few roundings are of at most 1."""

    def case(draw, dtype, large):
        n, k, m = product(draw, large, (1, 0, 1))
        x, w = draw(floats((n, k), dtype, scales=[1.0])), draw(floats((k, m), dtype, scales=[1.0]))
        b = draw(floats((m,), dtype)) if draw(st.booleans()) else np.empty(0, dtype)
        args = {"x": x, "w": w, "b": b, "slope": scalar(draw, 0.01, 0.3), "y": empty(n, m, dtype=dtype)}
        size = np.abs(x).astype(np.float64) @ np.abs(w) + (np.abs(b) if b.size else 0)
        return Case(args, {"y": {"kind": "product", "terms": k + 1 + 7 * steps, "scale": size + steps}})

    return case


def matmul_backward_input(draw, dtype, large):
    n, k, m = product(draw, large, (1, 1, 0))
    dy, w = draw(floats((n, m), dtype, scales=[1.0])), draw(floats((k, m), dtype, scales=[1.0]))
    scale = np.abs(dy).astype(np.float64) @ np.abs(w.T)
    args = {"dy": dy, "w": w, "dx": empty(n, k, dtype=dtype)}
    return Case(args, {"dx": {"kind": "product", "terms": m + 1, "scale": scale}})


def matmul_backward_weights(draw, dtype, large):
    n, k, m = product(draw, large, (0, 0, 1))
    x, dy = draw(floats((n, k), dtype, scales=[1.0])), draw(floats((n, m), dtype, scales=[1.0]))
    accumulate = draw(st.booleans())
    args = {"x": x, "dy": dy, "accumulate": accumulate, "dw": empty(k, m, dtype=dtype)}
    args["db"] = empty(m if draw(st.booleans()) else 0, dtype=dtype)
    size = np.abs(dy).astype(np.float64)
    scales = {"dw": np.abs(x.T) @ size + 7 * accumulate, "db": (size.sum(0) + 7 * accumulate)[: args["db"].size]}
    return Case(args, {k: {"kind": "product", "terms": n + 1, "scale": v} for k, v in scales.items()})


# ---------------------------------------------------------------- softmax cross-entropy


def softmax_cross_entropy(draw, dtype, large):
    n, c = draw(st.sampled_from([(1000, 10), (70, 300), (3, 5000)]) if large else shapes(2, minimum=1))
    logits, y = draw(floats((n, c), dtype, offsets=[0.0, 20.0], scales=[1.0, 30.0])), draw(labels(n, c))
    if draw(st.integers(0, 4)) == 0:
        y[draw(st.integers(0, n - 1)) :: 3] = draw(st.sampled_from([-1, c, 2**62]))
    share = scalar(draw, 1.0, 1 / n)
    args = {"logits": logits, "labels": y, "scale": np.array([share]), "losses": empty(n, dtype=dtype)}
    args |= {"total": np.array([0.5]), "status": np.array([0]), "dlogits": empty(n, c, dtype=dtype)}
    below = logits.max(1, keepdims=True) - logits.astype(np.float64)
    p = np.exp(-below) / np.exp(-below).sum(1, keepdims=True)
    largest = np.abs(logits).max(1).astype(np.float64) + np.log(c) + 1
    bounds = {
        "losses": {"kind": "normalising", "scale": largest},
        "total": {"kind": "normalising", "scale": 0.5 + share * largest.sum(), "precision": dtype},
        "dlogits": {"scale": share * (p * (1 + below) + (np.arange(c) == y[:, None]))},
        "status": {"kind": "exact"},
    }
    return Case(args, bounds)


# ---------------------------------------------------------------- updates


def update(draw, dtype, large):
    shape = flat(draw, large)
    p, g = draw(floats(shape, dtype)), draw(floats(shape, dtype))
    decayed = draw(st.integers(0, shape[0]))
    decay = scalar(draw, 0.0, 0.1)
    return p, g, decayed, decay, np.abs(g).astype(np.float64) + decay * np.abs(p)


def sgd(draw, dtype, large):
    p, g, decayed, decay, size = update(draw, dtype, large)
    lr = scalar(draw, 0.1, 1e-4)
    args = {"p": p, "g": g, "decayed": decayed, "scalars": np.array([lr, decay]), "status": status(draw)}
    return Case(args, {"p": {"scale": np.abs(p) + lr * size}})


def adam(draw, dtype, large):
    p, g, decayed, decay, size = update(draw, dtype, large)
    m, v = draw(floats(p.shape, dtype, offsets=[0.0])), np.abs(draw(floats(p.shape, dtype, offsets=[1.0])))
    scalars = np.array(ops.adam_scalars(scalar(draw, 1, 1000), scalar(draw, 0.1, 1e-4), (0.9, 0.999), 1e-8, decay))
    lr, _, b1, c1, b2, c2, eps, first, second = scalars
    mean, square = b1 * np.abs(m) + c1 * size, b2 * v.astype(np.float64) + c2 * size**2
    least = b2 * v.astype(np.float64) + 1e-30  # of the new v, whose own error counts as well
    step = lr * first * mean / (np.sqrt(least) * second + eps) * (1 + square / least)
    args = {"p": p, "g": g, "m": m, "v": v, "decayed": decayed, "scalars": scalars, "status": status(draw)}
    return Case(args, {"m": {"scale": mean}, "v": {"scale": square}, "p": {"scale": np.abs(p) + step}})


MATMUL = {"forward": matmul(steps=0)}
MATMUL |= {f"forward_{name}": matmul(steps=1) for name in ops.ACTIVATIONS}
MATMUL |= {"backward_input": matmul_backward_input, "backward_weights": matmul_backward_weights}

CASES = {
    "activation": {
        "relu": activation("exact"),
        "leaky_relu": activation("elementwise"),
        "sigmoid": activation("elementwise"),
        "tanh": activation("function"),
        **{f"{name}_backward": activation_backward for name in ops.ACTIVATIONS},
    },
    "batch_norm": {
        "forward": batch_norm,
        "forward_relu": batch_norm,
        "backward": batch_norm_backward(through_relu=False),
        "backward_relu": batch_norm_backward(through_relu=True),
        "predict": batch_norm_predict,
        "predict_relu": batch_norm_predict,
        "running": running,
    },
    "dropout": {"mask": dropout_mask, "forward": dropout_forward, "backward": dropout_backward},
    "gather": {"forward": gather},
    "matmul": {f"{name}{end}": case for name, case in MATMUL.items() for end in ("", "_loops")},
    "softmax_cross_entropy": {"forward": softmax_cross_entropy},
    "updates": {"sgd": sgd, "adam": adam},
}


def simplest(op, name, dtype):
    """The first case that hypothesis makes."""
    found = []

    @settings(max_examples=1, derandomize=True, database=None)
    @given(st.data())
    def keep(data):
        found.append(CASES[op][name](data.draw, dtype, False))

    keep()
    return found[0]
