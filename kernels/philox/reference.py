"""Philox4x32-10 in NumPy: the definition of every random number in the project."""

import numpy as np

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
LOW = np.uint64(0xFFFFFFFF)


def blocks(counter, key):
    """The four words of each block: counter (..., 4) and key (2,) of 32-bit words, as uint64 arrays."""
    c0, c1, c2, c3 = (np.asarray(counter, np.uint64)[..., i] for i in range(4))
    k0, k1 = (int(k) for k in key)
    for _ in range(10):
        a = c0 * np.uint64(MULTIPLIERS[0])
        b = c2 * np.uint64(MULTIPLIERS[1])
        c0, c1 = (b >> np.uint64(32)) ^ c1 ^ np.uint64(k0), b & LOW
        c2, c3 = (a >> np.uint64(32)) ^ c3 ^ np.uint64(k1), a & LOW
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1)


def words(stream, width, draw, out):
    """Fill out (n,) uint32: `draw` (4,) int64 holds seed low word, seed high word, step, first row.

    Element i of the stream takes word (i // 16) % 4 of block 16 * (i // 64) + i % 16, and out[0]
    is element draw[3] * width.
    """
    low, high, step, row = (int(v) for v in draw)
    first = row * width
    tiles = np.arange(first // 64, -(-(first + out.size) // 64), dtype=np.uint64)
    block = (tiles[:, None] * np.uint64(16) + np.arange(16, dtype=np.uint64)).reshape(-1)
    counter = np.empty((block.size, 4), np.uint64)
    counter[:, 0], counter[:, 1] = block & LOW, block >> np.uint64(32)
    counter[:, 2], counter[:, 3] = np.uint64(int(stream) & 0xFFFFFFFF), np.uint64(step & 0xFFFFFFFF)
    drawn = blocks(counter, (low & 0xFFFFFFFF, high & 0xFFFFFFFF))
    elements = drawn.reshape(-1, 16, 4).transpose(0, 2, 1).reshape(-1)
    out[...] = elements[first % 64 : first % 64 + out.size]
