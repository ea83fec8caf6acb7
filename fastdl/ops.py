"""Checked operations on arrays: arrays in, arrays out.

Every op checks its arguments before a byte is written, resolves them to one kernel, and launches
it. `out=` arguments are written and returned; without them new arrays are made. All floating arrays
of a call are float32, or all float64. Arrays that are not contiguous are copied once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import backend, checks
from .recorder import launch, recording
from .typing import Array

ACTIVATIONS = ("relu", "leaky_relu", "sigmoid", "tanh")
_EMPTY = {dtype: np.empty(0, dtype) for dtype in checks.FLOATS}  # stands for "no bias"


# ---------------------------------------------------------------- matmul


def matmul(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    activation: str | None = None,
    slope: float = 0.01,
    kernel: str = "blas",
    out: Array | None = None,
) -> Array:
    """Product with bias and activation in one pass: y = f(x w + b).

    Parameters
    ----------
    x : (n, k)
    w : (k, m)
    b : (m,), optional
    activation : {None, "relu", "leaky_relu", "sigmoid", "tanh"}
        f; None leaves the sum as it is.
    slope : float
        Of the leaky ReLU for negative sums.
    kernel : {"blas", "loops"}
        scipy's BLAS, or blocked loops of the project's own.
    out : (n, m), optional

    Returns
    -------
    (n, m) array of x's dtype.

    Raises
    ------
    TypeError, ValueError
        For an array of another kind, dtype or shape, or an `out` that overlaps an input.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.matmul(np.array([[1.0, 2.0]]), np.array([[3.0], [-4.0]]), np.array([1.0]), activation="relu")
    array([[0.]])
    """
    op = "matmul"
    x = checks.array(op, "x", x, "nk")
    w = checks.array(op, "w", w, "km", x.dtype)
    if b is not None:
        b = checks.array(op, "b", b, "m", x.dtype)
    s = checks.sizes(op, x=(x, "nk"), w=(w, "km"), b=(b, "m"))
    checks.name_of(op, "activation", activation, (None, *ACTIVATIONS))
    run = _product(op, f"forward_{activation}" if activation else "forward", kernel)
    y = checks.output(op, "out", out, (s["n"], s["m"]), x.dtype)
    checks.apart(op, {"out": out}, {"x": x, "w": w, "b": b})
    if y.size:
        launch(op, run, x, w, _EMPTY[x.dtype] if b is None else b, float(slope), y, outputs=(y,))
    return y


def matmul_backward_input(dy: Array, w: Array, *, kernel: str = "blas", out: Array | None = None) -> Array:
    """Gradient of the product's first factor: dx = dy w'.

    Parameters
    ----------
    dy : (n, m)
    w : (k, m)
        As it was given to `matmul`.
    kernel : {"blas", "loops"}
    out : (n, k), optional

    Returns
    -------
    (n, k) array.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.matmul_backward_input(np.array([[1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0]]))
    array([[3., 6.]])
    """
    op = "matmul_backward_input"
    dy = checks.array(op, "dy", dy, "nm")
    w = checks.array(op, "w", w, "km", dy.dtype)
    s = checks.sizes(op, dy=(dy, "nm"), w=(w, "km"))
    run = _product(op, "backward_input", kernel)
    dx = checks.output(op, "out", out, (s["n"], s["k"]), dy.dtype)
    checks.apart(op, {"out": out}, {"dy": dy, "w": w})
    if dx.size:
        launch(op, run, dy, w, dx, outputs=(dx,))
    return dx


def matmul_backward_weights(
    x: Array,
    dy: Array,
    *,
    bias: bool = True,
    accumulate: bool = False,
    kernel: str = "blas",
    out: Array | None = None,
    out_bias: Array | None = None,
) -> tuple[Array, Array | None]:
    """Gradients of weights and bias: dw = x' dy, db = the sum of dy's rows.

    Parameters
    ----------
    x : (n, k)
        As it was given to `matmul`.
    dy : (n, m)
    bias : bool
        Whether db is wanted.
    accumulate : bool
        Add to what `out` and `out_bias` hold, which must then be given.
    kernel : {"blas", "loops"}
    out : (k, m), optional
    out_bias : (m,), optional

    Returns
    -------
    dw : (k, m) array
    db : (m,) array, or None without bias

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.matmul_backward_weights(np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]]))
    (array([[11.]]), array([7.]))
    """
    op = "matmul_backward_weights"
    x = checks.array(op, "x", x, "nk")
    dy = checks.array(op, "dy", dy, "nm", x.dtype)
    s = checks.sizes(op, x=(x, "nk"), dy=(dy, "nm"))
    if accumulate and (out is None or (bias and out_bias is None)):
        raise ValueError(f"{op}: accumulate=True adds to out and out_bias; pass them")
    run = _product(op, "backward_weights", kernel)
    dw = checks.output(op, "out", out, (s["k"], s["m"]), x.dtype)
    db = checks.output(op, "out_bias", out_bias, (s["m"],), x.dtype) if bias else _EMPTY[x.dtype]
    checks.apart(op, {"out": out, "out_bias": out_bias if bias else None}, {"x": x, "dy": dy})
    if dw.size or db.size:
        launch(op, run, x, dy, bool(accumulate), dw, db, outputs=(dw, db))
    return dw, db if bias else None


def _product(op: str, name: str, kernel: str) -> backend.Kernel:
    checks.name_of(op, "kernel", kernel, ("blas", "loops"))
    return backend.kernel("matmul", name if kernel == "blas" else f"{name}_loops")


# ---------------------------------------------------------------- activation


def activation(x: Array, name: str, *, slope: float = 0.01, out: Array | None = None) -> Array:
    """y = f(x), element by element.

    relu max(x, 0); leaky_relu x, or slope x below 0; sigmoid 1 / (1 + e^-x); tanh.

    Parameters
    ----------
    x : any shape
    name : {"relu", "leaky_relu", "sigmoid", "tanh"}
    slope : float
        Of the leaky ReLU.
    out : like x, optional
        May be x itself.

    Returns
    -------
    Array like x.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.activation(np.array([-2.0, 0.0, 3.0]), "leaky_relu")
    array([-0.02,  0.  ,  3.  ])
    """
    op = "activation"
    x = checks.array(op, "x", x, "...")
    checks.name_of(op, "name", name, ACTIVATIONS)
    y = checks.output(op, "out", out, x.shape, x.dtype)
    checks.apart(op, {"out": out}, {"x": x}, same="x")
    if y.size:
        flat = y.reshape(-1)
        launch(op, backend.kernel(op, name), x.reshape(-1), float(slope), flat, outputs=(flat,))
    return y


def activation_backward(dy: Array, y: Array, name: str, *, slope: float = 0.01, out: Array | None = None) -> Array:
    """dx = dy f'(x), from the activation's output y.

    Parameters
    ----------
    dy, y : any shape, the same
    name : {"relu", "leaky_relu", "sigmoid", "tanh"}
    slope : float
    out : like dy, optional
        May be dy itself.

    Returns
    -------
    Array like dy.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.activation_backward(np.array([5.0, 5.0]), np.array([0.0, 3.0]), "relu")
    array([0., 5.])
    """
    op = "activation_backward"
    dy = checks.array(op, "dy", dy, "...")
    y = checks.array(op, "y", y, "...", dy.dtype)
    if y.shape != dy.shape:
        raise ValueError(f"{op}: y has shape {y.shape}, wanted {dy.shape} like dy")
    checks.name_of(op, "name", name, ACTIVATIONS)
    dx = checks.output(op, "out", out, dy.shape, dy.dtype)
    checks.apart(op, {"out": out}, {"dy": dy, "y": y}, same="dy")
    if dx.size:
        flat = dx.reshape(-1)
        kernel = backend.kernel("activation", f"{name}_backward")
        launch(op, kernel, dy.reshape(-1), y.reshape(-1), float(slope), flat, outputs=(flat,))
    return dx


# ---------------------------------------------------------------- batch norm


class BatchStatistics(NamedTuple):
    """What `batch_norm` found out about each column of a batch."""

    mean: Array
    """(c,)"""
    variance: Array
    """(c,), over n: biased"""
    inverse_deviation: Array
    """(c,): 1 / sqrt(variance + eps)"""


class BatchNormWork(NamedTuple):
    """Scratch of batch norm over c columns, to be given again and again."""

    sums: Array
    """(3, c) float64"""
    terms: Array
    """(3, c) in the data's dtype"""

    @classmethod
    def of(cls, columns: int, dtype: Any) -> BatchNormWork:
        """New scratch."""
        return cls(np.empty((3, columns)), np.empty((3, columns), dtype))


