"""Softmax cross-entropy: a row at a time, which stays in the cache for its three passes."""

import math

from numba import prange

from .._numba import chunk, kernel
from .._numba_math import exp

ROWS = 32  # of a chunk


@chunk
def _maximum(z):
    """The largest element, or NaN if any is NaN: a select that LLVM can vectorise."""
    top = z[0]
    for j in range(1, z.size):
        top = z[j] if z[j] > top else top
    return top


@chunk(reassociate=True)
def _exponentials(z, top, e):
    """e = exp(z - top); their sum."""
    total = z.dtype.type(0)
    for j in range(z.size):
        v = exp(z[j] - top)
        e[j] = v
        total += v
    return total


@chunk
def _scale(e, factor):
    for j in range(e.size):
        e[j] *= factor


@kernel(threshold=1 << 13)
def forward(logits, labels, scale, losses, total, status, dlogits):
    rows, classes = logits.shape
    for i in range(rows):
        if labels[i] < 0 or labels[i] >= classes:
            status[0] = i + 1
            return
    share = logits.dtype.type(scale[0])
    for c in prange((rows + ROWS - 1) // ROWS):
        for i in range(c * ROWS, min(rows, (c + 1) * ROWS)):
            z, d = logits[i], dlogits[i]
            top = _maximum(z)
            of_label = z[labels[i]]
            s = _exponentials(z, top, d)
            losses[i] = math.log(s) - (of_label - top)
            _scale(d, share / s)
            d[labels[i]] -= share
    sum_of_losses = 0.0
    for i in range(rows):
        sum_of_losses += losses[i]
    total[0] += scale[0] * sum_of_losses
