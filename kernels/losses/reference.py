"""Losses of outputs y (n, m) against targets t (n, m): the mean over all elements, and its gradient.

`delta` is Huber's; the others ignore it. `weights` (n,) or (0,) for none: of rows; the mean is then
over their sum. `scale` (1,) float64 is 1 / rows of the whole batch. `total` (1,) float64 grows by the
scaled sum. `sums` is scratch of the compiled kernels.
"""

import numpy as np
from scipy.special import expit


def mse(y, t, delta, weights, scale, sums, total, dy):
    """(y - t)^2."""
    d = y - t
    _mean(d * d, 2 * d, weights, scale, total, dy)


def l1(y, t, delta, weights, scale, sums, total, dy):
    """|y - t|, of gradient 0 at 0."""
    d = y - t
    _mean(np.abs(d), np.sign(d), weights, scale, total, dy)


def huber(y, t, delta, weights, scale, sums, total, dy):
    """(y - t)^2 / 2 up to |y - t| = delta, and on from there in a straight line."""
    d = y - t
    delta = y.dtype.type(delta)
    loss = np.where(np.abs(d) <= delta, d * d / 2, delta * (np.abs(d) - delta / 2))
    _mean(loss, np.clip(d, -delta, delta), weights, scale, total, dy)


def hinge(y, t, delta, weights, scale, sums, total, dy):
    """max(0, 1 - t y), t being -1 or 1."""
    margin = 1 - t * y
    _mean(np.where(margin <= 0, 0, margin), np.where(margin <= 0, 0, -t), weights, scale, total, dy)


def bce(y, t, delta, weights, scale, sums, total, dy):
    """-t log s(y) - (1 - t) log(1 - s(y)) with s the sigmoid: binary cross-entropy of logits."""
    loss = np.maximum(y, 0) - t * y + np.log1p(np.exp(-np.abs(y)))
    _mean(loss, expit(y) - t, weights, scale, total, dy)


def _mean(loss, gradient, weights, scale, total, dy):
    rows, columns = loss.shape
    share, counts = np.full(rows, scale[0] / columns), np.ones(rows, bool)
    if weights.size:
        whole = weights.sum(dtype=np.float64)
        share *= weights * (rows / whole if whole else 0)
        counts = weights != 0  # of the others not even NaN may come
    total[0] += np.where(counts, loss.sum(axis=1, dtype=np.float64) * share, 0).sum()
    dy[...] = np.where(counts[:, None], gradient * share[:, None], 0)
