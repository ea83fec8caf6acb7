"""One flat buffer for all parameters, and named views into it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from . import devices
from .typing import Array

ALIGN = 256  # bytes: a multiple of every cache line, and of what a GPU reads in one access


def aligned(shape: tuple[int, ...], dtype: Any, device: str = "cpu") -> Array:
    """A zeroed array on a device, whose first element stands on a 256-byte boundary."""
    if device == "cuda":
        return devices.zeros(shape, dtype)
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    raw = np.zeros(size + ALIGN, np.uint8)
    skip = -raw.ctypes.data % ALIGN
    array: Array = raw[skip : skip + size].view(dtype).reshape(shape)
    return array


class Layout:
    """Where each named array stands in a flat buffer.

    Every array begins on a 256-byte boundary. Those of the first group stand in front, then those
    of the second, and so on, so that each group makes one span: the parameters that take weight
    decay, say, and all that are trained.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
    dtype : float32 or float64
    groups : sequence of collections of str
        A name in several belongs to the first of them, one in none comes last.

    Attributes
    ----------
    offsets : dict of str to int
        Where each array begins, in elements.
    size : int
    ends : list of int
        Where each group ends.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.arena import Layout
    >>> layout = Layout({"b": (3,), "w": (2, 3)}, np.float32, [{"w"}])
    >>> layout.size, layout.ends, layout.offsets
    (128, [64], {'w': 0, 'b': 64})
    >>> flat = layout.buffer()
    >>> layout.views(flat)["w"][...] = 1
    >>> flat[:8]
    array([1., 1., 1., 1., 1., 1., 0., 0.], dtype=float32)
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], dtype: Any, groups: Sequence[Collection[str]] = ()):
        self.shapes = dict(shapes)
        self.dtype = np.dtype(dtype)
        self.offsets: dict[str, int] = {}
        self.ends: list[int] = []
        self.size = 0
        unit = ALIGN // self.dtype.itemsize
        for group in (*groups, self.shapes):
            for name in self.shapes:
                if name in group and name not in self.offsets:
                    self.offsets[name] = self.size
                    self.size += -(-math.prod(self.shapes[name]) // unit) * unit
            self.ends.append(self.size)
        self.ends.pop()  # of those in no group

    def buffer(self, device: str = "cpu") -> Array:
        """A new flat buffer of zeros."""
        return aligned((self.size,), self.dtype, device)

    def views(self, flat: Array) -> dict[str, Array]:
        """The named arrays, as views into a buffer of this layout."""
        return {
            name: flat[self.offsets[name] : self.offsets[name] + math.prod(shape)].reshape(shape)
            for name, shape in self.shapes.items()
        }
