"""Batch normalisation of every channel: training, gradients, prediction, running averages.

Training: y = gamma (x - mean) inv_std + beta with the batch's mean and biased variance,
inv_std = 1 / sqrt(var + eps). x is (n, c), in the `_images` functions (n, c, s) with all of s
pixels taken together. The `_relu` names apply max(y, 0) in the same pass. `sums` and `terms` are
scratch of the compiled kernels.
"""

import numpy as np


def forward(x, gamma, beta, eps, correction, mean, var, inv_std, sums, terms, y):
    """`var` is what running averages are fed with: the sum of squares over n - correction."""
    # In float64: at a mean of 1e4 float32 keeps only 3 digits of a deviation of 1.
    wide = x.astype(np.float64)
    mu = wide.mean(axis=0)
    squares = np.square(wide - mu).sum(axis=0)
    scale = 1 / np.sqrt(squares / len(x) + eps)
    mean[...], var[...], inv_std[...] = mu, squares / (len(x) - correction), scale
    y[...] = (wide - mu) * (scale * gamma) + beta


def forward_relu(x, gamma, beta, eps, correction, mean, var, inv_std, sums, terms, y):
    forward(x, gamma, beta, eps, correction, mean, var, inv_std, sums, terms, y)
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


# ---------------------------------------------------------------- images: every pixel is a row


def _rows(x):
    return x.transpose(0, 2, 1).reshape(x.shape[0] * x.shape[2], x.shape[1])


def _images(rows, x):
    x[...] = rows.reshape(x.shape[0], x.shape[2], x.shape[1]).transpose(0, 2, 1)


def forward_images(x, gamma, beta, eps, correction, mean, var, inv_std, sums, terms, y):
    rows = np.empty_like(_rows(x))
    forward(_rows(x), gamma, beta, eps, correction, mean, var, inv_std, sums, terms, rows)
    _images(rows, y)


def forward_images_relu(x, gamma, beta, eps, correction, mean, var, inv_std, sums, terms, y):
    forward_images(x, gamma, beta, eps, correction, mean, var, inv_std, sums, terms, y)
    np.maximum(y, 0, out=y)


def predict_images(x, gamma, beta, eps, mean, var, terms, y):
    rows = np.empty_like(_rows(x))
    predict(_rows(x), gamma, beta, eps, mean, var, terms, rows)
    _images(rows, y)


def predict_images_relu(x, gamma, beta, eps, mean, var, terms, y):
    predict_images(x, gamma, beta, eps, mean, var, terms, y)
    np.maximum(y, 0, out=y)


def backward_images(dy, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx):
    rows = np.empty_like(_rows(x))
    backward(_rows(dy), _rows(x), gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, rows)
    _images(rows, dx)


def backward_images_relu(dy, y, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx):
    through = np.where(y <= 0, 0, dy)
    backward_images(through, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx)


# ---------------------------------------------------------------- running averages


def running(batch, decay, status, averages):
    """averages = decay averages + (1 - decay) batch, for all layers in one flat span, unless `status` is set."""
    if status[0] == 0:
        averages += averages.dtype.type(1 - decay) * (batch - averages)
