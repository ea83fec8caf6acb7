"""Optimizer updates of one flat span: every parameter, gradient and moment is read and written once."""

import math

from numba import prange

from .._numba import chunk, chunks, inline, kernel
from .._pieces import CHUNK

# Each update is a chunk that reads like its equation, and a driver for as many moments as it keeps.


@inline
def _common(p, scalars, clip, decays):
    """Learning rate, clip factor, factors of L2 and L1, and what is kept of the parameters."""
    t = p.dtype.type
    lr, c = t(scalars[0]), t(clip[0])
    if decays:
        return lr, c, t(scalars[1]), t(scalars[2]), t(scalars[3])
    return lr, c, t(0), t(0), t(1)


@inline
def _gradient(p, g, clip, l2, l1, zero):
    """clip g + l2 p + l1 sign(p). Without l2 nothing may come of p: 0 times infinity is NaN."""
    penalty = l1 if p > zero else (-l1 if p < zero else zero)
    return clip * g + ((l2 * p if l2 != zero else zero) + penalty)


@chunk
def _sgd(p, g, scalars, clip, decays):
    lr, c, l2, l1, keep = _common(p, scalars, clip, decays)
    zero = p.dtype.type(0)
    for i in range(p.size):
        p[i] = keep * p[i] - lr * _gradient(p[i], g[i], c, l2, l1, zero)


@chunk
def _momentum(p, g, m, scalars, clip, decays):
    lr, c, l2, l1, keep = _common(p, scalars, clip, decays)
    t = p.dtype.type
    mu, gain, zero = t(scalars[4]), t(scalars[5]), t(0)
    for i in range(p.size):
        velocity = mu * m[i] + gain * _gradient(p[i], g[i], c, l2, l1, zero)
        m[i] = velocity
        p[i] = keep * p[i] - lr * velocity


@chunk
def _nesterov(p, g, m, scalars, clip, decays):
    lr, c, l2, l1, keep = _common(p, scalars, clip, decays)
    t = p.dtype.type
    mu, gain, zero = t(scalars[4]), t(scalars[5]), t(0)
    for i in range(p.size):
        grad = gain * _gradient(p[i], g[i], c, l2, l1, zero)
        velocity = mu * m[i] + grad
        m[i] = velocity
        p[i] = keep * p[i] - lr * (mu * velocity + grad)


@chunk
def _adagrad(p, g, m, scalars, clip, decays):
    lr, c, l2, l1, keep = _common(p, scalars, clip, decays)
    t = p.dtype.type
    eps, zero = t(scalars[4]), t(0)
    for i in range(p.size):
        grad = _gradient(p[i], g[i], c, l2, l1, zero)
        squares = m[i] + grad * grad
        m[i] = squares
        p[i] = keep * p[i] - lr * grad / (math.sqrt(squares) + eps)


@chunk
def _rmsprop(p, g, m, scalars, clip, decays):
    lr, c, l2, l1, keep = _common(p, scalars, clip, decays)
    t = p.dtype.type
    beta, rest, eps, inside, zero = t(scalars[4]), t(scalars[5]), t(scalars[6]), t(scalars[7]), t(0)
    for i in range(p.size):
        grad = _gradient(p[i], g[i], c, l2, l1, zero)
        square = beta * m[i] + rest * (grad * grad)
        m[i] = square
        p[i] = keep * p[i] - lr * grad / (math.sqrt(square + inside) + eps)


@chunk
def _adam(p, g, m, v, scalars, clip, decays):
    lr, c, l2, l1, keep = _common(p, scalars, clip, decays)
    t = p.dtype.type
    b1, rest1, b2, rest2, zero = t(scalars[4]), t(scalars[5]), t(scalars[6]), t(scalars[7]), t(0)
    eps, inside, correction2 = t(scalars[8]), t(scalars[9]), t(scalars[11])
    lr = t(scalars[0] * scalars[10])
    for i in range(p.size):
        grad = _gradient(p[i], g[i], c, l2, l1, zero)
        mean = b1 * m[i] + rest1 * grad
        square = b2 * v[i] + rest2 * (grad * grad)
        m[i] = mean
        v[i] = square
        p[i] = keep * p[i] - lr * mean / (math.sqrt(correction2 * square + inside) + eps)


# ---------------------------------------------------------------- drivers


def _parameters(p, *_):
    return p.size


@inline
def _bounds(size, decayed, c):
    """Where chunk c begins, where in it the elements end that take penalties, and where it ends."""
    lo = c * CHUNK
    hi = min(size, lo + CHUNK)
    return lo, min(max(decayed, lo), hi), hi


@kernel(work=_parameters)
def sgd(p, g, decayed, scalars, clip, status):
    if status[0] == 0:
        for c in prange(chunks(p.size)):
            lo, mid, hi = _bounds(p.size, decayed, c)
            _sgd(p[lo:mid], g[lo:mid], scalars, clip, True)
            _sgd(p[mid:hi], g[mid:hi], scalars, clip, False)


def _one_moment(name, update):
    @kernel(name=name, work=_parameters)
    def driver(p, g, m, decayed, scalars, clip, status):
        if status[0] == 0:
            for c in prange(chunks(p.size)):
                lo, mid, hi = _bounds(p.size, decayed, c)
                update(p[lo:mid], g[lo:mid], m[lo:mid], scalars, clip, True)
                update(p[mid:hi], g[mid:hi], m[mid:hi], scalars, clip, False)

    return driver


momentum = _one_moment("momentum", _momentum)
nesterov = _one_moment("nesterov", _nesterov)
adagrad = _one_moment("adagrad", _adagrad)
rmsprop = _one_moment("rmsprop", _rmsprop)


@kernel(work=_parameters)
def adam(p, g, m, v, decayed, scalars, clip, status):
    if status[0] == 0:
        for c in prange(chunks(p.size)):
            lo, mid, hi = _bounds(p.size, decayed, c)
            _adam(p[lo:mid], g[lo:mid], m[lo:mid], v[lo:mid], scalars, clip, True)
            _adam(p[mid:hi], g[mid:hi], m[mid:hi], v[mid:hi], scalars, clip, False)


@kernel(threshold=float("inf"))
def scaled_rate(scalars, factor, out):
    for i in range(out.size):
        out[i] = scalars[i]
    out[0] = factor * scalars[0]
    out[3] = 1.0 - factor * (1.0 - scalars[3])
