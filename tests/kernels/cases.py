"""Arguments for every kernel, and how close each of its outputs must come to the reference.

`CASES[op][function]` takes hypothesis' `draw`, a dtype, and whether the work is to be large enough
for several pieces. A new kernel without an entry here fails the tests.
"""

from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdl import ops
from fastdl.kernels._pieces import blocks_of_rows, blocks_of_values, chunks, slices_of_depth
from fastdl.kernels.activation import reference
from fastdl.testing import floats, labels, normal, shapes, sizes

CHUNKS = (1 << 14) - 1, 1 << 14, 3 * (1 << 14) + 5  # flat sizes around the edges of an element-wise chunk


class Case(NamedTuple):
    args: dict
    """All arguments by name, in order."""
    bounds: dict
    """By the name of an output, what `assert_agree` is told. Other arrays but scratch are inputs."""
    scratch: tuple = ()
    finite: tuple = ()
    """Inputs of which nobody expects NaN or infinity to go anywhere."""


def flat(draw, large):
    return (draw(st.sampled_from(CHUNKS) if large else sizes(1)),)


def empty(*shape, dtype):
    return np.full(shape, 7, dtype)  # not zeros: an output must not depend on what it held


def scalar(draw, *values):
    return draw(st.sampled_from(values))


# ---------------------------------------------------------------- activation


def activation(name, kind):
    def case(draw, dtype, large):
        x = draw(floats(flat(draw, large), dtype))
        args = {"x": x, "constant": scalar(draw, 0.01, 0.3, 1.0), "y": empty(*x.shape, dtype=dtype)}
        if name not in ("gelu", "silu"):
            return Case(args, {"y": {"kind": kind}})
        right = np.empty(x.shape)  # which is x times what may be subnormal
        getattr(reference, name)(x.astype(np.float64), args["constant"], right)
        return Case(args, {"y": {"scale": np.abs(right) + 1e12 * np.finfo(dtype).tiny}})

    return case


def activation_backward(name):
    def case(draw, dtype, large):
        shape = flat(draw, large)
        dy, saved = draw(floats(shape, dtype)), draw(floats(shape, dtype, offsets=[0.0], scales=[0.5, 1.0, 5.0]))
        args = {"dy": dy, "saved": saved, "constant": scalar(draw, 0.01, 0.3, 1.0), "dx": empty(*shape, dtype=dtype)}
        return Case(args, {"dx": {"scale": np.abs(dy) * (1 + saved * saved)}})  # 1 - y^2 may cancel

    return case


# ---------------------------------------------------------------- add


def add(draw, dtype, large):
    shape = flat(draw, large)
    return Case(
        {"a": draw(floats(shape, dtype)), "b": draw(floats(shape, dtype)), "y": empty(*shape, dtype=dtype)}, {"y": {}}
    )


# ---------------------------------------------------------------- clip


def clip(draw, dtype, large):
    x = draw(floats(flat(draw, large), dtype))
    return Case(
        {"x": x, "limit": scalar(draw, 2.0**-10, 1.0, np.inf), "y": empty(*x.shape, dtype=dtype)},
        {"y": {"kind": "exact"}},
    )


# ---------------------------------------------------------------- softmax


def rows_of_classes(draw, large):
    return draw(st.sampled_from([(1000, 10), (70, 300), (3, 5000)]) if large else shapes(2, minimum=1))


def softmax(draw, dtype, large):
    shape = rows_of_classes(draw, large)
    x = draw(floats(shape, dtype, offsets=[0.0, 20.0], scales=[1.0, 5.0]))
    return Case({"x": x, "y": empty(*shape, dtype=dtype)}, {"y": {}})


def softmax_backward(draw, dtype, large):
    shape = rows_of_classes(draw, large)
    dy, y = draw(floats(shape, dtype)), np.abs(draw(floats(shape, dtype, offsets=[0.0], scales=[0.1])))
    size = np.abs(dy).astype(np.float64)
    scale = y * (size + (size * y).sum(1, keepdims=True))
    return Case({"dy": dy, "y": y, "dx": empty(*shape, dtype=dtype)}, {"dx": {"scale": scale}})


# ---------------------------------------------------------------- batch norm


def matrix(draw, large, minimum):
    wide = [(65, 2020), (4130, 33), (257, 1025)]  # of several blocks, one with rows too few for it
    return draw(st.sampled_from(wide) if large else shapes(2, minimum=minimum))


