"""Gradients against differences of the loss: whether backward is the derivative of forward, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import backend, checks, devices, random
from .losses import Loss
from .nn import Frame, Layer, Param, Residual, Sequential, Weights, Workspace
from .nn.place import Place
from .step import check_rows, check_weights
from .typing import Array, Shape

RIGHT, WRONG = 1e-7, 1e-3
VERDICTS = "right", "look", "wrong"
# Distances of the outer points, for a parameter of up to 1. The first is taken at which no kink shows: at a smaller
# one more digits cancel.
STEPS = 1e-3, 1e-4, 1e-5, 1e-6
PROBES, PROBE = 9, 1e-7  # how often the loss's rounding is looked at, and by which share the weights change then
EPS = float(np.finfo(np.float64).eps)
MARGIN = 10  # times the median of roundings, within which nearly all of them lie
OF_A_LAYER = 40  # elements of each array that are looked at where one layer is


# ---------------------------------------------------------------- what is found


@dataclass(frozen=True, eq=False)
class Comparison:
    """Gradients by backward and by differences.

    Attributes
    ----------
    backward, numerical : (k,) float64
        Of the same k elements; numerical is NaN at a kink, which is left out of all that follows.
    rounding : (k,) float64
        How far off the difference may be by the rounding of the loss alone.
    """

    backward: Array
    numerical: Array
    rounding: Array

    @property
    def kinks(self) -> int:
        """How many elements are left out, since the loss bends sharply there."""
        return int(np.isnan(self.numerical).sum())

    @property
    def checked(self) -> int:
        """How many elements were compared."""
        return len(self.numerical) - self.kinks

    @property
    def difference(self) -> float:
        """norm(g - g_hat) / (norm(g) + norm(g_hat)), from 0 to 1; 0 where both are 0."""
        return self._relative(self.backward - self.numerical)

    @property
    def verdict(self) -> str:
        """Below 1e-7, or where rounding explains the difference, "right"; above 1e-3 "wrong"; between them "look"."""
        found = self.difference
        if found < RIGHT or found <= self._relative(self.rounding):
            return "right"
        return "look" if found <= WRONG else "wrong"

    def _relative(self, error: Array) -> float:
        smooth = ~np.isnan(self.numerical)
        off, *norms = (float(np.linalg.norm(a[smooth])) for a in (error, self.backward, self.numerical))
        return off / sum(norms) if sum(norms) else 0.0


@dataclass(frozen=True, eq=False)
class ParameterGradient(Comparison):
    """What was found of one parameter.

    Attributes
    ----------
    name : str
    shape : tuple of int
    at : (k,) int64
        Which of its elements were looked at, in C order.
    """

    name: str
    shape: Shape
    at: Array


@dataclass(frozen=True)
class Worst:
    """The element whose two gradients lie farthest apart."""

    name: str
    index: tuple[int, ...]
    backward: float
    numerical: float

    def __str__(self) -> str:
        return (
            f"{self.name}[{', '.join(map(str, self.index))}], {self.backward:.9g} by backward "
            f"and {self.numerical:.9g} by differences"
        )


@dataclass(frozen=True, eq=False)
class GradientCheck(Comparison):
    """What `check_gradients` found, of all parameters together; as text it is a table.

    Attributes
    ----------
    parameters : tuple of ParameterGradient
        The same by parameter.
    faults : tuple of str
        Where the verdict is not "right": the layers whose backward is wrong, "layer 1 (ReLU)".
    """

    parameters: tuple[ParameterGradient, ...]
    faults: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many elements the parameters have."""
        return sum(math.prod(row.shape) for row in self.parameters)

    @property
    def verdict(self) -> str:
        """The worst of all parameters' and of that over all of them; "look" if nothing could be compared."""
        if not self.checked:
            return "look"
        return max((super().verdict, *(row.verdict for row in self.parameters)), key=VERDICTS.index)

    @property
    def worst(self) -> Worst | None:
        """The element whose two gradients lie farthest apart; None if all were kinks."""
        found = None
        most = -1.0
        for row in self.parameters:
            apart = np.abs(row.backward - row.numerical)
            apart[np.isnan(row.numerical)] = -1.0
            apart[np.isnan(row.backward)] = np.inf
            if apart.size and apart.max() > most:
                most, at = float(apart.max()), int(apart.argmax())
                index = tuple(int(i) for i in np.unravel_index(row.at[at], row.shape))
                found = Worst(row.name, index, float(row.backward[at]), float(row.numerical[at]))
        return found

    def __str__(self) -> str:
        lines = [["parameter", "shape", "checked", "kinks", "gradient", "difference", "verdict"]]
        lines += [_cells(row) for row in self.parameters]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        lines.insert(1, ["-" * width for width in widths])
        told = ["  ".join(map(_padded, line, widths, "<<>>>><")).rstrip() for line in lines]
        told.append(f"farthest apart: {self.worst}" if self.worst else "all of them stand at kinks of the loss")
        what = "wrong" if self.verdict == "wrong" else "to look at"
        told += [f"{what} is the backward of {fault}" for fault in self.faults]
        if self.kinks:
            told.append("kinks: parameters that are left out, since the loss bends sharply there, as at a ReLU's 0")
        over = f"over {self.checked:,} of {self.size:,} parameters"
        bounds = f"right is below {RIGHT:.0e}, wrong above {WRONG:.0e}"
        return "\n".join([*told, f"{self.verdict}: difference {self.difference:.1e} {over}; {bounds}"])


