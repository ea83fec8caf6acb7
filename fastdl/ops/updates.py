"""Optimizer updates of one flat span, in place: every parameter and moment is read and written once.

All of them share what comes before the update proper. The gradient is multiplied by `clip`; on the
first `decayed` elements the penalties are added to it, g += weight_decay p + l1 sign(p), or, with
`decoupled`, the parameters shrink by themselves, p -= lr weight_decay p. A recorded step hands
over `scalars`, which hold all numbers and are written anew for every step, in the place of them.
"""

from __future__ import annotations

import numpy as np

from .. import backend, checks
from ..recorder import launch
from ..typing import Array

Scalars = tuple[float, ...]
COUNTS = {"sgd_update": 4, "momentum_update": 6, "adagrad_update": 5, "rmsprop_update": 8, "adam_update": 12}
"""How many scalars each update reads."""

_ONE = np.ones(1)


def _one(like: Array) -> Array:
    """What stands for "no clipping"; never written."""
    return backend.library_of(like).ones(1) if backend.on_cuda(like) else _ONE


def sgd_scalars(lr: float, weight_decay: float = 0.0, l1: float = 0.0, decoupled: bool = False) -> Scalars:
    """What `sgd_update` reads, and every other update first: lr, L2, L1, and what is kept of a weight."""
    if decoupled:
        return lr, 0.0, l1, 1 - lr * weight_decay
    return lr, weight_decay, l1, 1.0


