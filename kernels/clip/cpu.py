"""Elements brought between -limit and limit, in chunks."""

from numba import prange

from .._numba import chunk, chunks, kernel
from .._pieces import CHUNK
from .._streaming import streamed


@chunk
def _clip(x, limit, y):
    # Written so that NaN fails both comparisons and passes through.
    for i in range(y.size):
        a = x[i]
        y[i] = limit if a > limit else (-limit if a < -limit else a)


def _over_chunks(put):
    def forward(x, limit, y):
        for part in prange(chunks(y.size)):
            at = part * CHUNK
            put(x[at : at + CHUNK], x.dtype.type(limit), y[at : at + CHUNK])

    return forward


forward = kernel(streaming=_over_chunks(streamed(_clip)))(_over_chunks(_clip))