def _padded(cell: str, width: int, side: str) -> str:
    return f"{cell:{side}{width}}"


def _cells(row: ParameterGradient) -> list[str]:
    """A parameter's cells in the table; a difference that is all rounding is no figure to look at."""
    rounding = row.verdict == "right" and row.difference >= RIGHT
    return [
        row.name,
        str(row.shape),
        f"{row.checked:,}",
        f"{row.kinks:,}" if row.kinks else "",
        f"{np.linalg.norm(row.backward):.1e}",
        "rounding" if rounding else f"{row.difference:.1e}",
        row.verdict,
    ]


# ---------------------------------------------------------------- the check


def check_gradients(
    model: Layer,
    loss: Loss,
    x: Array,
    y: Array,
    *,
    weights: Weights | None = None,
    samples: int | None = None,
    seed: int = 0,
    sample_weight: Array | None = None,
) -> GradientCheck:
    """Compare the gradients g of backward with differences of the loss, norm(g - g_hat) / (norm(g) + norm(g_hat)).

    g_hat_i = (J(-2 d) - 8 J(-d) + 8 J(d) - J(2 d)) / (12 d), J(d) being the loss where parameter i is moved by
    d. Everything is computed in float64 on the CPU, in training mode, and dropout draws the same mask each time.
    Where the loss has a kink within 2 d (a ReLU changes sides, say), its fourth difference is larger than rounding
    makes it: then a smaller d is tried, from 5e-4 down to 5e-7 times max(1, abs(theta_i)), and if that is in vain
    the parameter is left out and counted.

    Penalties (weight decay, L1) are no part of it: the optimizer adds their gradients, not backward.

    Parameters
    ----------
    model : Layer
    loss : Loss
    x : (n, ...)
        A few dozen rows tell as much as thousands.
    y : (n, ...)
    weights : Weights, optional
        Of this model, on any device and in any dtype, which are copied; new ones without it. Frozen parameters
        are left out.
    samples : int, optional
        How many elements of all parameters are looked at, as many of each parameter as it has or as its share
        is; all without it.
    seed : int
        Of the sample, of dropout, and of new weights.
    sample_weight : (n,), optional
        What each row counts.

    Returns
    -------
    GradientCheck
        Its `verdict` is "right", "look" or "wrong"; `print` shows all of it.

    Raises
    ------
    ValueError
        For rows that do not fit, a bad label, a loss that is not finite, or one that differs from call to call.

    Notes
    -----
    Course notes take (J(d) - J(-d)) / (2 d) with d = 1e-7. There the rounding of J, divided by d, puts right
    gradients 2e-8 to 2e-6 off; with a larger d kinks do, by up to 4e-2. With four points the error falls with d^4,
    so that d can be large where the loss is smooth, and right gradients are 1e-11 to 1e-8 off.

    References
    ----------
    Goodfellow, Bengio and Courville, Deep Learning, MIT Press 2016, section 11.5.
    Fornberg, Generation of finite difference formulas on arbitrarily spaced grids, Mathematics of Computation 51, 1988.
    Moré and Wild, Estimating computational noise, SIAM Journal on Scientific Computing 33, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> import fastdl as fd
    >>> model = fd.nn.Sequential(fd.nn.Linear(8, activation="tanh"), fd.nn.Linear(3))
    >>> x, y = np.eye(6), np.arange(6) % 3
    >>> found = fd.check_gradients(model, fd.losses.SoftmaxCrossEntropy(), x, y)
    >>> found.verdict, found.checked, found.difference < 1e-8
    ('right', 83, True)
    """
    checks.word("check_gradients", "seed", seed, 64)
    for name, given, base in (("model", model, Layer), ("loss", loss, Loss)):
        if not isinstance(given, base):
            raise TypeError(f"check_gradients: {name} is {given!r}, wanted a {base.__name__}")
    if weights is not None and weights.model is not model:
        raise ValueError(
            f"check_gradients: the weights given are of {weights.model!r}, wanted those of the very model, {model!r}"
        )
    check_rows(model, loss, x, y, row=weights.input_shape if weights else None, names=("x", "y"))
    frozen = tuple(weights.frozen) if weights else ()
    wide = Weights(model, x.shape[1:], dtype=np.float64, seed=seed, frozen=frozen)
    if weights is not None:
        wide.load(weights.snapshot())
    trained = [name for name in wide.params if name not in wide.frozen]
    if not trained:
        raise ValueError("check_gradients: this model has no parameters that are trained")
    if samples is not None and samples < len(trained):
        raise ValueError(
            f"check_gradients: samples is {samples}, wanted at least {len(trained)}, one of each parameter"
        )
    counts = None
    if sample_weight is not None:
        check_weights(loss, sample_weight, len(x))
        counts = np.array(devices.read(sample_weight), np.float64)
    target = np.asarray(devices.read(y[:]), loss.target(wide.output_shape)[1] or np.float64)
    loss.check(target)
    with backend.one_blas_thread():
        rows_of_x = np.array(devices.read(x[:]), np.float64, order="C")
        objective = _Objective(wide, loss, rows_of_x, target, seed, counts)
        objective.check()
        rows = _compared(objective, samples, seed)
        right = all(row.verdict == "right" for row in rows)
        backward, numerical, rounding = (
            np.concatenate([getattr(row, name) for row in rows]) for name in ("backward", "numerical", "rounding")
        )
        return GradientCheck(backward, numerical, rounding, rows, () if right else _faults(objective, seed))


