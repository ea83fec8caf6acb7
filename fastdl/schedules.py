"""Learning rates as functions of the number of steps made before: 0 at the first step.

They go where an optimizer takes a learning rate, follow one another, `Warmup(...) >> Cosine(...)`, and draw
themselves. A function of one's own goes there too.

By hand, in pieces, a rate is a chain of constants; what depends on a metric is a callback, `callbacks.ReduceOnPlateau`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import drawing


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

    def draw(self, steps: int, where: Any, *, label: str | None = None) -> None:
        """Draw the rate over its first steps.

        Parameters
        ----------
        steps : int
            How many.
        where : path, or matplotlib.axes.Axes
            A file to write, .png, .svg or .pdf; or axes, which can take several schedules.
        label : str, optional
            What the schedule is called; its parts, if nothing else is given.

        Raises
        ------
        RuntimeError
            Where matplotlib is missing, which is of the extra `plot`.
        """
        _check_count(self, "steps to draw", steps)
        rates = [self(step) for step in range(steps)]
        with drawing.axes(where) as axes:
            axes.plot(rates, drawstyle="steps-post", label=label or repr(self))
            axes.set(xlabel="step", ylabel="learning rate")
            if axes is not where:
                axes.set_title(label or repr(self), fontsize=10, wrap=True)


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
        _check_steps(self)

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
    steps : int, optional
        Until the next schedule takes over.

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
    steps: int | None = None

    def __post_init__(self) -> None:
        _check_rates(self, rate=self.rate)
        _check_count(self, "every", self.every)
        _check_factor(self, self.factor, "0.1 drops tenfold")
        _check_steps(self)

    def __call__(self, step: int) -> float:
        return float(self.rate * self.factor ** (step // self.every))


@dataclass(frozen=True)
class InverseTime(Schedule):
    """A decay by epoch, rate / (1 + decay * epoch): half the rate after 1 / decay epochs.

    Parameters
    ----------
    rate : float
    decay : float
    steps_per_epoch : int
        epoch = step // steps_per_epoch, so that 1 makes it a decay by step. Of rows in batches it is
        ceil(rows / batch_size).
    steps : int, optional
        Until the next schedule takes over.

    References
    ----------
    Robbins and Monro, A stochastic approximation method, Annals of Mathematical Statistics 22, 1951: rates
    that fall like 1 / t.

    Examples
    --------
    >>> from fastdl.schedules import InverseTime
    >>> rate = InverseTime(0.2, decay=1.0, steps_per_epoch=10)
    >>> rate(9), rate(10), rate(30)
    (0.2, 0.1, 0.05)
    """

    rate: float
    decay: float
    steps_per_epoch: int = 1
    steps: int | None = None

    def __post_init__(self) -> None:
        _check_rates(self, rate=self.rate, decay=self.decay)
        _check_count(self, "steps_per_epoch", self.steps_per_epoch)
        _check_steps(self)

    def __call__(self, step: int) -> float:
        return float(self.rate / (1 + self.decay * (step // self.steps_per_epoch)))


@dataclass(frozen=True)
class Exponential(Schedule):
    """A decay by the same factor every epoch: rate * factor^epoch.

    By step (steps_per_epoch=1) a factor close to 1 decides everything: after 10,000 steps 0.9995 has left
    0.7 % of the rate, and 0.999995 has left 95 %.

    Parameters
    ----------
    rate : float
    factor : float
        Above 0, and 1 at most.
    steps_per_epoch, steps : int
        As in `InverseTime`.

    Examples
    --------
    >>> from fastdl.schedules import Exponential
    >>> rate = Exponential(1.0, 0.5, steps_per_epoch=10)
    >>> rate(9), rate(10), rate(20)
    (1.0, 0.5, 0.25)
    >>> round(Exponential(1.0, 0.9995)(10_000), 4), round(Exponential(1.0, 0.999995)(10_000), 4)
    (0.0067, 0.9512)
    """

    rate: float
    factor: float
    steps_per_epoch: int = 1
    steps: int | None = None

    def __post_init__(self) -> None:
        _check_rates(self, rate=self.rate)
        _check_factor(self, self.factor, "0.95 an epoch is usual")
        _check_count(self, "steps_per_epoch", self.steps_per_epoch)
        _check_steps(self)

    def __call__(self, step: int) -> float:
        return float(self.rate * self.factor ** (step // self.steps_per_epoch))


@dataclass(frozen=True)
class InverseSqrt(Schedule):
    """A decay by the root of the epochs: rate / sqrt(epoch + 1).

    Parameters
    ----------
    rate : float
        Course notes write k alpha0 for it.
    steps_per_epoch, steps : int
        As in `InverseTime`.

    References
    ----------
    Zinkevich, Online convex programming and generalized infinitesimal gradient ascent, ICML 2003: rates
    that fall like 1 / sqrt(t).

    Examples
    --------
    >>> from fastdl.schedules import InverseSqrt
    >>> rate = InverseSqrt(0.6, steps_per_epoch=10)
    >>> rate(9), rate(30), rate(150)
    (0.6, 0.3, 0.15)
    """

    rate: float
    steps_per_epoch: int = 1
    steps: int | None = None

    def __post_init__(self) -> None:
        _check_rates(self, rate=self.rate)
        _check_count(self, "steps_per_epoch", self.steps_per_epoch)
        _check_steps(self)

    def __call__(self, step: int) -> float:
        return float(self.rate / math.sqrt(step // self.steps_per_epoch + 1))


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

    With restarts it is a chain: Cosine(0.1, 100) >> Cosine(0.1, 200) >> Cosine(0.1, 400).

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
        return float(_half_cosine(self.rate, self.end, step / self.steps))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to the rate by half a cosine over the first part of the steps, down to end by another over the rest.

    The rate may be several times what a constant one may be, since it is only reached on the way.

    Parameters
    ----------
    rate : float
        The highest.
    steps : int
        Of both parts; at step number `steps`, the first after them, `end` is reached.
    rise : float
        Share of the steps in which the rate rises, above 0 and below 1.
    divide : float
        It begins at rate / divide.
    end : float

    References
    ----------
    Smith and Topin, Super-convergence: very fast training of neural networks using large learning rates,
    2018, https://arxiv.org/abs/1708.07120. (Theirs rises and falls in straight lines, and lets the momentum
    fall and rise, which is left out here.)

    Examples
    --------
    >>> from fastdl.schedules import OneCycle
    >>> rate = OneCycle(1.0, 100, rise=0.2, divide=10)
    >>> rate(0), rate(20), rate(60), rate(100)
    (0.1, 1.0, 0.5, 0.0)
    """

    rate: float
    steps: int
    rise: float = 0.3
    divide: float = 25.0
    end: float = 0.0

    def __post_init__(self) -> None:
        _check_rates(self, rate=self.rate, end=self.end)
        _check_count(self, "steps", self.steps)
        if not (isinstance(self.rise, (int, float)) and 0 < self.rise < 1):
            raise ValueError(f"OneCycle: rise is {self.rise!r}, wanted a share of the steps, above 0 and below 1")
        if not (isinstance(self.divide, (int, float)) and 1 <= self.divide < math.inf):
            raise ValueError(f"OneCycle: divide is {self.divide!r}, wanted at least 1; it begins at rate / divide")

    def __call__(self, step: int) -> float:
        top = round(self.rise * self.steps)
        if step < top:
            return float(_half_cosine(self.rate / self.divide, self.rate, step / top))
        if step < self.steps:
            return float(_half_cosine(self.rate, self.end, (step - top) / (self.steps - top)))
        return float(self.end)


