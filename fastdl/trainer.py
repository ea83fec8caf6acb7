"""Training from arrays: epochs of steps, what is measured after each, and prediction."""

from __future__ import annotations

import csv
import io
import os
import signal
import sys
import threading
import time
import warnings
from types import FrameType
from typing import Any

import numpy as np

from . import backend, checkpoint, metrics, random
from .files import write_atomic
from .losses import Loss
from .nn import Layer, Weights, Workspace
from .optim import Optimizer
from .step import TrainStep
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
    step : TrainStep
        None before the first `fit`; it holds weights and the optimizer's state.

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
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.device, self.seed, self.dtype = backend.device(device), seed, np.dtype(dtype)
        self.step: TrainStep | None = None
        self._epochs = 0  # made so far, over all calls of fit
        self._workspace: Workspace | None = None

    @property
    def weights(self) -> Weights:
        """Parameters and running averages; they exist from the first `fit` on."""
        if self.step is None:
            raise RuntimeError("Trainer: there are no weights before the first fit(x, y)")
        return self.step.weights

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
        batch_size = min(batch_size, len(x))
        if self.step is None or self.step.batch_size != batch_size:
            self._make_step(batch_size)
        step = self.step
        assert step is not None
        step.bind(x, y)
        n = len(x)
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
        with _StopOnInterrupt() as stop:
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
                row |= {"learning_rate": self.optimizer.scalars(step.count)[0], "rows_per_second": n / seconds}
                history.rows.append(row)
                if show:
                    show(len(history), row)

    def _make_step(self, batch_size: int) -> None:
        """A step for batches of this size, which goes on with the weights and moments of the last."""
        old = self.step
        self.step = TrainStep(
            self.model,
            self.loss,
            self.optimizer,
            batch_size=batch_size,
            device=self.device,
            seed=self.seed,
            dtype=self.dtype,
            weights=old.weights if old else None,
        )
        if old:
            self.step.count = old.count
            for moment, saved in zip(self.step.moments, old.moments, strict=True):
                moment[...] = saved

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
        if x.shape[1:] != weights.input_shape:
            raise ValueError(f"predict: x has rows of shape {x.shape[1:]}, wanted {weights.input_shape}")
        if self._workspace is None or self._workspace.weights is not weights:
            self._workspace = Workspace(weights, PREDICT_ROWS, train=False)
        out = np.empty((len(x), *weights.output_shape), weights.dtype)
        with backend.one_blas_thread():
            for start in range(0, len(x), PREDICT_ROWS):
                rows = np.ascontiguousarray(x[start : start + PREDICT_ROWS], weights.dtype)
                self._workspace.begin(len(rows))
                out[start : start + len(rows)] = self.model.forward(rows, self._workspace.frame, train=False)
        return out

    def evaluate(self, x: Array, y: Array) -> dict[str, float]:
        """Loss and accuracy on rows, with dropout off and running averages in batch norm."""
        outputs = self.predict(x)
        return {"loss": self.loss.value(outputs, y), "accuracy": metrics.accuracy(outputs, y)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and running averages to a safetensors file."""
        weights = self.weights
        checkpoint.save(path, weights.params | weights.averages, {"model": repr(self.model)})

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take parameters and running averages from a file that `save` wrote for the same model."""
        self.weights.load(checkpoint.load(path)[0])


class _StopOnInterrupt:
    """Within it the first Ctrl-C only sets `asked`, so that no step is cut in two."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> _StopOnInterrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
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

    def close(self) -> None:
        """Leave the bar as it is and go to the next line."""
        if self.bar is not None:
            self.bar.close()
