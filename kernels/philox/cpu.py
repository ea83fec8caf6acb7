"""Philox4x32-10 in Numba: one block, for the kernels that draw, and a stream of words."""

import numpy as np
from numba import prange

from .._numba import CHUNK, chunk, chunks, inline, kernel

u32, u64 = np.uint32, np.uint64


@inline
def block(c0, c1, c2, c3, k0, k1):
    """The four words of block (c0, c1, c2, c3) under key (k0, k1), all uint32."""
    for _ in range(10):
        a = u64(0xD2511F53) * u64(c0)
        b = u64(0xCD9E8D57) * u64(c2)
        c0, c1 = u32(u32(b >> u64(32)) ^ c1 ^ k0), u32(b)
        c2, c3 = u32(u32(a >> u64(32)) ^ c3 ^ k1), u32(a)
        k0 = u32(k0 + u32(0x9E3779B9))
        k1 = u32(k1 + u32(0xBB67AE85))
    return c0, c1, c2, c3


@chunk
def words_chunk(tile, skip, stream, step, k0, k1, out):
    """Words of the stream from element 64 * tile + skip on, sixteen lanes at a time."""
    done = 0
    if skip:
        done = min(64 - skip, out.size)
        part_of_tile(tile, skip, stream, step, k0, k1, out[:done])
        tile += 1
    body = (out.size - done) // 64
    for t in range(body):
        o = out[done + 64 * t : done + 64 * t + 64]
        for lane in range(16):
            c = u64(tile + t) * u64(16) + u64(lane)
            r0, r1, r2, r3 = block(u32(c), u32(c >> u64(32)), stream, step, k0, k1)
            o[lane] = r0
            o[lane + 16] = r1
            o[lane + 32] = r2
            o[lane + 48] = r3
    done += 64 * body
    if done < out.size:
        part_of_tile(tile + body, 0, stream, step, k0, k1, out[done:])


@chunk
def part_of_tile(tile, skip, stream, step, k0, k1, out):
    """Elements skip, skip + 1, ... of one tile."""
    for lane in range(16):
        c = u64(tile) * u64(16) + u64(lane)
        r = block(u32(c), u32(c >> u64(32)), stream, step, k0, k1)
        for word in range(4):
            at = lane + 16 * word - skip
            if 0 <= at < out.size:
                out[at] = r[word]


@kernel()
def words(stream, width, draw, out):
    first = draw[3] * width
    for c in prange(chunks(out.size)):
        at = first + c * CHUNK
        words_chunk(at // 64, at % 64, u32(stream), u32(draw[2]), u32(draw[0]), u32(draw[1]), out[c * CHUNK : (c + 1) * CHUNK])
