"""Batch normalisation as a layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import ops
from ..initializers import ones, zeros
from ..typing import Array, Shape
from .frame import Frame
from .layer import Average, Layer, Param


@dataclass(frozen=True, eq=False)
class BatchNorm(Layer):
    """Batch normalisation y = f(gamma (x - mean) / sqrt(var + eps) + beta) of every feature, or channel of images.

    Rows are (features,), or (channels, ...), where all values of a channel are normalised alike.

    In training mean and variance are the batch's; in prediction they are running averages, which
    keep 0.9 of the old at every step.

    Parameters
    ----------
    eps : float
    activation : {None, "relu"}
        f, computed in the same pass.
    correction : {0, 1}
        Running averages take the variance over m - correction, m being the values of a feature in a
        batch: 1 as in PyTorch, 0 as in course notes and ONNX.

    References
    ----------
    Ioffe and Szegedy, Batch Normalization, 2015, https://arxiv.org/abs/1502.03167.
    """

    eps: float = 1e-5
    activation: str | None = None
    correction: int = 1

    def __post_init__(self) -> None:
        if not self.eps >= 0:
            raise ValueError(f"BatchNorm: eps is {self.eps}, wanted 0 or more")
        if self.activation not in (None, "relu"):
            raise ValueError(f"BatchNorm: activation is {self.activation!r}, wanted None or 'relu'")

    def params(self, shape: Shape) -> dict[str, Param]:
        c = self._channels(shape)
        return {"gamma": Param((c,), ones), "beta": Param((c,), zeros)}

    def averages(self, shape: Shape) -> dict[str, Average]:
        c = self._channels(shape)
        return {"mean": Average((c,), 0.0), "variance": Average((c,), 1.0)}

    def _channels(self, shape: Shape) -> int:
        if not shape:
            raise ValueError("BatchNorm takes rows of shape (features,) or (channels, ...), got ()")
        return shape[0]

    def forward(self, x: Array, frame: Frame, train: bool) -> Array:
        gamma, beta = frame.param("gamma"), frame.param("beta")
        y, work = frame.rows("y", *x.shape[1:]), self._work(x, frame)
        if not train:
            mean, variance = frame.average("mean"), frame.average("variance")
            return ops.batch_norm_predict(
                x, gamma, beta, mean, variance, eps=self.eps, activation=self.activation, out=y, work=work
            )
        statistics = ops.BatchStatistics(
            frame.of_batch("mean"), frame.of_batch("variance"), frame.array("inverse_deviation", x.shape[1])
        )
        frame.saved.update(x=x, y=y, statistics=statistics)
        ops.batch_norm(
            x,
            gamma,
            beta,
            eps=self.eps,
            correction=self.correction,
            activation=self.activation,
            out=y,
            statistics=statistics,
            work=work,
        )
        return y

    def backward(self, dy: Array, frame: Frame) -> Array:
        x = frame.saved["x"]
        dx, _, _ = ops.batch_norm_backward(
            dy,
            x,
            frame.param("gamma"),
            frame.saved["statistics"],
            y=frame.saved["y"] if self.activation else None,
            accumulate=frame.accumulate("gamma"),
            out=frame.rows("dx", *x.shape[1:]),
            out_gamma=frame.grad("gamma"),
            out_beta=frame.grad("beta"),
            work=self._work(x, frame),
        )
        return dx

    def _work(self, x: Array, frame: Frame) -> ops.BatchNormWork:
        most, terms = ops.BatchNormWork.shapes((frame.capacity, *x.shape[1:]))
        blocks = ops.BatchNormWork.shapes(x.shape)[0][0]
        return ops.BatchNormWork(frame.array("sums", *most, dtype=np.float64)[:blocks], frame.array("terms", *terms))