class _Objective:
    """The loss of some rows as a function of the weights, which may be changed in place from call to call."""

    def __init__(self, weights: Weights, loss: Loss, x: Array, target: Array, seed: int, counts: Array | None = None):
        self.weights, self.loss, self.x, self.target, self.counts = weights, loss, x, target, counts
        self._workspace = Workspace(weights, len(x))
        self._workspace.loss.weights = counts
        self._control = self._workspace.control
        self._control.draw[...] = seed & 0xFFFFFFFF, seed >> 32, 1, 0
        self._control.scale[...] = 1 / len(x)
        self.output = np.empty(0)

    def __call__(self) -> float:
        self._forward()
        return float(self._control.loss[0])

    def _forward(self) -> Array:
        """The gradient by the output; output and loss are then there to read."""
        self._workspace.begin(len(self.x))
        self._control.loss[0] = 0
        self.output = self.weights.model.forward(self.x, self._workspace.frame, train=True)
        return self.loss.gradient(self.output, self.target, self._workspace.loss)

    def backward(self) -> Mapping[str, Array]:
        """The gradients of all parameters, by name."""
        self.weights.model.backward(self._forward(), self._workspace.frame)
        return self._workspace.shared.grads

    def check(self) -> None:
        """Raise unless the loss is a number, and the same one again."""
        first, row = self(), int(self._control.status[0]) - 1
        if row >= 0:
            last = self.weights.output_shape[0] - 1
            raise ValueError(f"check_gradients: the label of row {row} is {self.target[row]}, wanted 0 to {last}")
        if not math.isfinite(first):
            raise ValueError(f"check_gradients: the loss is {first}, wanted a finite number; look at x and the weights")
        if self() != first:
            raise ValueError(
                "check_gradients: a second call gives another loss, so a layer keeps something, or draws random "
                "numbers of its own; draw them by frame.draw, as nn.Dropout does"
            )

    def rounding(self, seed: int) -> float:
        """What the rounding of the loss makes of a fourth difference, which is 0 else: its median over probes."""
        flat, found = self.weights.flat, []
        kept = flat.copy()
        for probe in range(PROBES):
            up = random.words(flat.size, seed=seed, stream=random.GRADIENT_CHECK, step=probe) & 1
            change = kept * np.where(up, PROBE, -PROBE)
            values = []
            for times in (1, 2, 3, 4, 5):  # not 0, since the weights may stand at a kink
                flat[...] = kept + times * change
                values.append(self())
            found.append(abs(_fourth_difference(values)))
        flat[...] = kept
        return max(float(np.median(found)), EPS * abs(self()))


def _fourth_difference(values: Sequence[float]) -> float:
    """Of five values at equal distances: of a smooth function d^4 times its fourth derivative."""
    a, b, c, d, e = values
    return a - 4 * b + 6 * c - 4 * d + e


