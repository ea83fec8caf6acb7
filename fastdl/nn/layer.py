"""What a layer is: a description of its parameters and of the ops it calls, without arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..initializers import Initializer
from ..typing import Array, Shape
from .frame import Frame
from .place import Places
from .summary import summary


class Param(NamedTuple):
    """A parameter that is trained."""

    shape: Shape
    start: Initializer
    decay: bool = False
    """Whether it takes weight decay."""


class Average(NamedTuple):
    """A running average over batches, used in prediction."""

    shape: Shape
    start: float


class Layer:
    """Base of all layers. A layer of one's own overrides `forward`, `backward` and what differs.

    A layer holds no array and no state. Whatever it needs stands in the frame that it is handed:
    one frame for each place that the layer is used at, and for each workspace. So one layer object
    at two places shares its weights (running averages are each place's own, since what reaches it
    is), and two threads can share one model.

    All shapes are those of one row: they leave out the axis of the batch.
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def children(self, shape: Shape) -> Iterable[tuple[Layer, Shape]]:
        """The layers within this one, each with the shape of its input, given this one's."""
        return ()

    def given_shape(self) -> Shape | None:
        """The shape of its input, where its own description tells it."""
        return None

    def params(self, shape: Shape) -> dict[str, Param]:
        """Its own parameters, for inputs of this shape."""
        return {}

    def averages(self, shape: Shape) -> dict[str, Average]:
        """Its own running averages, for inputs of this shape."""
        return {}

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of its output, for inputs of this shape."""
        return shape

    def summary(self, input_shape: Shape | None = None) -> str:
        """A table of the layers: what each makes of a row, and how many parameters it has.

        Parameters
        ----------
        input_shape : tuple of int, optional
            Of one row; not needed where the first layer was given its number of inputs.

        Examples
        --------
        >>> from fastdl import nn
        >>> print(nn.Sequential(nn.Linear(8, inputs=4), nn.ReLU(), nn.Linear(3)).summary())
        layer  type    output  parameters
        -----  ------  ------  ----------
               input   (4,)
        0      Linear  (8,)            40
        1      ReLU    (8,)
        2      Linear  (3,)            27
        67 parameters, 268 bytes in float32
        """
        shape = self.given_shape() if input_shape is None else tuple(input_shape)
        if shape is None:
            raise ValueError(
                "summary: the first layer does not tell its inputs; pass the shape of a row, summary((64,))"
            )
        return summary(Places(self, shape))

    def forward(self, x: Array, frame: Frame, train: bool) -> Array:
        """The output for input x (rows, ...)."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method")

    def backward(self, dy: Array, frame: Frame) -> Array | None:
        """Write the parameters' gradients; return that of x, or None unless `frame.wants_dx`."""
        raise NotImplementedError(f"{type(self).__name__} has no backward method")


def features(layer: Layer, shape: Shape, wanted: int | None = None) -> int:
    """The number of features of rows that are vectors; raises for rows of another shape."""
    name = type(layer).__name__
    if len(shape) != 1:
        raise ValueError(f"{name} takes rows of shape (features,), got {shape}; flatten them first")
    if wanted is not None and shape[0] != wanted:
        raise ValueError(f"{name} was made for {wanted} inputs, got {shape[0]}")
    return shape[0]
