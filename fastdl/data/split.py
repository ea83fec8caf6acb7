"""Parts of a data set for training, choosing and testing, all from one distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import random
from ..typing import Array
from .rows import Rows


def split(
    x: Array | Rows,
    y: Array | Rows,
    *,
    parts: Sequence[float] = (0.7, 0.15, 0.15),
    stratify: bool = False,
    groups: Array | None = None,
    seed: int = 0,
) -> list[tuple[Any, Any]]:
    """Cut a data set at random into parts that share no row.

    Parameters
    ----------
    x, y : arrays, np.memmap or Rows of as many rows
    parts : sequence of float
        Shares of the rows, which add up to 1.
    stratify : bool
        Give each part every class's share, to within one row a class; y then holds classes.
    groups : (n,) numbers or texts, optional
        Rows of one group, such as one patient's, stay together; shares are met as far as whole groups
        allow.
    seed : int

    Returns
    -------
    list of (x, y), one a part, with the rows in random order: arrays, or Rows of what is np.memmap or Rows.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.data import split
    >>> x, y = np.arange(8.0).reshape(8, 1), np.array([0, 0, 0, 0, 1, 1, 1, 1])
    >>> [sorted(labels.tolist()) for _, labels in split(x, y, parts=(0.5, 0.5), stratify=True)]
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    n = len(x)
    if len(y) != n:
        raise ValueError(f"split: x has {n} rows and y {len(y)}, wanted as many")
    if not (min(parts) > 0 and abs(sum(parts) - 1) <= 1e-9):
        raise ValueError(f"split: parts are {tuple(parts)}, wanted positive shares that add up to 1")
    order = random.permutation(n, seed=seed, stream=random.SPLIT)
    if groups is not None:
        if stratify:
            raise ValueError("split: got stratify=True and groups, wanted one of them: whole groups have shares given")
        chosen = _by_groups(np.asarray(groups), order, parts, seed)
    else:
        chosen = _by_rows([order] if not stratify else _classes(y, order), parts)
    counts = [len(rows) for rows in chosen]
    if 0 in counts:
        few = f"{n} rows" if groups is None else f"{len(np.unique(groups))} groups"
        raise ValueError(f"split: {few} are too few for parts {tuple(parts)}; part {counts.index(0)} is empty")
    result = []
    for number, rows in enumerate(chosen):
        shuffled = rows[random.permutation(len(rows), seed=seed, stream=random.SPLIT, step=number + 1)]
        result.append((_rows(x, shuffled), _rows(y, shuffled)))
    return result


def _rows(array: Array | Rows, numbers: Array) -> Array | Rows:
    if isinstance(array, np.memmap | Rows):
        return Rows(array, numbers)
    rows: Array = np.asarray(array)[numbers]
    return rows


def _classes(y: Array | Rows, order: Array) -> list[Array]:
    """The rows of each class."""
    labels = y[:] if isinstance(y, Rows) else np.asarray(y)
    classes = np.unique(labels) if labels.ndim == 1 and labels.dtype.kind in "iubUf" else np.empty(0)
    # Numbers with a point are classes only if they come again: else they are something that is measured.
    measured = labels.dtype.kind == "f" and (np.isnan(labels).any() or 2 * len(classes) > len(labels))
    if not len(classes) or measured:
        raise TypeError(
            f"split: stratify=True wants one class a row, got y of shape {labels.shape} and dtype {labels.dtype}"
        )
    return [order[labels[order] == label] for label in classes]


def _by_rows(classes: list[Array], parts: Sequence[float]) -> list[Array]:
    """Each part's rows, with its share of every class."""
    chosen: list[list[Array]] = [[] for _ in parts]
    given = np.zeros(len(parts), np.int64)
    for rows in classes:
        counts = np.floor(np.multiply(parts, len(rows)) + 1e-9).astype(np.int64)
        wanted = np.multiply(parts, given.sum() + len(rows))
        left = len(rows) - counts.sum()
        counts[np.argsort(given + counts - wanted, kind="stable")[:left]] += 1  # where most are missing
        given += counts
        for pieces, piece in zip(chosen, np.split(rows, np.cumsum(counts)[:-1]), strict=True):
            pieces.append(piece)
    return [np.concatenate(pieces) if pieces else np.zeros(0, np.int64) for pieces in chosen]


def _by_groups(groups: Array, order: Array, parts: Sequence[float], seed: int) -> list[Array]:
    """Each part's rows: the largest group first, each to the part where most rows are missing."""
    if groups.shape != order.shape or groups.dtype.kind not in "iubUf" or (groups != groups).any():
        raise ValueError(
            f"split: groups is {groups.shape} {groups.dtype}, wanted a number or text for each of {len(order)} rows, "
            "and no NaN"
        )
    names, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    drawn = random.permutation(len(names), seed=seed, stream=random.SPLIT, step=len(parts) + 1)
    home = np.zeros(len(names), np.int64)
    lacking = np.multiply(parts, len(order))
    empty = np.ones(len(parts), bool)
    for done, name in enumerate(drawn[np.argsort(-sizes[drawn], kind="stable")]):
        must = empty if len(names) - done <= empty.sum() else True  # else a part would get none
        home[name] = np.argmax(np.where(must, lacking, -np.inf))
        lacking[home[name]] -= sizes[name]
        empty[home[name]] = False
    return [order[home[group[order]] == part] for part in range(len(parts))]
