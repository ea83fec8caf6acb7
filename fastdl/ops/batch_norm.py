"""Batch normalisation: training, gradients, prediction, running averages."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .. import backend, checks
from ..kernels._pieces import blocks_of_rows, blocks_of_values
from ..recorder import launch, recording
from ..typing import Array


class BatchStatistics(NamedTuple):
    """What `batch_norm` found out about each column of a batch."""

    mean: Array
    """(c,)"""
    variance: Array
    """(c,), over m - correction for m values a channel"""
    inverse_deviation: Array
    """(c,): 1 / sqrt(variance + eps)"""


class BatchNormWork(NamedTuple):
    """Scratch of batch norm for one shape, to be given again and again."""

    sums: Array
    """(blocks, 2, c) float64"""
    terms: Array
    """(3, c) in the data's dtype"""

    @classmethod
    def of(cls, x: Array) -> BatchNormWork:
        """New scratch for arrays like x."""
        (sums, terms), library = cls.shapes(x.shape), backend.library_of(x)
        return cls(library.empty(sums), library.empty(terms, x.dtype))

    @staticmethod
    def shapes(shape: tuple[int, ...]) -> tuple[tuple[int, int, int], tuple[int, int]]:
        """Of `sums` and `terms` for x of this shape; with more rows `sums` never has fewer blocks."""
        rows, channels, pixels = shape[0], shape[1], math.prod(shape[2:])
        blocks = blocks_of_rows(rows, channels) if len(shape) == 2 else blocks_of_values(rows, pixels)
        return (blocks, 2, channels), (3, channels)


# The names by which errors tell of them.
STATISTICS = tuple(f"statistics.{field}" for field in BatchStatistics._fields)
WORK = tuple(f"work.{field}" for field in BatchNormWork._fields)


def batch_norm(
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    eps: float = 1e-5,
    correction: int = 0,
    activation: str | None = None,
    out: Array | None = None,
    statistics: BatchStatistics | None = None,
    work: BatchNormWork | None = None,
) -> tuple[Array, BatchStatistics]:
    """Normalise every channel by its own mean and variance: y = gamma (x - mean) / sqrt(var + eps) + beta.

    Sums are taken about a value near the mean and merged in float64, so that a channel around 1e4 with
    a deviation of 1 keeps its digits.

    Parameters
    ----------
    x : (n, c) or (n, c, ...)
        With at least two values a channel: of one the deviation is 0.
    gamma, beta : (c,)
    eps : float
    correction : {0, 1}
        Of the variance that is returned for running averages: over m - correction, m values a
        channel. 1 is PyTorch's, 0 that of course notes and ONNX. x is always normalised by that over m.
    activation : {None, "relu"}
        "relu" gives max(y, 0) in the same pass.
    out : like x, optional
    statistics : BatchStatistics, optional
        Arrays that the statistics are written to.
    work : BatchNormWork, optional

    Returns
    -------
    y : array like x
    statistics : BatchStatistics
        What `batch_norm_backward` and `update_averages` need.

    Raises
    ------
    ValueError
        For fewer than two values a channel, beside what all ops raise.

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
    x = _channels(op, "x", x)
    gamma = checks.array(op, "gamma", gamma, "c", x.dtype)
    beta = checks.array(op, "beta", beta, "c", x.dtype)
    c = _columns(op, x, gamma=gamma, beta=beta)
    checks.name_of(op, "activation", activation, (None, "relu"))
    checks.name_of(op, "correction", correction, (0, 1))
    _enough(op, x)
    y = checks.output(op, "out", out, x.shape, x)
    given = _named(STATISTICS, statistics)
    found = BatchStatistics(*[checks.output(op, name, a, (c,), x) for name, a in given.items()])
    scratch = _scratch(op, work, x)
    writes = {"out": out, **given, **_named(WORK, work)}
    checks.apart(op, writes, {"x": x, "gamma": gamma, "beta": beta})
    kernel = _kernel("forward", x, activation)
    outputs = (*found, *scratch, _flat(y))
    launch(op, kernel, _flat(x), gamma, beta, float(eps), correction, *outputs, outputs=outputs)
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

    dbeta = sum dy, dgamma = sum dy z, dx = gamma inv (dy - dbeta / m - z dgamma / m), with
    z = (x - mean) inv, inv the inverse deviation, and m values a channel.

    Parameters
    ----------
    dy, x : (n, c) or (n, c, ...)
    gamma : (c,)
    statistics : BatchStatistics
        As `batch_norm` returned them.
    y : like x, optional
        What `batch_norm` returned with activation="relu": the gradient then passes where y > 0.
    accumulate : bool
        Add to what `out_gamma` and `out_beta` hold, which must then be given.
    out : like x, optional
    out_gamma, out_beta : (c,), optional
    work : BatchNormWork, optional

    Returns
    -------
    dx : array like x
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
    x = _channels(op, "x", x)
    dy = checks.array(op, "dy", dy, "...", x.dtype)
    gamma = checks.array(op, "gamma", gamma, "c", x.dtype)
    mean = checks.array(op, "statistics.mean", statistics.mean, "c", x.dtype)
    inverse = checks.array(op, "statistics.inverse_deviation", statistics.inverse_deviation, "c", x.dtype)
    if y is not None:
        y = checks.array(op, "y", y, "...", x.dtype)
    for name, value in (("dy", dy), ("y", y)):
        if value is not None and value.shape != x.shape:
            raise ValueError(f"{op}: {name} has shape {value.shape}, wanted {x.shape} like x")
    c = _columns(op, x, gamma=gamma, mean=mean, inverse_deviation=inverse)
    _enough(op, x)
    if accumulate and (out_gamma is None or out_beta is None):
        raise ValueError(f"{op}: accumulate=True adds to out_gamma and out_beta; pass both")
    dx = checks.output(op, "out", out, x.shape, x)
    dgamma = checks.output(op, "out_gamma", out_gamma, (c,), x)
    dbeta = checks.output(op, "out_beta", out_beta, (c,), x)
    scratch = _scratch(op, work, x)
    writes = {"out": out, "out_gamma": out_gamma, "out_beta": out_beta, **_named(WORK, work)}
    reads = {"x": x, "dy": dy, "gamma": gamma, "y": y}
    checks.apart(op, writes, {**reads, "statistics.mean": mean, "statistics.inverse_deviation": inverse})
    outputs = (*scratch, dgamma, dbeta, _flat(dx))
    through = () if y is None else (_flat(y),)
    kernel = _kernel("backward", x, None if y is None else "relu")
    arguments = (_flat(dy), *through, _flat(x), gamma, mean, inverse, bool(accumulate), *outputs)
    launch(op, kernel, *arguments, outputs=outputs)
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
    x : (n, c) or (n, c, ...)
    gamma, beta, mean, variance : (c,)
    eps : float
    activation : {None, "relu"}
    out : like x, optional
    work : BatchNormWork, optional

    Returns
    -------
    Array like x.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> one = np.ones(1)
    >>> ops.batch_norm_predict(np.array([[5.0]]), one, one, np.array([3.0]), np.array([4.0]), eps=0.0)
    array([[2.]])
    """
    op = "batch_norm_predict"
    x = _channels(op, "x", x)
    columns = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    columns = {name: checks.array(op, name, a, "c", x.dtype) for name, a in columns.items()}
    _columns(op, x, **columns)
    checks.name_of(op, "activation", activation, (None, "relu"))
    y = checks.output(op, "out", out, x.shape, x)
    terms = _scratch(op, work, x).terms
    checks.apart(op, {"out": out, **_named(WORK, work)}, {"x": x, **columns})
    if y.size:
        gamma, beta, mean, variance = columns.values()
        flat, kernel = _flat(y), _kernel("predict", x, activation)
        launch(op, kernel, _flat(x), gamma, beta, float(eps), mean, variance, terms, flat, outputs=(terms, flat))
    return y


