"""Layers with a way around them."""

from __future__ import annotations

from .. import ops
from ..typing import Array, Shape
from .frame import Frame
from .layer import Layer
from .sequential import Sequential


class Residual(Layer):
    """y = x + f(x), f being the layers within, one after the other.

    Gradients reach what stands before it unchanged by f, so that deep networks train.

    Parameters
    ----------
    *layers : Layer
    shortcut : Layer, optional
        s in y = s(x) + f(x): where f changes the shape, a `Linear` without bias, say.

    References
    ----------
    He et al., Deep residual learning for image recognition, 2015, https://arxiv.org/abs/1512.03385.

    Examples
    --------
    >>> from fastdl import nn
    >>> nn.Residual(nn.Linear(64, activation="relu"), nn.Linear(32)).output_shape((32,))
    (32,)
    """

    def __init__(self, *layers: Layer, shortcut: Layer | None = None):
        self.body = Sequential(*layers)
        self.shortcut = shortcut

    def __repr__(self) -> str:
        within = [repr(layer) for layer in self.body.layers]
        return f"Residual({', '.join(within + ([f'shortcut={self.shortcut!r}'] if self.shortcut else []))})"

    def children(self, shape: Shape) -> tuple[tuple[Layer, Shape], ...]:
        return ((self.body, shape),) + (((self.shortcut, shape),) if self.shortcut else ())

    def output_shape(self, shape: Shape) -> Shape:
        through, around = self.body.output_shape(shape), shape
        if self.shortcut:
            around = self.shortcut.output_shape(shape)
        if through != around:
            raise ValueError(
                f"Residual: the layers make rows of shape {through}, and the way around them {around}; make them "
                "equal, or pass shortcut=nn.Linear(...) to change the shape"
            )
        return through

    def forward(self, x: Array, frame: Frame, train: bool) -> Array:
        y = self.body.forward(x, frame.children[0], train)
        around = self.shortcut.forward(x, frame.children[1], train) if self.shortcut else x
        return ops.add(y, around, out=frame.rows("y", *y.shape[1:]))

    def backward(self, dy: Array, frame: Frame) -> Array | None:
        dx = self.body.backward(dy, frame.children[0])
        around = self.shortcut.backward(dy, frame.children[1]) if self.shortcut else dy
        if not frame.wants_dx or dx is None or around is None:
            return None
        return ops.add(dx, around, out=frame.rows("dx", *dx.shape[1:]))
