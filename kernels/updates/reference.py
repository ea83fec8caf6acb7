"""Optimizer updates, in place, of one flat span of parameters: one pass, all scalars from an array.

p, g and the moments are (n,). The first `decayed` elements take the penalties. `clip` (1,) float64 is
what the gradient is multiplied by; `status` (1,) int64 stops the update unless it is 0. `scalars` is
float64, written by the host for every step: learning rate, factors of L2 and of L1, and what is kept
of the parameters (1 - lr decay where weights decay by themselves); then the update's own, below.
"""

import numpy as np


def _gradient(p, g, decayed, scalars, clip):
    """clip g + l2 p + l1 sign(p), and the parameters shrunk."""
    _, l2, l1, keep = scalars[:4].astype(p.dtype)
    g = g * p.dtype.type(clip[0])
    head = p[:decayed]
    if l2:  # without it nothing may come of p: 0 times infinity is NaN
        g[:decayed] += l2 * head
    g[:decayed] += l1 * ((head > 0).astype(p.dtype) - (head < 0))
    head *= keep
    return g


def sgd(p, g, decayed, scalars, clip, status):
    """p -= lr g."""
    if status[0]:
        return
    p -= p.dtype.type(scalars[0]) * _gradient(p, g, decayed, scalars, clip)


def momentum(p, g, m, decayed, scalars, clip, status):
    """m = mu m + gain g; p -= lr m. Own scalars: mu, gain."""
    if status[0]:
        return
    lr, (mu, gain) = p.dtype.type(scalars[0]), scalars[4:].astype(p.dtype)
    m[...] = mu * m + gain * _gradient(p, g, decayed, scalars, clip)
    p -= lr * m


def nesterov(p, g, m, decayed, scalars, clip, status):
    """m = mu m + gain g; p -= lr (mu m + gain g). Own scalars: mu, gain."""
    if status[0]:
        return
    lr, (mu, gain) = p.dtype.type(scalars[0]), scalars[4:].astype(p.dtype)
    g = gain * _gradient(p, g, decayed, scalars, clip)
    m[...] = mu * m + g
    p -= lr * (mu * m + g)


def adagrad(p, g, m, decayed, scalars, clip, status):
    """m += g^2; p -= lr g / (sqrt(m) + eps). Own scalar: eps."""
    if status[0]:
        return
    lr, eps = p.dtype.type(scalars[0]), p.dtype.type(scalars[4])
    g = _gradient(p, g, decayed, scalars, clip)
    m += g * g
    p -= lr * g / (np.sqrt(m) + eps)


def rmsprop(p, g, m, decayed, scalars, clip, status):
    """m = beta m + (1 - beta) g^2; p -= lr g / (sqrt(m + inside) + eps). Own: beta, 1 - beta, eps, inside."""
    if status[0]:
        return
    lr, (beta, rest, eps, inside) = p.dtype.type(scalars[0]), scalars[4:].astype(p.dtype)
    g = _gradient(p, g, decayed, scalars, clip)
    m[...] = beta * m + rest * (g * g)
    p -= lr * g / (np.sqrt(m + inside) + eps)


def adam(p, g, m, v, decayed, scalars, clip, status):
    """m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= lr c1 m / (sqrt(c2 v + inside) + eps).

    Own scalars: b1, 1 - b1, b2, 1 - b2, eps, inside, and the corrections c = 1 / (1 - b^t).
    """
    if status[0]:
        return
    b1, rest1, b2, rest2, eps, inside, _, c2 = scalars[4:].astype(p.dtype)
    lr = p.dtype.type(scalars[0] * scalars[10])
    g = _gradient(p, g, decayed, scalars, clip)
    m[...] = b1 * m + rest1 * g
    v[...] = b2 * v + rest2 * (g * g)
    p -= lr * m / (np.sqrt(c2 * v + inside) + eps)


def scaled_rate(scalars, factor, out):
    """The numbers of an update with `factor` times the learning rate, and what a decoupled decay then keeps."""
    out[...] = scalars
    out[0] *= factor
    out[3] = 1 - factor * (1 - scalars[3])
