"""Dropout as a layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import ops
from ..typing import Array
from .frame import Frame
from .layer import Layer


@dataclass(frozen=True, eq=False)
class Dropout(Layer):
    """Inverted dropout: in training x / (1 - rate) or 0, in prediction x itself.

    Parameters
    ----------
    rate : float
        The share that is dropped, 0 <= rate < 1.

    References
    ----------
    Srivastava et al., Dropout, JMLR 15, 2014.
    """

    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ValueError(
                f"Dropout: rate must be at least 0 and below 1 (the share that is dropped), got {self.rate}"
            )

    def forward(self, x: Array, frame: Frame, train: bool) -> Array:
        if not train or not self.rate:
            return x
        mask = frame.rows("mask", *x.shape[1:], dtype=np.uint8)
        frame.saved["mask"] = mask
        y = frame.rows("y", *x.shape[1:])
        return ops.dropout(x, rate=self.rate, stream=frame.stream, draw=frame.draw, out=y, mask=mask)[0]

    def backward(self, dy: Array, frame: Frame) -> Array | None:
        if not frame.wants_dx or not self.rate:
            return dy if frame.wants_dx else None
        dx = frame.rows("dx", *dy.shape[1:])
        return ops.dropout_backward(dy, frame.saved["mask"], rate=self.rate, out=dx)
