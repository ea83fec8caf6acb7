"""Softmax cross-entropy of logits z (n, c), value and gradient in one pass.

losses (n,) takes every row's loss, dlogits (n, c) the gradient; `total` (1,) float64 grows by the
scaled sum of losses. `scale` (1,) float64 is 1 / rows of the whole batch; where rows have weights,
it is taken times n / (the sum of the weights of these n rows), which `whole` (1,) float64 takes. A label
outside 0..c-1 puts its row number + 1 into `status` (1,) int64, and nothing else is written.
"""

import numpy as np


def forward(logits, labels, scale, losses, total, status, dlogits):
    """loss_i = log sum_j e^z_ij - z_i,label."""
    rows, classes = logits.shape
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if bad.size:
        status[0] = bad[0] + 1
        return
    row = np.arange(rows)
    shifted = logits - logits.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    sums = e.sum(axis=1, keepdims=True)
    losses[...] = np.log(sums[:, 0]) - shifted[row, labels]
    dlogits[...] = e * (scale[0] / sums)
    dlogits[row, labels] -= logits.dtype.type(scale[0])
    total[0] += scale[0] * losses.sum(dtype=np.float64)


def forward_weighted(
    logits, labels, class_weights, weights, smoothing, ignored, skip, scale, losses, whole, total, status, dlogits
):
    """The same with weights of classes (c,) and of rows (n,), each or (0,) for none, and smoothed labels.

    A row's target is 1 - smoothing at its label, and smoothing / c everywhere besides. Rows with label
    `ignored` count for nothing, if `skip`.
    """
    rows, classes = logits.shape
    skipped = (labels == ignored) & skip
    bad = np.flatnonzero(((labels < 0) | (labels >= classes)) & ~skipped)
    if bad.size:
        status[0] = bad[0] + 1
        return
    of_label = np.where(skipped, 0, labels)
    each = np.where(skipped, 0, weights if weights.size else 1).astype(logits.dtype)
    targets = np.full(logits.shape, smoothing / classes)
    targets[np.arange(rows), of_label] += 1 - smoothing
    by_row = each.astype(np.float64)
    whole[0] = (by_row * class_weights[of_label] if class_weights.size else by_row).sum()
    _weighted(logits, targets, class_weights, each, whole[0], scale, losses, total, dlogits)


def forward_soft(logits, targets, class_weights, weights, smoothing, scale, losses, whole, total, dlogits):
    """The same against shares of classes, targets (n, c): loss_i = -sum_j t_ij log softmax(z_i)_j.

    Weights of classes do not count in the sum of weights.
    """
    each = weights if weights.size else np.ones(len(logits), logits.dtype)
    smooth = targets * (1 - smoothing) + smoothing / logits.shape[1]
    whole[0] = each.sum(dtype=np.float64)
    _weighted(logits, smooth, class_weights, each, whole[0], scale, losses, total, dlogits)


def _weighted(logits, targets, class_weights, each, whole, scale, losses, total, dlogits):
    factor = scale[0] * len(logits) / whole if whole else 0.0
    targets = targets * class_weights if class_weights.size else targets
    shifted = logits - logits.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    sums = e.sum(axis=1, keepdims=True)
    counts = each != 0  # of the others not even NaN may come
    loss = targets.sum(axis=1) * np.log(sums[:, 0]) - (targets * shifted).sum(axis=1)
    losses[...] = np.where(counts, each * loss, 0)
    gradient = e * (targets.sum(axis=1, keepdims=True) / sums) - targets
    dlogits[...] = np.where(counts[:, None], (factor * each)[:, None] * gradient, 0)
    total[0] += factor * losses.sum(dtype=np.float64)
