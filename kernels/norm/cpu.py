"""The Euclidean norm: sums of squares in float64, chunk by chunk, merged in order."""

import math

from numba import prange

from .._numba import chunk, chunks, kernel
from .._pieces import CHUNK

SCALE = 2.0**600


@chunk(reassociate=True)
def _sum_of_squares(x, scale):
    found = 0.0
    for i in range(x.size):
        a = x[i] * scale
        found += a * a
    return found


@kernel(work=lambda x, *_: x.size)
def forward(x, limit, sums, norm, factor):
    parts = chunks(x.size)
    for part in prange(parts):
        sums[part] = _sum_of_squares(x[part * CHUNK : (part + 1) * CHUNK], 1.0)
    total, scale = 0.0, 1.0
    for part in range(parts):
        total += sums[part]
    # Squares of float64 overflow beyond 1e154 and vanish below 1e-154: all is scaled then, and added up again.
    if total > 1e300 or total < 1e-290:
        scale = 1 / SCALE if total > 1.0 else SCALE
        total = 0.0
        for part in range(parts):
            total += _sum_of_squares(x[part * CHUNK : (part + 1) * CHUNK], scale)
    found = math.sqrt(total) / scale
    norm[0] = found
    factor[0] = 1.0 if found <= limit else limit / found
