"""The sum of two arrays, in chunks."""

from numba import prange

from .._numba import chunk, chunks, kernel
from .._pieces import CHUNK
from .._streaming import streamed_pair


@chunk
def _add(a, b, _, y):
    for i in range(y.size):
        y[i] = a[i] + b[i]


def _over_chunks(put):
    def forward(a, b, y):
        for part in prange(chunks(y.size)):
            at = part * CHUNK
            put(a[at : at + CHUNK], b[at : at + CHUNK], None, y[at : at + CHUNK])

    return forward


forward = kernel(streaming=_over_chunks(streamed_pair(_add)))(_over_chunks(_add))
