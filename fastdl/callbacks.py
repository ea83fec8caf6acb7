"""What is to happen between epochs: stopping early, keeping checkpoints, writing tables.

A callback of one's own overrides what it wants of `Callback`; the names are Keras's, but for `on_epoch_trained`
and `on_weights_restored`.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import devices
from .typing import Array

if TYPE_CHECKING:
    from .nn import Weights
    from .trainer import Trainer

Logs = dict[str, float]
LOWER = "loss", "error", "mse", "penalty", "gradient_norm"  # columns of which less is better
HIGHER = "accuracy", "top_5", "precision", "recall", "f1", "r2", "rows_per_second"


class Callback:
    """Base of all callbacks: does nothing.

    Attributes
    ----------
    trainer : Trainer
        Set before anything is called. `trainer.stop_training = True` ends the training, within an
        epoch after the step at hand.
    """

    trainer: Trainer

    def on_train_begin(self) -> None:
        """Before the first epoch of a `fit`."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before an epoch, counted from 0."""

    def on_batch_end(self, batch: int, logs: Logs) -> None:
        """After a batch, counted from 0 in its epoch or, in one that is gone on with, from there; with its `loss`."""

    def on_epoch_trained(self) -> None:
        """After the last step of an epoch, before the validation set is measured."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """After an epoch, counted from 0, with its row of the history."""

    def on_weights_restored(self) -> None:
        """When weights of an earlier epoch have come back, at the end of a training."""

    def on_train_end(self) -> None:
        """After the last epoch of a `fit`, also of one that was stopped or interrupted; not after an error."""

    def key(self) -> str:
        """Under which name a file holds its state: what makes it the same callback as before."""
        return type(self).__name__

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold for this callback to go on as if nothing had happened: numbers and arrays."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; called after `on_train_begin`."""


def _sign(name: str, monitor: str, mode: str) -> float:
    """1 if more is better, else -1."""
    if mode not in ("auto", "min", "max"):
        raise ValueError(f"{name}: mode is {mode!r}, wanted 'auto', 'min' or 'max'")
    if mode == "auto":
        figure = monitor.removeprefix("val_").removeprefix("train_")
        if figure not in LOWER + HIGHER:
            known = ", ".join(LOWER + HIGHER)
            raise ValueError(
                f"{name}: whether more {monitor!r} is better is not known; pass mode='min' or mode='max', or watch one "
                f"of these, with val_ or train_ before it: {known}"
            )
        return -1.0 if figure in LOWER else 1.0
    return 1.0 if mode == "max" else -1.0


def _check_monitor(name: str, monitor: str, trainer: Trainer) -> None:
    """Raise now for what would only be found out after the first epoch."""
    if monitor.startswith("val_") and not trainer.validates:
        raise ValueError(f"{name}: there is no {monitor!r} without a validation set; pass validation=(x, y) to fit")
    if monitor.startswith("train_") and not trainer.measures_training:
        raise ValueError(f"{name}: there is no {monitor!r} unless it is measured; pass measure_training=True to fit")


def _check_folder(name: str, path: Path) -> None:
    if not path.parent.is_dir():
        raise ValueError(f"{name}: there is no folder {path.parent}; make it first")


def _monitored(name: str, monitor: str, logs: Logs) -> float:
    if monitor not in logs:
        raise ValueError(f"{name}: there is no {monitor!r} in the history, only {', '.join(logs)}")
    return logs[monitor]


def _is_better(value: float, best: float, min_delta: float) -> bool:
    """Whether a figure, of which more is better, is so by more than a difference; the first that is no NaN is."""
    return value > best + min_delta or (best == -math.inf and value == value)


