"""Dropout as a layer."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np

from .. import ops
from ..typing import Array
from .frame import Frame
from .layer import Layer


@dataclass(frozen=True, eq=False)
class Dropout(Layer):
    """Inverted dropout: in training x / (1 - rate) or 0, in prediction x itself.

    Every row has a mask of its own, drawn anew at every step. As the first layer it drops inputs.

    Parameters
    ----------
    rate : float
        The share that is dropped, 0 <= rate < 1.
    inverted : bool
        False is the older form: in training x or 0, in prediction (1 - rate) x.

    References
    ----------
    Srivastava et al., Dropout, JMLR 15, 2014.

    Examples
    --------
    >>> from fastdl import nn
    >>> model = nn.Sequential(nn.Dropout(0.2), nn.Linear(64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(10))
    """

    rate: float
    _: KW_ONLY
    inverted: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ValueError(
                f"Dropout: rate must be at least 0 and below 1 (the share that is dropped), got {self.rate}"
            )

    def forward(self, x: Array, frame: Frame, train: bool) -> Array:
        if not self.rate or (self.inverted and not train):
            return x
        y = frame.rows("y", *x.shape[1:])
        if not train:
            return ops.dropout_predict(x, rate=self.rate, out=y)
        mask = frame.rows("mask", *x.shape[1:], dtype=np.uint8)
        frame.saved["mask"] = mask
        return ops.dropout(
            x, rate=self.rate, stream=frame.stream, inverted=self.inverted, draw=frame.draw, out=y, mask=mask
        )[0]

    def backward(self, dy: Array, frame: Frame) -> Array | None:
        if not frame.wants_dx or not self.rate:
            return dy if frame.wants_dx else None
        dx = frame.rows("dx", *dy.shape[1:])
        return ops.dropout_backward(dy, frame.saved["mask"], rate=self.rate, inverted=self.inverted, out=dx)
