"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from ..typing import Array, Shape
from .frame import Frame
from .layer import Layer


class Sequential(Layer):
    """Layers one after the other, the output of each the input of the next.

    Examples
    --------
    >>> from fastdl import nn
    >>> model = nn.Sequential(nn.Linear(128), nn.ReLU(), nn.Linear(10))
    >>> model.output_shape((64,))
    (10,)
    """

    def __init__(self, *layers: Layer):
        for at, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                remedy = "pass the layers one by one, nn.Sequential(a, b)"
                if isinstance(layer, type):
                    remedy = f"write nn.{layer.__name__}()"
                raise TypeError(f"Sequential: layer {at} is {layer!r}, wanted a Layer; {remedy}")
        self.layers = layers

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"

    def children(self, shape: Shape) -> Iterator[tuple[Layer, Shape]]:
        for layer in self.layers:
            yield layer, shape
            shape = layer.output_shape(shape)

    def given_shape(self) -> Shape | None:
        return self.layers[0].given_shape() if self.layers else None

    def output_shape(self, shape: Shape) -> Shape:
        for layer in self.layers:
            shape = layer.output_shape(shape)
        return shape

    def forward(self, x: Array, frame: Frame, train: bool) -> Array:
        for layer, child in zip(self.layers, frame.children, strict=True):
            x = layer.forward(x, child, train)
        return x

    def backward(self, dy: Array, frame: Frame) -> Array | None:
        passed: Array | None = dy
        for layer, child in zip(reversed(self.layers), reversed(frame.children), strict=True):
            if passed is None:  # nothing before this layer has parameters
                break
            passed = layer.backward(passed, child)
        return passed
