"""Optimizer updates of one flat span, in place."""

from __future__ import annotations

import numpy as np

from .. import backend, checks
from ..recorder import launch
from ..typing import Array


def sgd_update(
    params: Array,
    grads: Array,
    *,
    lr: float = 1e-2,
    weight_decay: float = 0.0,
    decayed: int | None = None,
    scalars: Array | None = None,
    status: Array | None = None,
) -> Array:
    """Gradient descent, in place and in one pass: p -= lr (g + weight_decay p).

    Parameters
    ----------
    params, grads : (n,)
    lr : float
    weight_decay : float
        Factor of the penalty weight_decay / 2 sum p^2 (coupled L2).
    decayed : int, optional
        Only the first so many elements take weight decay; all.
    scalars : (2,) float64, optional
        In a recorded step: learning rate and weight decay, in the place of `lr` and `weight_decay`.
    status : (1,) int64, optional
        Nothing is written unless it holds 0.

    Returns
    -------
    params

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.sgd_update(np.array([1.0]), np.array([2.0]), lr=0.1)
    array([0.8])
    """
    op = "sgd_update"
    checks.read_anew(op, "scalars", scalars, "learning rate and weight decay stand")
    if scalars is None:
        scalars = np.array([lr, weight_decay])
    return _update(op, "sgd", params, grads, {}, decayed, scalars, 2, status)


def adam_update(
    params: Array,
    grads: Array,
    m: Array,
    v: Array,
    *,
    step: int = 1,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decayed: int | None = None,
    scalars: Array | None = None,
    status: Array | None = None,
) -> Array:
    """Adam, in place and in one pass over parameters and moments.

    g += weight_decay p; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
    p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps), with t the step.

    Parameters
    ----------
    params, grads, m, v : (n,)
    step : int
        From 1 on.
    lr, betas, eps, weight_decay : float
    decayed : int, optional
        Only the first so many elements take weight decay; all.
    scalars : (9,) float64, optional
        In a recorded step: what `adam_scalars` returns, in the place of all numbers above.
    status : (1,) int64, optional
        Nothing is written unless it holds 0.

    Returns
    -------
    params

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, 2015, https://arxiv.org/abs/1412.6980.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> p, g, m, v = np.ones(1), np.full(1, 5.0), np.zeros(1), np.zeros(1)
    >>> ops.adam_update(p, g, m, v, step=1, lr=0.1).round(6)
    array([0.9])
    """
    op = "adam_update"
    checks.read_anew(op, "scalars", scalars, "learning rate and corrections stand")
    if scalars is None:
        scalars = np.array(adam_scalars(step, lr, betas, eps, weight_decay))
    return _update(op, "adam", params, grads, {"m": m, "v": v}, decayed, scalars, 9, status)


def adam_scalars(
    step: int, lr: float, betas: tuple[float, float], eps: float, weight_decay: float
) -> tuple[float, ...]:
    """The nine numbers that Adam's kernel reads, computed in float64.

    1 - beta is one of them, since in float32 1 - 0.999 is wrong by 1.3e-5.
    """
    if step < 1:
        raise ValueError(f"adam_update: step is {step}, wanted 1 or more, for the bias correction")
    b1, b2 = betas
    if not (0 <= b1 < 1 and 0 <= b2 < 1):
        raise ValueError(f"adam_update: betas are {betas}, wanted at least 0 and below 1")
    return (lr, weight_decay, b1, 1 - b1, b2, 1 - b2, eps, 1 / (1 - b1**step), (1 - b2**step) ** -0.5)


def _update(
    op: str,
    kernel: str,
    params: Array,
    grads: Array,
    moments: dict[str, Array],
    decayed: int | None,
    scalars: Array,
    count: int,
    status: Array | None,
) -> Array:
    grads = checks.array(op, "grads", grads, "n")
    own = {"params": params, **moments}
    own = {name: checks.changed(op, name, value, grads.shape, grads.dtype) for name, value in own.items()}
    scalars = checks.array(op, "scalars", scalars, "s", np.float64, size=count)
    decayed = grads.size if decayed is None else decayed
    checks.share(op, "decayed", decayed, grads.size)
    status = checks.status(op, status)
    checks.apart(op, dict(own), {"grads": grads, "scalars": scalars, "status": status})
    params, *rest = own.values()
    if grads.size:
        run = backend.kernel("updates", kernel)
        launch(op, run, params, grads, *rest, decayed, scalars, status, outputs=(params, *rest))
    return params