def _compared(objective: _Objective, samples: int | None, seed: int) -> tuple[ParameterGradient, ...]:
    """Both gradients of every parameter that is trained."""
    weights = objective.weights
    sizes = {name: array.size for name, array in weights.params.items() if name not in weights.frozen}
    shares = _shares(sizes, sum(sizes.values()) if samples is None else samples)
    by_backward = {name: array.reshape(-1).copy() for name, array in objective.backward().items()}
    rounding, centre, found = objective.rounding(seed), objective(), []
    for number, (name, size) in enumerate(sizes.items()):
        order = random.permutation(size, seed=seed, stream=random.GRADIENT_CHECK, step=PROBES + number)
        at = np.sort(order[: shares[name]])
        array = weights.params[name]
        flat = array.reshape(-1)
        numerical, off = np.array([_derivative(objective, flat, i, centre, rounding) for i in at]).reshape(-1, 2).T
        found.append(ParameterGradient(by_backward[name][at], numerical, off, name, array.shape, at))
    return tuple(found)


def _shares(sizes: Mapping[str, int], samples: int) -> dict[str, int]:
    """How many elements of each are looked at: alike, but that small ones leave theirs to the others."""
    found, left = {}, samples
    for number, name in enumerate(sorted(sizes, key=sizes.__getitem__)):
        found[name] = min(sizes[name], left // (len(sizes) - number))
        left -= found[name]
    return found


def _derivative(objective: _Objective, array: Array, at: int, centre: float, rounding: float) -> tuple[float, float]:
    """The derivative by one element, and how far off rounding may put it; NaN at a kink."""
    start = float(array[at])
    for step in STEPS:
        d = step * max(1.0, abs(start)) / 2
        values = []
        for times in (-2, -1, 1, 2):
            array[at] = start + times * d
            values.append(objective())
        array[at] = start
        a, b, c, e = values
        if abs(_fourth_difference((a, b, centre, c, e))) <= MARGIN * rounding:
            return (8 * (c - b) - (e - a)) / (12 * d), rounding / d
    return math.nan, 0.0


# ---------------------------------------------------------------- which layer


class _Given(Layer):
    """An array of rows as a parameter, so that the gradient of what follows by its input can be looked at."""

    def __init__(self, x: Array):
        self._x = x

    def params(self, shape: Shape) -> dict[str, Param]:
        return {"x": Param(self._x.shape, lambda *_: self._x)}

    def forward(self, x: Array, frame: Frame, train: bool) -> Array:
        return frame.param("x")

    def backward(self, dy: Array, frame: Frame) -> None:
        frame.grad("x")[...] = dy


class _Projection(Loss):
    """sum of target * output: its gradient is a target drawn at random."""

    def target(self, output_shape: Shape) -> tuple[Shape, Any]:
        return output_shape, None

    def gradient(self, output: Array, target: Array, frame: Frame) -> Array:
        frame.total[...] += (output * target).sum()
        return target


def _right(objective: _Objective, seed: int) -> bool:
    found = _compared(objective, OF_A_LAYER * len(objective.weights.params), seed)
    return all(row.verdict == "right" for row in found)


def _faults(objective: _Objective, seed: int) -> tuple[str, ...]:
    """The layers whose backward is wrong by itself, and the loss if it is."""
    found, output = _faults_within(objective.weights.root, objective.weights, objective.x, seed)
    alone = Weights(_Given(output), output.shape[1:], dtype=np.float64)
    if not _right(_Objective(alone, objective.loss, output, objective.target, seed, objective.counts), seed):
        found.append(f"the loss ({type(objective.loss).__name__})")
    return tuple(found)


def _faults_within(place: Place, weights: Weights, x: Array, seed: int) -> tuple[list[str], Array]:
    """Which layers at this place are wrong, the innermost ones, and the output for its input x."""
    alone = Weights(Sequential(_Given(x), place.layer), x.shape[1:], dtype=np.float64)
    for there, here in zip(place.walk(), alone.root.children[1].walk(), strict=True):
        for its, mine in zip(there.param_names, here.param_names, strict=True):
            alone.params[mine][...] = weights.params[its]
    shape = (len(x), *place.output_shape)
    direction = random.normal(math.prod(shape), seed=seed, stream=random.GRADIENT_CHECK).reshape(shape)
    objective = _Objective(alone, _Projection(), x, direction, seed)
    right = _right(objective, seed)
    objective()
    output = objective.output.copy()
    if right:
        return [], output
    within: list[str] = []
    if type(place.layer) in (Sequential, Residual):
        for child in place.children:
            faults, y = _faults_within(child, weights, x, seed)
            within += faults
            x = y if type(place.layer) is Sequential else x
    called = f"layer {place.path}" if place.path else "the model"
    return within or [f"{called} ({type(place.layer).__name__})"], output
