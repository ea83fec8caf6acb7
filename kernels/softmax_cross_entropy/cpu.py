"""Softmax cross-entropy: a few rows at a time, which stay in the cache for their three passes.

The exponentials of all these rows are one loop, so that ten classes fill the vector unit as well as
a thousand.
"""

import math

from numba import prange

from .._numba import chunk, inline, kernel
from .._numba_math import exp

ELEMENTS = 4096  # of a chunk, about


@inline
def _maximum(z):
    """The largest element, or NaN if the first is NaN: a select that LLVM can vectorise."""
    top = z[0]
    for j in range(1, z.size):
        top = z[j] if z[j] > top else top
    return top


@chunk
def _subtract_maxima(z, labels, first, last, d, losses):
    """d = z - the row's maximum; losses = what that leaves of the label's logit."""
    for i in range(first, last):
        a, b = z[i], d[i]
        top = _maximum(a)
        for j in range(b.size):
            b[j] = a[j] - top
        losses[i] = b[labels[i]]


@chunk
def _exponentials(e):
    for j in range(e.size):
        e[j] = exp(e[j])


@chunk(reassociate=True)
def _sum(e):
    total = e.dtype.type(0)
    for j in range(e.size):
        total += e[j]
    return total


@chunk
def _finish(labels, first, last, share, d, losses):
    """From exponentials to the gradient, and from the label's logit to the loss."""
    for i in range(first, last):
        e = d[i]
        total = _sum(e)
        losses[i] = math.log(total) - losses[i]
        factor = share / total
        for j in range(e.size):
            e[j] *= factor
        e[labels[i]] -= share


@kernel(threshold=1 << 13)
def forward(logits, labels, scale, losses, total, status, dlogits):
    rows, classes = logits.shape
    for i in range(rows):
        if labels[i] < 0 or labels[i] >= classes:
            status[0] = i + 1
            return
    share = logits.dtype.type(scale[0])
    flat = dlogits.reshape(dlogits.size)
    step = max(1, ELEMENTS // classes)
    for c in prange((rows + step - 1) // step):
        first, last = c * step, min(rows, (c + 1) * step)
        _subtract_maxima(logits, labels, first, last, dlogits, losses)
        _exponentials(flat[first * classes : last * classes])
        _finish(labels, first, last, share, dlogits, losses)
    sum_of_losses = 0.0
    for i in range(rows):
        sum_of_losses += losses[i]
    total[0] += scale[0] * sum_of_losses
