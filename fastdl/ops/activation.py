"""Activations, element by element, and their gradients."""

from __future__ import annotations

from .. import backend, checks
from ..recorder import launch
from ..typing import Array

ACTIVATIONS = ("relu", "leaky_relu", "sigmoid", "tanh", "elu", "gelu", "silu", "softplus")
FROM_INPUT = ("gelu", "silu", "softplus")
"""Activations whose gradient needs x, since y does not tell it."""


def activation(x: Array, name: str, *, slope: float = 0.01, alpha: float = 1.0, out: Array | None = None) -> Array:
    """y = f(x), element by element.

    relu max(x, 0); leaky_relu x, or slope x below 0; sigmoid 1 / (1 + e^-x); tanh; elu x, or
    alpha (e^x - 1) below 0; gelu x P(X <= x) for a standard normal X; silu x sigmoid(x);
    softplus log(1 + e^x).

    Parameters
    ----------
    x : any shape
    name : {"relu", "leaky_relu", "sigmoid", "tanh", "elu", "gelu", "silu", "softplus"}
    slope : float
        Of the leaky ReLU, 0 or more.
    alpha : float
        How deep ELU goes, 0 or more.
    out : like x, optional
        May be x itself.

    Returns
    -------
    Array like x.

    References
    ----------
    Clevert et al., ELU, 2015; Hendrycks and Gimpel, GELU, 2016; Elfwing et al., SiLU, 2017.

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
    constant = _constant(op, name, slope, alpha)
    y = checks.output(op, "out", out, x.shape, x)
    checks.apart(op, {"out": out}, {"x": x}, same="x")
    if y.size:
        flat = y.reshape(-1)
        launch(op, backend.kernel(op, name, x), x.reshape(-1), constant, flat, outputs=(flat,))
    return y


def activation_backward(
    dy: Array,
    name: str,
    *,
    y: Array | None = None,
    x: Array | None = None,
    slope: float = 0.01,
    alpha: float = 1.0,
    out: Array | None = None,
) -> Array:
    """dx = dy f'(x), from the activation's output y, or its input x where y does not tell.

    Parameters
    ----------
    dy : any shape
    name : {"relu", "leaky_relu", "sigmoid", "tanh", "elu", "gelu", "silu", "softplus"}
    y : like dy
        What `activation` returned; for all but "gelu", "silu" and "softplus".
    x : like dy
        What `activation` was given; for these three.
    slope, alpha : float
    out : like dy, optional
        May be dy itself.

    Returns
    -------
    Array like dy.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.activation_backward(np.array([5.0, 5.0]), "relu", y=np.array([0.0, 3.0]))
    array([0., 5.])
    """
    op = "activation_backward"
    dy = checks.array(op, "dy", dy, "...")
    checks.name_of(op, "name", name, ACTIVATIONS)
    wanted, given = ("x", x) if name in FROM_INPUT else ("y", y)
    if given is None:
        what = "input" if wanted == "x" else "output"
        raise TypeError(f"{op}: {wanted} must be given for {name!r}, the activation's {what}; got None")
    saved = checks.array(op, wanted, given, "...", dy.dtype)
    if saved.shape != dy.shape:
        raise ValueError(f"{op}: {wanted} has shape {saved.shape}, wanted {dy.shape} like dy")
    constant = _constant(op, name, slope, alpha)
    dx = checks.output(op, "out", out, dy.shape, dy)
    checks.apart(op, {"out": out}, {"dy": dy, wanted: saved}, same="dy")
    if dx.size:
        flat = dx.reshape(-1)
        kernel = backend.kernel("activation", f"{name}_backward", dy)
        launch(op, kernel, dy.reshape(-1), saved.reshape(-1), constant, flat, outputs=(flat,))
    return dx


def _constant(op: str, name: str, slope: float, alpha: float) -> float:
    """The one number that an activation's kernel takes; below 0 the sign of y would not tell that of x."""
    which, value = ("alpha", alpha) if name == "elu" else ("slope", slope)
    if not value >= 0:
        raise ValueError(f"{op}: {which} is {value}, wanted 0 or more")
    return float(value)
