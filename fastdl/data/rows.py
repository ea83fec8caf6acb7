"""Rows of arrays that are larger than memory."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np

from ..typing import Array, Shape

DROP = 64 << 20  # bytes of a mapped file in memory, at which its pages are given back
AROUND = 2 << 20  # bytes that Linux maps, at most, around one that is read


class Rows:
    """Rows of an array, chosen by number and prepared when they are taken.

    Of a file mapped read-only, memory holds some 64 MiB at a time, however much is read.

    Parameters
    ----------
    x : (n, ...) array, np.memmap or Rows
    numbers : (m,) integers, optional
        Which rows, in which order; all without it.
    prepare : function of rows, optional
        Applied to what is taken, such as a Standardize; it gives as many rows.

    Attributes
    ----------
    shape, dtype, ndim
        Of all rows as they are taken.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.data import Rows
    >>> rows = Rows(np.arange(6.0).reshape(3, 2), numbers=[2, 0], prepare=lambda x: x / 2)
    >>> rows.shape, rows[0:1], rows[[1, 1]]
    ((2, 2), array([[2. , 2.5]]), array([[0. , 0.5],
           [0. , 0.5]]))
    """

    def __init__(self, x: Array | Rows, numbers: Any = None, prepare: Callable[[Array], Array] | None = None):
        if x.ndim == 0:
            raise ValueError("Rows: x is a single number, wanted an array of rows")
        self._x, self._prepare = x, prepare
        self._map = _mapped(x) if isinstance(x, np.ndarray) else None
        self._read = 0  # bytes since pages were last given back
        self._numbers = None if numbers is None else _integers(numbers, len(x), "numbers").copy()
        count = len(x) if self._numbers is None else len(self._numbers)
        # Not of no rows, since few functions are right for them.
        sample = self._take(slice(0, min(count, 1)) if self._numbers is None else self._numbers[:1])
        self.shape: Shape = (count, *sample.shape[1:])
        self.dtype = sample.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """How it goes to another process: without the map, whose file joblib opens there again."""
        return Rows, (self._x, self._numbers, self._prepare)

    def __getitem__(self, rows: Any) -> Array:
        """An array of its own, C-contiguous, of the rows `a:b` or of those numbered by an array of integers."""
        if not isinstance(rows, slice):
            chosen: Any = _integers(rows, len(self), "rows")
            none = not chosen.size
        else:
            begin, end, step = rows.indices(len(self))
            if step != 1:
                raise ValueError(f"Rows: got a step of {step}, wanted rows[a:b]; choose others by an array of numbers")
            chosen, none = slice(begin, end), end <= begin
        if none:
            return np.empty((0, *self.shape[1:]), self.dtype)
        return self._take(chosen if self._numbers is None else self._numbers[chosen])

    def _take(self, chosen: slice | Array) -> Array:
        if self._map is not None:
            taken = self._from_file(chosen)
        elif isinstance(chosen, slice):
            taken = np.array(self._x[chosen], order="C", subok=False)  # a copy, so that x stays as it is
        else:
            taken = np.ascontiguousarray(self._x[chosen])
        return taken if self._prepare is None else np.ascontiguousarray(self._prepare(taken))

    def _from_file(self, chosen: slice | Array) -> Array:
        """The rows, read from front to back, so much at a time that memory holds no more than it must."""
        x = self._x
        row = max(1, x.dtype.itemsize * math.prod(x.shape[1:]))
        if isinstance(chosen, slice):
            taken = np.empty((chosen.stop - chosen.start, *x.shape[1:]), x.dtype)
            for piece in _pieces(len(taken), row):
                taken[piece] = x[chosen.start + piece.start : chosen.start + piece.stop]
                self._give_back(taken[piece].nbytes)
            return taken
        taken = np.empty((len(chosen), *x.shape[1:]), x.dtype)
        order = np.argsort(chosen, kind="stable")
        row = max(row, AROUND)
        for piece in _pieces(len(taken), row):
            taken[order[piece]] = x[chosen[order[piece]]]
            self._give_back(len(order[piece]) * row)
        return taken

    def _give_back(self, size: int) -> None:
        self._read += size
        if self._map is not None and self._read >= DROP:
            self._map.madvise(mmap.MADV_DONTNEED)
            self._read = 0


def _pieces(count: int, size: int) -> list[slice]:
    """Pieces of `count` rows of `size` bytes that make up no more than `DROP`, unless one row does."""
    step = max(1, DROP // size)
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _mapped(x: Array) -> mmap.mmap | None:
    """The read-only map that an array looks into, if there is one whose pages can be given back."""
    base: Any = x
    while isinstance(base, np.ndarray):
        base = base.base
    while isinstance(base, memoryview):
        base = base.obj
    if not isinstance(base, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    # Of a private map that was written to, what was written would be lost.
    return base if memoryview(base).readonly else None


def _integers(numbers: Any, count: int, name: str) -> Array:
    given = np.asarray(numbers)
    chosen = given.astype(np.int64) if given.size == 0 else given
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise TypeError(f"Rows: {name} is {given.shape} {given.dtype}, wanted integers in one dimension")
    if chosen.size and (chosen.min() < 0 or chosen.max() >= count):
        wrong = chosen[(chosen < 0) | (chosen >= count)][0]
        raise IndexError(f"Rows: {name} holds {wrong}, wanted 0 to {count - 1}, since there are {count} rows")
    return chosen
