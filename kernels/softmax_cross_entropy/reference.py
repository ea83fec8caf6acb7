"""Softmax cross-entropy of logits against integer labels: value and gradient in one pass.

logits, dlogits (n, classes); labels (n,) int64; losses (n,). `scale` (1,) float64 is 1 / rows of
the whole batch. `total` (1,) float64 grows by scale * sum of losses. A label outside
0..classes-1 puts its row number + 1 into `status` (1,) int64, and nothing else is written.
"""

import numpy as np


def forward(logits, labels, scale, losses, total, status, dlogits):
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
