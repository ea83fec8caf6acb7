"""Batch normalisation: training, gradients, prediction, running averages."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import backend, checks
from ..recorder import launch, recording
from ..typing import Array


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
    status = checks.status(op, status)
    checks.apart(op, {"averages": averages}, {"batch": batch, "status": status})
    kernel = backend.kernel("batch_norm", "running")
    launch(op, kernel, batch, float(decay), variances, float(unbias), status, averages, outputs=(averages,))
    return averages
