"""One flat buffer for all parameters, and named views into it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .typing import Array

ALIGN = 256  # bytes: a multiple of every cache line, and of what a GPU reads in one access


def aligned(shape: tuple[int, ...], dtype: Any) -> Array:
    """A zeroed array whose first element stands on a 256-byte boundary."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    raw = np.zeros(size + ALIGN, np.uint8)
    skip = -raw.ctypes.data % ALIGN
    array: Array = raw[skip : skip + size].view(dtype).reshape(shape)
    return array


class Layout:
    """Where each named array stands in a flat buffer.

    Every array begins on a 256-byte boundary. Those named in `first` stand in front, so that they
    make one span, `split` elements long: the parameters that take weight decay, say.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
    dtype : float32 or float64
    first : set of str

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.arena import Layout
    >>> layout = Layout({"b": (3,), "w": (2, 3)}, np.float32, first={"w"})
    >>> layout.size, layout.split, layout.offsets
    (128, 64, {'w': 0, 'b': 64})
    >>> flat = layout.buffer()
    >>> layout.views(flat)["w"][...] = 1
    >>> flat[:8]
    array([1., 1., 1., 1., 1., 1., 0., 0.], dtype=float32)
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], dtype: Any, first: set[str] | frozenset[str] = frozenset()
    ):
        self.shapes = dict(shapes)
        self.dtype = np.dtype(dtype)
        self.offsets: dict[str, int] = {}
        self.size = 0
        self.split = 0
        unit = ALIGN // self.dtype.itemsize
        for name in sorted(self.shapes, key=lambda name: name not in first):  # stable
            self.offsets[name] = self.size
            self.size += -(-math.prod(self.shapes[name]) // unit) * unit
            if name in first:
                self.split = self.size

    def buffer(self) -> Array:
        """A new flat buffer of zeros."""
        return aligned((self.size,), self.dtype)

    def views(self, flat: Array) -> dict[str, Array]:
        """The named arrays, as views into a buffer of this layout."""
        return {
            name: flat[self.offsets[name] : self.offsets[name] + math.prod(shape)].reshape(shape)
            for name, shape in self.shapes.items()
        }
