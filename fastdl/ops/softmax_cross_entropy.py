"""Softmax cross-entropy: value and gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, checks
from ..recorder import launch, recording
from ..typing import Array


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
    checks.read_anew(op, "total", total, "losses are added up")
    scale = np.full(1, 1 / n) if scale is None else checks.array(op, "scale", scale, "s", np.float64, size=1)
    loss = np.zeros(1) if total is None else checks.changed(op, "total", total, (1,), np.float64)
    word = checks.status(op, status)
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
