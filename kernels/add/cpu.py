"""The sum of two arrays, in chunks."""

from numba import prange

from .._numba import chunk, chunks, kernel
from .._pieces import CHUNK


@chunk
def _add(a, b, y):
    for i in range(y.size):
        y[i] = a[i] + b[i]


@kernel()
def forward(a, b, y):
    for part in prange(chunks(y.size)):
        at = part * CHUNK
        _add(a[at : at + CHUNK], b[at : at + CHUNK], y[at : at + CHUNK])
