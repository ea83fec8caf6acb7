"""Elements brought between -limit and limit, in chunks."""

from numba import prange

from .._numba import chunk, chunks, kernel
from .._pieces import CHUNK


@chunk
def _clip(x, limit, y):
    # Written so that NaN fails both comparisons and passes through.
    for i in range(y.size):
        a = x[i]
        y[i] = limit if a > limit else (-limit if a < -limit else a)


@kernel()
def forward(x, limit, y):
    for part in prange(chunks(y.size)):
        at = part * CHUNK
        _clip(x[at : at + CHUNK], x.dtype.type(limit), y[at : at + CHUNK])