def columns(draw, dtype, c, offset=0.0):
    return draw(floats((c,), dtype, offsets=[offset], scales=[1.0]))


def normalising(args, scales):
    bounds = {name: {"kind": "normalising", "scale": scale} for name, scale in scales.items()}
    return Case(args, bounds, ("sums", "terms"))


def channels(draw, large, images):
    """Shape of a batch, over which axes a channel's values lie, and how its statistics stand to them."""
    if not images:
        return matrix(draw, large, (2, 1)), 0, (slice(None),)
    wide = [(3, 70, 1025), (5, 2, 15000), (33, 65, 64)]
    shape = draw(st.sampled_from(wide) if large else shapes(3, minimum=(1, 1, 2)))
    return shape, (0, 2), (slice(None), None)


def scratch(shape, dtype):
    n, c = shape[:2]
    blocks = blocks_of_rows(n, c) if len(shape) == 2 else blocks_of_values(n, shape[2])
    return {"sums": empty(blocks, 2, c, dtype=np.float64), "terms": empty(3, c, dtype=dtype)}


def batch_norm(images):
    def case(draw, dtype, large):
        shape, over, of = channels(draw, large, images)
        c = shape[1]
        x = draw(floats(shape, dtype, offsets=[0.0, 1.0, -1e4], scales=[1.0, 30.0]))
        gamma, beta, eps = columns(draw, dtype, c, 1.0), columns(draw, dtype, c), scalar(draw, 1e-5, 0.1)
        args = {"x": x, "gamma": gamma, "beta": beta, "eps": eps, "correction": scalar(draw, 0, 1)}
        args |= {statistic: empty(c, dtype=dtype) for statistic in ("mean", "var", "inv_std")}
        args |= {**scratch(shape, dtype), "y": empty(*shape, dtype=dtype)}
        wide = x.astype(np.float64)
        largest, spread = np.abs(wide).max(over), np.abs(wide - wide.mean(over)[of]).max(over)
        inverse = 1 / np.sqrt(wide.var(over) + eps)
        scales = {
            "mean": largest,
            "var": 2 * spread**2 + eps,
            "inv_std": inverse * (1 + spread**2 * inverse**2),
            "y": (largest * inverse * np.abs(gamma) + np.abs(beta))[of],
        }
        return normalising(args, scales)

    return case


def batch_norm_backward(images, through_relu):
    def case(draw, dtype, large):
        shape, over, of = channels(draw, large, images)
        c = shape[1]
        x, dy = draw(floats(shape, dtype, offsets=[0.0, -1e4])), draw(floats(shape, dtype))
        gamma, mean = columns(draw, dtype, c, 1.0), x.mean(over)
        inverse = np.abs(columns(draw, dtype, c)) + dtype(0.1)
        accumulate = draw(st.booleans())
        args = {"dy": dy} | ({"y": draw(floats(shape, dtype))} if through_relu else {})
        args |= {"x": x, "gamma": gamma, "mean": mean, "inv_std": inverse, "accumulate": accumulate}
        args |= {**scratch(shape, dtype), "dgamma": empty(c, dtype=dtype), "dbeta": empty(c, dtype=dtype)}
        args |= {"dx": empty(*shape, dtype=dtype)}
        size, z = np.abs(dy).astype(np.float64), np.abs(x - mean[of]) * inverse[of]
        scales = {
            "dgamma": (size * z).sum(over) + 7 * accumulate,
            "dbeta": size.sum(over) + 7 * accumulate,
            "dx": (np.abs(gamma) * inverse)[of]
            * (size + size.mean(over, keepdims=images) + z * (size * z).mean(over, keepdims=images)),
        }
        return normalising(args, scales)

    return case


def batch_norm_predict(images):
    def case(draw, dtype, large):
        shape, _, of = channels(draw, large, images)
        c = shape[1]
        x = draw(floats(shape, dtype, offsets=[0.0, 1.0, -1e4]))
        gamma, beta, eps = columns(draw, dtype, c, 1.0), columns(draw, dtype, c), scalar(draw, 1e-5, 0.1)
        mean, var = columns(draw, dtype, c), np.abs(columns(draw, dtype, c))
        args = {"x": x, "gamma": gamma, "beta": beta, "eps": eps, "mean": mean, "var": var}
        args |= {"terms": empty(3, c, dtype=dtype), "y": empty(*shape, dtype=dtype)}
        off = np.abs(x.astype(np.float64) - mean[of])
        return normalising(args, {"y": off * (np.abs(gamma) / np.sqrt(var + eps))[of] + np.abs(beta)[of]})

    return case


