"""The sum of two arrays, as a residual block ends."""

from __future__ import annotations

from .. import backend, checks
from ..recorder import launch
from ..typing import Array


def add(a: Array, b: Array, *, out: Array | None = None) -> Array:
    """y = a + b, element by element.

    Parameters
    ----------
    a, b : the same shape, any
    out : like a, optional
        May be a itself.

    Returns
    -------
    Array like a.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.add(np.array([1.0, 2.0]), np.array([3.0, -2.0]))
    array([4., 0.])
    """
    op = "add"
    a = checks.array(op, "a", a, "...")
    b = checks.array(op, "b", b, "...", a.dtype)
    if b.shape != a.shape:
        raise ValueError(f"{op}: b has shape {b.shape}, wanted {a.shape} like a")
    y = checks.output(op, "out", out, a.shape, a)
    checks.apart(op, {"out": out}, {"a": a, "b": b}, same="a")
    if y.size:
        flat = y.reshape(-1)
        launch(op, backend.kernel(op, "forward", a), a.reshape(-1), b.reshape(-1), flat, outputs=(flat,))
    return y
