"""Optimizers: how parameters follow from gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from . import ops
from .typing import Array

Rate = float | Callable[[int], float]


class Optimizer(Protocol):
    """What a training step wants of an optimizer."""

    @property
    def moments(self) -> int:
        """How many arrays like the parameters it keeps from step to step."""
        ...

    def scalars(self, step: int) -> tuple[float, ...]:
        """The numbers that its kernel reads at this step, counted from 1; in float64."""
        ...

    def update(
        self, params: Array, grads: Array, moments: list[Array], decayed: int, scalars: Array, status: Array
    ) -> None:
        """Change the parameters in place; the first `decayed` take weight decay."""
        ...


def _check(owner: object, **numbers: Any) -> None:
    """Raise unless these are numbers of 0 or more (the first one may be a function of the step)."""
    for name, value in numbers.items():
        if not callable(value) and not (isinstance(value, (int, float)) and 0 <= value < math.inf):
            raise ValueError(f"{type(owner).__name__}: {name} is {value!r}, wanted a number of 0 or more")


def _at(rate: Rate, step: int) -> float:
    return float(rate(step)) if callable(rate) else rate


@dataclass(frozen=True)
class SGD:
    """Gradient descent p -= lr (g + weight_decay p).

    Parameters
    ----------
    lr : float, or a function of the step
    weight_decay : float
        On weights alone, not on biases, gamma or beta.
    """

    lr: Rate = 1e-2
    weight_decay: float = 0.0

    moments: ClassVar[int] = 0

    def __post_init__(self) -> None:
        _check(self, lr=self.lr, weight_decay=self.weight_decay)

    def scalars(self, step: int) -> tuple[float, ...]:
        return ops.sgd_scalars(_at(self.lr, step), self.weight_decay)

    def update(
        self, params: Array, grads: Array, moments: list[Array], decayed: int, scalars: Array, status: Array
    ) -> None:
        ops.sgd_update(params, grads, decayed=decayed, scalars=scalars[:4], status=status)


@dataclass(frozen=True)
class Adam:
    """Adam with bias correction, eps outside the root.

    Parameters
    ----------
    lr : float, or a function of the step
    betas : (float, float)
    eps : float
    weight_decay : float
        Coupled L2: added to the gradient, of weights alone.

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, 2015, https://arxiv.org/abs/1412.6980.
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    moments: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check(self, lr=self.lr, eps=self.eps, weight_decay=self.weight_decay)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"Adam: betas are {self.betas}, wanted at least 0 and below 1")

    def scalars(self, step: int) -> tuple[float, ...]:
        return ops.adam_scalars(step, _at(self.lr, step), self.betas, self.eps, weight_decay=self.weight_decay)

    def update(
        self, params: Array, grads: Array, moments: list[Array], decayed: int, scalars: Array, status: Array
    ) -> None:
        ops.adam_update(params, grads, *moments, decayed=decayed, scalars=scalars[:12], status=status)
