"""Rows of any shape as vectors."""

from __future__ import annotations

import math

from ..typing import Array, Shape
from .frame import Frame
from .layer import Layer


class Flatten(Layer):
    """Rows of any shape as vectors, the last axis running fastest; nothing is copied.

    Examples
    --------
    >>> from fastdl import nn
    >>> nn.Flatten().output_shape((3, 8, 8))
    (192,)
    """

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def forward(self, x: Array, frame: Frame, train: bool) -> Array:
        frame.saved["shape"] = x.shape
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))

    def backward(self, dy: Array, frame: Frame) -> Array | None:
        return dy.reshape(frame.saved["shape"]) if frame.wants_dx else None
