"""Losses: what a model's output is compared with, and the gradient of that."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

import numpy as np

from . import backend, devices, ops
from .nn import Dropout, Flatten, Frame, Layer, Linear, Residual, Sequential, Sigmoid, Softmax
from .typing import Array, Shape

TINY = np.finfo(np.float64).tiny  # a probability whose logarithm is finite


class SquashedLogitsWarning(UserWarning):
    """A model ends in a sigmoid or softmax, and its loss, which takes logits, applies another."""


class Loss:
    """Base of all losses. One of one's own overrides `target`, `gradient` and `value`.

    Attributes
    ----------
    metrics : tuple of str
        Names of the metrics that a trainer shows beside this loss: see `fastdl.metrics`.
    takes_logits : bool
        Whether it makes probabilities of the outputs itself, so that the model must not.
    takes_row_weights : bool
        Whether its gradient heeds `frame.weights`, what each row counts.
    """

    metrics: ClassVar[tuple[str, ...]] = ()
    takes_logits: ClassVar[bool] = False
    takes_row_weights: ClassVar[bool] = False

    @property
    def weighs(self) -> bool:
        """Whether the mean is over weights that only the targets tell, so that a batch cannot come in parts."""
        return False

    def check(self, target: Array) -> None:
        """Raise for targets that this loss has no meaning for; called on whole data sets."""

    def check_model(self, model: Layer) -> None:
        """Warn, naming the layer, if the model ends in probabilities and this loss takes logits."""
        layer, path = _last(model, "")
        if self.takes_logits and (function := _makes_probabilities(layer)):
            where = f"layer {path}" if path else "the model"
            warnings.warn(
                f"{type(self).__name__} takes logits, but {where} ({type(layer).__name__}) makes probabilities of "
                f"them; leave its {function} out, since the loss has its own, and call predict_proba for probabilities",
                SquashedLogitsWarning,
                stacklevel=3,
            )

    def target(self, output_shape: Shape) -> tuple[Shape, Any]:
        """Shape and dtype of one row's target, for outputs of this shape; None is the weights' own dtype."""
        raise NotImplementedError(f"{type(self).__name__} has no target method")

    def gradient(self, output: Array, target: Array, frame: Frame) -> Array:
        """Add the scaled loss to `frame.total`; return its gradient by the output.

        Where rows count differently, `frame.weights` holds what each of them does.
        """
        raise NotImplementedError(f"{type(self).__name__} has no gradient method")

    def value(self, output: Array, target: Array) -> float:
        """The mean loss of rows."""
        raise NotImplementedError(f"{type(self).__name__} has no value method")

    def compared(self, output: Array, target: Array) -> tuple[Array, Array]:
        """The outputs and targets that metrics compare."""
        return output, target

    def probabilities(self, output: Array) -> Array:
        """What outputs say of the classes, as probabilities."""
        raise TypeError(f"predict_proba: outputs under {type(self).__name__} are no probabilities; use predict")

    def average(self, outputs: Sequence[Array]) -> Array:
        """What several models' outputs say together, as outputs: their mean, or that of their probabilities."""
        return _mean(outputs).astype(outputs[0].dtype)


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """Mean cross-entropy of softmax(output) against numbers of classes; the output are logits.

    loss = mean_i (log sum_j e^z_ij - z_i,label_i). It stands in for the 0-1 loss, the share of errors, whose
    gradient is 0 almost everywhere: a wrong row costs log 2 or more, so the share is loss / log 2 at most.
    It stands beside the loss in the history, as `accuracy` or as `error`, 1 - accuracy: see `fastdl.metrics`.

    Parameters
    ----------
    smoothing : float
        Of a row's target, this much is spread evenly over all classes; 0 <= smoothing < 1.
    class_weights : sequence of float, optional
        One a class; the mean is then over the sum of the rows' weights (with `soft` over the rows, as in PyTorch).
    ignored : int, optional
        Rows with this label count for nothing.
    soft : bool
        Targets are the share of every class in every row, (n, classes), instead of numbers of classes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import losses
    >>> round(losses.SoftmaxCrossEntropy().value(np.zeros((2, 4)), np.array([0, 3])), 6)  # log 4
    1.386294
    """

    _: KW_ONLY
    smoothing: float = 0.0
    class_weights: Sequence[float] | None = None
    ignored: int | None = None
    soft: bool = False
    _weights: dict[Any, Array] = field(default_factory=dict, init=False, repr=False, compare=False)

    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    takes_logits: ClassVar[bool] = True
    takes_row_weights: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"SoftmaxCrossEntropy: smoothing is {self.smoothing}, wanted at least 0 and below 1")
        if self.soft and self.ignored is not None:
            raise ValueError(
                "SoftmaxCrossEntropy: shares of classes have no labels to ignore; leave out soft or ignored"
            )
        if self.class_weights is not None:
            try:
                weights = np.asarray(self.class_weights, np.float64)
            except (TypeError, ValueError):
                weights = np.empty(())
            if weights.ndim != 1 or not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
                raise ValueError(
                    f"SoftmaxCrossEntropy: class_weights are {self.class_weights}, wanted numbers of 0 or more, one a "
                    "class and not all of them 0"
                )
            object.__setattr__(self, "class_weights", tuple(weights.tolist()))

    @property
    def weighs(self) -> bool:
        return self.class_weights is not None or self.ignored is not None

    def target(self, output_shape: Shape) -> tuple[Shape, Any]:
        if len(output_shape) != 1:
            raise ValueError(
                f"SoftmaxCrossEntropy takes rows of logits, one a class, got outputs of shape {output_shape}"
            )
        if self.class_weights is not None and len(self.class_weights) != output_shape[0]:
            raise ValueError(
                f"SoftmaxCrossEntropy: got {len(self.class_weights)} class_weights for {output_shape[0]} outputs, "
                "wanted as many"
            )
        return (output_shape, None) if self.soft else ((), np.int64)

    def gradient(self, output: Array, target: Array, frame: Frame) -> Array:
        return ops.softmax_cross_entropy(
            output,
            target,
            **self._options(output),
            weights=frame.weights,
            scale=frame.scale,
            total=frame.total,
            status=frame.status,
            out=frame.rows("doutput", output.shape[1]),
            losses=frame.rows("losses"),
            work=frame.array("work", 1, dtype=np.float64),
        )[1]

    def value(self, output: Array, target: Array) -> float:
        target = _like(target, output) if self.soft else target
        loss, _ = ops.softmax_cross_entropy(output, target, **self._options(output))
        return float(devices.read(loss)[0])

    def compared(self, output: Array, target: Array) -> tuple[Array, Array]:
        """Rows that are not ignored; of soft targets the class with the largest share."""
        if self.soft:
            return output, target.argmax(axis=1)
        kept = target != self.ignored if self.ignored is not None else slice(None)
        return output[kept], target[kept]

    def probabilities(self, output: Array) -> Array:
        return ops.softmax(output)

    def average(self, outputs: Sequence[Array]) -> Array:
        mean = _mean([ops.softmax(output.astype(np.float64)) for output in outputs])
        return np.log(np.maximum(mean, TINY)).astype(outputs[0].dtype)

    def _options(self, output: Array) -> dict[str, Any]:
        """The weights of classes are one array for ever on each device, since a recorded step keeps its address."""
        weights = None
        if self.class_weights is not None:
            key = output.dtype, backend.gpu_of(output)
            if key not in self._weights:
                self._weights[key] = backend.library_of(output).array(self.class_weights, output.dtype)
            weights = self._weights[key]
        return {"smoothing": self.smoothing, "class_weights": weights, "ignored": self.ignored}


