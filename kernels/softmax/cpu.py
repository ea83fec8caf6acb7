"""Softmax: a few rows at a time, which stay in the cache for their three passes.

The exponentials of all these rows are one loop, so that ten classes fill the vector unit as well as
a thousand.
"""

from numba import prange

from .._numba import chunk, dot, inline, kernel
from .._numba_math import exp

ELEMENTS = 4096  # of a chunk, about
SHORT = 32  # elements of which the largest is found one by one
THRESHOLD = 1 << 13  # elements from which two threads are faster than one


@inline
def rows_at_once(classes):
    """How many rows make a chunk."""
    return max(1, ELEMENTS // classes)


@chunk
def _fold(a, b, y):
    for j in range(y.size):
        y[j] = a[j] if a[j] > b[j] else b[j]


@chunk
def _fold_rows(x, first, last, y):
    """Fold long rows in halves, down to SHORT elements, which are left in y; how many they are.

    One running maximum is a chain of steps that wait for each other, since without nnan LLVM may
    not split it: 1,000 elements took three times as long.
    """
    size = x.shape[1]
    for i in range(first, last):
        a, b = x[i], y[i]
        size = a.size
        half = size // 2
        _fold(a[:half], a[size - half :], b[:half])
        if size % 2:
            b[half] = a[half]
        size -= half
        while size > SHORT:
            half = size // 2
            _fold(b[:half], b[size - half : size], b[:half])
            size -= half
    return size


@chunk
def _largest_of_rows(x, size, first, last, y):
    for i in range(first, last):
        a = x[i]
        top = a[0]
        for j in range(1, size):
            top = a[j] if a[j] > top else top
        y[i, 0] = top


@inline
def maxima(x, first, last, y):
    """y[i, 0] = the largest element of row i of x, for rows first to last; y is written over.

    NaN may or may not be seen: it comes back in the exponentials.
    """
    if x.shape[1] <= SHORT:
        _largest_of_rows(x, x.shape[1], first, last, y)
    else:
        _largest_of_rows(y, _fold_rows(x, first, last, y), first, last, y)


@chunk
def exponentials(e):
    """e = exp(e)."""
    for j in range(e.size):
        e[j] = exp(e[j])


@chunk(reassociate=True)
def total(e):
    """The sum of a row."""
    found = e.dtype.type(0)
    for j in range(e.size):
        found += e[j]
    return found


@chunk
def _subtract_maxima(x, first, last, y):
    for i in range(first, last):
        a, b = x[i], y[i]
        top = b[0]
        for j in range(b.size):
            b[j] = a[j] - top


@chunk
def _divide_by_sums(first, last, y):
    for i in range(first, last):
        a = y[i]
        factor = a.dtype.type(1) / total(a)
        for j in range(a.size):
            a[j] *= factor


@kernel(threshold=THRESHOLD)
def forward(x, y):
    rows, classes = x.shape
    flat = y.reshape(y.size)
    step = rows_at_once(classes)
    for c in prange((rows + step - 1) // step):
        first, last = c * step, min(rows, (c + 1) * step)
        maxima(x, first, last, y)
        _subtract_maxima(x, first, last, y)
        exponentials(flat[first * classes : last * classes])
        _divide_by_sums(first, last, y)


@chunk
def _gradient(dy, y, first, last, dx):
    for i in range(first, last):
        a, b, c = dy[i], y[i], dx[i]
        mean = dot(a, b)
        for j in range(c.size):
            c[j] = b[j] * (a[j] - mean)


@kernel(threshold=THRESHOLD)
def backward(dy, y, dx):
    rows, classes = dy.shape
    step = rows_at_once(classes)
    for c in prange((rows + step - 1) // step):
        _gradient(dy, y, c * step, min(rows, (c + 1) * step), dx)
