"""Optimizer updates, in place, of one flat span of parameters: one pass, all scalars from an array.

p, g and the moments are (n,). The first `decayed` elements take weight decay. `scalars` is float64,
written by the host for every step; `status` (1,) int64 stops the update unless it is 0.
"""

import numpy as np

SGD_SCALARS = ("learning_rate", "weight_decay")
ADAM_SCALARS = (
    "learning_rate",
    "weight_decay",
    "beta1",
    "one_minus_beta1",
    "beta2",
    "one_minus_beta2",
    "eps",
    "correction1",  # 1 / (1 - beta1^t)
    "correction2",  # 1 / sqrt(1 - beta2^t)
)


def sgd(p, g, decayed, scalars, status):
    """p -= lr (g + decay p)."""
    if status[0]:
        return
    lr, decay = scalars.astype(p.dtype)
    if decay:
        g = g.copy()
        g[:decayed] += decay * p[:decayed]
    p -= lr * g


def adam(p, g, m, v, decayed, scalars, status):
    """m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; p -= lr m_hat / (sqrt(v_hat) + eps)."""
    if status[0]:
        return
    lr, decay, beta1, one_minus_beta1, beta2, one_minus_beta2, eps, correction1, correction2 = scalars.astype(p.dtype)
    if decay:
        g = g.copy()
        g[:decayed] += decay * p[:decayed]
    m[...] = beta1 * m + one_minus_beta1 * g
    v[...] = beta2 * v + one_minus_beta2 * (g * g)
    p -= lr * (m * correction1) / (np.sqrt(v) * correction2 + eps)
