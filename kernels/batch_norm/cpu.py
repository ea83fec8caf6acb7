"""Batch normalisation by strips of columns: a strip's rows are read once for sums, once to map.

Sums are float64, of deviations from a value near the column's mean, so that a column around 1e4
with deviation 1 keeps its digits.
"""

import math

from numba import prange

from .._numba import chunk, clear, cut, inline, kernel, unchanged
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


# ---------------------------------------------------------------- training
# Scratch: `sums` (3, columns) float64 and `terms` (3, columns) in x's dtype.


@chunk
def _column_sums(x, lo, hi, sums):
    """For columns lo..hi: sums[0] = a shift near the mean, then the sums of (x - shift) and its square."""
    rows = x.shape[0]
    first = min(rows, FIRST)
    shift, total, squares = sums[0, lo:hi], sums[1, lo:hi], sums[2, lo:hi]
    clear(shift)
    clear(total)
    clear(squares)
    for i in range(first):
        a = x[i, lo:hi]
        for j in range(a.size):
            shift[j] += a[j] / first
    even = rows // 2 * 2
    for i in range(0, even, 2):  # two rows at once: half of the loads and stores of sums
        a, b = x[i, lo:hi], x[i + 1, lo:hi]
        for j in range(a.size):
            p, q = a[j] - shift[j], b[j] - shift[j]
            total[j] += p + q
            squares[j] += p * p + q * q
    if even < rows:
        a = x[even, lo:hi]
        for j in range(a.size):
            p = a[j] - shift[j]
            total[j] += p
            squares[j] += p * p


@chunk
def _statistics(rows, lo, hi, eps, sums, gamma, beta, mean, var, inv_std, terms):
    """The statistics from the sums, and y = (x - mean) terms[0] + terms[1].

    terms[1] makes up for what the mean loses when it is rounded to its dtype.
    """
    for j in range(lo, hi):
        d = sums[1, j] / rows
        mu = sums[0, j] + d
        variance = max(sums[2, j] / rows - d * d, 0.0)
        scale = 1.0 / math.sqrt(variance + eps)
        mean[j] = mu
        var[j] = variance
        inv_std[j] = scale
        terms[0, j] = scale * gamma[j]
        lost = mu - mean[j]
        terms[1, j] = beta[j] - lost * scale * gamma[j] if lost != 0.0 else beta[j]  # gamma may be infinite


def _affine(f):
    @chunk
    def affine(x, lo, hi, mean, factor, offset, y):
        """y = f((x - mean) factor + offset) for columns lo..hi."""
        zero = y.dtype.type(0)
        mean, factor, offset = mean[lo:hi], factor[lo:hi], offset[lo:hi]
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
            _column_sums(x, lo, hi, sums)
            _statistics(rows, lo, hi, eps, sums, gamma, beta, mean, var, inv_std, terms)
            affine(x, lo, hi, mean, terms[0], terms[1], y)

    return forward


_plain, _relu = _affine(unchanged), _affine(relu_of)

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
    def add_up(dy, y, x, lo, hi, mean, sums):
        """For columns lo..hi: sums[0] = the sum of dy, sums[1] = the sum of dy (x - mean)."""
        zero = x.dtype.type(0)
        total, products, mean = sums[0, lo:hi], sums[1, lo:hi], mean[lo:hi]
        clear(total)
        clear(products)
        rows = x.shape[0]
        even = rows // 2 * 2
        for i in range(0, even, 2):  # two rows at once: half of the loads and stores of sums
            x0, y0, d0 = x[i, lo:hi], y[i, lo:hi], dy[i, lo:hi]
            x1, y1, d1 = x[i + 1, lo:hi], y[i + 1, lo:hi], dy[i + 1, lo:hi]
            for j in range(x0.size):
                a, b = through(d0[j], y0[j], zero), through(d1[j], y1[j], zero)
                total[j] += a + b
                products[j] += a * (x0[j] - mean[j]) + b * (x1[j] - mean[j])
        if even < rows:
            x0, y0, d0 = x[even, lo:hi], y[even, lo:hi], dy[even, lo:hi]
            for j in range(x0.size):
                a = through(d0[j], y0[j], zero)
                total[j] += a
                products[j] += a * (x0[j] - mean[j])

    @chunk
    def combine(dy, y, x, lo, hi, mean, terms, dx):
        """dx = terms[0] dy - terms[1] - terms[2] (x - mean) for columns lo..hi."""
        zero = x.dtype.type(0)
        factor, constant, slope = terms[0, lo:hi], terms[1, lo:hi], terms[2, lo:hi]
        mean = mean[lo:hi]
        for i in range(x.shape[0]):
            a, b, c, d = dy[i, lo:hi], y[i, lo:hi], x[i, lo:hi], dx[i, lo:hi]
            for j in range(d.size):
                g = through(a[j], b[j], zero)
                d[j] = factor[j] * g - constant[j] - slope[j] * (c[j] - mean[j])

    return add_up, combine


@chunk
def _gradient_terms(rows, lo, hi, accumulate, gamma, inv_std, sums, dgamma, dbeta, terms):
    """dgamma and dbeta, and dx = terms[0] dy - terms[1] - terms[2] (x - mean)."""
    for j in range(lo, hi):
        scale = inv_std[j] * 1.0
        g, b = sums[1, j] * scale, sums[0, j]
        dgamma[j] = g + dgamma[j] if accumulate else g
        dbeta[j] = b + dbeta[j] if accumulate else b
        terms[0, j] = gamma[j] * scale
        terms[1, j] = gamma[j] * scale * b / rows
        terms[2, j] = gamma[j] * scale * scale * g / rows


_sums_plain, _combine_plain = _gradient_passes(_any)
_sums_relu, _combine_relu = _gradient_passes(_where_positive)


@kernel(threshold=PARALLEL)
def backward(dy, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx):
    parts = _strips(x.shape[0], x.shape[1])
    for part in prange(parts):
        lo, hi = cut(x.shape[1], parts, part, ALIGN)
        _sums_plain(dy, dy, x, lo, hi, mean, sums)
        _gradient_terms(x.shape[0], lo, hi, accumulate, gamma, inv_std, sums, dgamma, dbeta, terms)
        _combine_plain(dy, dy, x, lo, hi, mean, terms, dx)


@kernel(threshold=PARALLEL)
def backward_relu(dy, y, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx):
    parts = _strips(x.shape[0], x.shape[1])
    for part in prange(parts):
        lo, hi = cut(x.shape[1], parts, part, ALIGN)
        _sums_relu(dy, y, x, lo, hi, mean, sums)
        _gradient_terms(x.shape[0], lo, hi, accumulate, gamma, inv_std, sums, dgamma, dbeta, terms)
        _combine_relu(dy, y, x, lo, hi, mean, terms, dx)


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
