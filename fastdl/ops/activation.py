"""Activations, element by element, and their gradients."""

from __future__ import annotations

from .. import backend, checks
from ..recorder import launch
from ..typing import Array

ACTIVATIONS = ("relu", "leaky_relu", "sigmoid", "tanh")


def activation(x: Array, name: str, *, slope: float = 0.01, out: Array | None = None) -> Array:
    """y = f(x), element by element.

    relu max(x, 0); leaky_relu x, or slope x below 0; sigmoid 1 / (1 + e^-x); tanh.

    Parameters
    ----------
    x : any shape
    name : {"relu", "leaky_relu", "sigmoid", "tanh"}
    slope : float
        Of the leaky ReLU.
    out : like x, optional
        May be x itself.

    Returns
    -------
    Array like x.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.activation(np.array([-2.0, 0.0, 3.0]), "leaky_relu")
    array([-0.02,  0.  ,  3.  ])
    """
    op = "activation"
    x = checks.array(op, "x", x, "...")
    checks.name_of(op, "name", name, ACTIVATIONS)
    y = checks.output(op, "out", out, x.shape, x.dtype)
    checks.apart(op, {"out": out}, {"x": x}, same="x")
    if y.size:
        flat = y.reshape(-1)
        launch(op, backend.kernel(op, name), x.reshape(-1), checks.slope(op, slope), flat, outputs=(flat,))
    return y


def activation_backward(dy: Array, y: Array, name: str, *, slope: float = 0.01, out: Array | None = None) -> Array:
    """dx = dy f'(x), from the activation's output y.

    Parameters
    ----------
    dy, y : any shape, the same
    name : {"relu", "leaky_relu", "sigmoid", "tanh"}
    slope : float
    out : like dy, optional
        May be dy itself.

    Returns
    -------
    Array like dy.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.activation_backward(np.array([5.0, 5.0]), np.array([0.0, 3.0]), "relu")
    array([0., 5.])
    """
    op = "activation_backward"
    dy = checks.array(op, "dy", dy, "...")
    y = checks.array(op, "y", y, "...", dy.dtype)
    if y.shape != dy.shape:
        raise ValueError(f"{op}: y has shape {y.shape}, wanted {dy.shape} like dy")
    checks.name_of(op, "name", name, ACTIVATIONS)
    dx = checks.output(op, "out", out, dy.shape, dy.dtype)
    checks.apart(op, {"out": out}, {"dy": dy, "y": y}, same="dy")
    if dx.size:
        flat = dx.reshape(-1)
        kernel = backend.kernel("activation", f"{name}_backward")
        launch(op, kernel, dy.reshape(-1), y.reshape(-1), checks.slope(op, slope), flat, outputs=(flat,))
    return dx