def _channels(op: str, name: str, x: Array) -> Array:
    x = checks.array(op, name, x, "...")
    if x.ndim < 2:
        raise ValueError(f"{op}: {name} must have rows and channels, (n, c) or (n, c, ...), got shape {x.shape}")
    return x


def _columns(op: str, x: Array, **arguments: Array) -> int:
    """The number of channels, which each of these arguments must have."""
    for name, value in arguments.items():
        if value.size != x.shape[1]:
            raise ValueError(f"{op}: {name} has shape {value.shape}, wanted ({x.shape[1]},), to fit x's channels")
    return int(x.shape[1])


def _enough(op: str, x: Array) -> None:
    values = x.shape[0] * math.prod(x.shape[2:])
    if values < 2:
        raise ValueError(
            f"{op}: got {values} value{'s' * (values != 1)} a channel, wanted at least 2, since the deviation of fewer "
            "is 0; use larger batches, or batch_norm_predict with running averages"
        )


def _flat(x: Array) -> Array:
    """(n, c) as it is, images as (n, c, pixels)."""
    return x if x.ndim == 2 else x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


def _kernel(name: str, x: Array, activation: str | None) -> backend.Kernel:
    name = name if x.ndim == 2 else f"{name}_images"
    return backend.kernel("batch_norm", f"{name}_{activation}" if activation else name, x)


def _scratch(op: str, work: BatchNormWork | None, x: Array) -> BatchNormWork:
    if work is None:
        if recording():
            raise ValueError(f"{op}: a recorded step cannot make arrays; pass work=BatchNormWork(...)")
        return BatchNormWork.of(x)
    sums, terms = BatchNormWork.shapes(x.shape)
    return BatchNormWork(
        checks.changed(op, "work.sums", work.sums, sums, np.float64, new=True),
        checks.changed(op, "work.terms", work.terms, terms, x.dtype, new=True),
    )


def _named(names: tuple[str, ...], given: tuple[Array, ...] | None) -> dict[str, Array | None]:
    """The arrays that were given, or None for each, under these names."""
    return dict.fromkeys(names) if given is None else dict(zip(names, given, strict=True))


def update_averages(averages: Array, batch: Array, *, decay: float = 0.9, status: Array | None = None) -> Array:
    """Exponential averages, in place: averages = decay averages + (1 - decay) batch.

    Parameters
    ----------
    averages, batch : (n,)
    decay : float
        0.9 keeps nine parts of the old.
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
    status = checks.status(op, status, batch)
    checks.apart(op, {"averages": averages}, {"batch": batch, "status": status})
    kernel = backend.kernel("batch_norm", "running", batch)
    launch(op, kernel, batch, float(decay), status, averages, outputs=(averages,))
    return averages
