"""Rows of an array by their numbers."""

from __future__ import annotations

import numpy as np

from .. import backend, checks, devices
from ..recorder import launch, recording
from ..typing import Array


def gather(
    data: Array,
    order: Array,
    *,
    start: Array | None = None,
    rows: int | None = None,
    out: Array | None = None,
) -> Array:
    """Rows of an array by their numbers: out[i] = data[order[start + i]].

    Parameters
    ----------
    data : (rows, ...) of any dtype that a kernel knows
    order : (any,) int64
        Numbers of rows, 0 to rows - 1.
    start : (1,) int64, optional
        Where in `order` to begin; 0. In a recorded step it changes from step to step, and `order`
        must then be known to hold only numbers of rows.
    rows : int, optional
        How many rows to take; all of `order`.
    out : (rows, ...) of data's dtype, optional

    Returns
    -------
    Array of data's dtype.

    Raises
    ------
    IndexError
        For a row number outside the data, or a stretch of `order` that ends beyond it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.gather(np.array([[1.0], [2.0], [3.0]]), np.array([2, 0]))
    array([[3.],
           [1.]])
    """
    op = "gather"
    dtype = getattr(data, "dtype", None)
    if dtype is not None and (dtype.kind not in "fiub" or dtype.itemsize not in (1, 2, 4, 8) or dtype == np.float16):
        raise TypeError(f"{op}: data must hold numbers of 8 to 64 bits, and no float16, got {dtype}")
    if dtype is not None and not dtype.isnative:
        raise TypeError(f"{op}: data is byte-swapped, {dtype.str}; pass data.astype(data.dtype.newbyteorder('='))")
    data = checks.array(op, "data", data, "...", dtype)
    if data.ndim == 0:
        raise ValueError(f"{op}: data must have rows, got an array without axes")
    order = checks.array(op, "order", order, "r", np.int64)
    rows = order.size if rows is None else rows
    if rows < 0:
        raise ValueError(f"{op}: rows is {rows}, wanted 0 or more")
    begin = (
        backend.library_of(data).zeros(1, np.int64)
        if start is None
        else checks.array(op, "start", start, "s", np.int64, size=1)
    )
    if not recording():
        first = int(devices.read(begin)[0])
        if first < 0 or first + rows > order.size:
            raise IndexError(f"{op}: rows {first} to {first + rows} of order were asked for, which has {order.size}")
        wanted = devices.read(order[first : first + rows])
        bad = np.flatnonzero((wanted < 0) | (wanted >= data.shape[0]))
        if bad.size:
            at = first + int(bad[0])
            raise IndexError(f"{op}: order[{at}] is {wanted[bad[0]]}, wanted 0 to {data.shape[0] - 1}")
    taken = checks.output(op, "out", out, (rows, *data.shape[1:]), data)
    checks.apart(op, {"out": out}, {"data": data, "order": order, "start": begin})
    if taken.size:
        flat = taken.reshape(rows, -1)
        table = data.reshape(data.shape[0], -1)
        launch(op, backend.kernel(op, "forward", data), table, order, begin, flat, outputs=(flat,))
    return taken
