"""Losses of outputs against targets, element by element: value and gradient."""

from __future__ import annotations

import math

import numpy as np

from .. import backend, checks
from ..kernels._pieces import chunks_of_rows
from ..recorder import launch
from ..typing import Array

LOSSES = ("mse", "l1", "huber", "hinge", "bce")


def loss(
    outputs: Array,
    targets: Array,
    name: str,
    *,
    delta: float = 1.0,
    weights: Array | None = None,
    scale: Array | None = None,
    total: Array | None = None,
    work: Array | None = None,
    out: Array | None = None,
) -> tuple[Array, Array]:
    """Mean loss over all elements, and its gradient.

    With d = y - t: mse d^2; l1 |d|; huber d^2 / 2 up to |d| = delta and a straight line beyond;
    hinge max(0, 1 - t y), t being -1 or 1; bce binary cross-entropy of logits y,
    log(1 + e^y) - t y, t from 0 to 1.

    Parameters
    ----------
    outputs, targets : (n, ...)
    name : {"mse", "l1", "huber", "hinge", "bce"}
    delta : float
        Of huber.
    weights : (n,), optional
        Of rows; the mean is then over their sum. A row of weight 0 counts for nothing.
    scale : (1,) float64, optional
        1 / n unless a batch comes in parts.
    total : (1,) float64, optional
        The loss is added to it.
    work : (loss_work_size(shape),) float64, optional
        Scratch.
    out : like outputs, optional

    Returns
    -------
    total : (1,) float64 array
    doutputs : array like outputs

    Raises
    ------
    ValueError
        For an empty batch, beside what all ops raise.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.loss(np.array([[1.0], [5.0]]), np.array([[0.0], [2.0]]), "mse")
    (array([5.]), array([[1.],
           [3.]]))
    """
    op = "loss"
    outputs = checks.array(op, "outputs", outputs, "...")
    targets = checks.array(op, "targets", targets, "...", outputs.dtype)
    checks.name_of(op, "name", name, LOSSES)
    if targets.shape != outputs.shape:
        raise ValueError(f"{op}: targets has shape {targets.shape}, wanted {outputs.shape} like outputs")
    if outputs.ndim == 0 or outputs.size == 0:
        raise ValueError(f"{op}: outputs has shape {outputs.shape}, wanted at least one row of one element")
    if not delta > 0:
        raise ValueError(f"{op}: delta is {delta}, wanted more than 0")
    checks.read_anew(op, "total", total, "losses are added up")
    n = len(outputs)
    weights = checks.row_weights(op, weights, n, outputs.dtype)
    library = backend.library_of(outputs)
    scale = library.full(1, 1 / n) if scale is None else checks.array(op, "scale", scale, "s", np.float64, size=1)
    value = library.zeros(1) if total is None else checks.changed(op, "total", total, (1,), np.float64)
    sums = checks.output(op, "work", work, (loss_work_size(outputs.shape),), outputs, np.float64)
    doutputs = checks.output(op, "out", out, outputs.shape, outputs)
    writes = {"out": out, "total": total, "work": work}
    checks.apart(op, writes, {"outputs": outputs, "targets": targets, "weights": weights, "scale": scale})
    y, t, dy = (a.reshape(n, -1) for a in (outputs, targets, doutputs))
    kernel = backend.kernel("losses", name, outputs)
    launch(op, kernel, y, t, float(delta), weights, scale, sums, value, dy, outputs=(sums, value, dy))
    return value, doutputs


def loss_work_size(shape: tuple[int, ...]) -> int:
    """How many numbers of scratch `loss` takes for outputs of this shape: one a chunk, and one for the weights."""
    return int(chunks_of_rows(shape[0], math.prod(shape[1:]))) + 1