class ElementLoss(Loss):
    """Base of the losses that compare every output with a target of its own; the mean is over all of them."""

    name: ClassVar[str]
    delta: float = 1.0
    takes_row_weights: ClassVar[bool] = True

    def target(self, output_shape: Shape) -> tuple[Shape, Any]:
        return output_shape, None

    def check(self, target: Array) -> None:
        _check_values(self, target, np.isfinite(target), "finite numbers")

    def gradient(self, output: Array, target: Array, frame: Frame) -> Array:
        work = frame.array("work", ops.loss_work_size((frame.capacity, *output.shape[1:])), dtype=np.float64)
        return ops.loss(
            output,
            target,
            self.name,
            delta=self.delta,
            weights=frame.weights,
            scale=frame.scale,
            total=frame.total,
            work=work[: ops.loss_work_size(output.shape)],
            out=frame.rows("doutput", *output.shape[1:]),
        )[1]

    def value(self, output: Array, target: Array) -> float:
        target = _like(target, output)
        return float(devices.read(ops.loss(output, target, self.name, delta=self.delta)[0])[0])


@dataclass(frozen=True)
class MSE(ElementLoss):
    """Mean squared error, mean (y - t)^2; outliers weigh by their square.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import losses
    >>> losses.MSE().value(np.array([[1.0], [5.0]]), np.array([[0.0], [2.0]]))
    5.0
    """

    name: ClassVar[str] = "mse"
    metrics: ClassVar[tuple[str, ...]] = ("r2",)


