"""Activations as layers of their own, and softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import ops
from ..typing import Array, Shape
from .frame import Frame
from .layer import Layer, Param, features


@dataclass(frozen=True, eq=False)
class Activation(Layer):
    """Base of the activations: y = f(x), element by element."""

    name: ClassVar[str]
    slope: ClassVar[float] = 0.01
    alpha: ClassVar[float] = 1.0

    def forward(self, x: Array, frame: Frame, train: bool) -> Array:
        y = frame.rows("y", *x.shape[1:])
        frame.saved.update(x=x, y=y)
        return ops.activation(x, self.name, slope=self.slope, alpha=self.alpha, out=y)

    def backward(self, dy: Array, frame: Frame) -> Array | None:
        if not frame.wants_dx:
            return None
        dx = frame.rows("dx", *dy.shape[1:])
        return ops.activation_backward(dy, self.name, **frame.saved, slope=self.slope, alpha=self.alpha, out=dx)


class ReLU(Activation):
    """max(x, 0)."""

    name = "relu"


@dataclass(frozen=True, eq=False)
class LeakyReLU(Activation):
    """x, or slope x below 0."""

    name = "leaky_relu"
    slope: float = 0.01  # type: ignore[misc]


class Sigmoid(Activation):
    """1 / (1 + e^-x)."""

    name = "sigmoid"


class Tanh(Activation):
    """tanh x."""

    name = "tanh"


@dataclass(frozen=True, eq=False)
class ELU(Activation):
    """x, or alpha (e^x - 1) below 0."""

    name = "elu"
    alpha: float = 1.0  # type: ignore[misc]


class GELU(Activation):
    """x P(X <= x) for a standard normal X."""

    name = "gelu"


class SiLU(Activation):
    """x sigmoid(x)."""

    name = "silu"


class Softplus(Activation):
    """log(1 + e^x)."""

    name = "softplus"


class Softmax(Layer):
    """e^x_j / sum_k e^x_k over the last axis of rows (classes,): probabilities that add up to one.

    Cross-entropy takes the logits themselves; a softmax before it would be one too many.
    """

    def params(self, shape: Shape) -> dict[str, Param]:
        features(self, shape)
        return {}

    def forward(self, x: Array, frame: Frame, train: bool) -> Array:
        frame.saved["y"] = frame.rows("y", *x.shape[1:])
        return ops.softmax(x, out=frame.saved["y"])

    def backward(self, dy: Array, frame: Frame) -> Array | None:
        if not frame.wants_dx:
            return None
        return ops.softmax_backward(dy, frame.saved["y"], out=frame.rows("dx", *dy.shape[1:]))