def status(draw):
    """Mostly 0; else the word stops the kernel."""
    return np.array([draw(st.sampled_from([0, 0, 0, 5]))])


def running(draw, dtype, large):
    shape = flat(draw, large)
    batch, averages = draw(floats(shape, dtype)), draw(floats(shape, dtype))
    args = {"batch": batch, "decay": scalar(draw, 0.9, 0.5), "status": status(draw), "averages": averages}
    return Case(args, {"averages": {"scale": np.abs(averages) + np.abs(batch)}})


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


def dropout_drawn(draw, dtype, large):
    case = dropout_forward(draw, dtype, large)
    return Case({k: v for k, v in case.args.items() if k != "kept"}, {"y": {}})


def dropout_predict(draw, dtype, large):
    x = draw(floats(flat(draw, large), dtype))
    return Case({"x": x, "keep": 0.8, "y": empty(*x.shape, dtype=dtype)}, {"y": {}})


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


THREADS = st.sampled_from([0, 1, 2, 3, 8])  # for which panels are cut


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
        args = {"x": x, "w": w, "b": b, "slope": scalar(draw, 0.01, 0.3)}
        args |= {"threads": draw(THREADS), "unpacked": draw(st.booleans()), "y": empty(n, m, dtype=dtype)}
        size = np.abs(x).astype(np.float64) @ np.abs(w) + (np.abs(b) if b.size else 0)
        return Case(args, {"y": {"kind": "product", "terms": k + 1 + 7 * steps, "scale": size + steps}})

    return case


def matmul_row(draw, dtype, large):
    _, k, m = product(draw, large, (1, 1, 1))
    x, w = draw(floats((1, k), dtype, scales=[1.0])), draw(floats((k, m), dtype, scales=[1.0]))
    b = draw(floats((m,), dtype)) if draw(st.booleans()) else np.empty(0, dtype)
    work = empty(draw(st.integers(1, 9)) * m, dtype=dtype)
    size = np.abs(x).astype(np.float64) @ np.abs(w) + (np.abs(b) if b.size else 0)
    args = {"x": x, "w": w, "b": b, "work": work, "y": empty(1, m, dtype=dtype)}
    return Case(args, {"y": {"kind": "product", "terms": k + 9, "scale": size}}, ("work",))


def matmul_product(draw, dtype, large):
    n, k, m = product(draw, large, (1, 0, 1))
    turn_a, turn_b, accumulate = (draw(st.booleans()) for _ in range(3))
    a = draw(floats((k, n) if turn_a else (n, k), dtype, scales=[1.0]))
    b = draw(floats((m, k) if turn_b else (k, m), dtype, scales=[1.0]))
    scale = np.abs(a.T if turn_a else a).astype(np.float64) @ np.abs(b.T if turn_b else b) + 7 * accumulate
    args = {"a": a, "a_transposed": turn_a, "b": b, "b_transposed": turn_b, "accumulate": accumulate}
    args |= {"threads": draw(THREADS), "unpacked": draw(st.booleans())}
    args["c"] = empty(n, m, dtype=dtype)
    return Case(args, {"c": {"kind": "product", "terms": k + 1, "scale": scale}})


def matmul_backward_weights(draw, dtype, large):
    n, k, m = product(draw, large, (0, 0, 1))
    x, dy = draw(floats((n, k), dtype, scales=[1.0])), draw(floats((n, m), dtype, scales=[1.0]))
    accumulate = draw(st.booleans())
    args = {"x": x, "dy": dy, "accumulate": accumulate, "threads": draw(THREADS), "unpacked": draw(st.booleans())}
    slices = slices_of_depth(n, k, m)
    args |= {"work": empty(slices * (k + 1) * m * (slices > 1), dtype=dtype), "dw": empty(k, m, dtype=dtype)}
    args["db"] = empty(m if draw(st.booleans()) else 0, dtype=dtype)
    size = np.abs(dy).astype(np.float64)
    scales = {"dw": np.abs(x.T) @ size + 7 * accumulate, "db": (size.sum(0) + 7 * accumulate)[: args["db"].size]}
    return Case(args, {k: {"kind": "product", "terms": n + 1, "scale": v} for k, v in scales.items()}, ("work",))