@dataclass(frozen=True)
class L1(ElementLoss):
    """Mean absolute error, mean |y - t|; an outlier moves the fit no more than another row."""

    name: ClassVar[str] = "l1"
    metrics: ClassVar[tuple[str, ...]] = ("r2",)


@dataclass(frozen=True)
class Huber(ElementLoss):
    """Squares near the target and a straight line beyond: d^2 / 2 up to |d| = delta, then delta (|d| - delta / 2).

    Parameters
    ----------
    delta : float
        More than 0.

    References
    ----------
    Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics 35, 1964.
    """

    delta: float = 1.0

    name: ClassVar[str] = "huber"
    metrics: ClassVar[tuple[str, ...]] = ("r2",)

    def __post_init__(self) -> None:
        if not self.delta > 0:
            raise ValueError(f"Huber: delta is {self.delta}, wanted more than 0")


@dataclass(frozen=True)
class Hinge(ElementLoss):
    """mean max(0, 1 - t y), for targets t of -1 and 1: 0 once an output is on its side by a margin of 1."""

    name: ClassVar[str] = "hinge"

    def check(self, target: Array) -> None:
        _check_values(self, target, np.abs(target) == 1, "-1 or 1 (of 0 and 1 make 2 y - 1)")


@dataclass(frozen=True)
class BinaryCrossEntropy(ElementLoss):
    """Mean of log(1 + e^y) - t y for logits y and targets t from 0 to 1: each output a label of its own.

    It stands in for the share of wrong labels, as `SoftmaxCrossEntropy` does for that of wrong classes.
    A row can have several labels, or none: targets are (n, labels).
    """

    name: ClassVar[str] = "bce"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    takes_logits: ClassVar[bool] = True

    def check(self, target: Array) -> None:
        _check_values(self, target, (target >= 0) & (target <= 1), "0 to 1")

    def probabilities(self, output: Array) -> Array:
        return ops.activation(output, "sigmoid")

    def average(self, outputs: Sequence[Array]) -> Array:
        yes, no = (
            _mean([ops.activation(sign * output.astype(np.float64), "sigmoid") for output in outputs])
            for sign in (1, -1)
        )
        return (np.log(np.maximum(yes, TINY)) - np.log(np.maximum(no, TINY))).astype(outputs[0].dtype)


def _mean(arrays: Sequence[Array]) -> Array:
    """The mean of arrays of one shape, in float64."""
    total = arrays[0].astype(np.float64)
    for array in arrays[1:]:
        total += array
    return total / len(arrays)


def _like(target: Array, output: Array) -> Array:
    """Targets in the dtype and on the device of outputs."""
    if backend.on_cuda(output):
        return devices.asarray(target, "cuda").astype(output.dtype, copy=False)
    return np.asarray(target, output.dtype)


def _check_values(loss: Loss, target: Array, good: Array, wanted: str) -> None:
    if not good.all():
        at = tuple(int(i) for i in np.argwhere(~good)[0])
        raise ValueError(f"{type(loss).__name__}: the target of row {at[0]} is {target[at]}, wanted {wanted}")


def _last(layer: Layer, path: str) -> tuple[Layer, str]:
    """The layer within this one that makes its output, and where it stands; a residual block's is its body's."""
    if isinstance(layer, Residual):
        return _last(layer.body, f"{path}.0" if path else "0")
    if isinstance(layer, Sequential):
        for number, within in reversed(list(enumerate(layer.layers))):
            if not isinstance(within, (Dropout, Flatten)):  # which leave probabilities what they are
                return _last(within, f"{path}.{number}" if path else str(number))
    return layer, path


def _makes_probabilities(layer: Layer) -> str | None:
    """By which function, if it does."""
    if isinstance(layer, Softmax):
        return "softmax"
    if isinstance(layer, Sigmoid) or (isinstance(layer, Linear) and layer.activation == "sigmoid"):
        return "sigmoid"
    return None
