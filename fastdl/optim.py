"""Optimizers: how parameters follow from gradients."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np

from . import ops
from .typing import Array

Rate = float | Callable[[int], float]
Scalars = tuple[float, ...]


@dataclass(frozen=True)
class Optimizer:
    """Base of all optimizers: what they have in common. One of one's own overrides `scalars` and `update`.

    Parameters
    ----------
    lr : float, or a function of how many steps were made before
        See `fastdl.schedules`.
    weight_decay : float
        Factor of the penalty weight_decay / 2 sum p^2, whose gradient is added to the loss's. It and
        `l1` act on weights alone, not on biases, gamma or beta.
    l1 : float
        Factor of the penalty l1 sum |p|.
    decoupled : bool
        Let weight decay shrink the weights by themselves, p -= lr weight_decay p, as AdamW does.
    penalty_over_rows : bool
        Divide weight_decay and l1 by m, the rows of the batch at hand, as course notes do: their
        lambda / (2 m) sum p^2, with the gradient lambda / m p, is weight_decay=lambda, and their
        lambda / (2 m) sum |p| is l1=lambda / 2. A smaller last batch is then penalised more.
    clip_norm : float, optional
        All gradients together are scaled down to this norm where theirs is larger.
    clip_norm_each : float, optional
        Instead, the gradient of each parameter by itself is: dW clip / |dW| where |dW| is larger.
    clip_value : float, optional
        Instead, every element of the gradients is brought between -clip_value and clip_value.
    rates : mapping of str to float
        Factors of `lr`, by patterns of parameters' names: {"0.*": 0.1}. The first that matches counts.

    Attributes
    ----------
    moments : int
        How many arrays like the parameters it keeps from step to step.
    """

    lr: Rate = 1e-2
    _: KW_ONLY
    weight_decay: float = 0.0
    l1: float = 0.0
    decoupled: bool = False
    penalty_over_rows: bool = False
    clip_norm: float | None = None
    clip_norm_each: float | None = None
    clip_value: float | None = None
    rates: Mapping[str, float] = field(default_factory=dict, hash=False)

    moments: ClassVar[int] = 0

    def __post_init__(self) -> None:
        name = type(self).__name__
        for number in ("lr", "weight_decay", "l1"):
            value = getattr(self, number)
            if not callable(value) and not (isinstance(value, Real) and 0 <= float(value) < math.inf):
                raise ValueError(f"{name}: {number} is {value!r}, wanted a number of 0 or more")
        ways = "clip_norm", "clip_norm_each", "clip_value"
        clips = {way: getattr(self, way) for way in ways if getattr(self, way) is not None}
        for clip, limit in clips.items():
            if not limit > 0:
                raise ValueError(f"{name}: {clip} is {limit!r}, wanted more than 0")
        if len(clips) > 1:
            raise ValueError(f"{name}: got {' and '.join(clips)}, wanted one way of clipping")
        if not isinstance(self.rates, Mapping):
            raise TypeError(f'{name}: rates is {self.rates!r}, wanted a mapping of names to factors, {{"0.*": 0.1}}')
        for pattern, factor in self.rates.items():
            if not (isinstance(factor, Real) and 0 <= float(factor) < math.inf):
                raise ValueError(f"{name}: rates[{pattern!r}] is {factor!r}, wanted a number of 0 or more")

    def learning_rate(self, step: int) -> float:
        """The rate at this step, counted from 1."""
        if not callable(self.lr):
            return float(self.lr)
        rate = float(self.lr(step - 1))
        if not 0 <= rate < math.inf:
            raise ValueError(
                f"{type(self).__name__}: lr is {rate} after {step - 1} steps, wanted a number of 0 or more"
            )
        return rate

    def factor_of(self, param: str) -> float:
        """What the learning rate is multiplied by for the parameter of this name."""
        return next((factor for pattern, factor in self.rates.items() if fnmatchcase(param, pattern)), 1.0)

    def for_rows(self, rows: float) -> Optimizer:
        """This optimizer, with the penalties that it has for a batch of so many rows.

        Examples
        --------
        >>> from fastdl import optim
        >>> optim.SGD(0.1, weight_decay=0.5, penalty_over_rows=True).for_rows(10).weight_decay
        0.05
        """
        if not self.penalty_over_rows:
            return self
        found = copy.copy(self)
        vars(found).update(weight_decay=self.weight_decay / rows, l1=self.l1 / rows, penalty_over_rows=False)
        return found

    def scaled(self, factor: float) -> Self:
        """The same optimizer with so many times the learning rate, at every step."""
        rate = self.lr
        if not 0 <= factor < math.inf:
            raise ValueError(f"rate_factor is {factor!r}, wanted a number of 0 or more")
        if factor == 1:
            return self
        return dataclasses.replace(self, lr=(lambda step: factor * rate(step)) if callable(rate) else factor * rate)

    def penalty(self, weights: Array) -> float:
        """What the penalties add to the loss, for weights (n,); 0 for weight decay that is decoupled.

        With `penalty_over_rows` it is that of a batch of one row: for one of m ask `for_rows(m).penalty`.
        """
        found = 0.0
        if self.weight_decay and not self.decoupled:
            found += self.weight_decay / 2 * float(np.square(weights, dtype=np.float64).sum())
        if self.l1:
            found += self.l1 * float(np.abs(weights, dtype=np.float64).sum())
        return found

    def scalars(self, step: int) -> Scalars:
        """The numbers that its kernel reads at this step, counted from 1; in float64.

        The first four are those of `ops.sgd_scalars`, if parameters are to have `rates` of their own.
        """
        raise NotImplementedError(f"{type(self).__name__} has no scalars method")

    def update(self, params: Array, grads: Array, moments: list[Array], **shared: Any) -> None:
        """Change the parameters in place, by the op that takes what `shared` holds.

        That is `decayed`, how many of them take the penalties; `clip`, what gradients are multiplied
        by; `scalars`, which start with what `scalars` returned; and `status`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no update method")

    def _shares(self, **numbers: float) -> None:
        for name, value in numbers.items():
            if not (isinstance(value, Real) and 0 <= float(value) < 1):
                raise ValueError(f"{type(self).__name__}: {name} is {value!r}, wanted at least 0 and below 1")

    def _eps(self, eps: float) -> None:
        if not (isinstance(eps, Real) and 0 <= float(eps) < math.inf):
            raise ValueError(f"{type(self).__name__}: eps is {eps!r}, wanted a number of 0 or more")


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent p -= lr g; with momentum p -= lr v, v = momentum v + (1 - dampening) g.

    Parameters
    ----------
    lr, weight_decay, l1, decoupled, penalty_over_rows, clip_norm, clip_norm_each, clip_value, rates
        As in `Optimizer`.
    momentum : float
        0 <= momentum < 1.
    dampening : float
        Equal to the momentum it makes v the exponential average of the gradients, as in course notes.
        (PyTorch leaves the first gradient undamped.)
    nesterov : bool
        Look ahead: p -= lr (momentum v + (1 - dampening) g).

    References
    ----------
    Sutskever et al., On the importance of initialization and momentum, ICML 2013.
    """

    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._shares(momentum=self.momentum, dampening=self.dampening)
        if self.nesterov and not self.momentum:
            raise ValueError("SGD: nesterov=True looks along the momentum, which is 0; pass momentum=0.9")

    @property
    def moments(self) -> int:  # type: ignore[override]
        return 1 if self.momentum else 0

    def scalars(self, step: int) -> Scalars:
        penalties = self.weight_decay, self.l1, self.decoupled
        if not self.momentum:
            return ops.sgd_scalars(self.learning_rate(step), *penalties)
        return ops.momentum_scalars(self.learning_rate(step), self.momentum, self.dampening, *penalties)

    def update(self, params: Array, grads: Array, moments: list[Array], **shared: Any) -> None:
        if self.momentum:
            ops.momentum_update(params, grads, *moments, nesterov=self.nesterov, **_first(6, shared))
        else:
            ops.sgd_update(params, grads, **_first(4, shared))


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """AdaGrad: s += g^2; p -= lr g / (sqrt(s) + eps), so that rates only fall.

    Parameters
    ----------
    lr, weight_decay, l1, decoupled, penalty_over_rows, clip_norm, clip_norm_each, clip_value, rates
        As in `Optimizer`.
    eps : float

    References
    ----------
    Duchi et al., Adaptive subgradient methods, JMLR 12, 2011.
    """

    eps: float = 1e-10

    moments: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._eps(self.eps)

    def scalars(self, step: int) -> Scalars:
        penalties = self.weight_decay, self.l1, self.decoupled
        return ops.adagrad_scalars(self.learning_rate(step), self.eps, *penalties)

    def update(self, params: Array, grads: Array, moments: list[Array], **shared: Any) -> None:
        ops.adagrad_update(params, grads, *moments, **_first(5, shared))


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """RMSProp: s = beta s + (1 - beta) g^2; p -= lr g / (sqrt(s) + eps).

    Parameters
    ----------
    lr, weight_decay, l1, decoupled, penalty_over_rows, clip_norm, clip_norm_each, clip_value, rates
        As in `Optimizer`.
    beta : float
        0 <= beta < 1.
    eps : float
    eps_inside : bool
        Divide by sqrt(s + eps) instead, as in course notes.

    References
    ----------
    Tieleman and Hinton, Lecture 6.5, Neural networks for machine learning, 2012.
    """

    beta: float = 0.99
    eps: float = 1e-8
    eps_inside: bool = False

    moments: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._shares(beta=self.beta)
        self._eps(self.eps)

    def scalars(self, step: int) -> Scalars:
        penalties = self.weight_decay, self.l1, self.decoupled
        return ops.rmsprop_scalars(self.learning_rate(step), self.beta, self.eps, self.eps_inside, *penalties)

    def update(self, params: Array, grads: Array, moments: list[Array], **shared: Any) -> None:
        ops.rmsprop_update(params, grads, *moments, **_first(8, shared))


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= lr m_hat / (sqrt(v_hat) + eps).

    m_hat = m / (1 - b1^t) and v_hat = v / (1 - b2^t) are corrected for their start at 0.

    Parameters
    ----------
    lr, weight_decay, l1, decoupled, penalty_over_rows, clip_norm, clip_norm_each, clip_value, rates
        As in `Optimizer`.
    betas : (float, float)
        b1 and b2, at least 0 and below 1.
    eps : float
    eps_inside : bool
        Divide by sqrt(v_hat + eps) instead, as in course notes.

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, 2015, https://arxiv.org/abs/1412.6980.
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    eps_inside: bool = False

    moments: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"{type(self).__name__}: betas are {self.betas}, wanted two of at least 0 and below 1")
        self._eps(self.eps)

    def scalars(self, step: int) -> Scalars:
        penalties = self.weight_decay, self.l1, self.decoupled
        return ops.adam_scalars(step, self.learning_rate(step), self.betas, self.eps, self.eps_inside, *penalties)

    def update(self, params: Array, grads: Array, moments: list[Array], **shared: Any) -> None:
        ops.adam_update(params, grads, *moments, **_first(12, shared))


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with weight decay that is decoupled: p -= lr weight_decay p, beside Adam's own step.

    Parameters
    ----------
    lr, betas, eps, eps_inside, weight_decay, l1, penalty_over_rows, clip_norm, clip_norm_each, clip_value, rates
        As in `Adam`.

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, 2019, https://arxiv.org/abs/1711.05101.
    """

    _: KW_ONLY
    weight_decay: float = 0.01
    decoupled: bool = True


def _first(count: int, shared: dict[str, Any]) -> dict[str, Any]:
    """What an update shares with others, its scalars being the first so many."""
    return shared | {"scalars": shared["scalars"][:count]}
