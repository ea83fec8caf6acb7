"""Rows of an array by their numbers: one copy of a contiguous row each."""

from numba import prange

from .._numba import chunk, kernel, rows_of_chunk


@chunk
def _copy(x, y):
    for j in range(y.size):
        y[j] = x[j]


@kernel()
def forward(data, order, start, out):
    rows = rows_of_chunk(out.shape[1])
    for c in prange((out.shape[0] + rows - 1) // rows):
        for i in range(c * rows, min(out.shape[0], (c + 1) * rows)):
            _copy(data[order[start[0] + i]], out[i])