class EarlyStopping(Callback):
    """Stop when a figure has not become better for some epochs, and go back to the best weights.

    The best weights and running averages come back at the end of `fit`, to the bit. (A training that
    is interrupted keeps those of its last step, so that it can go on.)

    Parameters
    ----------
    monitor : str
        A column of the history, usually of the validation set.
    patience : int
        So many epochs in a row without a better figure end the training.
    min_delta : float
        Better means better by more than this.
    mode : {"auto", "min", "max"}
        "auto" knows what is better of the library's own figures.
    restore_best_weights : bool

    References
    ----------
    Prechelt, Early stopping - but when?, 1998.

    Examples
    --------
    >>> import fastdl as fd
    >>> from fastdl import nn
    >>> x, y = fd.data.load_digits()
    >>> train, dev = fd.data.split(x / 16, y, parts=(0.8, 0.2), stratify=True)
    >>> model = nn.Sequential(nn.Linear(64, activation="relu"), nn.Linear(10))
    >>> trainer = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam(0.03))
    >>> stopping = fd.callbacks.EarlyStopping("val_loss", patience=2)
    >>> history = trainer.fit(*train, validation=dev, epochs=50, callbacks=[stopping], progress=False)
    >>> len(history) == stopping.best_epoch + 1 + 2
    True
    >>> trainer.evaluate(*dev)["loss"] == min(history["val_loss"])
    True

    In a loop of one's own, `weights.snapshot()` keeps the best and `weights.load` puts it back.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 3,
        *,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best_weights: bool = True,
    ):
        if patience < 1 or min_delta < 0:
            raise ValueError(
                f"EarlyStopping: got patience={patience} and min_delta={min_delta}, wanted at least 1 and at least 0"
            )
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.restore_best_weights = restore_best_weights
        self._better = _sign("EarlyStopping", monitor, mode)
        self._forget()

    def _forget(self) -> None:
        self.best, self.best_epoch, self.waited = -math.inf, -1, 0
        self._weights: dict[str, Array] = {}

    def on_train_begin(self) -> None:
        _check_monitor("EarlyStopping", self.monitor, self.trainer)
        self._forget()

    def key(self) -> str:
        return f"EarlyStopping({self.monitor}, {self._better})"

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        value = self._better * _monitored("EarlyStopping", self.monitor, logs)
        if _is_better(value, self.best, self.min_delta):
            self.best, self.best_epoch, self.waited = value, epoch, 0
            if self.restore_best_weights:
                self._weights = self.trainer.weights.snapshot()
        else:
            self.waited += 1
        self._judge()

    def _judge(self) -> None:
        if self.waited >= self.patience:
            self.trainer.stop_training = True

    def on_train_end(self) -> None:
        if self._weights and not self.trainer.interrupted:
            self.trainer.weights.load(self._weights)
            for callback in self.trainer.callbacks:
                callback.on_weights_restored()

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited, **self._weights}

    def set_state(self, state: dict[str, Any]) -> None:
        state = dict(state)
        self.best, self.best_epoch, self.waited = (state.pop(name) for name in ("best", "best_epoch", "waited"))
        self._weights = state
        self._judge()


class ReduceOnPlateau(Callback):
    """Lower the learning rate when a figure has not become better for some epochs, and again after as many more.

    It multiplies `trainer.rate_factor`, so that moments stay, a schedule goes on below, and the history and
    files have the rate as it is. A further `fit` goes on with the rate that was reached.

    Parameters
    ----------
    monitor : str
        A column of the history, usually of the validation set.
    patience : int
        So many epochs in a row without a better figure lower the rate, from the next epoch on.
    factor : float
        What the rate is multiplied by, above 0 and below 1.
    min_rate : float
        The rate is not lowered below it.
    min_delta : float
        Better means better by more than this.
    mode : {"auto", "min", "max"}
        As in `EarlyStopping`, whose patience must be the longer one where both are used.

    Examples
    --------
    >>> from fastdl.callbacks import ReduceOnPlateau
    >>> callback = ReduceOnPlateau("val_loss", patience=3, factor=0.1, min_rate=1e-5)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 3,
        *,
        factor: float = 0.1,
        min_rate: float = 0.0,
        min_delta: float = 0.0,
        mode: str = "auto",
    ):
        if patience < 1 or min_delta < 0 or not 0 <= min_rate < math.inf:
            raise ValueError(
                f"ReduceOnPlateau: got patience={patience}, min_delta={min_delta} and min_rate={min_rate}, wanted at "
                "least 1, and numbers of 0 or more"
            )
        if not 0 < factor < 1:
            raise ValueError(f"ReduceOnPlateau: factor is {factor!r}, wanted above 0 and below 1; 0.1 drops tenfold")
        self.monitor, self.patience, self.factor = monitor, patience, factor
        self.min_rate, self.min_delta = min_rate, min_delta
        self._better = _sign("ReduceOnPlateau", monitor, mode)
        self.best, self.waited = -math.inf, 0

    def on_train_begin(self) -> None:
        _check_monitor("ReduceOnPlateau", self.monitor, self.trainer)
        self.best, self.waited = -math.inf, 0

    def key(self) -> str:
        return f"ReduceOnPlateau({self.monitor}, {self._better})"

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        value = self._better * _monitored("ReduceOnPlateau", self.monitor, logs)
        if _is_better(value, self.best, self.min_delta):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        rate = logs["learning_rate"]
        if self.waited >= self.patience and rate > self.min_rate * (1 + 1e-9):  # which rounding may leave above it
            lowered = max(self.factor, self.min_rate / rate)
            self.trainer.rate_factor *= lowered
            self.waited = 0
            self.trainer.say(
                f"after epoch {epoch + 1}: no better {self.monitor} for {self.patience} epochs; "
                f"the learning rate falls to {lowered * rate:.2g}"
            )

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def set_state(self, state: dict[str, Any]) -> None:
        self.best, self.waited = state["best"], state["waited"]


