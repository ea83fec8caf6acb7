"""Batch normalisation by strips of columns: a strip's rows are read once for sums, once to map.

Sums are float64, of deviations from a value near the column's mean, so that a column around 1e4
with deviation 1 keeps its digits.
"""

import math

from numba import prange

from .._numba import chunk, cut, inline, kernel
from ..activation.cpu import relu_of

PARALLEL = 1 << 15  # elements from which two threads are faster than one
WIDTH = 256  # columns of a strip at least: at half of it, cutting rows into strips costs 40 %
ALIGN = 16  # a strip begins on a cache line of float32
FIRST = 16  # rows whose mean the deviations are taken from


@inline
def _strips(rows, columns):
    """In how many strips the columns are cut: a power of two, by the shape alone."""
    parts = 1
    if rows * columns >= PARALLEL and columns >= 2 * ALIGN:
        parts = 2
        while parts < 64 and columns >= 2 * parts * WIDTH:
            parts *= 2
    return parts


@chunk
def _clear(x):
    for j in range(x.size):
        x[j] = 0


# ---------------------------------------------------------------- training
# Scratch: `sums` (3, columns) float64 and `terms` (3, columns) in x's dtype.


@chunk
def _column_sums(x, lo, hi, shift, total, squares):
    """For columns lo..hi: a shift near the mean, and the sums of (x - shift) and (x - shift)^2."""
    rows = x.shape[0]
    first = min(rows, FIRST)
    _clear(shift)
    _clear(total)
    _clear(squares)
    for i in range(first):
        a = x[i, lo:hi]
        for j in range(a.size):
            shift[j] += a[j] / first
    by_four = rows // 4 * 4
    for i in range(0, by_four, 4):  # four rows at once: a quarter of the loads and stores of sums
        a, b, c, d = x[i, lo:hi], x[i + 1, lo:hi], x[i + 2, lo:hi], x[i + 3, lo:hi]
        for j in range(a.size):
            p, q, r, s = a[j] - shift[j], b[j] - shift[j], c[j] - shift[j], d[j] - shift[j]
            total[j] += (p + q) + (r + s)
            squares[j] += (p * p + q * q) + (r * r + s * s)
    for i in range(by_four, rows):
        a = x[i, lo:hi]
        for j in range(a.size):
            p = a[j] - shift[j]
            total[j] += p
            squares[j] += p * p


@chunk
def _statistics(rows, eps, shift, total, squares, mean, var, inv_std):
    """Mean and variance from the sums; `shift` becomes what `mean` lost in rounding to its dtype."""
    for j in range(mean.size):
        d = total[j] / rows
        mu = shift[j] + d
        variance = max(squares[j] / rows - d * d, 0.0)
        mean[j] = mu
        var[j] = variance
        inv_std[j] = 1.0 / math.sqrt(variance + eps)
        shift[j] = mu - mean[j]


@chunk
def _factors(gamma, beta, inv_std, lost, factor, offset):
    """y = (x - mean) factor + offset."""
    for j in range(factor.size):
        factor[j] = inv_std[j] * gamma[j]
        offset[j] = beta[j] - lost[j] * factor[j]


def _affine(f):
    @chunk
    def affine(x, lo, hi, mean, factor, offset, y):
        """y = f((x - mean) factor + offset) for columns lo..hi."""
        zero = y.dtype.type(0)
        for i in range(x.shape[0]):
            a, b = x[i, lo:hi], y[i, lo:hi]
            for j in range(b.size):
                b[j] = f((a[j] - mean[j]) * factor[j] + offset[j], zero, zero)

    return affine


def _forward(name, affine):
    @kernel(name=name, threshold=PARALLEL)
    def forward(x, gamma, beta, eps, mean, var, inv_std, sums, terms, y):
        rows, columns = x.shape
        parts = _strips(rows, columns)
        for part in prange(parts):
            lo, hi = cut(columns, parts, part, ALIGN)
            shift, mu, scale = sums[0, lo:hi], mean[lo:hi], inv_std[lo:hi]
            factor, offset = terms[0, lo:hi], terms[1, lo:hi]
            _column_sums(x, lo, hi, shift, sums[1, lo:hi], sums[2, lo:hi])
            _statistics(rows, eps, shift, sums[1, lo:hi], sums[2, lo:hi], mu, var[lo:hi], scale)
            _factors(gamma[lo:hi], beta[lo:hi], scale, shift, factor, offset)
            affine(x, lo, hi, mu, factor, offset, y)

    return forward


@inline
def _unchanged(x, slope, zero):
    return x


_plain, _relu = _affine(_unchanged), _affine(relu_of)

forward = _forward("forward", _plain)
forward_relu = _forward("forward_relu", _relu)


# ---------------------------------------------------------------- gradients


@inline
def _any(dy, y, zero):
    return dy


@inline
def _where_positive(dy, y, zero):
    return zero if y <= zero else dy