# ---------------------------------------------------------------- softmax cross-entropy


def softmax_cross_entropy(draw, dtype, large):
    n, c = rows_of_classes(draw, large)
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


def some_weights(draw, dtype, size, zeros=True):
    """Weights, now and then 0, or none."""
    found = np.abs(draw(floats((size,), dtype, offsets=[1.0], scales=[0.5])))
    if zeros and draw(st.booleans()):
        found[:: draw(st.integers(1, 3))] = 0
    return found if draw(st.booleans()) else np.empty(0, dtype)


def weighted_bounds(logits, targets, by_class, by_row, share):
    """What errors are relative to where row i's target is targets[i], with weights of classes and rows."""
    t = targets * by_class if by_class.size else targets
    each = by_row.astype(np.float64) if by_row.size else np.ones(len(logits))
    below = logits.max(1, keepdims=True) - logits.astype(np.float64)
    p = np.exp(-below) / np.exp(-below).sum(1, keepdims=True)
    whole = np.abs(t).sum(1)
    losses = each * whole * (np.abs(logits).max(1) + np.log(logits.shape[1]) + 1)
    return {
        "losses": {"kind": "normalising", "scale": losses},
        "dlogits": {"scale": share * each[:, None] * (p * (1 + below) * whole[:, None] + t + 1e-30)},
    }


def softmax_cross_entropy_weighted(draw, dtype, large):
    n, c = rows_of_classes(draw, large)
    logits, y = draw(floats((n, c), dtype, offsets=[0.0, 20.0], scales=[1.0, 5.0])), draw(labels(n, c))
    by_class, by_row = some_weights(draw, dtype, c), some_weights(draw, dtype, n)
    smoothing, ignored, skip = scalar(draw, 0.0, 0.1), draw(st.sampled_from([0, -100])), draw(st.booleans())
    if ignored < 0 and draw(st.booleans()):
        y[:: draw(st.integers(1, 3))] = ignored
    bad = (((y < 0) | (y >= c)) & ~((y == ignored) & skip)).any()
    share = scalar(draw, 1.0, 1 / n)
    args = {"logits": logits, "labels": y, "class_weights": by_class, "weights": by_row, "smoothing": smoothing}
    args |= {"ignored": ignored, "skip": skip, "scale": np.array([share]), "losses": empty(n, dtype=dtype)}
    args |= {"whole": empty(1, dtype=np.float64), "total": np.array([0.5]), "status": np.array([0])}
    args["dlogits"] = empty(n, c, dtype=dtype)
    of_label = np.where((y >= 0) & (y < c), y, 0)
    targets = np.full((n, c), smoothing / c) + (1 - smoothing) * (np.arange(c) == of_label[:, None])
    each = np.where((y == ignored) & skip, 0, by_row if by_row.size else 1.0)
    whole = (each * (by_class[of_label] if by_class.size else 1)).sum(dtype=np.float64)
    factor = 1.0 if bad or not whole else share * n / whole
    bounds = weighted_bounds(logits, targets, by_class, by_row, factor)
    total = 0.5 + factor * bounds["losses"]["scale"].sum()
    bounds |= {"whole": {}, "total": {"scale": total, "precision": dtype}, "status": {"kind": "exact"}}
    return Case(args, bounds, finite=("class_weights", "weights", "scale"))


def softmax_cross_entropy_soft(draw, dtype, large):
    n, c = rows_of_classes(draw, large)
    logits = draw(floats((n, c), dtype, offsets=[0.0, 20.0], scales=[1.0, 5.0]))
    targets = np.abs(draw(floats((n, c), dtype, offsets=[1.0], scales=[1.0])))
    targets /= targets.sum(1, keepdims=True) + dtype(1e-3)
    by_class, by_row = some_weights(draw, dtype, c), some_weights(draw, dtype, n)
    smoothing, share = scalar(draw, 0.0, 0.1), scalar(draw, 1.0, 1 / n)
    args = {"logits": logits, "targets": targets, "class_weights": by_class, "weights": by_row}
    args |= {"smoothing": smoothing, "scale": np.array([share]), "losses": empty(n, dtype=dtype)}
    args |= {"whole": empty(1, dtype=np.float64), "total": np.array([0.5]), "dlogits": empty(n, c, dtype=dtype)}
    whole = by_row.sum(dtype=np.float64) if by_row.size else n
    factor = share * n / whole if whole else 1.0
    smooth = targets * (1 - smoothing) + smoothing / c
    bounds = weighted_bounds(logits, smooth.astype(np.float64), by_class, by_row, factor)
    total = 0.5 + factor * bounds["losses"]["scale"].sum()
    bounds |= {"whole": {}, "total": {"scale": total, "precision": dtype}}
    return Case(args, bounds, finite=("class_weights", "weights", "scale"))