class AverageWeights(Callback):
    """Keep an exponential moving average of the weights over the steps, and leave it in their place.

    v = beta v + (1 - beta) w after every step, corrected v / (1 - beta^t) after t steps: a mean over about the
    last 1 / (1 - beta) steps, which takes out the noise of single batches.

    From the last step of an epoch to the first of the next the average is in place: it is what is validated,
    chosen by `EarlyStopping`, saved, and left in the end. Training goes on with the weights themselves. (If it
    ends within an epoch, those are left, or the average if the validation set was being measured. A further `fit`
    begins with what is in place; but one that goes on from a file, or after an interruption, with the weights
    themselves, so that the bits are those of a single run.)

    It keeps two copies of the weights, and goes over them after every step, for which a GPU is waited for.

    Running averages of batch norm are averaged likewise. That suits weights that change slowly; variances come
    out a little too large, by the noise that is averaged out of the weights.

    Parameters
    ----------
    beta : float
        At least 0, and below 1: 0.99 for about 100 steps.

    References
    ----------
    Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992, of a plain mean. Tarvainen
    and Valpola, Mean teachers are better role models, 2017, https://arxiv.org/abs/1703.01780.

    Examples
    --------
    >>> from fastdl.callbacks import AverageWeights
    >>> callback = AverageWeights(beta=0.99)
    """

    def __init__(self, beta: float = 0.999):
        if not 0 <= beta < 1:
            raise ValueError(f"AverageWeights: beta is {beta!r}, wanted at least 0 and below 1")
        self.beta = beta
        self._forget()

    def _forget(self) -> None:
        self.steps, self.in_place = 0, False
        self._other: Weights | None = None  # the average, and while that is in place the weights that are trained
        self._scratch: Weights | None = None

    def on_train_begin(self) -> None:
        if any(isinstance(c, AverageWeights) and c is not self for c in self.trainer.callbacks):
            raise ValueError("AverageWeights: there are two, and one average alone can stand in the weights' place")
        self._forget()

    def key(self) -> str:
        return f"AverageWeights({self.beta})"

    def on_epoch_begin(self, epoch: int) -> None:
        if self.in_place:
            self._exchange()

    def on_batch_end(self, batch: int, logs: Logs) -> None:
        weights = self.trainer.weights
        self.steps += 1
        if self._other is None:
            self._other = weights.copy()
        if self._scratch is None:
            self._scratch = weights.copy()
        share = (1 - self.beta) / (1 - self.beta**self.steps)  # of the newest in the corrected average
        for average, newest, change in _flats(self._other, weights, self._scratch):
            devices.write(change, newest)
            change -= average
            change *= share
            average += change

    def on_weights_restored(self) -> None:
        self._forget()  # the weights are those of another epoch than what is kept here

    def on_epoch_trained(self) -> None:
        if self._other is not None and not self.in_place:
            self._exchange()

    def _exchange(self) -> None:
        assert self._other is not None
        for array, other in _flats(self.trainer.weights, self._other):
            kept = devices.copy(array)
            devices.write(array, other)  # in place: the step has recorded its address
            devices.write(other, kept)
        self.in_place = not self.in_place

    def state(self) -> dict[str, Any]:
        other = self._other.snapshot() if self._other else {}
        return {"steps": self.steps, "in_place": self.in_place, **other}

    def set_state(self, state: dict[str, Any]) -> None:
        state = dict(state)
        self.steps, self.in_place = state.pop("steps"), state.pop("in_place")
        if state:
            self._other = self.trainer.weights.copy()
            self._other.load(state)


