"""Where the batches of an epoch come from, and how the step gets them.

A feed makes the steps of an epoch and yields, after each, how many rows of the epoch are done, how
many the batch had, and its loss.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from . import data, random
from .step import TrainStep
from .typing import Array

Steps = Iterator[tuple[int, int, float | None]]


class SkippedRowWarning(UserWarning):
    """A batch of one row was left out, since batch norm cannot train on it."""


class Feed(Protocol):
    """What the trainer wants of a feed."""

    waits: bool
    """Whether it waits for every step, whatever it is asked for."""

    def epoch(self, number: int, done: int, wait: bool = True) -> Steps:
        """Make the steps of an epoch, but for its first `done` rows.

        Without `wait` losses are None, and the step's sum tells them.
        """
        ...


def parts(rows: int, count: int) -> list[tuple[int, int]]:
    """First row and number of rows of each part of a batch: even parts, none of a single row if it can be helped."""
    count = max(1, min(count, rows // 2))
    edges = [rows * part // count for part in range(count + 1)]
    return [(first, last - first) for first, last in itertools.pairwise(edges)]


def rows_of_epoch(rows: int, batch_size: int, *, leaves_one_out: bool) -> int:
    """How many of so many rows are trained on: not a last batch of a single row where that is left out."""
    return rows - (leaves_one_out and rows > 1 and batch_size > 1 and rows % batch_size == 1)


def steps_of_epoch(rows: int, batch_size: int, *, leaves_one_out: bool) -> int:
    """How many batches so many rows make."""
    return -(-rows_of_epoch(rows, batch_size, leaves_one_out=leaves_one_out) // batch_size)


class FromMemory:
    """Rows of arrays, gathered inside the step."""

    waits = False

    def __init__(self, step: TrainStep, batch_size: int, seed: int, accumulate: int):
        self._step, self._seed, self._accumulate = step, seed, accumulate
        self._batch = min(batch_size, step.rows_bound)
        self._rows = rows_of_epoch(step.rows_bound, self._batch, leaves_one_out=bool(step.weights.averages))
        if self._rows < step.rows_bound:
            warnings.warn(
                f"fit: the last batch of an epoch would have one row ({step.rows_bound} rows in batches of "
                f"{batch_size}), which batch norm cannot train on; each epoch leaves its last row out",
                SkippedRowWarning,
                stacklevel=4,
            )

    def epoch(self, number: int, done: int, wait: bool = True) -> Steps:
        step = self._step
        step.set_order(random.permutation(step.rows_bound, seed=self._seed, step=number))
        for start in range(done, self._rows, self._batch):
            rows = min(self._batch, self._rows - start)
            if self._accumulate == 1:
                loss = step.run(start, rows, wait=wait)
            else:
                for first, part in parts(rows, self._accumulate):
                    loss = step.run(start + first, part, first_row=first, rows=rows, wait=wait)
            yield start + rows, rows, loss


class FromBatches:
    """Batches that are handed over one by one, each of which is waited for.

    Parameters
    ----------
    batches : function of the epoch's number
        Returns an iterable of (x, y), or (x, y, sample_weight).
    prepare : function of a batch
        Checks it, and returns the step that has room for its rows.
    change : function of a batch, of the number of its first row within the epoch, and of the epoch's, optional
        Returns the batch that is trained on.
    """

    waits = True

    def __init__(
        self,
        batches: Callable[[int], Iterable[tuple[Any, ...]]],
        prepare: Callable[[Any, Any, int], TrainStep],
        accumulate: int,
        change: Callable[[Any, Any, int, int], tuple[Any, Any]] | None = None,
    ):
        self._batches, self._prepare, self._accumulate, self._change = batches, prepare, accumulate, change
        self._warned = False

    def epoch(self, number: int, done: int, wait: bool = True) -> Steps:
        seen = 0
        for batch in self._batches(number):
            if not (isinstance(batch, (tuple, list)) and len(batch) in (2, 3)):
                raise TypeError(
                    f"fit: a batch must be a pair (x, y), or (x, y, sample_weight), got {type(batch).__qualname__}"
                )
            x, y, *weights = batch
            rows = len(x)
            seen += rows
            if seen <= done:
                continue
            if self._change is not None:
                x, y = self._change(x, y, seen - rows, number)
            if seen - rows < done:  # batches were larger or smaller before
                x, y, *weights = (of_rows[done - seen :] for of_rows in (x, y, *weights))
                rows = len(x)
            ways = parts(rows, self._accumulate) if rows else []
            step = self._prepare(x, y, max((count for _, count in ways), default=0))
            if rows == 1 and step.weights.averages:
                self._say_skipped()
                continue
            for first, part in ways:
                within = slice(first, first + part)
                counts = weights[0][within] if weights else None
                loss = step(x[within], y[within], sample_weight=counts, first_row=first, rows=rows)
            yield seen, rows, loss
        if seen == 0:
            raise ValueError(
                "fit: the batches of this epoch are none; pass an iterable that can be gone over again, or a function "
                "of the epoch's number that returns one"
            )

    def _say_skipped(self) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                "fit: a batch of one row was left out, since batch norm cannot train on it; this is said once",
                SkippedRowWarning,
                stacklevel=5,
            )


def batches_of(source: Any) -> Callable[[int], Iterable[tuple[Array, ...]]]:
    """An iterable of batches, or a function of the epoch's number that returns one, as the latter."""
    if callable(source):
        return source  # type: ignore[no-any-return]
    if isinstance(source, Iterable):
        return lambda epoch: source
    raise TypeError(
        f"fit: without y, x must be an iterable of batches (x, y), or a function of the epoch's number that returns "
        f"one, got {type(source).__qualname__}"
    )


def read_by_batch(x: Any) -> bool:
    """Whether rows are to be read batch by batch, since all of them may not fit into memory."""
    return isinstance(x, (np.memmap, data.Rows))


def rows_of(x: Any) -> Any:
    """An array that is mapped from a file as `data.Rows`, which do not let memory grow; others as they are."""
    return data.Rows(x) if isinstance(x, np.memmap) else x
