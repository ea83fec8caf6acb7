"""Losses element by element: value and gradient of one number each, and one loop that all share.

The scaled losses are added up in float64, chunk by chunk, and the chunks in order.
"""

import numpy as np
from numba import prange

from .._numba import chunk, clear, inline, kernel, rows_of_chunk
from .._numba_math import sigmoid, softplus

# The constants come as arguments, in the arrays' precision; comparisons are such that NaN passes through.


@inline
def _mse(y, t, delta, zero, one):
    d = y - t
    return d * d, d + d


@inline
def _l1(y, t, delta, zero, one):
    d = y - t
    return abs(d), (one if d > zero else (-one if d < zero else d))


@inline
def _huber(y, t, delta, zero, one):
    d = y - t
    half = one / (one + one)
    clipped = delta if d > delta else (-delta if d < -delta else d)
    return clipped * (d - half * clipped), clipped


@inline
def _hinge(y, t, delta, zero, one):
    margin = one - t * y
    return (zero if margin <= zero else margin), (zero if margin <= zero else -t)


@inline
def _bce(y, t, delta, zero, one):
    return softplus(y) - t * y, sigmoid(y) - t


def _kernel(name, f):
    @chunk(reassociate=True)
    def span(y, t, delta, share, dy):
        """dy = share gradient; the sum of losses."""
        d, zero, one, factor = y.dtype.type(delta), y.dtype.type(0), y.dtype.type(1), y.dtype.type(share)
        found = 0.0
        for i in range(dy.size):
            loss, gradient = f(y[i], t[i], d, zero, one)
            found += loss
            dy[i] = factor * gradient
        return found

    @chunk(reassociate=True)
    def column(y, t, delta, weights, share, dy):
        """The same for rows of one element, each with its weight; the weighted sum."""
        d, zero, one, factor = y.dtype.type(delta), y.dtype.type(0), y.dtype.type(1), y.dtype.type(share)
        found = 0.0
        for i in range(dy.size):
            loss, gradient = f(y[i], t[i], d, zero, one)
            weight = weights[i]
            found += weight * loss if weight != zero else zero
            dy[i] = factor * weight * gradient if weight != zero else zero
        return found

    @kernel(name=name)
    def loss(y, t, delta, weights, scale, sums, total, dy):
        rows, columns = y.shape
        flat_y, flat_t, flat_dy = y.reshape(y.size), t.reshape(y.size), dy.reshape(y.size)
        share = scale[0] / columns
        if weights.size:
            whole = 0.0
            for i in range(rows):
                whole += weights[i]
            share = share * rows / whole if whole != 0.0 else 0.0
        step = rows_of_chunk(columns)
        parts = (rows + step - 1) // step
        for part in prange(parts):
            first, last = part * step, min(rows, (part + 1) * step)
            lo, hi = first * columns, last * columns
            if weights.size == 0:
                sums[part] = span(flat_y[lo:hi], flat_t[lo:hi], delta, share, flat_dy[lo:hi])
            elif columns == 1:
                w = weights[first:last]
                sums[part] = column(flat_y[lo:hi], flat_t[lo:hi], delta, w, share, flat_dy[lo:hi])
            else:
                found = 0.0
                for i in range(first, last):
                    if weights[i] == 0:
                        clear(dy[i])
                    else:
                        weight = np.float64(weights[i])
                        found += weight * span(y[i], t[i], delta, share * weight, dy[i])
                sums[part] = found
        found = 0.0
        for part in range(parts):
            found += sums[part]
        total[0] += share * found

    return loss


mse = _kernel("mse", _mse)
l1 = _kernel("l1", _l1)
huber = _kernel("huber", _huber)
hinge = _kernel("hinge", _hinge)
bce = _kernel("bce", _bce)
