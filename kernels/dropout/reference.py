"""Inverted dropout: y = x * mask / (1 - rate). All arrays are flat, (n,)."""

import numpy as np

from ..philox import reference as philox


def mask(threshold, stream, width, draw, mask):
    """1 where an element is kept: where its Philox word is not below `threshold` = round(rate * 2^32)."""
    words = np.empty(mask.size, np.uint32)
    philox.words(stream, width, draw, words)
    mask[...] = words >= threshold


def forward(x, threshold, scale, stream, width, draw, kept, y):
    """Draw `kept` (uint8), then y = scale * x where kept and 0 elsewhere."""
    mask(threshold, stream, width, draw, kept)
    backward(x, kept, scale, y)


def backward(dy, kept, scale, dx):
    """dx = scale * dy where kept and 0 elsewhere; dx may be dy."""
    dx[...] = np.where(kept, dy * dy.dtype.type(scale), 0)