def batch_norm(
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
    out: Array | None = None,
    statistics: BatchStatistics | None = None,
    work: BatchNormWork | None = None,
) -> tuple[Array, BatchStatistics]:
    """Normalise every column by its own mean and variance: y = gamma (x - mean) / sqrt(var + eps) + beta.

    Sums are taken in float64 about a value near the mean, so that a column around 1e4 with a
    deviation of 1 keeps its digits.

    Parameters
    ----------
    x : (n, c)
        With at least two rows: of one row the deviation is 0.
    gamma, beta : (c,)
    eps : float
    activation : {None, "relu"}
        "relu" gives max(y, 0) in the same pass.
    out : (n, c), optional
    statistics : BatchStatistics, optional
        Arrays that the statistics are written to.
    work : BatchNormWork, optional

    Returns
    -------
    y : (n, c) array
    statistics : BatchStatistics
        What `batch_norm_backward` and `update_averages` need.

    Raises
    ------
    ValueError
        For a batch of fewer than two rows, beside what all ops raise.

    References
    ----------
    Ioffe and Szegedy, Batch Normalization, 2015, https://arxiv.org/abs/1502.03167.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> y, statistics = ops.batch_norm(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), eps=0.0)
    >>> y, statistics.mean, statistics.variance
    (array([[-1.],
           [ 1.]]), array([2.]), array([1.]))
    """
    op = "batch_norm"
    x = checks.array(op, "x", x, "nc")
    gamma = checks.array(op, "gamma", gamma, "c", x.dtype)
    beta = checks.array(op, "beta", beta, "c", x.dtype)
    n, c = checks.sizes(op, x=(x, "nc"), gamma=(gamma, "c"), beta=(beta, "c")).values()
    checks.name_of(op, "activation", activation, (None, "relu"))
    if n < 2:
        raise ValueError(
            f"{op}: got a batch of {n} row{'s' * (n != 1)}, wanted at least 2, since the deviation of fewer "
            "is 0; use larger batches, or batch_norm_predict with running averages"
        )
    y = checks.output(op, "out", out, (n, c), x.dtype)
    given = _named("statistics", statistics, BatchStatistics)
    found = BatchStatistics(*(checks.output(op, name, a, (c,), x.dtype) for name, a in given.items()))
    scratch = _scratch(op, work, c, x.dtype)
    writes = {"out": out, **given, **_named("work", work, BatchNormWork)}
    checks.apart(op, writes, {"x": x, "gamma": gamma, "beta": beta})
    kernel = backend.kernel(op, "forward_relu" if activation else "forward")
    outputs = (*found, *scratch, y)
    launch(op, kernel, x, gamma, beta, float(eps), *outputs, outputs=outputs)
    return y, found


