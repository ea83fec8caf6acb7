"""Elements brought between two bounds."""

from __future__ import annotations

from .. import backend, checks
from ..recorder import launch
from ..typing import Array


def clip(x: Array, limit: float, *, out: Array | None = None) -> Array:
    """y = min(max(x, -limit), limit), element by element; NaN stays NaN.

    Clipping of gradients by value. It may turn them, which clipping by a norm does not: see `global_norm`.

    Parameters
    ----------
    x : any shape
    limit : float
        More than 0.
    out : like x, optional
        May be x itself.

    Returns
    -------
    Array like x.

    References
    ----------
    Mikolov, Statistical language models based on neural networks, thesis, Brno, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.clip(np.array([-3.0, 0.5, 2.0]), 1.0)
    array([-1. ,  0.5,  1. ])
    """
    op = "clip"
    x = checks.array(op, "x", x, "...")
    if not limit > 0:
        raise ValueError(f"{op}: limit is {limit}, wanted more than 0")
    y = checks.output(op, "out", out, x.shape, x)
    checks.apart(op, {"out": out}, {"x": x}, same="x")
    if y.size:
        flat = y.reshape(-1)
        launch(op, backend.kernel(op, "forward", x), x.reshape(-1), float(limit), flat, outputs=(flat,))
    return y