# ---------------------------------------------------------------- losses


def loss(draw, dtype, large):
    n, m = draw(st.sampled_from([(70, 300), (40_000, 1), (3, 20_000)]) if large else shapes(2, minimum=1))
    y, t = draw(floats((n, m), dtype)), draw(floats((n, m), dtype, offsets=[0.0], scales=[1.0]))
    by_row, share = some_weights(draw, dtype, n), scalar(draw, 1.0, 1 / n)
    args = {"y": y, "t": t, "delta": scalar(draw, 1.0, 0.3), "weights": by_row, "scale": np.array([share])}
    args |= {"sums": empty(ops.loss_work_size((n, m)), dtype=np.float64), "total": np.array([0.5])}
    args["dy"] = empty(n, m, dtype=dtype)
    each = by_row.astype(np.float64) if by_row.size else np.ones(n)
    factor = share * n / max(each.sum(), 1e-300) / m
    size = 1 + np.abs(y).astype(np.float64) + np.abs(t)
    scale = factor * each[:, None] * size
    bounds = {"dy": {"scale": scale}, "total": {"scale": 0.5 + (scale * size).sum(), "precision": dtype}}
    return Case(args, bounds, ("sums",), ("weights", "scale"))


# ---------------------------------------------------------------- norm


def norm(draw, dtype, large):
    x = draw(floats(flat(draw, large), dtype, offsets=[0.0, 3.0], scales=[1.0, 1e30, 1e-30]))
    args = {"x": x, "limit": scalar(draw, 1.0, 1e10, np.inf), "sums": empty(chunks(x.size), dtype=np.float64)}
    args |= {"norm": empty(1, dtype=np.float64), "factor": empty(1, dtype=np.float64)}
    return Case(args, {"norm": {"precision": dtype}, "factor": {"precision": dtype}}, ("sums",))


# ---------------------------------------------------------------- updates


def penalties(draw):
    """lr, L2, L1 and what is kept of a weight: the scalars that all updates share."""
    return ops.sgd_scalars(
        scalar(draw, 0.1, 1e-4), scalar(draw, 0.0, 0.1), scalar(draw, 0.0, 0.05), draw(st.booleans())
    )


def update(*moments, own, step):
    """A case of an update with these moments, whose `own(draw)` are its further scalars.

    `step(size, state, scalars)` gives how large the moments and the change of p can be, from the size
    of the gradient and the moments before.
    """

    def case(draw, dtype, large):
        shape = flat(draw, large)
        p, g = draw(floats(shape, dtype)), draw(floats(shape, dtype))
        state = {m: np.abs(draw(floats(shape, dtype, offsets=[1.0]))) for m in moments}
        decayed, clip = draw(st.integers(0, shape[0])), np.array([scalar(draw, 1.0, 0.3)])
        scalars = np.array([*penalties(draw), *own(draw)])
        args = {"p": p, "g": g, **state, "decayed": decayed, "scalars": scalars, "clip": clip, "status": status(draw)}
        _, l2, l1, _ = scalars[:4]
        size = np.abs(g).astype(np.float64) + l2 * np.abs(p) + l1
        wide = {m: a.astype(np.float64) for m, a in state.items()}
        sizes_of_moments, change = step(size, wide, scalars)
        bounds = {m: {"scale": a} for m, a in sizes_of_moments.items()}
        return Case(args, bounds | {"p": {"scale": np.abs(p) + change}}, finite=("scalars",))

    return case


def plain(size, state, scalars):
    return {}, scalars[0] * size


def velocity(size, state, scalars):
    lr, mu, gain = scalars[[0, 4, 5]]
    m = mu * state["m"] + gain * size
    return {"m": m}, lr * (m + gain * size)


