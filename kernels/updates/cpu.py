"""Optimizer updates of one flat span: every parameter, gradient and moment is read and written once."""

import math

from numba import prange

from .._numba import CHUNK, chunk, chunks, kernel

# Without decay nothing may come of p: 0 times infinity is NaN.


@chunk
def _sgd(p, g, lr, decay):
    zero = p.dtype.type(0)
    for i in range(p.size):
        p[i] -= lr * (g[i] + (decay * p[i] if decay != zero else zero))


@chunk
def _adam(p, g, m, v, lr, decay, beta1, one_minus_beta1, beta2, one_minus_beta2, eps, root_correction):
    zero = p.dtype.type(0)
    for i in range(p.size):
        grad = g[i] + (decay * p[i] if decay != zero else zero)
        mean = beta1 * m[i] + one_minus_beta1 * grad
        square = beta2 * v[i] + one_minus_beta2 * grad * grad
        m[i] = mean
        v[i] = square
        p[i] -= lr * mean / (math.sqrt(square) * root_correction + eps)


@kernel(work=lambda p, *_: p.size)
def sgd(p, g, decayed, scalars, status):
    if status[0] == 0:
        t = p.dtype.type
        lr = t(scalars[0])
        for c in prange(chunks(p.size)):
            lo = c * CHUNK
            hi = min(p.size, lo + CHUNK)
            mid = min(max(decayed, lo), hi)  # what lies below it takes weight decay
            _sgd(p[lo:mid], g[lo:mid], lr, t(scalars[1]))
            _sgd(p[mid:hi], g[mid:hi], lr, t(0))


@kernel(work=lambda p, *_: p.size)
def adam(p, g, m, v, decayed, scalars, status):
    if status[0] == 0:
        t = p.dtype.type
        lr = t(scalars[0] * scalars[7])
        b1, c1, b2, c2 = t(scalars[2]), t(scalars[3]), t(scalars[4]), t(scalars[5])
        eps, root = t(scalars[6]), t(scalars[8])
        for c in prange(chunks(p.size)):
            lo = c * CHUNK
            hi = min(p.size, lo + CHUNK)
            mid = min(max(decayed, lo), hi)  # what lies below it takes weight decay
            _adam(p[lo:mid], g[lo:mid], m[lo:mid], v[lo:mid], lr, t(scalars[1]), b1, c1, b2, c2, eps, root)
            _adam(p[mid:hi], g[mid:hi], m[mid:hi], v[mid:hi], lr, t(0), b1, c1, b2, c2, eps, root)
