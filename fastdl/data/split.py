"""Parts of a data set for training, choosing and testing, all from one distribution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import random
from ..typing import Array


def split(
    x: Array, y: Array, *, parts: Sequence[float] = (0.7, 0.15, 0.15), stratify: bool = False, seed: int = 0
) -> list[tuple[Array, Array]]:
    """Cut a data set at random into parts that share no row.

    Parameters
    ----------
    x, y : arrays of as many rows
    parts : sequence of float
        Shares of the rows, which add up to 1.
    stratify : bool
        Give each part every class's share, to within one row a class; y then holds classes.
    seed : int

    Returns
    -------
    list of (x, y), one a part, with the rows in random order.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.data import split
    >>> x, y = np.arange(8.0).reshape(8, 1), np.array([0, 0, 0, 0, 1, 1, 1, 1])
    >>> [sorted(labels.tolist()) for _, labels in split(x, y, parts=(0.5, 0.5), stratify=True)]
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    x, y = np.asarray(x), np.asarray(y)
    n = len(x)
    if len(y) != n:
        raise ValueError(f"split: x has {n} rows and y {len(y)}, wanted as many")
    if not (min(parts) > 0 and abs(sum(parts) - 1) <= 1e-9):
        raise ValueError(f"split: parts are {tuple(parts)}, wanted positive shares that add up to 1")
    order = random.permutation(n, seed=seed, stream=random.SPLIT)
    if stratify and (y.ndim != 1 or y.dtype.kind not in "iubU"):
        raise TypeError(f"split: stratify=True wants one class a row, got y of shape {y.shape} and dtype {y.dtype}")
    groups = [order[y[order] == label] for label in np.unique(y)] if stratify else [order]
    chosen: list[list[Array]] = [[] for _ in parts]
    given = np.zeros(len(parts), np.int64)
    for group in groups:
        counts = np.floor(np.multiply(parts, len(group)) + 1e-9).astype(np.int64)
        wanted = np.multiply(parts, given.sum() + len(group))
        left = len(group) - counts.sum()
        counts[np.argsort(given + counts - wanted, kind="stable")[:left]] += 1  # where most are missing
        given += counts
        for rows, piece in zip(chosen, np.split(group, np.cumsum(counts)[:-1]), strict=True):
            rows.append(piece)
    if (given == 0).any():
        raise ValueError(f"split: {n} rows are too few for parts {tuple(parts)}; part {int(given.argmin())} is empty")
    result = []
    for number, pieces in enumerate(chosen):
        together = np.concatenate(pieces)
        shuffled = together[random.permutation(len(together), seed=seed, stream=random.SPLIT, step=number + 1)]
        result.append((x[shuffled], y[shuffled]))
    return result