def sgd_update(
    params: Array,
    grads: Array,
    *,
    lr: float = 1e-2,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    decoupled: bool = False,
    decayed: int | None = None,
    clip: Array | None = None,
    scalars: Array | None = None,
    status: Array | None = None,
) -> Array:
    """Gradient descent: p -= lr g.

    Parameters
    ----------
    params, grads : (n,)
    lr : float
    weight_decay : float
        Factor of the penalty weight_decay / 2 sum p^2.
    l1 : float
        Factor of the penalty l1 sum |p|.
    decoupled : bool
        Let weight decay act on the parameters by themselves.
    decayed : int, optional
        Only the first so many elements take the penalties; all.
    clip : (1,) float64, optional
        What gradients are multiplied by: see `global_norm`.
    scalars : (4,) float64, optional
        In a recorded step: what `sgd_scalars` returns, in the place of all numbers above.
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
    numbers = None if scalars is not None else sgd_scalars(lr, weight_decay, l1, decoupled)
    return _update("sgd_update", "sgd", params, grads, {}, decayed, clip, scalars, numbers, status)


def momentum_scalars(
    lr: float,
    momentum: float,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    decoupled: bool = False,
) -> Scalars:
    """What `momentum_update` reads: those of `sgd_scalars`, mu, and 1 - dampening."""
    _share("momentum_update", "momentum", momentum)
    return (*sgd_scalars(lr, weight_decay, l1, decoupled), momentum, 1 - dampening)


def momentum_update(
    params: Array,
    grads: Array,
    m: Array,
    *,
    lr: float = 1e-2,
    momentum: float = 0.9,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    decoupled: bool = False,
    decayed: int | None = None,
    clip: Array | None = None,
    scalars: Array | None = None,
    status: Array | None = None,
) -> Array:
    """Gradient descent with momentum: m = mu m + (1 - dampening) g; p -= lr m.

    With `dampening` equal to mu, m is the exponential average of the gradients, as in course notes.
    Nesterov's form looks ahead: p -= lr (mu m + (1 - dampening) g).

    Parameters
    ----------
    params, grads, m : (n,)
        m starts at 0.
    lr, momentum, dampening : float
        0 <= momentum < 1.
    nesterov : bool
    weight_decay, l1, decoupled, decayed, clip, status
        As in `sgd_update`.
    scalars : (6,) float64, optional
        In a recorded step: what `momentum_scalars` returns.

    Returns
    -------
    params

    References
    ----------
    Sutskever et al., On the importance of initialization and momentum, ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> p, m = np.array([1.0]), np.array([1.0])
    >>> ops.momentum_update(p, np.array([2.0]), m, lr=0.1, momentum=0.5), m
    (array([0.75]), array([2.5]))
    """
    numbers = None if scalars is not None else momentum_scalars(lr, momentum, dampening, weight_decay, l1, decoupled)
    kernel = "nesterov" if nesterov else "momentum"
    return _update("momentum_update", kernel, params, grads, {"m": m}, decayed, clip, scalars, numbers, status)


def adagrad_scalars(
    lr: float, eps: float = 1e-10, weight_decay: float = 0.0, l1: float = 0.0, decoupled: bool = False
) -> Scalars:
    """What `adagrad_update` reads: those of `sgd_scalars`, and eps."""
    return (*sgd_scalars(lr, weight_decay, l1, decoupled), eps)


def adagrad_update(
    params: Array,
    grads: Array,
    m: Array,
    *,
    lr: float = 1e-2,
    eps: float = 1e-10,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    decoupled: bool = False,
    decayed: int | None = None,
    clip: Array | None = None,
    scalars: Array | None = None,
    status: Array | None = None,
) -> Array:
    """AdaGrad: m += g^2; p -= lr g / (sqrt(m) + eps).

    Parameters
    ----------
    params, grads, m : (n,)
        m starts at 0.
    lr, eps : float
    weight_decay, l1, decoupled, decayed, clip, status
        As in `sgd_update`.
    scalars : (5,) float64, optional
        In a recorded step: what `adagrad_scalars` returns.

    Returns
    -------
    params

    References
    ----------
    Duchi et al., Adaptive subgradient methods, JMLR 12, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.adagrad_update(np.ones(1), np.array([3.0]), np.array([16.0]), lr=0.5)
    array([0.7])
    """
    numbers = None if scalars is not None else adagrad_scalars(lr, eps, weight_decay, l1, decoupled)
    return _update("adagrad_update", "adagrad", params, grads, {"m": m}, decayed, clip, scalars, numbers, status)


def rmsprop_scalars(
    lr: float,
    beta: float = 0.99,
    eps: float = 1e-8,
    eps_inside: bool = False,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    decoupled: bool = False,
) -> Scalars:
    """What `rmsprop_update` reads: those of `sgd_scalars`, beta, 1 - beta, eps outside and inside the root."""
    _share("rmsprop_update", "beta", beta)
    return (*sgd_scalars(lr, weight_decay, l1, decoupled), beta, 1 - beta, *_placed(eps, eps_inside))


def rmsprop_update(
    params: Array,
    grads: Array,
    m: Array,
    *,
    lr: float = 1e-2,
    beta: float = 0.99,
    eps: float = 1e-8,
    eps_inside: bool = False,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    decoupled: bool = False,
    decayed: int | None = None,
    clip: Array | None = None,
    scalars: Array | None = None,
    status: Array | None = None,
) -> Array:
    """RMSProp: m = beta m + (1 - beta) g^2; p -= lr g / (sqrt(m) + eps).

    Parameters
    ----------
    params, grads, m : (n,)
        m starts at 0.
    lr, beta, eps : float
        0 <= beta < 1.
    eps_inside : bool
        Divide by sqrt(m + eps) instead, as in course notes.
    weight_decay, l1, decoupled, decayed, clip, status
        As in `sgd_update`.
    scalars : (8,) float64, optional
        In a recorded step: what `rmsprop_scalars` returns.

    Returns
    -------
    params

    References
    ----------
    Tieleman and Hinton, Lecture 6.5, Neural networks for machine learning, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.rmsprop_update(np.ones(1), np.array([2.0]), np.array([0.0]), lr=0.1, beta=0.75).round(6)
    array([0.8])
    """
    numbers = None if scalars is not None else rmsprop_scalars(lr, beta, eps, eps_inside, weight_decay, l1, decoupled)
    return _update("rmsprop_update", "rmsprop", params, grads, {"m": m}, decayed, clip, scalars, numbers, status)


def adam_scalars(
    step: int,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    eps_inside: bool = False,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    decoupled: bool = False,
) -> Scalars:
    """What `adam_update` reads: those of `sgd_scalars`; each beta and 1 - beta; eps outside and inside; corrections.

    1 - beta is one of them, since in float32 1 - 0.999 is wrong by 1.3e-5.
    """
    if step < 1:
        raise ValueError(f"adam_update: step is {step}, wanted 1 or more, for the bias correction")
    b1, b2 = betas
    _share("adam_update", "betas[0]", b1)
    _share("adam_update", "betas[1]", b2)
    corrections = 1 / (1 - b1**step), 1 / (1 - b2**step)
    common = sgd_scalars(lr, weight_decay, l1, decoupled)
    return (*common, b1, 1 - b1, b2, 1 - b2, *_placed(eps, eps_inside), *corrections)


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
    eps_inside: bool = False,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    decoupled: bool = False,
    decayed: int | None = None,
    clip: Array | None = None,
    scalars: Array | None = None,
    status: Array | None = None,
) -> Array:
    """Adam, and with `decoupled` AdamW.

    m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
    p -= lr m_hat / (sqrt(v_hat) + eps), with m_hat = m / (1 - b1^t), v_hat = v / (1 - b2^t), t the step.

    Parameters
    ----------
    params, grads, m, v : (n,)
        m and v start at 0.
    step : int
        From 1 on.
    lr, betas, eps : float
        0 <= beta < 1.
    eps_inside : bool
        Divide by sqrt(v_hat + eps) instead, as in course notes.
    weight_decay, l1, decoupled, decayed, clip, status
        As in `sgd_update`.
    scalars : (12,) float64, optional
        In a recorded step: what `adam_scalars` returns.

    Returns
    -------
    params

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, 2015, https://arxiv.org/abs/1412.6980;
    Loshchilov and Hutter, Decoupled weight decay regularization, 2019, https://arxiv.org/abs/1711.05101.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> p, g, m, v = np.ones(1), np.full(1, 5.0), np.zeros(1), np.zeros(1)
    >>> ops.adam_update(p, g, m, v, step=1, lr=0.1).round(6)
    array([0.9])
    """
    numbers = (
        None if scalars is not None else adam_scalars(step, lr, betas, eps, eps_inside, weight_decay, l1, decoupled)
    )
    return _update("adam_update", "adam", params, grads, {"m": m, "v": v}, decayed, clip, scalars, numbers, status)


def scaled_rate(scalars: Array, factor: float, *, out: Array | None = None) -> Array:
    """What an update reads, with `factor` times the learning rate: for parameters with a rate of their own.

    Weight decay that is decoupled goes with the rate, as it does in the update: 1 - factor lr weight_decay
    of a weight is kept.

    Parameters
    ----------
    scalars : (n,) float64
        What an update's `scalars` function returns, so that n is at least 4.
    factor : float
        0 or more.
    out : (n,) float64, optional

    Returns
    -------
    (n,) float64 array

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.scaled_rate(np.array(ops.sgd_scalars(0.1, weight_decay=0.5, decoupled=True)), 2.0)
    array([0.2, 0. , 0. , 0.9])
    """
    op = "scaled_rate"
    scalars = checks.array(op, "scalars", scalars, "n", np.float64)
    if scalars.size < 4:
        raise ValueError(f"{op}: scalars hold {scalars.size} numbers, wanted at least 4, as sgd_scalars gives them")
    if not 0 <= factor < np.inf:
        raise ValueError(f"{op}: factor is {factor}, wanted a number of 0 or more")
    made = checks.output(op, "out", out, scalars.shape, scalars)
    checks.apart(op, {"out": out}, {"scalars": scalars})
    launch(op, backend.kernel("updates", op, scalars), scalars, float(factor), made, outputs=(made,))
    return made


def _share(op: str, name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{op}: {name} is {value}, wanted at least 0 and below 1")


def _placed(eps: float, inside: bool) -> tuple[float, float]:
    """eps as it is added outside the root, and inside."""
    return (0.0, eps) if inside else (eps, 0.0)


def _update(
    op: str,
    kernel: str,
    params: Array,
    grads: Array,
    moments: dict[str, Array],
    decayed: int | None,
    clip: Array | None,
    scalars: Array | None,
    numbers: Scalars | None,
    status: Array | None,
) -> Array:
    checks.read_anew(op, "scalars", scalars, "learning rate and all other numbers stand")
    grads = checks.array(op, "grads", grads, "n")
    own = {"params": params, **moments}
    own = {name: checks.changed(op, name, value, grads.shape, grads.dtype) for name, value in own.items()}
    if numbers is not None:
        scalars = backend.library_of(grads).array(numbers)
    scalars = checks.array(op, "scalars", scalars, "s", np.float64, size=COUNTS[op])
    clip = _one(grads) if clip is None else checks.array(op, "clip", clip, "f", np.float64, size=1)
    decayed = grads.size if decayed is None else decayed
    checks.share(op, "decayed", decayed, grads.size)
    status = checks.status(op, status, grads)
    checks.apart(op, dict(own), {"grads": grads, "scalars": scalars, "clip": clip, "status": status})
    params, *rest = own.values()
    if grads.size:
        run = backend.kernel("updates", kernel, grads)
        launch(op, run, params, grads, *rest, decayed, scalars, clip, status, outputs=(params, *rest))
    return params
