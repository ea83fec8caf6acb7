"""Learning rates as functions of the number of steps made before: 0 at the first step.

They go where an optimizer takes a learning rate, and follow one another: `Warmup(...) >> Cosine(...)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np


class Schedule:
    """Base of all schedules. One of one's own has `steps` and overrides `__call__`.

    Attributes
    ----------
    steps : int or None
        How many steps it lasts before the next one of a chain takes over; None lasts for ever.

    Examples
    --------
    >>> from fastdl.schedules import Cosine, Warmup
    >>> rate = Warmup(0.1, 5) >> Cosine(0.1, 100)
    >>> rate
    Warmup(rate=0.1, steps=5) >> Cosine(rate=0.1, steps=100, end=0.0)
    >>> rate(0), rate(4), rate(55), rate(105)
    (0.02, 0.1, 0.05, 0.0)
    """

    steps: int | None

    def __call__(self, step: int) -> float:
        """The rate after so many steps."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__ method")

    def __rshift__(self, other: Schedule) -> Schedule:
        """This one for its steps, then `other`, which counts from there."""
        if not isinstance(other, Schedule):
            raise TypeError(f"{self} >> {other!r}: wanted a schedule on the right, schedules.Constant(rate) say")
        if self.steps is None:
            raise ValueError(
                f"{self} >> {other}: what stands before >> lasts for ever, so that nothing can follow; give it a "
                "number of steps, as in Constant(rate, steps=1000), or put it last"
            )
        together = None if other.steps is None else self.steps + other.steps
        return _Chain((*_parts(self), *_parts(other)), together)


@dataclass(frozen=True, repr=False)
class _Chain(Schedule):
    """Schedules one after the other, none of them a chain itself: how >> was bracketed makes no difference."""

    parts: tuple[Schedule, ...]
    steps: int | None

    def __call__(self, step: int) -> float:
        for part in self.parts[:-1]:
            lasts = part.steps or 0  # only the last one may last for ever
            if step < lasts:
                return part(step)
            step -= lasts
        return self.parts[-1](step)

    def __repr__(self) -> str:
        return " >> ".join(map(repr, self.parts))


def _parts(schedule: Schedule) -> tuple[Schedule, ...]:
    return schedule.parts if isinstance(schedule, _Chain) else (schedule,)


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate at every step.

    Parameters
    ----------
    rate : float
    steps : int, optional
        Until the next schedule takes over.

    Examples
    --------
    >>> from fastdl.schedules import Constant
    >>> by_hand = Constant(0.1, steps=1000) >> Constant(0.01)
    >>> by_hand(999), by_hand(1000)
    (0.1, 0.01)
    """

    rate: float
    steps: int | None = None

    def __post_init__(self) -> None:
        _check_rates(self, rate=self.rate)
        if self.steps is not None:
            _check_count(self, "steps", self.steps)

    def __call__(self, step: int) -> float:
        return float(self.rate)


@dataclass(frozen=True)
class StepDecay(Schedule):
    """A drop by the same factor every so many steps: rate * factor^(step // every).

    Parameters
    ----------
    rate : float
    every : int
    factor : float
        Above 0, and 1 at most.

    Examples
    --------
    >>> from fastdl.schedules import StepDecay
    >>> rate = StepDecay(1.0, every=100, factor=0.5)
    >>> rate(99), rate(100), rate(200)
    (1.0, 0.5, 0.25)
    """

    rate: float
    every: int
    factor: float = 0.1
    steps: None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        _check_rates(self, rate=self.rate)
        _check_count(self, "every", self.every)
        if not (isinstance(self.factor, (int, float)) and 0 < self.factor <= 1):
            raise ValueError(f"StepDecay: factor is {self.factor!r}, wanted above 0 and at most 1; 0.1 drops tenfold")

    def __call__(self, step: int) -> float:
        return float(self.rate * self.factor ** (step // self.every))


@dataclass(frozen=True)
class Warmup(Schedule):
    """A straight rise, rate * (step + 1) / steps, that reaches the rate at the last of its steps.

    Parameters
    ----------
    rate : float
    steps : int

    References
    ----------
    Goyal et al., Accurate, large minibatch SGD, 2017, https://arxiv.org/abs/1706.02677.

    Examples
    --------
    >>> from fastdl.schedules import Warmup
    >>> [Warmup(1.0, 4)(step) for step in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """

    rate: float
    steps: int

    def __post_init__(self) -> None:
        _check_rates(self, rate=self.rate)
        _check_count(self, "steps", self.steps)

    def __call__(self, step: int) -> float:
        return float(self.rate * min(step + 1, self.steps) / self.steps)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from rate to end: end + (rate - end) / 2 * (1 + cos(pi step / steps)), and then end.

    Parameters
    ----------
    rate : float
    steps : int
        At step number `steps`, the first after it, `end` is reached.
    end : float

    References
    ----------
    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, 2017,
    https://arxiv.org/abs/1608.03983.

    Examples
    --------
    >>> from fastdl.schedules import Cosine
    >>> rate = Cosine(1.0, 100, end=0.5)
    >>> rate(0), rate(50), rate(100), rate(1000)
    (1.0, 0.75, 0.5, 0.5)
    """

    rate: float
    steps: int
    end: float = 0.0

    def __post_init__(self) -> None:
        _check_rates(self, rate=self.rate, end=self.end)
        _check_count(self, "steps", self.steps)

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return float(self.end)
        return float(self.end + (self.rate - self.end) / 2 * (1 + math.cos(math.pi * step / self.steps)))


def _check_rates(owner: Schedule, **rates: Any) -> None:
    for name, value in rates.items():
        if not (isinstance(value, (int, float)) and 0 <= value < math.inf):
            raise ValueError(f"{type(owner).__name__}: {name} is {value!r}, wanted a number of 0 or more")


def _check_count(owner: Schedule, name: str, value: Any) -> None:
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{type(owner).__name__}: {name} is {value!r}, wanted an integer of at least 1")
