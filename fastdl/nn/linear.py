"""The fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .. import ops
from ..initializers import Initializer, he_normal, zeros
from ..typing import Array, Shape
from .frame import Frame
from .layer import Layer, Param, features

ACTIVATIONS = tuple(name for name in ops.EPILOGUES if name not in ops.FROM_INPUT)


@dataclass(frozen=True, eq=False, kw_only=True)
class Linear(Layer):
    """Fully connected layer y = f(x W + b).

    Parameters
    ----------
    outputs : int
    inputs : int, optional
        Taken from what comes before; given, it is checked.
    bias : bool
        Before a batch norm a bias has no effect, since the mean takes it away.
    activation : {None, "relu", "leaky_relu", "sigmoid", "tanh"}
        f, computed in the same pass as the product.
    start : Initializer
        Of W (inputs, outputs); b starts at 0.

    Examples
    --------
    >>> from fastdl import nn
    >>> nn.Linear(10).output_shape((64,))
    (10,)
    """

    outputs: int = field(kw_only=False)
    inputs: int | None = None
    bias: bool = True
    activation: str | None = None
    start: Initializer = field(default=he_normal, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.outputs, (int, np.integer)) or self.outputs < 1:
            raise ValueError(f"Linear: outputs is {self.outputs!r}, wanted an integer of at least 1")
        if self.activation is not None and self.activation not in ACTIVATIONS:
            raise ValueError(
                f"Linear: activation is {self.activation!r}, wanted one of {', '.join(map(repr, ACTIVATIONS))}, whose "
                "gradient the output tells; use a layer of its own for others, nn.GELU() say"
            )

    def params(self, shape: Shape) -> dict[str, Param]:
        weight = Param((features(self, shape, self.inputs), self.outputs), self.start, decay=True)
        return {"weight": weight, "bias": Param((self.outputs,), zeros)} if self.bias else {"weight": weight}

    def output_shape(self, shape: Shape) -> Shape:
        return (self.outputs,)

    def given_shape(self) -> Shape | None:
        return None if self.inputs is None else (self.inputs,)

    def forward(self, x: Array, frame: Frame, train: bool) -> Array:
        bias = frame.param("bias") if self.bias else None
        y = frame.rows("y", self.outputs)
        frame.saved.update(x=x, y=y)
        row = ops.matmul_row_work_size(x, self.outputs)
        work = frame.array("row", row) if row else None
        return ops.matmul(x, frame.param("weight"), bias, activation=self.activation, out=y, work=work)

    def backward(self, dy: Array, frame: Frame) -> Array | None:
        if self.activation:
            y = frame.saved["y"]
            dy = ops.activation_backward(dy, self.activation, y=y, out=frame.rows("dz", self.outputs))
        if frame.trains("weight") or (self.bias and frame.trains("bias")):
            x = frame.saved["x"]
            most = ops.matmul_work_size(x, self.outputs, rows=frame.capacity)
            ops.matmul_backward_weights(
                x,
                dy,
                bias=self.bias,
                accumulate=frame.accumulate("weight"),
                out=frame.grad("weight"),
                out_bias=frame.grad("bias") if self.bias else None,
                work=frame.array("work", most)[: ops.matmul_work_size(x, self.outputs)],
            )
        if not frame.wants_dx:
            return None
        weight = frame.param("weight")
        return ops.matmul_backward_input(dy, weight, out=frame.rows("dx", weight.shape[0]))
