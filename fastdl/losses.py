"""Losses: what a model's output is compared with, and the gradient of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from . import ops
from .nn.frame import Frame
from .typing import Array


class Loss(Protocol):
    """What the trainer wants of a loss."""

    def target(self, output_shape: tuple[int, ...]) -> tuple[tuple[int, ...], Any]:
        """Shape and dtype of one row's target, for outputs of this shape."""
        ...

    def gradient(self, output: Array, target: Array, frame: Frame) -> Array:
        """Add the scaled loss to `frame.total`; return its gradient by the output."""
        ...

    def value(self, output: Array, target: Array) -> float:
        """The mean loss of rows."""
        ...


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """Mean cross-entropy of softmax(output) against numbers of classes; the output are logits.

    It stands in for the share of errors, whose gradient is 0 almost everywhere.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import losses
    >>> round(losses.SoftmaxCrossEntropy().value(np.zeros((2, 4)), np.array([0, 3])), 6)  # log 4
    1.386294
    """

    def target(self, output_shape: tuple[int, ...]) -> tuple[tuple[int, ...], Any]:
        if len(output_shape) != 1:
            raise ValueError(
                f"SoftmaxCrossEntropy takes rows of logits, one a class, got outputs of shape {output_shape}"
            )
        return (), np.int64

    def gradient(self, output: Array, target: Array, frame: Frame) -> Array:
        return ops.softmax_cross_entropy(
            output,
            target,
            scale=frame.scale,
            total=frame.total,
            status=frame.status,
            out=frame.rows("doutput", output.shape[1]),
            losses=frame.rows("losses"),
        )[1]

    def value(self, output: Array, target: Array) -> float:
        return float(ops.softmax_cross_entropy(output, target)[0][0])
