"""Dropout: y = scale x where the mask keeps, and 0 elsewhere. All arrays are flat, (n,).

`scale` is 1 / (1 - rate) in the inverted form, which all now use, and 1 in the older one. An element
is kept where its Philox word is not below `threshold` = round(rate 2^32); see philox.words for the
rest. What is drawn can be drawn again, so that the mask need not be stored.
"""

import numpy as np

from ..philox import reference as philox


def mask(threshold, stream, width, draw, mask):
    """1 where an element is kept."""
    words = np.empty(mask.size, np.uint32)
    philox.words(stream, width, draw, words)
    mask[...] = words >= threshold


def forward(x, threshold, scale, stream, width, draw, kept, y):
    """Draw the mask, keep it in `kept` (uint8), and apply it."""
    mask(threshold, stream, width, draw, kept)
    backward(x, kept, scale, y)


def drawn(x, threshold, scale, stream, width, draw, y):
    """Draw the mask and apply it, to x or to a gradient; y may be x."""
    kept = np.empty(x.size, np.uint8)
    forward(x, threshold, scale, stream, width, draw, kept, y)


def backward(dy, kept, scale, dx):
    """Apply the mask that was kept; dx may be dy."""
    dx[...] = np.where(kept, dy * dy.dtype.type(scale), 0)


def predict(x, keep, y):
    """y = keep x: what the older form does at prediction; y may be x."""
    np.multiply(x, x.dtype.type(keep), out=y)