def _flats(*those: Weights) -> list[tuple[Array, ...]]:
    """The parameters of all of these, and the running averages of all."""
    return [tuple(weights.flat for weights in those), tuple(weights.averages_flat for weights in those)]


def diverged(callbacks: Iterable[Callback]) -> bool:
    """Whether a training was ended since its loss was no number, and there was no best epoch to go back to."""
    watched = list(callbacks)
    stopped = any(isinstance(c, TerminateOnNaN) and c.stopped for c in watched)
    return stopped and not any(isinstance(c, EarlyStopping) and c.best_epoch >= 0 for c in watched)


class ModelCheckpoint(Callback):
    """Save everything that is needed to go on, after epochs: see `Trainer.save`.

    Parameters
    ----------
    path : path
        "{epoch}" in it becomes the number of epochs made, so that earlier files stay.
    monitor : str, optional
        Save only when this column of the history is better than ever in this `fit`.
    mode : {"auto", "min", "max"}
        As in `EarlyStopping`.
    seconds : float
        Let so much time pass between two saves; the first epoch and the last are saved anyway.
    texts, arrays : mappings, optional
        What goes into the file beside: see `Trainer.save`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        monitor: str | None = None,
        mode: str = "auto",
        seconds: float = 0.0,
        texts: Mapping[str, str] | None = None,
        arrays: Mapping[str, Array] | None = None,
    ):
        self.path, self.monitor, self.seconds = Path(path), monitor, seconds
        self._beside: dict[str, Any] = {"texts": texts, "arrays": arrays}
        self._better = _sign("ModelCheckpoint", monitor or "loss", mode)
        self._best, self._saved, self._due = -math.inf, 0.0, False

    def on_train_begin(self) -> None:
        _check_folder("ModelCheckpoint", self.path)
        if self.monitor is not None:
            _check_monitor("ModelCheckpoint", self.monitor, self.trainer)
        self._best, self._saved, self._due = -math.inf, -math.inf, False

    def key(self) -> str:
        return f"ModelCheckpoint({self.path.name}, {self.monitor}, {self._better})"

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.monitor is not None:
            value = self._better * _monitored("ModelCheckpoint", self.monitor, logs)
            if not value > self._best:
                return
            self._best = value
            self._save()
            return
        self._due = True
        if time.monotonic() - self._saved >= self.seconds:
            self._save()

    def on_train_end(self) -> None:
        # Not within an epoch that a callback has stopped, since its last step may have gone wrong.
        if self.monitor is None and (self.trainer.interrupted or (self._due and not self.trainer.within_epoch)):
            self._save()

    def _save(self) -> None:
        self.trainer.save(str(self.path).replace("{epoch}", str(self.trainer.epochs)), **self._beside)
        self._saved, self._due = time.monotonic(), False

    def state(self) -> dict[str, Any]:
        return {"best": self._best}

    def set_state(self, state: dict[str, Any]) -> None:
        self._best = state["best"]


class CSVLogger(Callback):
    """Write the history as a CSV file, anew after every epoch, so that it can be followed.

    Parameters
    ----------
    path : path
        Holds all epochs of the trainer, those of earlier calls of `fit` too.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)

    def on_train_begin(self) -> None:
        _check_folder("CSVLogger", self.path)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.trainer.history.to_csv(self.path)


class TerminateOnNaN(Callback):
    """End the training at the first batch whose loss is NaN or infinite.

    Attributes
    ----------
    stopped : bool
        Whether it did.
    """

    stopped = False

    def on_train_begin(self) -> None:
        self.stopped = False

    def on_batch_end(self, batch: int, logs: Logs) -> None:
        if not math.isfinite(logs["loss"]):
            self.stopped = self.trainer.stop_training = True
            self.trainer.say(
                f"stopped: the loss of batch {batch + 1} of epoch {self.trainer.epochs + 1} is {logs['loss']}; a lower "
                "learning rate or clip_norm may help, or the rows hold NaN"
            )