def _gradient_passes(through):
    """The two passes of a backward kernel: dy as it came, or what max(y, 0) lets through of it."""

    @chunk
    def sums(dy, y, x, lo, hi, mean, total, products):
        """total = the sum of dy, products = the sum of dy (x - mean), for columns lo..hi."""
        zero = x.dtype.type(0)
        _clear(total)
        _clear(products)
        rows = x.shape[0]
        by_four = rows // 4 * 4
        for i in range(0, by_four, 4):
            x0, x1, x2, x3 = x[i, lo:hi], x[i + 1, lo:hi], x[i + 2, lo:hi], x[i + 3, lo:hi]
            y0, y1, y2, y3 = y[i, lo:hi], y[i + 1, lo:hi], y[i + 2, lo:hi], y[i + 3, lo:hi]
            d0, d1, d2, d3 = dy[i, lo:hi], dy[i + 1, lo:hi], dy[i + 2, lo:hi], dy[i + 3, lo:hi]
            for j in range(x0.size):
                a, b = through(d0[j], y0[j], zero), through(d1[j], y1[j], zero)
                c, d = through(d2[j], y2[j], zero), through(d3[j], y3[j], zero)
                m = mean[j]
                total[j] += (a + b) + (c + d)
                products[j] += (a * (x0[j] - m) + b * (x1[j] - m)) + (c * (x2[j] - m) + d * (x3[j] - m))
        for i in range(by_four, rows):
            x0, y0, d0 = x[i, lo:hi], y[i, lo:hi], dy[i, lo:hi]
            for j in range(x0.size):
                a = through(d0[j], y0[j], zero)
                total[j] += a
                products[j] += a * (x0[j] - mean[j])

    @chunk
    def combine(dy, y, x, lo, hi, mean, factor, constant, slope, dx):
        """dx = factor dy - constant - slope (x - mean) for columns lo..hi."""
        zero = x.dtype.type(0)
        for i in range(x.shape[0]):
            a, b, c, d = dy[i, lo:hi], y[i, lo:hi], x[i, lo:hi], dx[i, lo:hi]
            for j in range(d.size):
                g = through(a[j], b[j], zero)
                d[j] = factor[j] * g - constant[j] - slope[j] * (c[j] - mean[j])

    return sums, combine


@chunk
def _gradient_terms(
    rows, accumulate, gamma, inv_std, total, products, dgamma, dbeta, factor, constant, slope
):
    """dgamma and dbeta, and the three columns of numbers that dx is combined with."""
    for j in range(gamma.size):
        scale = inv_std[j] * 1.0
        g, b = products[j] * scale, total[j]
        dgamma[j] = g + dgamma[j] if accumulate else g
        dbeta[j] = b + dbeta[j] if accumulate else b
        factor[j] = gamma[j] * scale
        constant[j] = gamma[j] * scale * b / rows
        slope[j] = gamma[j] * scale * scale * g / rows


def _strip_backward(through):
    sums_pass, combine = _gradient_passes(through)

    @chunk
    def strip(dy, y, x, lo, hi, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx):
        total, products, mu = sums[0, lo:hi], sums[1, lo:hi], mean[lo:hi]
        factor, constant, slope = terms[0, lo:hi], terms[1, lo:hi], terms[2, lo:hi]
        sums_pass(dy, y, x, lo, hi, mu, total, products)
        _gradient_terms(
            x.shape[0], accumulate, gamma[lo:hi], inv_std[lo:hi], total, products,
            dgamma[lo:hi], dbeta[lo:hi], factor, constant, slope,
        )  # fmt: skip
        combine(dy, y, x, lo, hi, mu, factor, constant, slope, dx)

    return strip


_strip_plain, _strip_relu = _strip_backward(_any), _strip_backward(_where_positive)


@kernel(threshold=PARALLEL)
def backward(dy, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx):
    parts = _strips(x.shape[0], x.shape[1])
    for part in prange(parts):
        lo, hi = cut(x.shape[1], parts, part, ALIGN)
        _strip_plain(dy, dy, x, lo, hi, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx)


@kernel(threshold=PARALLEL)
def backward_relu(dy, y, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx):
    parts = _strips(x.shape[0], x.shape[1])
    for part in prange(parts):
        lo, hi = cut(x.shape[1], parts, part, ALIGN)
        _strip_relu(dy, y, x, lo, hi, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx)


# ---------------------------------------------------------------- prediction


def _predict(name, affine):
    @kernel(name=name, threshold=PARALLEL)
    def predict(x, gamma, beta, eps, mean, var, terms, y):
        for j in range(gamma.size):
            terms[0, j] = gamma[j] / math.sqrt(var[j] + eps)
        rows = x.shape[0]
        parts = 64 if rows * x.shape[1] >= PARALLEL else 1
        for part in prange(parts):
            lo, hi = cut(rows, parts, part, 1)
            affine(x[lo:hi], 0, x.shape[1], mean, terms[0], beta, y[lo:hi])

    return predict


predict = _predict("predict", _plain)
predict_relu = _predict("predict_relu", _relu)


@chunk
def _mix(batch, rest, factor, averages):
    for j in range(averages.size):
        averages[j] += rest * (factor * batch[j] - averages[j])


@kernel(threshold=math.inf)
def running(batch, decay, variances, unbias, status, averages):
    if status[0] == 0:
        t = averages.dtype.type
        _mix(batch[:variances], t(1 - decay), t(unbias), averages[:variances])
        _mix(batch[variances:], t(1 - decay), t(1), averages[variances:])
