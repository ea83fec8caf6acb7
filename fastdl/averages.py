"""Exponential moving averages: of figures that are noisy from step to step."""

from __future__ import annotations

from typing import Any

from .typing import Array


class MovingAverage:
    """An exponential moving average: v = beta v + (1 - beta) x, corrected v / (1 - beta^t) after t values.

    A value's weight falls to 1 / e after about 1 / (1 - beta) further ones, so that so many are remembered:
    10 for 0.9, 1000 for 0.999. Without the correction it begins near 0, where v does.

    A loop of one's own averages weights by it: `average.update(step.weights.flat)` after every step, and in the end
    `step.weights.flat[:] = average.value`. (In a `Trainer` it is `callbacks.AverageWeights`.)

    Parameters
    ----------
    beta : float
        At least 0, and below 1.

    Attributes
    ----------
    v : float or array
        Not corrected.
    count : int
        Values so far, t.

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, 2015, section 3, https://arxiv.org/abs/1412.6980.

    Examples
    --------
    >>> from fastdl import MovingAverage
    >>> average = MovingAverage(0.5)
    >>> [average.update(x) for x in (4.0, 1.0, 9.0)]
    [4.0, 2.0, 6.0]
    >>> average.v
    5.25
    """

    def __init__(self, beta: float):
        if not 0 <= beta < 1:
            raise ValueError(f"MovingAverage: beta is {beta!r}, wanted at least 0 and below 1")
        self.beta = beta
        self.v: Any = 0.0
        self.count = 0

    def update(self, x: float | Array) -> Any:
        """Take a value, a number or an array, and return the average of all so far, corrected."""
        self.v = self.beta * self.v + (1 - self.beta) * x
        self.count += 1
        return self.value

    @property
    def value(self) -> Any:
        """The corrected average; there is none before the first value."""
        if self.count == 0:
            raise RuntimeError("MovingAverage: there is no average before the first value; call update(x)")
        return self.v / (1 - self.beta**self.count)
