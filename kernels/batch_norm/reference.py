"""Batch normalisation of the columns of x (n, c): training, prediction, gradients, running averages.

Training: y = gamma (x - mean) inv_std + beta with the batch's mean and biased variance,
inv_std = 1 / sqrt(var + eps). The `_relu` names apply max(y, 0) in the same pass. `sums` and `terms`
are scratch of the CPU kernels.
"""

import numpy as np


def forward(x, gamma, beta, eps, mean, var, inv_std, sums, terms, y):
    # In float64: at a mean of 1e4 float32 keeps only 3 digits of a deviation of 1.
    wide = x.astype(np.float64)
    mu = wide.mean(axis=0)
    variance = np.square(wide - mu).mean(axis=0)
    scale = 1 / np.sqrt(variance + eps)
    mean[...], var[...], inv_std[...] = mu, variance, scale
    y[...] = (wide - mu) * (scale * gamma) + beta


def forward_relu(x, gamma, beta, eps, mean, var, inv_std, sums, terms, y):
    forward(x, gamma, beta, eps, mean, var, inv_std, sums, terms, y)
    np.maximum(y, 0, out=y)


def predict(x, gamma, beta, eps, mean, var, terms, y):
    wide = x.astype(np.float64)
    y[...] = (wide - mean) * (gamma / np.sqrt(var.astype(np.float64) + eps)) + beta


def predict_relu(x, gamma, beta, eps, mean, var, terms, y):
    predict(x, gamma, beta, eps, mean, var, terms, y)
    np.maximum(y, 0, out=y)


def backward(dy, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx):
    """dx = gamma inv_std (dy - mean(dy) - z mean(dy z)) with z = (x - mean) inv_std."""
    wide = dy.astype(np.float64)
    z = (x.astype(np.float64) - mean) * inv_std
    sum_dy, sum_dyz = wide.sum(axis=0), (wide * z).sum(axis=0)
    n = x.shape[0]
    dgamma[...] = sum_dyz + (dgamma if accumulate else 0)
    dbeta[...] = sum_dy + (dbeta if accumulate else 0)
    dx[...] = gamma * inv_std.astype(np.float64) * (wide - sum_dy / n - z * (sum_dyz / n))


def backward_relu(dy, y, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx):
    """The gradient through max(y, 0) as well; y is forward_relu's output."""
    backward(np.where(y <= 0, 0, dy), x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx)


def running(batch, decay, variances, unbias, status, averages):
    """averages = decay averages + (1 - decay) batch, for all layers' statistics in one flat span.

    The first `variances` elements are variances, taken times `unbias` = n / (n - 1). Nothing is
    written unless `status` (1,) is 0.
    """
    if status[0]:
        return
    t = averages.dtype.type
    target = batch.copy()
    target[:variances] *= t(unbias)
    averages += t(1 - decay) * (target - averages)
