"""Dropout from Philox words: sixteen lanes draw a block each, and four words make a tile of 64 elements.

Drawing and applying are one loop, so that waiting for memory and multiplying overlap.
"""

import numpy as np
from numba import prange

from .._numba import chunk, chunks, inline, kernel
from .._pieces import CHUNK
from .._streaming import streamed, streamed_pair
from ..philox.cpu import block

u64 = np.uint64
LOW = u64(0xFFFFFFFF)


def _drawing(put):
    """A chunk that draws for elements first, first + 1, ... and does put(i, keep, x, scale, kept, y) with each."""

    @chunk
    def part_of_tile(tile, skip, threshold, stream, step, k0, k1, x, scale, kept, y, size):
        """Elements skip, skip + 1, ... of one tile."""
        counter = u64(tile) * u64(16)
        for lane in range(16):
            low = (counter & LOW) + u64(lane)  # sixteen blocks never carry into the high word
            words = block(low, counter >> u64(32), stream, step, k0, k1)
            for word in range(4):
                at = lane + 16 * word - skip
                if 0 <= at < size:
                    put(at, words[word] >= threshold, x, scale, kept, y)

    @chunk
    def whole_tile(counter, threshold, stream, step, k0, k1, x, scale, kept, y):
        for lane in range(16):
            low = (counter & LOW) + u64(lane)
            w0, w1, w2, w3 = block(low, counter >> u64(32), stream, step, k0, k1)
            put(lane, w0 >= threshold, x, scale, kept, y)
            put(lane + 16, w1 >= threshold, x, scale, kept, y)
            put(lane + 32, w2 >= threshold, x, scale, kept, y)
            put(lane + 48, w3 >= threshold, x, scale, kept, y)

    @chunk
    def draw_chunk(first, threshold, stream, draw, x, scale, kept, y, size):
        step, k0, k1 = u64(draw[2]) & LOW, u64(draw[0]), u64(draw[1])
        tile, skip, head = first // 64, first % 64, 0
        if skip:
            head = min(64 - skip, size)
            part_of_tile(tile, skip, threshold, stream, step, k0, k1, x, scale, kept, y, head)
            tile += 1
        tiles = (size - head) // 64
        for t in range(tiles):
            at = head + 64 * t
            x_t, kept_t, y_t = x[at : at + 64], kept[at : at + 64], y[at : at + 64]
            whole_tile(u64(tile + t) * u64(16), threshold, stream, step, k0, k1, x_t, scale, kept_t, y_t)
        at = head + 64 * tiles
        if at < size:
            part_of_tile(tile + tiles, 0, threshold, stream, step, k0, k1, x[at:], scale, kept[at:], y[at:], size - at)

    return draw_chunk


@inline
def _keep(at, keep, x, scale, kept, y):
    kept[at] = keep


@inline
def _apply(at, keep, x, scale, kept, y):
    y[at] = scale * x[at] if keep else y.dtype.type(0)


@inline
def _keep_and_apply(at, keep, x, scale, kept, y):
    kept[at] = keep
    y[at] = scale * x[at] if keep else y.dtype.type(0)


_draw_mask, _draw_and_apply, _draw_keep_and_apply = map(_drawing, (_keep, _apply, _keep_and_apply))


@kernel(threshold=1 << 14)
def mask(threshold, stream, width, draw, mask):
    first = draw[3] * width
    for c in prange(chunks(mask.size)):
        kept = mask[c * CHUNK : (c + 1) * CHUNK]
        _draw_mask(first + c * CHUNK, u64(threshold), u64(stream), draw, kept, 1, kept, kept, kept.size)


@kernel(threshold=1 << 14)
def forward(x, threshold, scale, stream, width, draw, kept, y):
    first, s = draw[3] * width, x.dtype.type(scale)
    for c in prange(chunks(y.size)):
        at = c * CHUNK
        a, k, b = x[at : at + CHUNK], kept[at : at + CHUNK], y[at : at + CHUNK]
        _draw_keep_and_apply(first + at, u64(threshold), u64(stream), draw, a, s, k, b, b.size)


@kernel(threshold=1 << 14)
def drawn(x, threshold, scale, stream, width, draw, y):
    first, s = draw[3] * width, x.dtype.type(scale)
    for c in prange(chunks(y.size)):
        at = c * CHUNK
        a, b = x[at : at + CHUNK], y[at : at + CHUNK]
        _draw_and_apply(first + at, u64(threshold), u64(stream), draw, a, s, b, b, b.size)


@chunk
def _apply_kept(x, kept, scale, y):
    s, zero = y.dtype.type(scale), y.dtype.type(0)
    for i in range(y.size):
        y[i] = s * x[i] if kept[i] else zero


def _backward(put):
    def backward(dy, kept, scale, dx):
        for c in prange(chunks(dx.size)):
            at = c * CHUNK
            put(dy[at : at + CHUNK], kept[at : at + CHUNK], scale, dx[at : at + CHUNK])

    return backward


backward = kernel(streaming=_backward(streamed_pair(_apply_kept)))(_backward(_apply_kept))


@chunk
def _multiply(x, scale, y):
    s = y.dtype.type(scale)
    for i in range(y.size):
        y[i] = s * x[i]


def _predict(put):
    def predict(x, keep, y):
        for c in prange(chunks(y.size)):
            at = c * CHUNK
            put(x[at : at + CHUNK], keep, y[at : at + CHUNK])

    return predict


predict = kernel(streaming=_predict(streamed(_multiply)))(_predict(_multiply))
