"""Batches, for loops of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .. import random
from ..typing import Array
from .augment import Transformation, apply, check
from .rows import Rows

FEW = 2000  # rows: below, all of them are one batch
USUAL = 128


def auto_batch_size(rows: int) -> int:
    """How many of so many rows make a batch, unless one knows better: all below 2,000, else 128.

    Other sizes that are worth a trial are powers of two, from 32 to 512.

    Examples
    --------
    >>> from fastdl.data import auto_batch_size
    >>> auto_batch_size(1999), auto_batch_size(2000)
    (1999, 128)
    """
    return rows if rows < FEW else USUAL


def batches(
    x: Array | Rows,
    y: Array | Rows,
    batch_size: int,
    *,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = True,
    augment: Sequence[Transformation] = (),
    sample_weight: Array | None = None,
) -> Iterator[tuple[Array, ...]]:
    """One epoch's batches, in the order in which a Trainer of that seed takes the rows.

    Parameters
    ----------
    x, y : arrays, np.memmap or Rows of as many rows
    batch_size : int
        The last batch may be smaller. `auto_batch_size` proposes one.
    seed, epoch : int
        All that the order depends on; epochs count from 0.
    shuffle : bool
        Without it rows come as they lie.
    augment : sequence of augment.Transformation
        What is done to the rows, by seed, epoch and each row's number.
    sample_weight : (n,), optional
        What each row counts in training.

    Yields
    ------
    x, y : arrays of `batch_size` rows
    sample_weight : (batch_size,)
        Where it is given: `step(x, y, sample_weight=...)` takes it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.data import batches
    >>> x, y = np.arange(10.0).reshape(5, 2), np.arange(5)
    >>> [labels.tolist() for _, labels in batches(x, y, 2, shuffle=False)]
    [[0, 1], [2, 3], [4]]
    """
    n = len(x)
    if len(y) != n:
        raise ValueError(f"batches: x has {n} rows and y {len(y)}, wanted as many")
    if sample_weight is not None and len(sample_weight) != n:
        raise ValueError(f"batches: x has {n} rows and sample_weight {len(sample_weight)}, wanted as many")
    if batch_size < 1:
        raise ValueError(f"batches: batch_size is {batch_size}, wanted at least 1")
    check(augment, weighted=sample_weight is not None)
    order = random.permutation(n, seed=seed, step=epoch) if shuffle else None
    made: Iterator[tuple[Array, ...]]
    if augment:
        numbers = np.arange(n) if order is None else order
        made = _augmented(augment, Rows(x), Rows(y), batch_size, numbers, seed, epoch)
    else:
        made = _batches((Rows(x), Rows(y)), batch_size, order)
    if sample_weight is None:
        return made
    counts = _batches((Rows(sample_weight),), batch_size, order)
    return (rows + weights for rows, weights in zip(made, counts, strict=True))


def _batches(arrays: tuple[Rows, ...], batch_size: int, order: Array | None) -> Iterator[tuple[Array, ...]]:
    for start in range(0, len(arrays[0]), batch_size):
        rows = slice(start, start + batch_size) if order is None else order[start : start + batch_size]
        yield tuple(array[rows] for array in arrays)


def _augmented(
    augment: Sequence[Transformation], x: Rows, y: Rows, batch_size: int, order: Array, seed: int, epoch: int
) -> Iterator[tuple[Array, ...]]:
    for start in range(0, len(x), batch_size):
        yield apply(augment, x, y, order[start : start + batch_size], seed=seed, epoch=epoch)
