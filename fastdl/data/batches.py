"""Batches, for loops of one's own."""

from __future__ import annotations

from collections.abc import Iterator

from .. import random
from ..typing import Array
from .rows import Rows


def batches(
    x: Array | Rows, y: Array | Rows, batch_size: int, *, seed: int = 0, epoch: int = 0, shuffle: bool = True
) -> Iterator[tuple[Array, Array]]:
    """One epoch's batches, in the order in which a Trainer of that seed takes the rows.

    Parameters
    ----------
    x, y : arrays, np.memmap or Rows of as many rows
    batch_size : int
        The last batch may be smaller.
    seed, epoch : int
        All that the order depends on; epochs count from 0.
    shuffle : bool
        Without it rows come as they lie.

    Yields
    ------
    x, y : arrays of `batch_size` rows

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
    if batch_size < 1:
        raise ValueError(f"batches: batch_size is {batch_size}, wanted at least 1")
    return _batches(Rows(x), Rows(y), batch_size, random.permutation(n, seed=seed, step=epoch) if shuffle else None)


def _batches(x: Rows, y: Rows, batch_size: int, order: Array | None) -> Iterator[tuple[Array, Array]]:
    for start in range(0, len(x), batch_size):
        rows = slice(start, start + batch_size) if order is None else order[start : start + batch_size]
        yield x[rows], y[rows]
