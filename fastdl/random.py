"""Random numbers that depend on seed, stream, step and element alone.

They come from Philox4x32-10, whose layout kernels/philox/README.md gives. A stream is a use of
numbers: every place of a layer has one of its own, from 0 on, and those below are named.
"""

from __future__ import annotations

import numpy as np

from .kernels.philox import reference
from .typing import Array

STARTS = 0x8000_0000  # + number of the parameter: its values at the start
SHUFFLE = 0xC000_0000  # step = epoch: the order of the rows
SPLIT = 0xC000_0001  # the parts of a data set
BOOTSTRAP = 0xC000_0004  # step = sample: rows drawn with replacement
GRADIENT_CHECK = 0xC000_00E1  # which parameters are looked at, and how the loss is probed
# + place of the transformation in its list, + 65,536 for each call before, step = epoch: what becomes of a row
AUGMENT = 0xD000_0000

PIECE = 1 << 16  # words drawn at a time, so that what they are made of stays in the cache


def words(count: int, *, seed: int, stream: int, step: int = 0) -> Array:
    """The first `count` 32-bit words of a stream, as uint32.

    Examples
    --------
    >>> from fastdl import random
    >>> random.words(3, seed=0, stream=0)
    array([1713891541, 4175744164,   83534633], dtype=uint32)
    """
    out = np.empty(count, np.uint32)
    for first in range(0, count, PIECE):
        draw = np.array([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, step, first], np.int64)
        reference.words(stream, 1, draw, out[first : first + PIECE])
    return out


def row_words(rows: Array, width: int, *, seed: int, stream: int, step: int = 0) -> Array:
    """The words of some rows of a stream, (len(rows), width) uint32.

    Each row begins at a tile of 64 elements, so that its words depend on its number alone.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import random
    >>> random.row_words(np.array([0, 1]), 2, seed=0, stream=0)[0]
    array([1713891541, 4175744164], dtype=uint32)
    """
    tiles, lanes = -(-width // 64), min(width, 16)  # of a short row only what is wanted of its first tile
    tile = rows.astype(np.uint64)[:, None] * np.uint64(tiles) + np.arange(tiles, dtype=np.uint64)
    block: Array = tile[:, :, None] * np.uint64(16) + np.arange(lanes, dtype=np.uint64)
    counter = np.empty((*block.shape, 4), np.uint64)
    counter[..., 0], counter[..., 1] = block & reference.LOW, block >> np.uint64(32)
    counter[..., 2], counter[..., 3] = np.uint64(stream), np.uint64(step & 0xFFFFFFFF)
    drawn = reference.blocks(counter, (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF))
    found: Array = drawn.swapaxes(2, 3).reshape(len(block), 4 * tiles * lanes)[:, :width].astype(np.uint32)
    return found


def uniform(count: int, *, seed: int, stream: int, step: int = 0) -> Array:
    """Numbers evenly spread over [0, 1), float64 with 53 random bits."""
    pairs = words(2 * count, seed=seed, stream=stream, step=step)
    return ((pairs[::2] >> np.uint32(5)) * 67108864.0 + (pairs[1::2] >> np.uint32(6))) / 9007199254740992.0


def normal(count: int, *, seed: int, stream: int, step: int = 0) -> Array:
    """Numbers of the standard normal distribution, float64, by Box and Muller's transform."""
    half = (count + 1) // 2
    u = uniform(2 * half, seed=seed, stream=stream, step=step)
    radius = np.sqrt(-2 * np.log1p(-u[:half]))  # 1 - u is never 0
    angle = 2 * np.pi * u[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def permutation(count: int, *, seed: int, stream: int = SHUFFLE, step: int = 0) -> Array:
    """The numbers 0 to count - 1 in an order that each is as likely as any other, int64."""
    pairs = words(2 * count, seed=seed, stream=stream, step=step).astype(np.uint64)
    return np.argsort(pairs[::2] << np.uint64(32) | pairs[1::2], kind="stable")
