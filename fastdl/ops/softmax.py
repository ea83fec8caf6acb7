"""Softmax of rows, and its gradient."""

from __future__ import annotations

from .. import backend, checks
from ..recorder import launch
from ..typing import Array


def softmax(x: Array, *, out: Array | None = None) -> Array:
    """Probabilities of classes from logits: y_ij = e^x_ij / sum_k e^x_ik.

    Parameters
    ----------
    x : (n, c)
    out : (n, c), optional

    Returns
    -------
    (n, c) array, whose rows sum to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.softmax(np.array([[0.0, np.log(3.0)], [1e4, 1e4]]))
    array([[0.25, 0.75],
           [0.5 , 0.5 ]])
    """
    op = "softmax"
    x = checks.array(op, "x", x, "nc")
    y = checks.output(op, "out", out, x.shape, x)
    checks.apart(op, {"out": out}, {"x": x})
    if y.size:
        launch(op, backend.kernel(op, "forward", x), x, y, outputs=(y,))
    return y


def softmax_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Gradient of softmax: dx_ij = y_ij (dy_ij - sum_k dy_ik y_ik).

    Before a cross-entropy `softmax_cross_entropy` does both at once, and keeps more digits.

    Parameters
    ----------
    dy : (n, c)
    y : (n, c)
        What `softmax` returned.
    out : (n, c), optional
        May be dy itself.

    Returns
    -------
    (n, c) array.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.softmax_backward(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]))
    array([[ 0.25, -0.25]])
    """
    op = "softmax_backward"
    dy = checks.array(op, "dy", dy, "nc")
    y = checks.array(op, "y", y, "nc", dy.dtype)
    checks.sizes(op, dy=(dy, "nc"), y=(y, "nc"))
    dx = checks.output(op, "out", out, dy.shape, dy)
    checks.apart(op, {"out": out}, {"dy": dy, "y": y}, same="dy")
    if dx.size:
        launch(op, backend.kernel("softmax", "backward", dy), dy, y, dx, outputs=(dx,))
    return dx