def batch_norm_backward(
    dy: Array,
    x: Array,
    gamma: Array,
    statistics: BatchStatistics,
    *,
    y: Array | None = None,
    accumulate: bool = False,
    out: Array | None = None,
    out_gamma: Array | None = None,
    out_beta: Array | None = None,
    work: BatchNormWork | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients of batch norm.

    dbeta = sum dy, dgamma = sum dy z, dx = gamma inv (dy - dbeta / n - z dgamma / n), with
    z = (x - mean) inv and inv the inverse deviation.

    Parameters
    ----------
    dy, x : (n, c)
    gamma : (c,)
    statistics : BatchStatistics
        As `batch_norm` returned them.
    y : (n, c), optional
        What `batch_norm` returned with activation="relu": the gradient then passes where y > 0.
    accumulate : bool
        Add to what `out_gamma` and `out_beta` hold, which must then be given.
    out : (n, c), optional
    out_gamma, out_beta : (c,), optional
    work : BatchNormWork, optional

    Returns
    -------
    dx : (n, c) array
    dgamma, dbeta : (c,) arrays

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> x, gamma = np.array([[1.0], [3.0]]), np.ones(1)
    >>> y, statistics = ops.batch_norm(x, gamma, np.zeros(1), eps=0.0)
    >>> dx, dgamma, dbeta = ops.batch_norm_backward(np.array([[1.0], [4.0]]), x, gamma, statistics)
    >>> dx.ravel(), dgamma, dbeta
    (array([0., 0.]), array([3.]), array([5.]))
    """
    op = "batch_norm_backward"
    x = checks.array(op, "x", x, "nc")
    dy = checks.array(op, "dy", dy, "nc", x.dtype)
    gamma = checks.array(op, "gamma", gamma, "c", x.dtype)
    mean = checks.array(op, "statistics.mean", statistics.mean, "c", x.dtype)
    inverse = checks.array(op, "statistics.inverse_deviation", statistics.inverse_deviation, "c", x.dtype)
    if y is not None:
        y = checks.array(op, "y", y, "nc", x.dtype)
    n, c = checks.sizes(
        op, x=(x, "nc"), dy=(dy, "nc"), gamma=(gamma, "c"), mean=(mean, "c"), inverse=(inverse, "c"), y=(y, "nc")
    ).values()
    if n < 2:
        raise ValueError(f"{op}: got a batch of {n} row{'s' * (n != 1)}, wanted at least 2, as in batch_norm")
    if accumulate and (out_gamma is None or out_beta is None):
        raise ValueError(f"{op}: accumulate=True adds to out_gamma and out_beta; pass both")
    dx = checks.output(op, "out", out, (n, c), x.dtype)
    dgamma = checks.output(op, "out_gamma", out_gamma, (c,), x.dtype)
    dbeta = checks.output(op, "out_beta", out_beta, (c,), x.dtype)
    scratch = _scratch(op, work, c, x.dtype)
    writes = {"out": out, "out_gamma": out_gamma, "out_beta": out_beta, **_named("work", work, BatchNormWork)}
    reads = {"x": x, "dy": dy, "gamma": gamma, "y": y}
    checks.apart(op, writes, {**reads, "statistics.mean": mean, "statistics.inverse_deviation": inverse})
    outputs = (*scratch, dgamma, dbeta, dx)
    if y is None:
        kernel = backend.kernel("batch_norm", "backward")
        launch(op, kernel, dy, x, gamma, mean, inverse, bool(accumulate), *outputs, outputs=outputs)
    else:
        kernel = backend.kernel("batch_norm", "backward_relu")
        launch(op, kernel, dy, y, x, gamma, mean, inverse, bool(accumulate), *outputs, outputs=outputs)
    return dx, dgamma, dbeta


def batch_norm_predict(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    variance: Array,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
    out: Array | None = None,
    work: BatchNormWork | None = None,
) -> Array:
    """Batch norm with given mean and variance, usually running averages: any number of rows, each by itself.

    Parameters
    ----------
    x : (n, c)
    gamma, beta, mean, variance : (c,)
    eps : float
    activation : {None, "relu"}
    out : (n, c), optional
    work : BatchNormWork, optional

    Returns
    -------
    (n, c) array.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> one = np.ones(1)
    >>> ops.batch_norm_predict(np.array([[5.0]]), one, one, np.array([3.0]), np.array([4.0]), eps=0.0)
    array([[2.]])
    """
    op = "batch_norm_predict"
    x = checks.array(op, "x", x, "nc")
    columns = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    columns = {name: checks.array(op, name, a, "c", x.dtype) for name, a in columns.items()}
    n, c = checks.sizes(op, x=(x, "nc"), **{name: (a, "c") for name, a in columns.items()}).values()
    checks.name_of(op, "activation", activation, (None, "relu"))
    y = checks.output(op, "out", out, (n, c), x.dtype)
    terms = _scratch(op, work, c, x.dtype).terms
    checks.apart(op, {"out": out, **_named("work", work, BatchNormWork)}, {"x": x, **columns})
    if y.size:
        gamma, beta, mean, variance = columns.values()
        kernel = backend.kernel("batch_norm", "predict_relu" if activation else "predict")
        launch(op, kernel, x, gamma, beta, float(eps), mean, variance, terms, y, outputs=(terms, y))
    return y


def _scratch(op: str, work: BatchNormWork | None, columns: int, dtype: Any) -> BatchNormWork:
    if work is None:
        if recording():
            raise ValueError(f"{op}: a recorded step cannot make arrays; pass work=BatchNormWork(...)")
        return BatchNormWork.of(columns, dtype)
    return BatchNormWork(
        checks.changed(op, "work.sums", work.sums, (3, columns), np.float64),
        checks.changed(op, "work.terms", work.terms, (3, columns), dtype),
    )


def _named(name: str, given: Any, kind: type[BatchStatistics] | type[BatchNormWork]) -> dict[str, Array | None]:
    """The fields of what was given, under the names by which errors tell of them."""
    values = given or (None,) * len(kind._fields)
    return {f"{name}.{field}": value for field, value in zip(kind._fields, values, strict=True)}


def update_averages(
    averages: Array,
    batch: Array,
    *,
    decay: float = 0.9,
    variances: int = 0,
    unbias: float = 1.0,
    status: Array | None = None,
) -> Array:
    """Exponential averages, in place: averages = decay averages + (1 - decay) batch.

    Parameters
    ----------
    averages, batch : (n,)
    decay : float
        0.9 keeps nine parts of the old.
    variances : int
        The first so many elements are variances, and are taken times `unbias`.
    unbias : float
        rows / (rows - 1) turns a batch's variance into the unbiased one.
    status : (1,) int64, optional
        Nothing is written unless it holds 0.

    Returns
    -------
    averages

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.update_averages(np.array([1.0]), np.array([2.0]), decay=0.9)
    array([1.1])
    """
    op = "update_averages"
    batch = checks.array(op, "batch", batch, "n")
    averages = checks.changed(op, "averages", averages, batch.shape, batch.dtype)
    checks.share(op, "variances", variances, averages.size)
    status = _status(op, status)
    checks.apart(op, {"averages": averages}, {"batch": batch, "status": status})
    kernel = backend.kernel("batch_norm", "running")
    launch(op, kernel, batch, float(decay), variances, float(unbias), status, averages, outputs=(averages,))
    return averages


def _status(op: str, status: Array | None) -> Array:
    if status is None:
        if recording():
            raise ValueError(f"{op}: a recorded step needs status=, the word that a bad label sets")
        return np.zeros(1, np.int64)
    return checks.changed(op, "status", status, (1,), np.int64)


# ---------------------------------------------------------------- dropout


def dropout_mask(
    shape: tuple[int, ...],
    *,
    rate: float,
    seed: int = 0,
    stream: int = 0,
    step: int = 0,
    out: Array | None = None,
) -> Array:
    """Which elements dropout keeps: 1 with probability 1 - rate, else 0.

    A mask depends on seed, stream, step and element alone, and is the same to the bit on every
    backend: element i of the step is dropped if word (i // 16) % 4 of Philox4x32-10's block
    16 (i // 64) + i % 16, stream, step is below round(rate 2^32).

    Parameters
    ----------
    shape : tuple of int
    rate : float
        The share that is dropped, 0 <= rate < 1.
    seed : int
        Philox's key, 64 bits.
    stream, step : int
        Philox's counter words 2 and 3, 32 bits each.
    out : uint8 array of that shape, optional

    Returns
    -------
    uint8 array.

    References
    ----------
    Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.

    Examples
    --------
    >>> from fastdl import ops
    >>> ops.dropout_mask((8,), rate=0.5, seed=1)
    array([1, 1, 0, 1, 0, 0, 0, 0], dtype=uint8)
    """
    op = "dropout_mask"
    threshold = checks.rate(op, rate)
    checks.word(op, "stream", stream)
    out = checks.output(op, "out", out, tuple(shape), np.uint8)
    if out.size:
        flat = out.reshape(-1)
        launch(
            op, backend.kernel("dropout", "mask"), threshold, stream, 1, _draw(op, seed, step), flat, outputs=(flat,)
        )
    return out


def dropout(
    x: Array,
    *,
    rate: float,
    seed: int = 0,
    stream: int = 0,
    step: int = 0,
    draw: Array | None = None,
    out: Array | None = None,
    mask: Array | None = None,
) -> tuple[Array, Array]:
    """Inverted dropout: y = x / (1 - rate) where the mask keeps, and 0 elsewhere.

    Parameters
    ----------
    x : (n, ...)
    rate, seed, stream, step
        As in `dropout_mask`.
    draw : (4,) int64, optional
        In a recorded step: seed's low and high word, step, and the number of x's first row within
        the step's whole batch, in the place of `seed` and `step`.
    out : like x, optional
    mask : uint8 array of x's shape, optional

    Returns
    -------
    y : array like x
    mask : uint8 array of x's shape

    References
    ----------
    Srivastava et al., Dropout, JMLR 15, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> y, mask = ops.dropout(np.ones(8), rate=0.5, seed=1)
    >>> y
    array([2., 2., 0., 2., 0., 0., 0., 0.])
    """
    op = "dropout"
    x = checks.array(op, "x", x, "...")
    threshold = checks.rate(op, rate)
    checks.word(op, "stream", stream)
    y = checks.output(op, "out", out, x.shape, x.dtype)
    kept = checks.output(op, "mask", mask, x.shape, np.uint8)
    if draw is None:
        if recording():
            raise ValueError(f"{op}: a recorded step needs draw=, the array that its seed and step stand in")
        draw = _draw(op, seed, step)
    else:
        draw = checks.array(op, "draw", draw, "d", np.int64, size=4)
    checks.apart(op, {"out": out, "mask": mask}, {"x": x, "draw": draw})
    if y.size:
        width = x.size // x.shape[0] if x.ndim else 1
        args = x.reshape(-1), threshold, 1 / (1 - rate), stream, width, draw
        outputs = kept.reshape(-1), y.reshape(-1)
        launch(op, backend.kernel(op, "forward"), *args, *outputs, outputs=outputs)
    return y, kept


def dropout_backward(dy: Array, mask: Array, *, rate: float, out: Array | None = None) -> Array:
    """dx = dy / (1 - rate) where the mask keeps, and 0 elsewhere.

    Parameters
    ----------
    dy : any shape
    mask : uint8, the same shape
        As `dropout` returned it.
    rate : float
    out : like dy, optional
        May be dy itself.

    Returns
    -------
    Array like dy.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.dropout_backward(np.array([3.0, 3.0]), np.array([0, 1], np.uint8), rate=0.5)
    array([0., 6.])
    """
    op = "dropout_backward"
    dy = checks.array(op, "dy", dy, "...")
    mask = checks.array(op, "mask", mask, "...", np.uint8)
    if mask.shape != dy.shape:
        raise ValueError(f"{op}: mask has shape {mask.shape}, wanted {dy.shape} like dy")
    checks.rate(op, rate)
    dx = checks.output(op, "out", out, dy.shape, dy.dtype)
    checks.apart(op, {"out": out}, {"dy": dy, "mask": mask}, same="dy")
    if dx.size:
        flat = dx.reshape(-1)
        kernel = backend.kernel("dropout", "backward")
        launch(op, kernel, dy.reshape(-1), mask.reshape(-1), 1 / (1 - rate), flat, outputs=(flat,))
    return dx


def _draw(op: str, seed: int, step: int) -> Array:
    checks.word(op, "seed", seed, 64)
    checks.word(op, "step", step)
    return np.array([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, step, 0], np.int64)


# ---------------------------------------------------------------- softmax cross-entropy


def softmax_cross_entropy(
    logits: Array,
    labels: Array,
    *,
    scale: Array | None = None,
    total: Array | None = None,
    status: Array | None = None,
    out: Array | None = None,
    losses: Array | None = None,
) -> tuple[Array, Array]:
    """Mean cross-entropy of softmax(logits) against labels, and its gradient.

    loss = mean_i (log sum_j e^z_ij - z_i,label_i), dz = (softmax(z) - onehot) / n.

    Parameters
    ----------
    logits : (n, classes)
    labels : (n,) of any integer dtype
        Numbers of classes, 0 to classes - 1.
    scale : (1,) float64, optional
        What every row's loss is multiplied by; 1 / n unless a batch comes in parts.
    total : (1,) float64, optional
        The sum of scaled losses is added to it.
    status : (1,) int64, optional
        For recorded steps: a bad label leaves its row number + 1 here instead of raising.
    out : (n, classes), optional
    losses : (n,), optional
        The loss of every row.

    Returns
    -------
    total : (1,) float64 array
        The mean loss, in float64.
    dlogits : (n, classes) array

    Raises
    ------
    ValueError
        For a label outside 0..classes-1, naming its row, or an empty batch; nothing is written then.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> loss, dlogits = ops.softmax_cross_entropy(np.array([[0.0, np.log(3.0)]]), np.array([1]))
    >>> round(float(loss[0]), 4), dlogits
    (0.2877, array([[ 0.25, -0.25]]))
    """
    op = "softmax_cross_entropy"
    logits = checks.array(op, "logits", logits, "nc")
    if not recording():
        labels = _labels(op, labels)
    labels = checks.array(op, "labels", labels, "n", np.int64)
    n, c = checks.sizes(op, logits=(logits, "nc"), labels=(labels, "n")).values()
    if n == 0 or c == 0:
        raise ValueError(f"{op}: logits has shape {logits.shape}, wanted at least one row and one class")
    alone = status is None
    scale = np.full(1, 1 / n) if scale is None else checks.array(op, "scale", scale, "s", np.float64, size=1)
    loss = np.zeros(1) if total is None else checks.changed(op, "total", total, (1,), np.float64)
    word = _status(op, status)
    dlogits = checks.output(op, "out", out, logits.shape, logits.dtype)
    each = checks.output(op, "losses", losses, (n,), logits.dtype)
    writes = {"out": out, "losses": losses, "total": total, "status": status}
    checks.apart(op, writes, {"logits": logits, "labels": labels, "scale": scale})
    outputs = (each, loss, word, dlogits)
    launch(op, backend.kernel(op, "forward"), logits, labels, scale, *outputs, outputs=outputs)
    if alone and word[0]:
        row = int(word[0]) - 1
        raise ValueError(f"{op}: the label of row {row} is {labels[row]}, wanted 0 to {c - 1}")
    return loss, dlogits


def _labels(op: str, labels: Any) -> Array:
    """Labels as int64, without a change of value."""
    if type(labels) not in (np.ndarray, np.memmap) or labels.dtype.kind not in "iu":
        got = labels.dtype if isinstance(labels, np.ndarray) else type(labels).__qualname__
        raise TypeError(f"{op}: labels must be an array of integers, got {got}; pass np.asarray(labels, np.int64)")
    if labels.dtype == np.uint64 and labels.size and labels.max() > np.iinfo(np.int64).max:
        row = int(labels.argmax())
        raise ValueError(f"{op}: the label of row {row} is {labels[row]}, which no class has")
    wide: Array = labels.astype(np.int64, copy=False)
    return wide


# ---------------------------------------------------------------- gather


def gather(
    data: Array,
    order: Array,
    *,
    start: Array | None = None,
    rows: int | None = None,
    out: Array | None = None,
) -> Array:
    """Rows of an array by their numbers: out[i] = data[order[start + i]].

    Parameters
    ----------
    data : (rows, ...) of any dtype that a kernel knows
    order : (any,) int64
        Numbers of rows, 0 to rows - 1.
    start : (1,) int64, optional
        Where in `order` to begin; 0. In a recorded step it changes from step to step, and `order`
        must then be known to hold only numbers of rows.
    rows : int, optional
        How many rows to take; all of `order`.
    out : (rows, ...) of data's dtype, optional

    Returns
    -------
    Array of data's dtype.

    Raises
    ------
    IndexError
        For a row number outside the data, or a stretch of `order` that ends beyond it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.gather(np.array([[1.0], [2.0], [3.0]]), np.array([2, 0]))
    array([[3.],
           [1.]])
    """
    op = "gather"
    dtype = getattr(data, "dtype", None)
    if dtype is not None and (dtype.kind not in "fiub" or dtype.itemsize not in (1, 2, 4, 8) or dtype == np.float16):
        raise TypeError(f"{op}: data must hold numbers of 8 to 64 bits, and no float16, got {dtype}")
    if dtype is not None and not dtype.isnative:
        raise TypeError(f"{op}: data is byte-swapped, {dtype.str}; pass data.astype(data.dtype.newbyteorder('='))")
    data = checks.array(op, "data", data, "...", dtype)
    if data.ndim == 0:
        raise ValueError(f"{op}: data must have rows, got an array without axes")
    order = checks.array(op, "order", order, "r", np.int64)
    rows = order.size if rows is None else rows
    if rows < 0:
        raise ValueError(f"{op}: rows is {rows}, wanted 0 or more")
    begin = np.zeros(1, np.int64) if start is None else checks.array(op, "start", start, "s", np.int64, size=1)
    if not recording():
        first = int(begin[0])
        if first < 0 or first + rows > order.size:
            raise IndexError(f"{op}: rows {first} to {first + rows} of order were asked for, which has {order.size}")
        wanted = order[first : first + rows]
        bad = np.flatnonzero((wanted < 0) | (wanted >= data.shape[0]))
        if bad.size:
            at = first + int(bad[0])
            raise IndexError(f"{op}: order[{at}] is {order[at]}, wanted 0 to {data.shape[0] - 1}")
    taken = checks.output(op, "out", out, (rows, *data.shape[1:]), data.dtype)
    checks.apart(op, {"out": out}, {"data": data, "order": order, "start": begin})
    if taken.size:
        flat = taken.reshape(rows, -1)
        table = data.reshape(data.shape[0], -1)
        launch(op, backend.kernel(op, "forward"), table, order, begin, flat, outputs=(flat,))
    return taken


# ---------------------------------------------------------------- updates


def sgd_update(
    params: Array,
    grads: Array,
    *,
    lr: float = 1e-2,
    weight_decay: float = 0.0,
    decayed: int | None = None,
    scalars: Array | None = None,
    status: Array | None = None,
) -> Array:
    """Gradient descent, in place and in one pass: p -= lr (g + weight_decay p).

    Parameters
    ----------
    params, grads : (n,)
    lr : float
    weight_decay : float
        Factor of the penalty weight_decay / 2 sum p^2 (coupled L2).
    decayed : int, optional
        Only the first so many elements take weight decay; all.
    scalars : (2,) float64, optional
        In a recorded step: learning rate and weight decay, in the place of `lr` and `weight_decay`.
    status : (1,) int64, optional
        Nothing is written unless it holds 0.

    Returns
    -------
    params

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.sgd_update(np.array([1.0]), np.array([2.0]), lr=0.1)
    array([0.8])
    """
    op = "sgd_update"
    if scalars is None:
        scalars = np.array([lr, weight_decay])
    return _update(op, "sgd", params, grads, {}, decayed, scalars, 2, status)


def adam_update(
    params: Array,
    grads: Array,
    m: Array,
    v: Array,
    *,
    step: int = 1,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decayed: int | None = None,
    scalars: Array | None = None,
    status: Array | None = None,
) -> Array:
    """Adam, in place and in one pass over parameters and moments.

    g += weight_decay p; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
    p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps), with t the step.

    Parameters
    ----------
    params, grads, m, v : (n,)
    step : int
        From 1 on.
    lr, betas, eps, weight_decay : float
    decayed : int, optional
        Only the first so many elements take weight decay; all.
    scalars : (9,) float64, optional
        In a recorded step: what `adam_scalars` returns, in the place of all numbers above.
    status : (1,) int64, optional
        Nothing is written unless it holds 0.

    Returns
    -------
    params

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, 2015, https://arxiv.org/abs/1412.6980.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> p, g, m, v = np.ones(1), np.full(1, 5.0), np.zeros(1), np.zeros(1)
    >>> ops.adam_update(p, g, m, v, step=1, lr=0.1).round(6)
    array([0.9])
    """
    op = "adam_update"
    if scalars is None:
        scalars = np.array(adam_scalars(step, lr, betas, eps, weight_decay))
    return _update(op, "adam", params, grads, {"m": m, "v": v}, decayed, scalars, 9, status)


def adam_scalars(
    step: int, lr: float, betas: tuple[float, float], eps: float, weight_decay: float
) -> tuple[float, ...]:
    """The nine numbers that Adam's kernel reads, computed in float64.

    1 - beta is one of them, since in float32 1 - 0.999 is wrong by 1.3e-5.
    """
    if step < 1:
        raise ValueError(f"adam_update: step is {step}, wanted 1 or more, for the bias correction")
    b1, b2 = betas
    return (lr, weight_decay, b1, 1 - b1, b2, 1 - b2, eps, 1 / (1 - b1**step), (1 - b2**step) ** -0.5)


def _update(
    op: str,
    kernel: str,
    params: Array,
    grads: Array,
    moments: dict[str, Array],
    decayed: int | None,
    scalars: Array,
    count: int,
    status: Array | None,
) -> Array:
    grads = checks.array(op, "grads", grads, "n")
    own = {"params": params, **moments}
    own = {name: checks.changed(op, name, value, grads.shape, grads.dtype) for name, value in own.items()}
    scalars = checks.array(op, "scalars", scalars, "s", np.float64, size=count)
    decayed = grads.size if decayed is None else decayed
    checks.share(op, "decayed", decayed, grads.size)
    status = _status(op, status)
    checks.apart(op, dict(own), {"grads": grads, "scalars": scalars, "status": status})
    params, *rest = own.values()
    if grads.size:
        run = backend.kernel("updates", kernel)
        launch(op, run, params, grads, *rest, decayed, scalars, status, outputs=(params, *rest))
    return params
