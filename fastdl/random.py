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
GRADIENT_CHECK = 0xC000_00E1  # which parameters are looked at, and how the loss is probed


def words(count: int, *, seed: int, stream: int, step: int = 0) -> Array:
    """The first `count` 32-bit words of a stream, as uint32.

    Examples
    --------
    >>> from fastdl import random
    >>> random.words(3, seed=0, stream=0)
    array([1713891541, 4175744164,   83534633], dtype=uint32)
    """
    out = np.empty(count, np.uint32)
    draw = np.array([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, step, 0], np.int64)
    reference.words(stream, 1, draw, out)
    return out


def uniform(count: int, *, seed: int, stream: int, step: int = 0) -> Array:
    """Numbers evenly spread over [0, 1), float64 with 53 random bits."""
    pairs = words(2 * count, seed=seed, stream=stream, step=step).astype(np.uint64)
    return ((pairs[::2] >> np.uint64(5)) * 67108864.0 + (pairs[1::2] >> np.uint64(6))) / 9007199254740992.0


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
