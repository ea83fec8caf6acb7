"""Softmax cross-entropy: value and gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, checks, devices
from ..recorder import launch, recording
from ..typing import Array


def softmax_cross_entropy(
    logits: Array,
    labels: Array,
    *,
    smoothing: float = 0.0,
    class_weights: Array | None = None,
    weights: Array | None = None,
    ignored: int | None = None,
    scale: Array | None = None,
    total: Array | None = None,
    status: Array | None = None,
    out: Array | None = None,
    losses: Array | None = None,
    work: Array | None = None,
) -> tuple[Array, Array]:
    """Mean cross-entropy of softmax(logits) against labels, and its gradient.

    loss = mean_i (log sum_j e^z_ij - z_i,label_i), dz = (softmax(z) - onehot) / n. With weights it is
    sum_i w_i loss_i / sum_i w_i, where w_i is the row's weight times that of its label's class.

    Parameters
    ----------
    logits : (n, classes)
    labels : (n,) of any integer dtype, or (n, classes) like logits
        Numbers of classes, 0 to classes - 1; or the share of every class in every row.
    smoothing : float
        Of a row's target, this much is spread evenly over all classes; 0 <= smoothing < 1.
    class_weights : (classes,), optional
        With shares of classes they do not count in the sum of weights, as in PyTorch.
    weights : (n,), optional
        Of rows. A row of weight 0 counts for nothing.
    ignored : int, optional
        Rows with this label count for nothing; if no row counts, loss and gradient are 0.
    scale : (1,) float64, optional
        What every row's loss is multiplied by; 1 / n unless a batch comes in parts. With weights the
        parts weigh as many as their rows.
    total : (1,) float64, optional
        The sum of scaled losses is added to it.
    status : (1,) int64, optional
        For recorded steps: a bad label leaves its row number + 1 here instead of raising.
    out : (n, classes), optional
    losses : (n,), optional
        The loss of every row, weighted.
    work : (1,) float64, optional
        Scratch, where rows have weights or labels are smoothed, ignored, or shares.

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
    n, c = logits.shape
    if n == 0 or c == 0:
        raise ValueError(f"{op}: logits has shape {logits.shape}, wanted at least one row and one class")
    soft = getattr(labels, "ndim", 1) == 2
    if soft:
        labels = checks.array(op, "labels", labels, "nc", logits.dtype)
        checks.sizes(op, logits=(logits, "nc"), labels=(labels, "nc"))
    else:
        labels = _numbers(op, labels)
        checks.sizes(op, logits=(logits, "nc"), labels=(labels, "n"))
    if not 0 <= smoothing < 1:
        raise ValueError(f"{op}: smoothing is {smoothing}, wanted at least 0 and below 1")
    weighted = smoothing > 0 or class_weights is not None or weights is not None or ignored is not None
    if soft and ignored is not None:
        raise ValueError(f"{op}: ignored is {ignored}, but shares of classes have no labels; give such rows weight 0")
    by_class = checks.NO_WEIGHTS[logits.dtype]
    if class_weights is not None:
        by_class = checks.array(op, "class_weights", class_weights, "c", logits.dtype, size=c)
    by_row = checks.row_weights(op, weights, n, logits.dtype)
    alone = status is None
    checks.read_anew(op, "total", total, "losses are added up")
    library = backend.library_of(logits)
    scale = library.full(1, 1 / n) if scale is None else checks.array(op, "scale", scale, "s", np.float64, size=1)
    loss = library.zeros(1) if total is None else checks.changed(op, "total", total, (1,), np.float64)
    word = checks.status(op, status, logits)
    dlogits = checks.output(op, "out", out, logits.shape, logits)
    each = checks.output(op, "losses", losses, (n,), logits)
    plain = not soft and not weighted
    whole = () if plain else (checks.output(op, "work", work, (1,), logits, np.float64),)
    writes = {"out": out, "losses": losses, "total": total, "status": status, "work": None if plain else work}
    reads = {"logits": logits, "labels": labels, "scale": scale, "class_weights": class_weights, "weights": weights}
    checks.apart(op, writes, reads)
    if soft:
        outputs: tuple[Array, ...] = (each, *whole, loss, dlogits)
        kernel, more = "forward_soft", [by_class, by_row, float(smoothing)]
    else:
        outputs, kernel, more = (each, *whole, loss, word, dlogits), "forward", []
        if weighted:
            skip = ignored is not None
            kernel, more = "forward_weighted", [by_class, by_row, float(smoothing), int(ignored or 0), skip]
    launch(op, backend.kernel(op, kernel, logits), logits, labels, *more, scale, *outputs, outputs=outputs)
    # On a GPU nobody waits for the word: there the loss is NaN.
    if alone and not recording() and not backend.on_cuda(word) and word[0]:
        row = int(word[0]) - 1
        raise ValueError(f"{op}: the label of row {row} is {labels[row]}, wanted 0 to {c - 1}")
    return loss, dlogits


def _numbers(op: str, labels: Any) -> Array:
    """Labels as int64, without a change of value."""
    if recording():
        return checks.array(op, "labels", labels, "n", np.int64)
    if devices.is_foreign(labels):
        labels = devices.asarray(labels)
    if not backend.is_array(labels) or labels.dtype.kind not in "iu":
        got = labels.dtype if backend.is_array(labels) else f"{type(labels).__module__}.{type(labels).__qualname__}"
        raise TypeError(f"{op}: labels must be an array of integers, got {got}; pass np.asarray(labels, np.int64)")
    if labels.dtype == np.uint64 and labels.size and labels.max() > np.iinfo(np.int64).max:
        row = int(labels.argmax())
        raise ValueError(f"{op}: the label of row {row} is {labels[row]}, which no class has")
    return checks.array(op, "labels", labels.astype(np.int64, copy=False), "n", np.int64)
