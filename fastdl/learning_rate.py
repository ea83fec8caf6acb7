"""The learning rate range test: which rates a training can take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import drawing
from .averages import MovingAverage
from .callbacks import Callback, Logs
from .data.augment import Transformation
from .trainer import Trainer
from .typing import Array

SMOOTHING = 0.9  # an average over about ten losses
FIRST = 10  # steps, whose rates are too small for much to change
DIVERGED = 4.0  # times the mean loss of the first steps


@dataclass(frozen=True, eq=False)
class RangeTest:
    """What a range test found.

    Attributes
    ----------
    rates : (n,) array
        Learning rates of the steps, each a constant factor above the one before.
    losses : (n,) array
        The loss at each, smoothed.
    lowest : float
        The rate at which the loss was lowest.
    proposed : float
        A tenth of that, rounded to two digits.
    """

    rates: Array
    losses: Array
    lowest: float
    proposed: float

    def draw(self, where: Any) -> None:
        """Draw the loss over the rate.

        Parameters
        ----------
        where : path, or matplotlib.axes.Axes
            A file to write, .png, .svg or .pdf, or axes.
        """
        with drawing.axes(where) as axes:
            axes.plot(self.rates, self.losses, color="black")
            axes.axvline(self.lowest, color="gray", linestyle=":", label=f"lowest loss, at {self.lowest:.2g}")
            axes.axvline(self.proposed, color="tab:blue", linestyle="--", label=f"proposed: {self.proposed:.2g}")
            axes.set(xscale="log", xlabel="learning rate", ylabel="loss, smoothed")
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)  # above the curve


def find_learning_rate(
    trainer: Trainer,
    x: Any,
    y: Array | None = None,
    *,
    batch_size: int = 128,
    accumulate: int = 1,
    augment: Sequence[Transformation] = (),
    sample_weight: Array | None = None,
    low: float = 1e-5,
    high: float = 10.0,
    steps: int = 100,
) -> RangeTest:
    """Raise the learning rate from step to step until the loss diverges, and propose one to train with.

    Proposed is a tenth of the rate at which the smoothed loss was lowest. There the loss begins to rise, so that
    steps are as large as they may be for a short while; a tenth of that can be kept up. (The rate of the steepest
    descent is often proposed instead; but a curve's steepest place changes with every batch, its lowest hardly.)

    The test trains a copy: weights, moments, running averages, epochs, history and random numbers to come are
    afterwards what they were, to the bit.

    Parameters
    ----------
    trainer : Trainer
        Before its first `fit`, or as far as it is; what it proposes is for its optimizer.
    x, y, batch_size, accumulate, augment, sample_weight
        As in `Trainer.fit`.
    low, high : float
        The first rate and, if the loss does not diverge before, the last.
    steps : int
        From one to the other, at least 20.

    Returns
    -------
    RangeTest

    Raises
    ------
    ValueError
        If the loss is no number within the first steps, at rates next to `low`.

    References
    ----------
    Smith, Cyclical learning rates for training neural networks, 2017, https://arxiv.org/abs/1506.01186.

    Examples
    --------
    >>> import fastdl as fd
    >>> from fastdl import nn
    >>> x, y = fd.data.load_digits()
    >>> model = nn.Sequential(nn.Linear(64, activation="relu"), nn.Linear(10))
    >>> trainer = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam())
    >>> found = fd.find_learning_rate(trainer, x / 16, y)
    >>> 1e-4 < found.proposed < 0.1
    True
    >>> trainer.optimizer = fd.optim.Adam(found.proposed)
    """
    if not 0 < low < high < math.inf or steps < 2 * FIRST:
        raise ValueError(
            f"find_learning_rate: got low={low}, high={high} and steps={steps}, wanted 0 < low < high, and at least "
            f"{2 * FIRST} steps"
        )
    rates = np.geomspace(low, high, steps)
    tried, raised = trainer.copy(lr=low), _Raise(rates)
    with np.errstate(over="ignore", invalid="ignore"):  # which is what it looks for
        tried.fit(
            x,
            y,
            epochs=steps,
            batch_size=batch_size,
            accumulate=accumulate,
            augment=augment,
            sample_weight=sample_weight,
            callbacks=[raised],
            progress=False,
        )
    if tried.interrupted:
        raise KeyboardInterrupt
    losses = np.array(raised.losses)
    if len(losses) < FIRST:
        raise ValueError(
            f"find_learning_rate: the loss is no number at a rate of {rates[len(losses)]:.2g}, after {len(losses)} "
            "steps; pass a smaller low, or look for NaN in the rows, or for weights that are too large at the start"
        )
    lowest = float(rates[FIRST - 1 + losses[FIRST - 1 :].argmin()])
    return RangeTest(rates[: len(losses)], losses, lowest, float(f"{lowest / 10:.1e}"))


class _Raise(Callback):
    """Sets the rate of the next step, and ends the training where the loss has diverged."""

    def __init__(self, rates: Array):
        self.rates = rates
        self.losses: list[float] = []
        self._average, self._first = MovingAverage(SMOOTHING), 0.0

    def on_batch_end(self, batch: int, logs: Logs) -> None:
        made = len(self.losses) + 1
        self._first += logs["loss"] / FIRST if made <= FIRST else 0.0
        smoothed = self._average.update(logs["loss"])
        if not math.isfinite(smoothed) or (made > FIRST and smoothed > DIVERGED * self._first):
            self.trainer.stop_training = True
            return
        self.losses.append(smoothed)
        if made == len(self.rates):
            self.trainer.stop_training = True
        else:
            self.trainer.rate_factor = self.rates[made] / self.rates[0]
