"""Rows of an array by their numbers: one copy of a contiguous row each."""

from numba import prange

from .._numba import CHUNK, chunk, kernel


@chunk
def _copy(x, y):
    for j in range(y.size):
        y[j] = x[j]


@kernel()
def forward(data, order, start, out):
    rows = max(1, CHUNK // max(1, out.shape[1]))  # of a chunk
    for c in prange((out.shape[0] + rows - 1) // rows):
        for i in range(c * rows, min(out.shape[0], (c + 1) * rows)):
            _copy(data[order[start[0] + i]], out[i])
