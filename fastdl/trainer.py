"""Training from arrays: epochs of steps, what is measured after each, and prediction."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from . import backend, checkpoint, checks, metrics, random
from .files import write_atomic
from .losses import Loss
from .nn import Layer, Weights, Workspace
from .optim import Optimizer
from .step import TrainStep, check_rows
from .typing import Array

PREDICT_ROWS = 256  # at a time: their activations stay in the cache


class SkippedRowWarning(UserWarning):
    """The last row of every epoch was left out, since batch norm cannot train on a batch of one."""


class History:
    """A row of figures an epoch.

    Attributes
    ----------
    rows : list of dict
        Each with `epoch` (from 1), `loss` (the mean over the epoch's batches, dropout on), `val_loss`
        and `val_accuracy` (on the validation set; only if there is one), `learning_rate` (of the
        last step), and `rows_per_second` (of training).
    interrupted : bool
        Whether Ctrl-C ended the training.

    Examples
    --------
    >>> from fastdl import History
    >>> history = History()
    >>> history.rows.append({"epoch": 1, "loss": 0.5})
    >>> history["loss"]
    [0.5]
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.interrupted = False

    def __getitem__(self, column: str) -> list[float]:
        return [row[column] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table, with a line of names first; numbers in full precision."""
        text = io.StringIO()
        if self.rows:
            writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        write_atomic(path, text.getvalue().encode())


class Trainer:
    """Trains a model on arrays.

    Parameters
    ----------
    model : Layer
    loss : Loss
    optimizer : Optimizer
    device : {"auto", "cpu", "cuda"}
    seed : int
        Of the weights at the start, of dropout, and of the order of the rows.
    dtype : float32 or float64

    Attributes
    ----------
    optimizer : Optimizer
        Another one takes its place with the next `fit`, and begins without moments.
    step : TrainStep
        None before the first `fit`; it holds the optimizer's state.

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
    ):
        checks.word("Trainer", "seed", seed, 64)
        for name, given in (("model", model), ("loss", loss), ("optimizer", optimizer)):
            if isinstance(given, type):
                raise TypeError(f"Trainer: {name} is the class {given.__name__}; write {given.__name__}(...)")
        self._model, self._loss, self.optimizer = model, loss, optimizer
        self.device, self.seed, self.dtype = backend.device(device), seed, np.dtype(dtype)
        self.step: TrainStep | None = None
        self._weights: Weights | None = None
        self._epochs = 0  # made so far, over all calls of fit
        self._idle: list[Workspace] = []  # for prediction; each thread takes one, or makes one

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
            self._weights = Weights(self._model, shape, dtype=self.dtype, seed=self.seed)
        elif self._weights.input_shape != shape:
            raise ValueError(
                f"Trainer.build: the weights are for rows of shape {self._weights.input_shape}, got {shape}"
            )
        return self._weights

    def fit(
        self,
        x: Array,
        y: Array,
        *,
        validation: tuple[Array, Array] | None = None,
        epochs: int = 10,
        batch_size: int = 128,
        progress: bool = True,
    ) -> History:
        """Train for some epochs; a further call goes on from there.

        Rows are taken in an order that depends on seed and epoch alone. Ctrl-C ends the training
        after the step at hand, with the weights as they are then; a second Ctrl-C raises.

        Parameters
        ----------
        x : (n, ...)
        y : (n, ...)
            For cross-entropy the numbers of classes.
        validation : (x, y), optional
            Measured after every epoch, never trained on.
        epochs, batch_size : int
        progress : bool
            Show a line an epoch: one that is written over on a terminal.

        Returns
        -------
        History
            Of this call's epochs.
        """
        if epochs < 1 or batch_size < 1:
            raise ValueError(f"fit: got epochs={epochs} and batch_size={batch_size}, wanted at least 1 of each")
        self._check(x, y)
        if validation is not None:
            self._check(*validation, ("validation[0]", "validation[1]"), x.shape[1:])
        n, batch_size = len(x), min(batch_size, len(x))
        step = self._step(batch_size, x.shape[1:])
        step.bind(x, y)
        if n % batch_size == 1 and batch_size > 1 and self.weights.averages:
            n -= 1
            warnings.warn(
                f"fit: the last batch of an epoch would have one row ({len(x)} rows in batches of {batch_size}), "
                "which batch norm cannot train on; each epoch leaves its last row out",
                SkippedRowWarning,
                stacklevel=2,
            )
        history = History()
        show = _Progress(epochs) if progress else None
        try:
            self._fit(step, n, batch_size, epochs, validation, history, show)
        finally:
            if show:
                show.close()
        return history

    def _fit(
        self,
        step: TrainStep,
        n: int,
        batch_size: int,
        epochs: int,
        validation: tuple[Array, Array] | None,
        history: History,
        show: _Progress | None,
    ) -> None:
        with _StopOnInterrupt(show.say if show else None) as stop:
            for _ in range(epochs):
                step.set_order(random.permutation(step.rows_bound, seed=self.seed, step=self._epochs))
                total, began = 0.0, time.perf_counter()
                for start in range(0, n, batch_size):
                    rows = min(batch_size, n - start)
                    total += rows * step.run(start, rows)
                    if stop.asked:
                        history.interrupted = True
                        return
                seconds = time.perf_counter() - began
                self._epochs += 1
                row = {"epoch": self._epochs, "loss": total / n}
                if validation is not None:
                    row |= {f"val_{name}": value for name, value in self.evaluate(*validation).items()}
                row |= {"learning_rate": self.optimizer.learning_rate(step.count), "rows_per_second": n / seconds}
                history.rows.append(row)
                if show:
                    show(len(history), row)
                if stop.asked:
                    history.interrupted = True
                    return

    def _check(
        self, x: Array, y: Array, names: tuple[str, str] = ("x", "y"), row: tuple[int, ...] | None = None
    ) -> None:
        check_rows(self._model, self._loss, x, y, row=self._weights.input_shape if self._weights else row, names=names)

    def _step(self, batch_size: int, row: tuple[int, ...]) -> TrainStep:
        """The step for batches of this size; a new one goes on where the last one was."""
        old = self.step
        if old and old.batch_size == batch_size and old.optimizer is self.optimizer:
            return old
        new = TrainStep(
            self._model,
            self._loss,
            self.optimizer,
            batch_size=batch_size,
            device=self.device,
            seed=self.seed,
            weights=self.build(row),
        )
        if old and old.optimizer is self.optimizer:
            new.count = old.count
            for moment, saved in zip(new.moments, old.moments, strict=True):
                moment[...] = saved
        self.step = new
        return new

    def predict(self, x: Array) -> Array:
        """The model's output for every row, with dropout off and running averages in batch norm.

        Parameters
        ----------
        x : (n, ...)

        Returns
        -------
        (n, ...) array; for cross-entropy logits, whose largest names the class.
        """
        weights = self.weights
        if not backend.is_array(x) or x.dtype.kind not in "fiub" or x.ndim == 0 or x.shape[1:] != weights.input_shape:
            got = f"{x.shape} {x.dtype}" if isinstance(x, np.ndarray) else type(x).__qualname__
            raise ValueError(f"predict: got {got}, wanted real numbers of shape (n, *{weights.input_shape})")
        workspace = self._idle.pop() if self._idle else Workspace(weights, PREDICT_ROWS, train=False)
        out = np.empty((len(x), *weights.output_shape), weights.dtype)
        with backend.one_blas_thread():
            for start in range(0, len(x), PREDICT_ROWS):
                rows = np.require(x[start : start + PREDICT_ROWS], weights.dtype, ["C", "A"])
                workspace.begin(len(rows))
                out[start : start + len(rows)] = self._model.forward(rows, workspace.frame, train=False)
        self._idle.append(workspace)
        return out

    def evaluate(self, x: Array, y: Array) -> dict[str, float]:
        """Loss and accuracy on rows, with dropout off and running averages in batch norm."""
        self._check(x, y)
        outputs = self.predict(x)
        return {"loss": self._loss.value(outputs, y), "accuracy": metrics.accuracy(outputs, y)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and running averages to a safetensors file."""
        weights = self.weights
        texts = {"model": repr(self._model), "input_shape": json.dumps(weights.input_shape)}
        checkpoint.save(path, weights.params | weights.averages, texts)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take parameters and running averages from a file that `save` wrote for the same model."""
        arrays, texts = checkpoint.load(path)
        if "input_shape" not in texts:
            raise ValueError(f"Trainer.load: {path} was not written by Trainer.save")
        self.build(tuple(json.loads(texts["input_shape"]))).load(arrays)


class _StopOnInterrupt:
    """Within it the first Ctrl-C only sets `asked`, so that no step is cut in two."""

    def __init__(self, told: Callable[[str], None] | None = None) -> None:
        self.asked = False
        self._told = told
        self._before: Any = None

    def __enter__(self) -> _StopOnInterrupt:
        # Where it is ignored, as under nohup, it stays so.
        heard = signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None)
        if heard and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self._told is not None:
            self._told("stopping after this step; Ctrl-C again stops at once")
        signal.signal(signal.SIGINT, self._before)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)


class _Progress:
    """How far the training is: a bar on a terminal; elsewhere a line for each tenth, or every 10 s."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.said = time.monotonic()
        self.bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=epochs, unit="epoch", dynamic_ncols=True)

    def __call__(self, number: int, row: dict[str, float]) -> None:
        text = f"loss {row['loss']:.4f}"
        if "val_loss" in row:
            text += f"  dev loss {row['val_loss']:.4f}  dev accuracy {row['val_accuracy']:.2%}"
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update()
        elif number == 1 or number % max(1, self.epochs // 10) == 0 or time.monotonic() - self.said > 10:
            self.said = time.monotonic()
            sys.stderr.write(f"epoch {number:{len(str(self.epochs))}}/{self.epochs}  {text}\n")

    def say(self, line: str) -> None:
        """Write a line, above the bar if there is one."""
        if self.bar is not None:
            self.bar.write(line, file=sys.stderr)
        else:
            sys.stderr.write(line + "\n")

    def close(self) -> None:
        """Leave the bar as it is and go to the next line."""
        if self.bar is not None:
            self.bar.close()