@dataclass(frozen=True)
class Triangular(Schedule):
    """Up from low to the rate in a straight line and down again, over and over.

    rate * h + low * (1 - h), h = 1 - |2 (step mod period) / period - 1|.

    Parameters
    ----------
    rate : float
        The highest.
    period : int
        Steps of going up and down together, at least 2.
    low : float
        The lowest, where it begins.
    steps : int, optional
        Until the next schedule takes over.

    References
    ----------
    Smith, Cyclical learning rates for training neural networks, 2017, https://arxiv.org/abs/1506.01186.

    Examples
    --------
    >>> from fastdl.schedules import Triangular
    >>> rate = Triangular(0.5, period=4, low=0.1)
    >>> [rate(step) for step in range(6)]
    [0.1, 0.3, 0.5, 0.3, 0.1, 0.3]
    """

    rate: float
    period: int
    low: float
    steps: int | None = None

    def __post_init__(self) -> None:
        _check_rates(self, rate=self.rate, low=self.low)
        _check_count(self, "period", self.period, least=2)
        if self.low > self.rate:
            raise ValueError(f"Triangular: low is {self.low!r}, wanted at most the rate, {self.rate!r}")
        _check_steps(self)

    def __call__(self, step: int) -> float:
        height = 1 - abs(2 * (step % self.period) / self.period - 1)
        return float(self.rate * height + self.low * (1 - height))


def _half_cosine(first: float, last: float, share: float) -> float:
    """From the first to the last, of which so large a share has been gone."""
    cosine = math.cos(math.pi * share)
    return (first * (1 + cosine) + last * (1 - cosine)) / 2


def _check_rates(owner: Schedule, **rates: Any) -> None:
    for name, value in rates.items():
        if not (isinstance(value, (int, float)) and 0 <= value < math.inf):
            raise ValueError(f"{type(owner).__name__}: {name} is {value!r}, wanted a number of 0 or more")


def _check_count(owner: Schedule, name: str, value: Any, least: int = 1) -> None:
    if not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{type(owner).__name__}: {name} is {value!r}, wanted an integer of at least {least}")


def _check_steps(owner: Schedule) -> None:
    if owner.steps is not None:
        _check_count(owner, "steps", owner.steps)


def _check_factor(owner: Schedule, factor: Any, remedy: str) -> None:
    if not (isinstance(factor, (int, float)) and 0 < factor <= 1):
        raise ValueError(f"{type(owner).__name__}: factor is {factor!r}, wanted above 0 and at most 1; {remedy}")
