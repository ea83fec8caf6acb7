"""Batch normalisation: blocks of rows for (n, c), channel after channel for images (n, c, s).

Rows are cut by the shape alone, each block adds up its own, and the sums are merged in order. Then
the blocks are mapped, the last one first, while the cache still holds it. (Rows are never taken
backwards: LLVM then checks in vain that arrays lie apart, and the loop is scalar.) Sums are of deviations
from a value near the mean, so that a column around 1e4 with deviation 1 keeps its digits: a few
terms in x's own precision, and these in float64.
"""

import math

from numba import prange

from .._numba import blocks_of_rows, chunk, clear, cut, inline, kernel, unchanged
from ..activation.cpu import relu_of

PARALLEL = 1 << 17  # elements from which two threads are faster than one
SAMPLE = 16  # rows, or pixels, whose mean the deviations are taken from
SPAN = 256  # pixels that are added up in x's own precision


@inline
def _reversed(part, parts):
    """The same blocks backwards, half by half: of two threads each keeps its own."""
    return part ^ (parts // 2 - 1) if parts > 1 else part


@inline
def _groups(size, channels):
    """In how many groups the channels of images are cut."""
    return min(64, channels) if size >= PARALLEL else 1


@chunk
def _statistics(rows, lo, hi, eps, correction, sums, gamma, beta, mean, var, inv_std, terms):
    """The statistics of channels lo to hi from their sums, and y = (x - mean) terms[0] + terms[1].

    terms[0] holds what the sums are taken from; terms[1] makes up for what the mean loses when it is
    rounded to its dtype.
    """
    share, share_of_variance = 1.0 / rows, 1.0 / (rows - correction)
    for j in range(lo, hi):
        d = sums[0, j] * share
        mu = terms[0, j] + d
        squares = max(sums[1, j] - d * sums[0, j], 0.0)
        scale = 1.0 / math.sqrt(squares * share + eps)
        mean[j] = mu
        var[j] = squares * share_of_variance
        inv_std[j] = scale
        terms[0, j] = scale * gamma[j]
        lost = mu - mean[j]
        terms[1, j] = beta[j] - lost * scale * gamma[j] if lost != 0.0 else beta[j]  # gamma may be infinite


@chunk
def _gradient_terms(rows, lo, hi, accumulate, gamma, inv_std, sums, dgamma, dbeta, terms):
    """dgamma and dbeta, and dx = terms[0] dy - terms[1] - terms[2] (x - mean)."""
    share = 1.0 / rows
    for j in range(lo, hi):
        scale = inv_std[j] * 1.0
        g, b = sums[1, j] * scale, sums[0, j]
        dgamma[j] = g + dgamma[j] if accumulate else g
        dbeta[j] = b + dbeta[j] if accumulate else b
        terms[0, j] = gamma[j] * scale
        terms[1, j] = gamma[j] * scale * b * share
        terms[2, j] = gamma[j] * scale * scale * g * share


@inline
def _any(dy, y, zero):
    return dy


@inline
def _where_positive(dy, y, zero):
    return zero if y <= zero else dy


# ---------------------------------------------------------------- columns of (n, c)


@chunk
def _sample_mean(x, mean):
    """The mean of a few rows from all over x."""
    rows = x.shape[0]
    sample = min(rows, SAMPLE)
    share = x.dtype.type(1 / sample)
    clear(mean)
    for i in range(sample):
        a = x[i * rows // sample]
        for j in range(a.size):
            mean[j] += a[j] * share


@chunk
def _add_rows(x, shift, total, squares):
    """The sums over rows of x - shift and of its square."""
    clear(total)
    clear(squares)
    rows = x.shape[0]
    whole = rows // 8 * 8
    for i in range(0, whole, 8):  # eight rows at once: an eighth of the loads and stores of sums
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        e, f, g, h = x[i + 4], x[i + 5], x[i + 6], x[i + 7]
        for j in range(a.size):
            m = shift[j]
            p, q, r, s = a[j] - m, b[j] - m, c[j] - m, d[j] - m
            t, u, v, w = e[j] - m, f[j] - m, g[j] - m, h[j] - m
            total[j] += ((p + q) + (r + s)) + ((t + u) + (v + w))
            squares[j] += ((p * p + q * q) + (r * r + s * s)) + ((t * t + u * u) + (v * v + w * w))
    for i in range(whole, rows):
        a = x[i]
        for j in range(a.size):
            p = a[j] - shift[j]
            total[j] += p
            squares[j] += p * p


@chunk
def _add(a, b):
    for j in range(a.size):
        a[j] += b[j]


@chunk
def _merge(sums, parts):
    """sums[0] = the sums of all blocks."""
    for part in range(1, parts):
        _add(sums[0, 0], sums[part, 0])
        _add(sums[0, 1], sums[part, 1])


def _affine_rows(f):
    @chunk
    def affine(x, mean, factor, offset, y):
        """y = f((x - mean) factor + offset)."""
        zero = y.dtype.type(0)
        for i in range(x.shape[0]):
            a, b = x[i], y[i]
            for j in range(b.size):
                b[j] = f((a[j] - mean[j]) * factor[j] + offset[j], zero, zero)

    return affine


def _forward_rows(name, affine):
    @kernel(name=name, threshold=PARALLEL)
    def forward(x, gamma, beta, eps, correction, mean, var, inv_std, sums, terms, y):
        rows, columns = x.shape
        parts = blocks_of_rows(rows, columns)
        _sample_mean(x, terms[0])
        for part in prange(parts):
            lo, hi = cut(rows, parts, part, 8)
            _add_rows(x[lo:hi], terms[0], sums[part, 0], sums[part, 1])
        _merge(sums, parts)
        _statistics(rows, 0, columns, eps, correction, sums[0], gamma, beta, mean, var, inv_std, terms)
        for part in prange(parts):
            lo, hi = cut(rows, parts, _reversed(part, parts), 8)
            affine(x[lo:hi], mean, terms[0], terms[1], y[lo:hi])

    return forward


def _predict_rows(name, affine):
    @kernel(name=name, threshold=PARALLEL)
    def predict(x, gamma, beta, eps, mean, var, terms, y):
        for j in range(gamma.size):
            terms[0, j] = gamma[j] / math.sqrt(var[j] + eps)
        parts = blocks_of_rows(x.shape[0], x.shape[1])
        for part in prange(parts):
            lo, hi = cut(x.shape[0], parts, part, 4)
            affine(x[lo:hi], mean, terms[0], beta, y[lo:hi])

    return predict


def _gradients_of_rows(through):
    """The two passes of a backward kernel: dy as it came, or what max(y, 0) lets through of it."""

    @chunk
    def add_up(dy, y, x, mean, total, products):
        """The sums over rows of dy and of dy (x - mean)."""
        zero = x.dtype.type(0)
        clear(total)
        clear(products)
        rows = x.shape[0]
        whole = rows // 4 * 4
        for i in range(0, whole, 4):
            x0, y0, d0 = x[i], y[i], dy[i]
            x1, y1, d1 = x[i + 1], y[i + 1], dy[i + 1]
            x2, y2, d2 = x[i + 2], y[i + 2], dy[i + 2]
            x3, y3, d3 = x[i + 3], y[i + 3], dy[i + 3]
            for j in range(x0.size):
                a, b = through(d0[j], y0[j], zero), through(d1[j], y1[j], zero)
                c, d = through(d2[j], y2[j], zero), through(d3[j], y3[j], zero)
                m = mean[j]
                total[j] += (a + b) + (c + d)
                products[j] += (a * (x0[j] - m) + b * (x1[j] - m)) + (c * (x2[j] - m) + d * (x3[j] - m))
        for i in range(whole, rows):
            x0, y0, d0 = x[i], y[i], dy[i]
            for j in range(x0.size):
                a = through(d0[j], y0[j], zero)
                total[j] += a
                products[j] += a * (x0[j] - mean[j])

    @chunk
    def combine(dy, y, x, mean, terms, dx):
        """dx = terms[0] dy - terms[1] - terms[2] (x - mean)."""
        zero = x.dtype.type(0)
        factor, constant, slope = terms[0], terms[1], terms[2]
        for i in range(x.shape[0]):
            a, b, c, d = dy[i], y[i], x[i], dx[i]
            for j in range(d.size):
                g = through(a[j], b[j], zero)
                d[j] = factor[j] * g - constant[j] - slope[j] * (c[j] - mean[j])

    return add_up, combine


_plain_rows, _relu_rows = _affine_rows(unchanged), _affine_rows(relu_of)
forward = _forward_rows("forward", _plain_rows)
forward_relu = _forward_rows("forward_relu", _relu_rows)
predict = _predict_rows("predict", _plain_rows)
predict_relu = _predict_rows("predict_relu", _relu_rows)

_add_up, _combine = _gradients_of_rows(_any)
_add_up_relu, _combine_relu = _gradients_of_rows(_where_positive)


@kernel(threshold=PARALLEL)
def backward(dy, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx):
    rows, columns = x.shape
    parts = blocks_of_rows(rows, columns)
    for part in prange(parts):
        lo, hi = cut(rows, parts, part, 4)
        _add_up(dy[lo:hi], dy[lo:hi], x[lo:hi], mean, sums[part, 0], sums[part, 1])
    _merge(sums, parts)
    _gradient_terms(rows, 0, columns, accumulate, gamma, inv_std, sums[0], dgamma, dbeta, terms)
    for part in prange(parts):
        lo, hi = cut(rows, parts, _reversed(part, parts), 4)
        _combine(dy[lo:hi], dy[lo:hi], x[lo:hi], mean, terms, dx[lo:hi])


@kernel(threshold=PARALLEL)
def backward_relu(dy, y, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx):
    rows, columns = x.shape
    parts = blocks_of_rows(rows, columns)
    for part in prange(parts):
        lo, hi = cut(rows, parts, part, 4)
        _add_up_relu(dy[lo:hi], y[lo:hi], x[lo:hi], mean, sums[part, 0], sums[part, 1])
    _merge(sums, parts)
    _gradient_terms(rows, 0, columns, accumulate, gamma, inv_std, sums[0], dgamma, dbeta, terms)
    for part in prange(parts):
        lo, hi = cut(rows, parts, _reversed(part, parts), 4)
        _combine_relu(dy[lo:hi], y[lo:hi], x[lo:hi], mean, terms, dx[lo:hi])


# ---------------------------------------------------------------- channels of images (n, c, s)


@chunk(reassociate=True)
def _sums_of_block(a, shift):
    total, squares = a.dtype.type(0), a.dtype.type(0)
    for k in range(a.size):
        p = a[k] - shift
        total += p
        squares += p * p
    return total, squares


@chunk
def _channel_sums(x, j, sums, terms):
    """For channel j: terms[0] = a shift near the mean, sums = of x - shift and of its square."""
    images, _, pixels = x.shape
    size = images * pixels
    sample = min(size, SAMPLE)
    shift = x.dtype.type(0)
    for k in range(sample):
        at = k * size // sample
        shift += x[at // pixels, j, at % pixels] * x.dtype.type(1 / sample)
    total, squares = 0.0, 0.0
    for i in range(images):
        for k in range(0, pixels, SPAN):
            t, s = _sums_of_block(x[i, j, k : min(pixels, k + SPAN)], shift)
            total += t
            squares += s
    terms[0, j], sums[0, 0, j], sums[0, 1, j] = shift, total, squares


def _affine_channels(f):
    @chunk
    def span(a, mean, factor, offset, b):
        zero = b.dtype.type(0)
        for k in range(b.size):
            b[k] = f((a[k] - mean) * factor + offset, zero, zero)

    @chunk
    def affine(x, j, mean, factor, offset, y):
        """y = f((x - mean) factor + offset) for channel j, the last image first."""
        for k in range(x.shape[0]):
            i = x.shape[0] - 1 - k
            span(x[i, j], mean[j], factor[j], offset[j], y[i, j])

    return affine


def _forward_channels(name, affine):
    @kernel(name=name, threshold=PARALLEL)
    def forward(x, gamma, beta, eps, correction, mean, var, inv_std, sums, terms, y):
        images, channels, pixels = x.shape
        parts = _groups(x.size, channels)
        for part in prange(parts):
            lo, hi = cut(channels, parts, part, 1)
            for j in range(lo, hi):
                _channel_sums(x, j, sums, terms)
                rows = images * pixels
                _statistics(rows, j, j + 1, eps, correction, sums[0], gamma, beta, mean, var, inv_std, terms)
                affine(x, j, mean, terms[0], terms[1], y)

    return forward


def _predict_channels(name, affine):
    @kernel(name=name, threshold=PARALLEL)
    def predict(x, gamma, beta, eps, mean, var, terms, y):
        for j in range(gamma.size):
            terms[0, j] = gamma[j] / math.sqrt(var[j] + eps)
        parts = _groups(x.size, x.shape[1])
        for part in prange(parts):
            lo, hi = cut(x.shape[1], parts, part, 1)
            for j in range(lo, hi):
                affine(x, j, mean, terms[0], beta, y)

    return predict


def _gradients_of_channels(through):
    @chunk(reassociate=True)
    def sums_of_block(dy, y, x, mean):
        zero = x.dtype.type(0)
        total, products = zero, zero
        for k in range(x.size):
            g = through(dy[k], y[k], zero)
            total += g
            products += g * (x[k] - mean)
        return total, products

    @chunk
    def add_up(dy, y, x, j, mean, sums):
        """sums = the sum of dy over channel j, and that of dy (x - mean)."""
        images, _, pixels = x.shape
        total, products = 0.0, 0.0
        for i in range(images):
            for k in range(0, pixels, SPAN):
                end = min(pixels, k + SPAN)
                t, p = sums_of_block(dy[i, j, k:end], y[i, j, k:end], x[i, j, k:end], mean[j])
                total += t
                products += p
        sums[0, 0, j], sums[0, 1, j] = total, products

    @chunk
    def span(dy, y, x, mean, factor, constant, slope, dx):
        zero = x.dtype.type(0)
        for k in range(dx.size):
            g = through(dy[k], y[k], zero)
            dx[k] = factor * g - constant - slope * (x[k] - mean)

    @chunk
    def combine(dy, y, x, j, mean, terms, dx):
        """dx = terms[0] dy - terms[1] - terms[2] (x - mean) for channel j, the last image first."""
        for k in range(x.shape[0]):
            i = x.shape[0] - 1 - k
            span(dy[i, j], y[i, j], x[i, j], mean[j], terms[0, j], terms[1, j], terms[2, j], dx[i, j])

    return add_up, combine


_plain_channels, _relu_channels = _affine_channels(unchanged), _affine_channels(relu_of)
forward_images = _forward_channels("forward_images", _plain_channels)
forward_images_relu = _forward_channels("forward_images_relu", _relu_channels)
predict_images = _predict_channels("predict_images", _plain_channels)
predict_images_relu = _predict_channels("predict_images_relu", _relu_channels)

_add_up_images, _combine_images = _gradients_of_channels(_any)
_add_up_images_relu, _combine_images_relu = _gradients_of_channels(_where_positive)


@kernel(threshold=PARALLEL)
def backward_images(dy, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx):
    images, channels, pixels = x.shape
    parts = _groups(x.size, channels)
    for part in prange(parts):
        lo, hi = cut(channels, parts, part, 1)
        for j in range(lo, hi):
            _add_up_images(dy, dy, x, j, mean, sums)
            _gradient_terms(images * pixels, j, j + 1, accumulate, gamma, inv_std, sums[0], dgamma, dbeta, terms)
            _combine_images(dy, dy, x, j, mean, terms, dx)


@kernel(threshold=PARALLEL)
def backward_images_relu(dy, y, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx):
    images, channels, pixels = x.shape
    parts = _groups(x.size, channels)
    for part in prange(parts):
        lo, hi = cut(channels, parts, part, 1)
        for j in range(lo, hi):
            _add_up_images_relu(dy, y, x, j, mean, sums)
            _gradient_terms(images * pixels, j, j + 1, accumulate, gamma, inv_std, sums[0], dgamma, dbeta, terms)
            _combine_images_relu(dy, y, x, j, mean, terms, dx)


# ---------------------------------------------------------------- running averages


@chunk
def _mix(batch, rest, averages):
    for j in range(averages.size):
        averages[j] += rest * (batch[j] - averages[j])


@kernel(threshold=math.inf)
def running(batch, decay, status, averages):
    if status[0] == 0:
        _mix(batch, averages.dtype.type(1 - decay), averages)
