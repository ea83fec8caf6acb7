"""Training: epochs of steps, what is measured after each, prediction, and files to go on from."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from . import backend, checks, data, devices, metrics, ops
from .callbacks import Callback, ModelCheckpoint
from .feed import Feed, FromBatches, FromMemory, SkippedRowWarning, batches_of, parts, read_by_batch, rows_of
from .gradient_check import GradientCheck, check_gradients
from .history import History
from .interrupt import StopOnInterrupt
from .losses import Loss
from .nn import Layer, Weights
from .nn.place import Places
from .nn.weights import check_shapes
from .optim import Optimizer, Rate
from .predictor import Predictor
from .progress import Progress
from .state import EpochBegun, State
from .step import TrainStep, check_rows, check_weights
from .typing import Array

__all__ = ["History", "SkippedRowWarning", "Trainer"]

PREDICT_ROWS = {"cpu": 256, "cuda": 8192}  # at a time: activations stay in the cache; a GPU has enough to do
FILLED = 0.5  # of the free memory of a GPU, a data set may take so much
PREDICT_NUMBERS = 1 << 24  # of the widest layer's, at a time, on a GPU
Metric = str | Callable[[Array, Array], float]


class TrainingState(NamedTuple):
    """What an optimizer came to: it goes with the weights to another step, or to a file."""

    optimizer: Optimizer
    steps: int
    moments: list[dict[str, Array]]
    """By the names of parameters."""


class _Interrupted(Exception):
    """Ctrl-C was pressed while the validation set was measured."""


class Trainer:
    """Trains a model.

    Parameters
    ----------
    model : Layer
    loss : Loss
    optimizer : Optimizer
    device : {"auto", "cpu", "cuda"}
    seed : int
        Of the weights at the start, of dropout, and of the order of the rows.
    dtype : float32 or float64
    metrics : sequence, optional
        What is measured beside the loss: names of `fastdl.metrics`, or functions of outputs and
        targets; by default what goes with the loss, accuracy say.
    deterministic : bool
        Whether a CPU's results have the same bits for every number of threads; see `TrainStep`.

    Attributes
    ----------
    optimizer : Optimizer
        Another one may take its place between two calls of `fit`; it begins without moments.
    rate_factor : float
        What the optimizer's learning rate is multiplied by, from the next step on; its moments stay. It is
        kept in files, and 1 again for another optimizer.
    step : TrainStep
        None before the first `fit`; it holds the optimizer's state.
    epochs : int
        Made so far, over all calls of `fit`.
    history : History
        Of all of them.
    interrupted : bool
        Whether the last `fit` was ended by Ctrl-C.
    stop_training : bool
        Set by a callback to end the training after the step at hand.
    validates : bool
        Whether the `fit` at hand has a validation set.
    measures_training : bool
        Whether it also measures what is trained on.

    Warns
    -----
    SquashedLogitsWarning
        Where the model ends in a sigmoid or softmax, and the loss takes logits.

    Examples
    --------
    >>> import fastdl as fd
    >>> from fastdl import nn
    >>> x, y = fd.data.load_digits()
    >>> train, test = fd.data.split(x / 16, y, parts=(0.8, 0.2), stratify=True)
    >>> model = nn.Sequential(nn.Linear(64, activation="relu"), nn.Linear(10))
    >>> trainer = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam(3e-3))
    >>> history = trainer.fit(*train, epochs=10, batch_size=64, progress=False)
    >>> trainer.evaluate(*test)["accuracy"] > 0.9
    True
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        *,
        device: str = "auto",
        seed: int = 0,
        dtype: Any = np.float32,
        metrics: Sequence[Metric] | None = None,
        deterministic: bool = False,
    ):
        checks.word("Trainer", "seed", seed, 64)
        for name, given, base in (("model", model, Layer), ("loss", loss, Loss), ("optimizer", optimizer, Optimizer)):
            if isinstance(given, type):
                raise TypeError(f"Trainer: {name} is the class {given.__name__}; write {given.__name__}(...)")
            if not isinstance(given, base):
                raise TypeError(f"Trainer: {name} is {given!r}, wanted a {base.__name__}")
        loss.check_model(model)
        self._model, self._loss, self._optimizer = model, loss, optimizer
        wanted = loss.metrics if metrics is None else metrics
        self._metrics, self._library = _named(wanted), {name for name in wanted if isinstance(name, str)}
        self.device, self.seed, self.dtype = backend.device(device), seed, np.dtype(dtype)
        self._deterministic = deterministic
        self._rate_factor = 1.0
        self.step: TrainStep | None = None
        self.epochs = 0
        self.history = History()
        self.interrupted = self.stop_training = self._fitting = False
        self.validates = self.measures_training = False
        self._weights: Weights | None = None
        self._frozen: tuple[str, ...] = ()
        self._carried: TrainingState | None = None  # for the next step
        self._drawn = 0  # steps made with any optimizer, by which random numbers are told apart
        self._begun = EpochBegun()
        self._callbacks: list[Callback] = []
        self._states: dict[str, dict[str, Any]] = {}  # of callbacks, from a file or an interrupted fit
        self._show: Progress | None = None
        self._idle: list[Predictor] = []  # each thread takes one, or makes one

    @property
    def optimizer(self) -> Optimizer:
        """How parameters follow from gradients."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        self._only_between_fits("another optimizer can take its place")
        self._optimizer = optimizer
        self.rate_factor = 1.0

    @property
    def rate_factor(self) -> float:
        """What the learning rate is multiplied by."""
        return self._rate_factor

    @rate_factor.setter
    def rate_factor(self, factor: float) -> None:
        self.optimizer.scaled(factor)  # which raises for what is no factor
        self._rate_factor = float(factor)
        if self.step:
            self.step.rate_factor = self._rate_factor

    @property
    def loss(self) -> Loss:
        """What outputs are compared with targets by."""
        return self._loss

    @property
    def callbacks(self) -> tuple[Callback, ...]:
        """Those of the `fit` at hand, or of the last one, in the order in which they are called."""
        return tuple(self._callbacks)

    @property
    def within_epoch(self) -> bool:
        """Whether an epoch has been begun and not ended."""
        return self._begun.place > 0

    def _only_between_fits(self, what: str) -> None:
        if self._fitting:
            raise RuntimeError(f"Trainer: {what} between two calls of fit only; call fit again after this one")

    # ------------------------------------------------------------ weights

    @property
    def weights(self) -> Weights:
        """Parameters and running averages; they exist from the first `fit`, `load` or `build` on."""
        if self._weights is None:
            raise RuntimeError(
                "Trainer: there are no weights yet; call fit(x, y), load(path), or build(input_shape) first"
            )
        return self._weights

    def build(self, input_shape: tuple[int, ...]) -> Weights:
        """Make the weights for rows of this shape, as at the start; `fit` and `load` do so by themselves."""
        shape = tuple(input_shape)
        if self._weights is None:
            self._weights = self._new_weights(shape, self._frozen)
        elif self._weights.input_shape != shape:
            raise ValueError(
                f"Trainer.build: the weights are for rows of shape {self._weights.input_shape}, got {shape}"
            )
        return self._weights

    def _new_weights(self, shape: tuple[int, ...], frozen: tuple[str, ...]) -> Weights:
        return Weights(self._model, shape, dtype=self.dtype, seed=self.seed, frozen=frozen, device=self.device)

    def freeze(self, *patterns: str) -> None:
        """From now on train all parameters but those whose names match; without patterns, train all.

        What is frozen before `load` stays frozen; else it is what was frozen when the file was saved.

        The values of frozen parameters stay as they are, to the bit. (Running averages of batch norm
        go on, since they are no parameters.)

        Examples
        --------
        >>> import fastdl as fd
        >>> from fastdl import nn
        >>> model = nn.Sequential(nn.Linear(8, inputs=4), nn.ReLU(), nn.Linear(3))
        >>> trainer = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam())
        >>> trainer.freeze("0.*")
        >>> sorted(trainer.build((4,)).frozen)
        ['0.bias', '0.weight']
        """
        self._only_between_fits("parameters can be frozen")
        if self._weights is not None:
            old = self._weights
            new = self._new_weights(old.input_shape, patterns)
            new.load(old.snapshot())
            self._drawn = self.step.drawn if self.step else self._drawn
            self._carried, self._weights, self.step = self._training_state(), new, None
            self._idle.clear()
        self._frozen = patterns

    def copy(self, *, lr: Rate | None = None) -> Trainer:
        """The training as it is now, in arrays of its own: what is done with it leaves this one as it is.

        Weights, moments, steps and epochs made, history and random numbers to come are the same; callbacks
        stay behind.

        Parameters
        ----------
        lr : float, or a function of how many steps were made before, optional
            Another learning rate, for the same optimizer with the same moments.

        Examples
        --------
        >>> import fastdl as fd
        >>> x, y = fd.data.load_digits()
        >>> trainer = fd.Trainer(fd.nn.Linear(10), fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam(1e-3))
        >>> _ = trainer.fit(x / 16, y, epochs=1, progress=False)
        >>> faster = trainer.copy(lr=1e-2)
        >>> _ = faster.fit(x / 16, y, epochs=1, progress=False)
        >>> trainer.epochs, faster.epochs
        (1, 2)
        """
        new, state = copy.copy(self), self._training_state()
        if lr is not None:
            new._optimizer, new._rate_factor = dataclasses.replace(self.optimizer, lr=lr), 1.0
        new._carried = None
        if state:
            moments = [{name: devices.copy(view) for name, view in views.items()} for views in state.moments]
            new._carried = TrainingState(new._optimizer, state.steps, moments)
        new._drawn = self.step.drawn if self.step else self._drawn
        new._weights = self._weights.copy() if self._weights else None
        new._begun, new.history = dataclasses.replace(self._begun), History()
        new.history.rows = [dict(row) for row in self.history.rows]
        new._callbacks, new._states, new._idle = [], {}, []
        new.step, new._show, new._fitting = None, None, False
        return new

    # ------------------------------------------------------------ training

    def fit(
        self,
        x: Any,
        y: Array | None = None,
        *,
        validation: Any = None,
        epochs: int = 10,
        batch_size: int | Literal["auto"] = 128,
        accumulate: int = 1,
        measure_training: bool = False,
        augment: Sequence[data.augment.Transformation] = (),
        sample_weight: Array | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
    ) -> History:
        """Train for some epochs; a further call goes on from there.

        Rows of arrays are taken in an order that depends on seed and epoch alone. Ctrl-C ends the
        training after the step at hand, with the weights as they are then, and the next call goes on
        with the next step of that epoch; a second Ctrl-C raises.

        Parameters
        ----------
        x : (n, ...), or batches
            An array; one that is mapped from a file, or `data.Rows`, which are read batch by batch; or,
            without y, an iterable of batches (x, y) that is gone over in every epoch, or a function of
            the epoch's number, from 0, that returns one.
        y : (n, ...), optional
            For cross-entropy the numbers of classes.
        validation : (x, y), or an iterable of batches, optional
            Measured after every epoch, never trained on.
        epochs : int
        batch_size : int or "auto"
            With "auto" that of `data.auto_batch_size`: all rows below 2,000, else 128.
        accumulate : int
            In so many parts each batch is worked on, whose gradients are summed: less memory for the
            same step, but for batch norm, which sees a part at a time. (Not for losses whose mean is over
            weights of classes, or leaves rows out, since the parts would not know of each other.)
        measure_training : bool
            After every epoch measure what is trained on like the validation set, as `train_loss` and
            `train_accuracy`, say: the column `loss` is a mean over the epoch's steps with dropout on, and tells
            little of how well the model fits. It costs a prediction of all rows.
        augment : sequence of data.augment.Transformation
            What is done to the rows, `[Shift(2), Rotate(10)]` say, anew in every epoch, by seed, epoch and each
            row's number (its place in the epoch where batches are handed over); on the host, and in training alone.
        sample_weight : (n,), optional
            What each row counts in training, 0 or more: a batch's loss is the mean over their sum. (Of batches
            that are handed over it is their third part.) Validation counts all rows alike, but for weights of
            classes, which are the loss's own.
        callbacks : sequence of Callback
            Called in this order; those that write checkpoints last.
        progress : bool
            Show a line an epoch: one that is written over on a terminal.

        Returns
        -------
        History
            Of this call's epochs.
        """
        few = batch_size != "auto" if isinstance(batch_size, str) else batch_size < 1
        if epochs < 1 or accumulate < 1 or few:
            raise ValueError(
                f"fit: got epochs={epochs}, batch_size={batch_size} and accumulate={accumulate}, "
                "wanted at least 1 each, or batch_size='auto'"
            )
        if isinstance(callbacks, Callback) or not all(isinstance(callback, Callback) for callback in callbacks):
            raise TypeError(f"fit: callbacks must be a list of callbacks, [EarlyStopping()] say, got {callbacks!r}")
        if accumulate > 1 and self._loss.weighs:
            raise ValueError(f"fit: accumulate is {accumulate}, but {self._loss} needs whole batches, accumulate=1")
        if sample_weight is not None:
            if y is None:
                raise ValueError("fit: sample_weight goes with x and y; of batches hand over (x, y, sample_weight)")
            if accumulate > 1:
                raise ValueError(
                    f"fit: accumulate is {accumulate}, but sample_weight needs whole batches, accumulate=1"
                )
            check_weights(self._loss, sample_weight, len(x))
            if not devices.read(sample_weight).any():
                raise ValueError("fit: sample_weight is 0 for every row, so that there is nothing to learn")
        data.augment.check(augment, weighted=sample_weight is not None)
        if y is not None:
            self._check(x, y)
            if augment:
                self._try_augment(x, y, augment)
        self._check_validation(validation, None if y is None else x.shape[1:])
        if isinstance(batch_size, str):  # batches that are handed over have sizes of their own
            batch_size = 1 if y is None else data.auto_batch_size(len(x))
        feed = self._feed(x, y, sample_weight, batch_size, accumulate, augment)
        training = ((x, y) if y is not None else batches_of(x)) if measure_training else None
        for measured in (training, validation):
            if self._weights is not None and isinstance(measured, tuple):
                self._try_metrics(*(rows[:2] for rows in measured))
        of = None if y is None else len(x)
        if self.within_epoch and self._begun.of != of:
            self._begun = EpochBegun()  # it was one of other data
        self._begun.of = of
        # Checkpoints are written last, those that only keep the best before those that tell of them.
        order = {callback: self._place_of(callback) for callback in callbacks}
        self._callbacks = sorted(callbacks, key=order.__getitem__)
        self.interrupted, self.stop_training = False, False
        self.validates, self.measures_training = validation is not None, measure_training
        history = History()
        self._show = Progress(self.epochs, self.epochs + epochs) if progress else None
        try:
            for callback in self._callbacks:
                callback.trainer = self
                callback.on_train_begin()
            for key, callback in _keyed(self._callbacks):
                if key in self._states:
                    callback.set_state(self._states[key])
            self._states = {}
            self._fitting = True
            self._fit(feed, epochs, training, validation, history)
            self._fitting = False
            history.interrupted = self.interrupted
            if self.interrupted:
                self._states = {key: callback.state() for key, callback in _keyed(self._callbacks)}
            for callback in reversed(self._callbacks):  # checkpoints before best weights come back
                callback.on_train_end()
        finally:
            self._fitting = False
            if self._show:
                self._show.close()
                self._show = None
        return history

    @staticmethod
    def _place_of(callback: Callback) -> int:
        if not isinstance(callback, ModelCheckpoint):
            return 0
        return 2 if callback.monitor is None else 1

    def _check_validation(self, validation: Any, row: tuple[int, ...] | None) -> None:
        if isinstance(validation, tuple) and len(validation) == 2:
            self._check(*validation, names=("validation[0]", "validation[1]"), row=row)
        elif isinstance(validation, (tuple, Iterator)) or not isinstance(validation, (Iterable, type(None))):
            raise TypeError(
                "fit: validation must be a pair (x, y), or an iterable of batches that can be gone over again, got "
                + (f"{len(validation)} things" if isinstance(validation, tuple) else type(validation).__qualname__)
            )

    def _try_augment(self, x: Any, y: Any, augment: Sequence[data.augment.Transformation]) -> None:
        """Raise now if a transformation is not for such rows, or what it makes of targets not for the loss."""
        changed = data.augment.apply(augment, *(devices.read(rows[:2]) for rows in (x, y)), seed=self.seed)
        self._check(*changed, row=x.shape[1:])

    def _try_metrics(self, x: Any, y: Any) -> None:
        """Raise now if a metric does not go with the loss; one of the user's own may need more rows than these."""
        outputs, targets = devices.read(self.predict(x)), np.asarray(devices.read(y[: len(y)]))
        compared = self._loss.compared(outputs, targets)
        for name, measure in self._metrics.items():
            if name in self._library and len(compared[0]):
                measure(*compared)

    def say(self, line: str) -> None:
        """Tell people something while `fit` runs, if it shows its progress."""
        if self._show:
            self._show.say(line)

    def _fit(self, feed: Feed, epochs: int, training: Any, validation: Any, history: History) -> None:
        each_batch = [c for c in self._callbacks if type(c).on_batch_end is not Callback.on_batch_end]
        last = self.epochs + epochs
        with StopOnInterrupt(self.say) as stop:
            while self.epochs < last and not self.stop_training:
                for callback in self._callbacks:
                    callback.on_epoch_begin(self.epochs)
                begun, began = self._begun, time.perf_counter()
                before, before_it = begun.rows, dataclasses.replace(begun)
                # A GPU adds losses up by itself; only who wants to see each of them waits for each step.
                wait = self.device == "cpu" or feed.waits or bool(each_batch)
                if not wait:
                    assert self.step is not None
                    self.step.sum = begun.total
                try:
                    for number, (place, rows, loss) in enumerate(feed.epoch(self.epochs, begun.place, wait)):
                        begun.place = place
                        begun.rows += rows
                        begun.batches += 1
                        if loss is not None:
                            begun.total += rows * loss
                            for callback in each_batch:
                                callback.on_batch_end(number, {"loss": loss})
                        if stop.asked or self.stop_training:
                            self.interrupted = stop.asked
                            break
                finally:
                    if not wait:
                        self._add_up(begun, before_it)
                seconds = time.perf_counter() - began
                if begun.rows > before:
                    begun.norm = self._gradient_norm()
                if self.interrupted or self.stop_training:
                    return
                try:
                    row = self._measure_epoch(training, validation, lambda: stop.asked)
                except _Interrupted:
                    self.interrupted = True
                    return
                row["rows_per_second"] = (begun.rows - before) / seconds
                if not math.isfinite(row["loss"]) and all(map(math.isfinite, history["loss"])):
                    warnings.warn(
                        f"fit: the loss of epoch {row['epoch']} is {row['loss']}; a lower learning rate or clip_norm "
                        "may help, or the rows hold NaN (TerminateOnNaN() ends such a training)",
                        RuntimeWarning,
                        stacklevel=3,
                    )
                self.epochs, self._begun = self.epochs + 1, EpochBegun(begun.of)
                history.rows.append(row)
                self.history.rows.append(row)
                for callback in self._callbacks:
                    callback.on_epoch_end(self.epochs - 1, row)
                if self._show:
                    self._show(self.epochs, row)
                if stop.asked:
                    self.interrupted = True
                    return

    def _add_up(self, begun: EpochBegun, before_it: EpochBegun) -> None:
        """Take the losses of the steps from the GPU. If one had a bad label, none of this call's rows have come."""
        assert self.step is not None
        try:
            begun.total = self.step.sum
        except ValueError:
            begun.place, begun.rows, begun.total = before_it.place, before_it.rows, before_it.total
            begun.batches = before_it.batches
            raise

    def _measure_epoch(self, training: Any, validation: Any, asked: Callable[[], bool]) -> dict[str, float]:
        """What the history tells of the epoch just made."""
        weights, state, begun = self.weights, self._training_state(), self._begun
        row = {"epoch": self.epochs + 1, "loss": begun.total / max(1, begun.rows)}
        penalised = self.optimizer.weight_decay or self.optimizer.l1
        decayed = weights.flat[: weights.decayed if penalised else 0]  # read from a GPU only if they are needed
        mean_rows = max(1, begun.rows) / max(1, begun.batches)  # so that it is a mean over rows, as the loss is
        row["penalty"] = self.optimizer.for_rows(mean_rows).penalty(devices.read(decayed))
        for callback in self._callbacks:
            callback.on_epoch_trained()
        if training is not None:
            row |= {f"train_{name}": value for name, value in self._evaluate(training, asked).items()}
        if validation is not None:
            row |= {f"val_{name}": value for name, value in self._evaluate(validation, asked).items()}
        row["learning_rate"] = self.rate_factor * self.optimizer.learning_rate(max(1, state.steps if state else 1))
        row["gradient_norm"] = begun.norm
        return row

    def _gradient_norm(self) -> float:
        """Of the last step, before clipping."""
        assert self.step is not None and self.step.workspace is not None
        norm, _ = ops.global_norm(self.step.workspace.grads_flat[: self.weights.trained])
        return float(devices.read(norm)[0])

    def _feed(
        self,
        x: Any,
        y: Array | None,
        sample_weight: Array | None,
        batch_size: int,
        accumulate: int,
        augment: Sequence[data.augment.Transformation],
    ) -> Feed:
        if y is None:

            def change(x: Any, y: Any, first: int, epoch: int) -> tuple[Array, Array]:
                rows = devices.read(x), devices.read(y)
                return data.augment.apply(augment, *rows, first=first, seed=self.seed, epoch=epoch)

            return FromBatches(batches_of(x), self._step_for, accumulate, change if augment else None)
        if augment or read_by_batch(x) or read_by_batch(y) or not self._has_room_for(x, y):
            size = min(batch_size, len(x))
            rows, targets = rows_of(devices.read(x)), rows_of(devices.read(y))
            counts = None if sample_weight is None else devices.read(sample_weight)

            def batches(epoch: int) -> Iterator[tuple[Array, ...]]:
                return data.batches(
                    rows, targets, size, seed=self.seed, epoch=epoch, augment=augment, sample_weight=counts
                )

            return FromBatches(batches, self._step_for, accumulate)
        size = min(batch_size, len(x))
        step = self._step(max(rows for _, rows in parts(size, accumulate)), x.shape[1:])
        step.bind(x, y, sample_weight)
        return FromMemory(step, batch_size, self.seed, accumulate)

    def _has_room_for(self, x: Any, y: Any) -> bool:
        """Whether a data set can lie on the device, as the step keeps it."""
        if self.device == "cpu" or (backend.on_cuda(x) and backend.on_cuda(y)):
            return True
        bound = self.step.bytes_bound if self.step else 0  # which another data set takes the place of
        return bool(x.size * self.dtype.itemsize + y.size * 8 < FILLED * (devices.free_memory() + bound))

    def _step_for(self, x: Array, y: Array, rows: int) -> TrainStep:
        """The step for a batch that was handed over, in parts of so many rows at most."""
        if self._weights is None:
            self._check(x, y)
        else:
            self._loss.check(y)  # the step checks all else
        if self.step and self.step.batch_size >= rows and self.step.optimizer is self.optimizer:
            return self.step
        return self._step(rows, x.shape[1:])

    def _check(self, x: Any, y: Any, names: tuple[str, str] = ("x", "y"), row: tuple[int, ...] | None = None) -> None:
        row = self._weights.input_shape if self._weights else row
        check_rows(self._model, self._loss, x, y, row=row, names=names)
        if not read_by_batch(y):
            self._loss.check(y)

    def _step(self, batch_size: int, row: tuple[int, ...]) -> TrainStep:
        """The step for batches of this size; a new one goes on where the last one was."""
        old = self.step
        if old and old.batch_size == batch_size and old.optimizer is self.optimizer:
            return old
        carried = self._training_state()
        new = TrainStep(
            self._model,
            self._loss,
            self.optimizer,
            batch_size=batch_size,
            device=self.device,
            seed=self.seed,
            weights=self.build(row),
            deterministic=self._deterministic,
        )
        new.rate_factor = self.rate_factor
        self._drawn = new.drawn = old.drawn if old else self._drawn
        if carried:
            new.count = carried.steps
            for moment, saved in zip(new.moments, carried.moments, strict=True):
                for name, view in self.weights.layout.views(moment).items():
                    devices.write(view, saved[name])
        self.step, self._carried = new, None
        return new

    def _training_state(self) -> TrainingState | None:
        """What the optimizer came to; None before its first step."""
        state = self._carried
        if self.step is not None:
            moments = [self.weights.layout.views(moment) for moment in self.step.moments]
            state = TrainingState(self.step.optimizer, self.step.count, moments)
        return state if state and state.optimizer is self.optimizer else None

    def check_gradients(
        self, x: Array, y: Array, *, samples: int | None = None, sample_weight: Array | None = None
    ) -> GradientCheck:
        """Compare the gradients of backward with differences of the loss, at the weights as they are.

        Nothing is changed; it is computed in float64 on the CPU, whatever the trainer computes in. See
        `fastdl.check_gradients`.

        Parameters
        ----------
        x, y : (n, ...)
            A few dozen rows.
        samples : int, optional
            How many elements of the parameters are looked at; all without it.
        sample_weight : (n,), optional
            What each row counts.

        Returns
        -------
        GradientCheck

        Examples
        --------
        >>> import fastdl as fd
        >>> from fastdl import nn
        >>> x, y = fd.data.load_digits()
        >>> model = nn.Sequential(nn.Linear(32, bias=False), nn.BatchNorm(), nn.ReLU(), nn.Linear(10))
        >>> trainer = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam())
        >>> trainer.check_gradients(x[:32] / 16, y[:32], samples=40).verdict
        'right'
        """
        self._check(x, y)
        weights = self.build(x.shape[1:])
        options: dict[str, Any] = {"samples": samples, "seed": self.seed, "sample_weight": sample_weight}
        return check_gradients(self._model, self._loss, x, y, weights=weights, **options)

    # ------------------------------------------------------------ prediction

    def predict(self, x: Any) -> Array:
        """The model's output for every row, with dropout off and running averages in batch norm.

        Parameters
        ----------
        x : (n, ...)
            An array, one that is mapped from a file, or `data.Rows`.

        Returns
        -------
        (n, ...) array; for cross-entropy logits, whose largest names the class.
        """
        return self._predict(x, lambda: False)

    def compile(self, batch_size: int = 1) -> Predictor:
        """The model as it is now, for prediction alone and at the least latency.

        It keeps a copy of the weights: what is trained later does not reach it. `predict` follows the
        weights, takes any number of rows, and pays for both.

        Parameters
        ----------
        batch_size : int
            The most rows of a call.

        Returns
        -------
        Predictor
            A function of an array of rows, for one thread.
        """
        return Predictor(self.weights.copy(), batch_size, deterministic=self._deterministic)

    def predict_proba(self, x: Any) -> Array:
        """The probability of every class, or of every label, for every row.

        Parameters
        ----------
        x : (n, ...)

        Returns
        -------
        (n, classes) array: the softmax of the outputs under cross-entropy, their sigmoid under binary
        cross-entropy; other losses raise TypeError.
        """
        return self.probabilities(self.predict(x))

    def probabilities(self, outputs: Array) -> Array:
        """What outputs that `predict` gave say of the classes, or labels, as probabilities."""
        return self._loss.probabilities(outputs)

    def evaluate(self, x: Any, y: Array | None = None) -> dict[str, float]:
        """Loss and metrics on rows, with dropout off and running averages in batch norm.

        Parameters
        ----------
        x : (n, ...), or batches
            As in `fit`.
        y : (n, ...), optional
        """
        if y is not None:
            self._check(x, y)
        return self._evaluate((x, y) if y is not None else x, lambda: False)

    def _evaluate(self, rows: Any, asked: Callable[[], bool]) -> dict[str, float]:
        if isinstance(rows, tuple):
            x, y = rows
            outputs, targets = self._predict(x, asked), y
        else:
            made = [(self._predict(x, asked), y) for x, y, *_ in batches_of(rows)(0)]
            if not made:
                raise ValueError("evaluate: there are no batches")
            outputs, targets = (np.concatenate(side) for side in zip(*made, strict=True))
        targets = targets[: len(targets)] if isinstance(targets, data.Rows) else np.asarray(devices.read(targets))
        return self.measure(devices.read(outputs), targets)

    def measure(self, outputs: Array, targets: Array) -> dict[str, float]:
        """Loss and metrics of outputs that `predict` gave, against their targets."""
        found = {"loss": self._loss.value(outputs, targets)}
        compared = self._loss.compared(outputs, targets)
        return found | {name: float(measure(*compared)) for name, measure in self._metrics.items()}

    def _predict(self, x: Any, asked: Callable[[], bool]) -> Array:
        weights = self.weights
        usable = backend.is_array(x) or isinstance(x, data.Rows)
        if not usable or x.dtype.kind not in "fiub" or x.ndim == 0 or x.shape[1:] != weights.input_shape:
            got = f"{x.shape} {x.dtype}" if usable else type(x).__qualname__
            raise ValueError(f"predict: got {got}, wanted real numbers of shape (n, *{weights.input_shape})")
        x = rows_of(x)
        step = PREDICT_ROWS[self.device]
        if self.device == "cuda":
            widest = max(math.prod(place.output_shape) for place in weights.root.walk())
            step = max(1, min(step, PREDICT_NUMBERS // widest))
        if self._idle:
            predictor = self._idle.pop()
            predictor.refresh()
        else:
            predictor = Predictor(weights, step, deterministic=self._deterministic)
        out: Array = backend.library_of(x).empty((len(x), *weights.output_shape), weights.dtype)
        for start in range(0, len(x), step):
            if asked():
                raise _Interrupted
            rows = x[start : start + step]
            devices.write(out[start : start + len(rows)], predictor.run(rows))
        if predictor.weights is self._weights:
            self._idle.append(predictor)
        return out

    # ------------------------------------------------------------ files

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        texts: Mapping[str, str] | None = None,
        arrays: Mapping[str, Array] | None = None,
    ) -> None:
        """Write all that is needed to go on, to the bit, to one safetensors file.

        That is: parameters and running averages, the optimizer's moments, steps and epochs made, seed,
        place in the epoch, history, and what callbacks noted.

        Parameters
        ----------
        path : path
        texts, arrays : mappings, optional
            What belongs to the model beside it, as preprocessing does; `checkpoint.load` gives them back.
            Names of arrays hold a slash, "standardize/mean", as no parameter's does.
        """
        weights, state, begun = self.weights, self._training_state(), self._begun
        if self._fitting and self.within_epoch:  # by a callback after a batch, which may be the epoch's last
            begun = dataclasses.replace(begun, norm=self._gradient_norm())
        views = state.moments if state else []
        moments = [{name: devices.read(view) for name, view in of.items()} for of in views]
        State(
            weights=weights.snapshot(),
            input_shape=weights.input_shape,
            seed=self.seed,
            optimizer=type(self.optimizer).__name__ if state else None,
            steps=state.steps if state else 0,
            drawn=self.step.drawn if self.step else self._drawn,
            moments=moments,
            epochs=self.epochs,
            begun=begun,
            frozen=self._frozen,
            history=self.history.rows,
            callbacks=self._states or {key: callback.state() for key, callback in _keyed(self._callbacks)},
            rate_factor=self.rate_factor,
            about={"model": repr(self._model), "optimizer": repr(self.optimizer)},
        ).save(path, texts or {}, arrays or {})

    def load(self, path: str | os.PathLike[str], *, only_weights: bool = False) -> None:
        """Go on from a file that `save` wrote, for the same model.

        A training that was stopped at any step and goes on from its file gives the same bits as one
        that was not, with the same rows and options.

        Parameters
        ----------
        path : path
        only_weights : bool
            Take parameters and running averages alone: to train them further in another way.

        Raises
        ------
        ValueError
            For a damaged file, or one of another model, with a list of what differs; nothing is changed then.
        """
        self._only_between_fits("a file can be loaded")
        where, state = f"Trainer.load: {path}", State.load(path)
        places = Places(self._model, state.input_shape)  # its shapes are compared before anything is made
        params = {name: param.shape for name, param in places.params.items()}
        averages = {name: average.shape for name, average in places.averages.items()}
        check_shapes(state.weights, params | averages, where)
        if wrong := {array.dtype for array in state.weights.values()} - {self.dtype}:
            raise ValueError(f"{where} holds {wrong.pop()}, wanted Trainer(dtype={self.dtype})")
        carried = None
        if state.optimizer is not None and not only_weights:
            kept = state.optimizer, len(state.moments)
            if kept != (type(self.optimizer).__name__, self.optimizer.moments):
                raise ValueError(
                    f"{where} holds the state of {state.about['optimizer']}, and this trainer has {self.optimizer!r}; "
                    "pass only_weights=True to train on with another optimizer"
                )
            for number, moment in enumerate(state.moments):
                check_shapes(moment, params, f"{where}: moment {number}")
            carried = TrainingState(self.optimizer, state.steps, state.moments)
        self.build(state.input_shape).load(state.weights)
        self.step, self._carried, self._begun = None, carried, EpochBegun()
        self._callbacks, self._states = [], {}
        self._idle.clear()
        self.rate_factor = 1.0
        if only_weights:
            return
        self.seed, self.epochs, self._drawn = state.seed, state.epochs, state.drawn
        self._begun, self._states = state.begun, state.callbacks
        self.rate_factor = state.rate_factor
        self.history = History()
        self.history.rows = state.history
        if not self._frozen and state.frozen:
            self.freeze(*state.frozen)


def _keyed(callbacks: Iterable[Callback]) -> list[tuple[str, Callback]]:
    """Each callback under a name that is its own among these."""
    counts: dict[str, int] = {}
    found = []
    for callback in callbacks:
        name = callback.key()
        counts[name] = counts.get(name, -1) + 1
        found.append((f"callbacks.{name}.{counts[name]}", callback))
    return found


def _named(wanted: Sequence[Metric]) -> dict[str, Callable[[Array, Array], Any]]:
    if isinstance(wanted, str):
        raise TypeError(f"Trainer: metrics is the text {wanted!r}, wanted a sequence, [{wanted!r}]")
    found: dict[str, Callable[[Array, Array], Any]] = {}
    for metric in wanted:
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
        if name == "loss" or name in found:
            raise ValueError(
                f"Trainer: two columns would be called {name!r}; give each metric a name of its own by def"
            )
        found[name] = metrics.by_name(metric) if isinstance(metric, str) else metric
    return found
