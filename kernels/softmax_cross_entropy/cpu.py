"""Softmax cross-entropy: a few rows at a time, which stay in the cache for their three passes."""

import math

import numpy as np
from numba import prange

from .._numba import chunk, clear, inline, kernel
from ..softmax.cpu import THRESHOLD, exponentials, maxima, rows_at_once
from ..softmax.cpu import total as row_total


@chunk
def _subtract_maxima(z, labels, first, last, d, losses):
    """d = z - the row's maximum, which stands in its first place; losses = what that leaves of the label's logit."""
    for i in range(first, last):
        a, b = z[i], d[i]
        top = b[0]
        for j in range(b.size):
            b[j] = a[j] - top
        losses[i] = b[labels[i]]


@chunk
def _finish(labels, first, last, share, d, losses):
    """From exponentials to the gradient, and from the label's logit to the loss."""
    for i in range(first, last):
        e = d[i]
        sum_of_row = row_total(e)
        losses[i] = math.log(sum_of_row) - losses[i]
        factor = share / sum_of_row
        for j in range(e.size):
            e[j] *= factor
        e[labels[i]] -= share


@inline
def _sum_in_order(losses):
    found = 0.0
    for i in range(losses.size):
        found += losses[i]
    return found


@kernel(threshold=THRESHOLD)
def forward(logits, labels, scale, losses, total, status, dlogits):
    rows, classes = logits.shape
    for i in range(rows):
        if labels[i] < 0 or labels[i] >= classes:
            status[0] = i + 1
            return
    share = logits.dtype.type(scale[0])
    flat = dlogits.reshape(dlogits.size)
    step = rows_at_once(classes)
    for c in prange((rows + step - 1) // step):
        first, last = c * step, min(rows, (c + 1) * step)
        maxima(logits, first, last, dlogits)
        _subtract_maxima(logits, labels, first, last, dlogits, losses)
        exponentials(flat[first * classes : last * classes])
        _finish(labels, first, last, share, dlogits, losses)
    total[0] += scale[0] * _sum_in_order(losses)


# ---------------------------------------------------------------- weights, smoothing, shares of classes
# A row's target is low everywhere and high more at its label, or a row of `targets`; what it is
# taken times, class by class, is (0,) where classes have no weights.


@chunk(reassociate=True)
def _row_of_label(z, label, low, high, by_class, d):
    """d = z - its maximum, which stands in d[0]; the sum of the row's target, and of target times d."""
    top = d[0]
    of_target, of_products = d.dtype.type(0), d.dtype.type(0)
    for j in range(d.size):
        d[j] = z[j] - top
    if by_class.size:
        for j in range(d.size):
            of_target += low * by_class[j]
            of_products += low * by_class[j] * d[j]
        high = high * by_class[label]
    else:
        for j in range(d.size):
            of_products += low * d[j]
        of_target = low * d.dtype.type(d.size)
    return of_target + high, of_products + high * d[label]


@chunk(reassociate=True)
def _row_of_shares(z, targets, by_class, keep, low, d):
    """The same where the row's target is keep targets + low."""
    top = d[0]
    of_target, of_products = d.dtype.type(0), d.dtype.type(0)
    for j in range(d.size):
        d[j] = z[j] - top
        t = keep * targets[j] + low
        if by_class.size:
            t *= by_class[j]
        of_target += t
        of_products += t * d[j]
    return of_target, of_products


@chunk
def _scale_row(d, factor):
    for j in range(d.size):
        d[j] *= factor


@chunk
def _subtract_low(d, low, by_class):
    if by_class.size:
        for j in range(d.size):
            d[j] -= low * by_class[j]
    else:
        for j in range(d.size):
            d[j] -= low


@chunk
def _subtract_shares(d, targets, by_class, keep, low, share):
    for j in range(d.size):
        t = keep * targets[j] + low
        if by_class.size:
            t *= by_class[j]
        d[j] -= share * t


@inline
def _factor(scale, rows, whole):
    return scale * rows / whole if whole != 0.0 else 0.0


@kernel(threshold=THRESHOLD)
def forward_weighted(
    logits, labels, class_weights, weights, smoothing, ignored, skip, scale, losses, whole, total, status, dlogits
):
    rows, classes = logits.shape
    t = logits.dtype.type
    added = 0.0
    for i in range(rows):
        label = labels[i]
        if skip and label == ignored:
            continue
        if label < 0 or label >= classes:
            status[0] = i + 1
            return
        weight = np.float64(weights[i]) if weights.size else 1.0
        added += weight * class_weights[label] if class_weights.size else weight
    whole[0] = added
    factor = _factor(scale[0], rows, added)
    low, high = t(smoothing / classes), t(1 - smoothing)
    for i in prange(rows):
        d = dlogits[i]
        weight = weights[i] if weights.size else t(1)
        if (skip and labels[i] == ignored) or weight == t(0):
            losses[i] = 0
            clear(d)
        else:
            maxima(logits, i, i + 1, dlogits)
            target, products = _row_of_label(logits[i], labels[i], low, high, class_weights, d)
            exponentials(d)
            sum_of_row = row_total(d)
            losses[i] = weight * (target * t(math.log(sum_of_row)) - products)
            share = t(factor * weight)
            _scale_row(d, share * target / sum_of_row)
            if low != t(0):
                _subtract_low(d, share * low, class_weights)
            d[labels[i]] -= share * (high * class_weights[labels[i]] if class_weights.size else high)
    total[0] += factor * _sum_in_order(losses)


@kernel(threshold=THRESHOLD)
def forward_soft(logits, targets, class_weights, weights, smoothing, scale, losses, whole, total, dlogits):
    rows, classes = logits.shape
    t = logits.dtype.type
    whole[0] = _sum_in_order(weights) if weights.size else np.float64(rows)
    factor = _factor(scale[0], rows, whole[0])
    keep, low = t(1 - smoothing), t(smoothing / classes)
    for i in prange(rows):
        d = dlogits[i]
        weight = weights[i] if weights.size else t(1)
        if weight == t(0):
            losses[i] = 0
            clear(d)
        else:
            maxima(logits, i, i + 1, dlogits)
            target, products = _row_of_shares(logits[i], targets[i], class_weights, keep, low, d)
            exponentials(d)
            sum_of_row = row_total(d)
            losses[i] = weight * (target * t(math.log(sum_of_row)) - products)
            share = t(factor * weight)
            _scale_row(d, share * target / sum_of_row)
            _subtract_shares(d, targets[i], class_weights, keep, low, share)
    total[0] += factor * _sum_in_order(losses)