def root(m, least):
    """What the error of a sum of squares m adds to that of its root, which is at least that of `least`."""
    return 1 + m / least


def sum_of_squares(size, state, scalars):
    lr, eps = scalars[[0, 4]]
    m = state["m"] + size**2
    least = state["m"] + 1e-30
    return {"m": m}, lr * size / (np.sqrt(least) + eps) * root(m, least)


def mean_of_squares(size, state, scalars):
    lr, beta, rest, eps, inside = scalars[[0, 4, 5, 6, 7]]
    m = beta * state["m"] + rest * size**2
    least = beta * state["m"] + 1e-30
    return {"m": m}, lr * size / (np.sqrt(least + inside) + eps) * root(m, least)


def both(size, state, scalars):
    lr, (b1, rest1, b2, rest2, eps, inside, c1, c2) = scalars[0], scalars[4:]
    m, v = b1 * state["m"] + rest1 * size, b2 * state["v"] + rest2 * size**2
    least = b2 * state["v"] + 1e-30
    return {"m": m, "v": v}, lr * c1 * m / (np.sqrt(c2 * least + inside) + eps) * root(v, least)


def momentum_own(draw):
    return ops.momentum_scalars(0.1, scalar(draw, 0.9, 0.5), scalar(draw, 0.0, 0.9))[4:]


def adagrad_own(draw):
    return ops.adagrad_scalars(0.1)[4:]


def rmsprop_own(draw):
    return ops.rmsprop_scalars(0.1, eps_inside=draw(st.booleans()))[4:]


def scaled_rate(draw, dtype, large):
    scalars = np.array(ops.adam_scalars(3, 0.1, weight_decay=0.5, decoupled=draw(st.booleans())))
    args = {"scalars": scalars, "factor": scalar(draw, 0.0, 0.1, 3.0), "out": empty(*scalars.shape, dtype=np.float64)}
    return Case(args, {"out": {}})


def adam_own(draw):
    return ops.adam_scalars(scalar(draw, 1, 1000), 0.1, eps_inside=draw(st.booleans()))[4:]


MATMUL = {"forward": matmul(steps=0)}
MATMUL |= {f"forward_{name}": matmul(steps=1) for name in ops.EPILOGUES}
MATMUL |= {"product": matmul_product, "backward_weights": matmul_backward_weights}

KINDS = {"relu": "exact", "tanh": "function"}  # others are "elementwise"

CASES = {
    "add": {"forward": add},
    "activation": {
        **{name: activation(name, KINDS.get(name, "elementwise")) for name in ops.ACTIVATIONS},
        **{f"{name}_backward": activation_backward(name) for name in ops.ACTIVATIONS},
    },
    "batch_norm": {
        **{
            f"{name}{of}{relu}": case(images=bool(of), **more(relu))
            for name, case, more in (
                ("forward", batch_norm, lambda relu: {}),
                ("predict", batch_norm_predict, lambda relu: {}),
                ("backward", batch_norm_backward, lambda relu: {"through_relu": bool(relu)}),
            )
            for of in ("", "_images")
            for relu in ("", "_relu")
        },
        "running": running,
    },
    "clip": {"forward": clip},
    "dropout": {
        "mask": dropout_mask,
        "forward": dropout_forward,
        "drawn": dropout_drawn,
        "backward": dropout_backward,
        "predict": dropout_predict,
    },
    "gather": {"forward": gather},
    "losses": dict.fromkeys(ops.LOSSES, loss),
    "matmul": {f"{name}{end}": case for name, case in MATMUL.items() for end in ("", "_loops")} | {"row": matmul_row},
    "norm": {"forward": norm},
    "softmax": {"forward": softmax, "backward": softmax_backward},
    "softmax_cross_entropy": {
        "forward": softmax_cross_entropy,
        "forward_weighted": softmax_cross_entropy_weighted,
        "forward_soft": softmax_cross_entropy_soft,
    },
    "updates": {
        "sgd": update(own=lambda draw: (), step=plain),
        "momentum": update("m", own=momentum_own, step=velocity),
        "nesterov": update("m", own=momentum_own, step=velocity),
        "adagrad": update("m", own=adagrad_own, step=sum_of_squares),
        "rmsprop": update("m", own=rmsprop_own, step=mean_of_squares),
        "adam": update("m", "v", own=adam_own, step=both),
        "scaled_rate": scaled_rate,
    },
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
