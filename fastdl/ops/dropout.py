"""Dropout: masks, forward and backward."""

from __future__ import annotations

import numpy as np

from .. import backend, checks
from ..recorder import launch
from ..typing import Array


def dropout_mask(
    shape: tuple[int, ...],
    *,
    rate: float,
    seed: int = 0,
    stream: int = 0,
    step: int = 0,
    out: Array | None = None,
) -> Array:
    """Which elements dropout keeps: 1 with probability 1 - rate, else 0.

    A mask depends on seed, stream, step and element alone, and is the same to the bit on every
    backend: element i of the step is dropped if word (i // 16) % 4 of Philox4x32-10's block
    16 (i // 64) + i % 16, stream, step is below round(rate 2^32).

    Parameters
    ----------
    shape : tuple of int
    rate : float
        The share that is dropped, 0 <= rate < 1.
    seed : int
        Philox's key, 64 bits.
    stream, step : int
        Philox's counter words 2 and 3, 32 bits each.
    out : uint8 array of that shape, optional

    Returns
    -------
    uint8 array.

    References
    ----------
    Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.

    Examples
    --------
    >>> from fastdl import ops
    >>> ops.dropout_mask((8,), rate=0.5, seed=1)
    array([1, 1, 0, 1, 0, 0, 0, 0], dtype=uint8)
    """
    op = "dropout_mask"
    checks.read_anew(op, "draw", None, "seed and step stand")
    threshold = checks.rate(op, rate)
    checks.word(op, "stream", stream)
    out = checks.output(op, "out", out, tuple(shape), np.uint8)
    if out.size:
        flat = out.reshape(-1)
        launch(
            op, backend.kernel("dropout", "mask"), threshold, stream, 1, _draw(op, seed, step), flat, outputs=(flat,)
        )
    return out


def dropout(
    x: Array,
    *,
    rate: float,
    seed: int = 0,
    stream: int = 0,
    step: int = 0,
    draw: Array | None = None,
    out: Array | None = None,
    mask: Array | None = None,
) -> tuple[Array, Array]:
    """Inverted dropout: y = x / (1 - rate) where the mask keeps, and 0 elsewhere.

    Parameters
    ----------
    x : (n, ...)
    rate, seed, stream, step
        As in `dropout_mask`.
    draw : (4,) int64, optional
        In a recorded step: seed's low and high word, step, and the number of x's first row within
        the step's whole batch, in the place of `seed` and `step`.
    out : like x, optional
    mask : uint8 array of x's shape, optional

    Returns
    -------
    y : array like x
    mask : uint8 array of x's shape

    References
    ----------
    Srivastava et al., Dropout, JMLR 15, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> y, mask = ops.dropout(np.ones(8), rate=0.5, seed=1)
    >>> y
    array([2., 2., 0., 2., 0., 0., 0., 0.])
    """
    op = "dropout"
    x = checks.array(op, "x", x, "...")
    threshold = checks.rate(op, rate)
    checks.word(op, "stream", stream)
    y = checks.output(op, "out", out, x.shape, x.dtype)
    kept = checks.output(op, "mask", mask, x.shape, np.uint8)
    if draw is None:
        checks.read_anew(op, "draw", draw, "seed and step stand")
        draw = _draw(op, seed, step)
    else:
        draw = checks.array(op, "draw", draw, "d", np.int64, size=4)
    checks.apart(op, {"out": out, "mask": mask}, {"x": x, "draw": draw})
    if y.size:
        width = x.size // x.shape[0] if x.ndim else 1
        args = x.reshape(-1), threshold, 1 / (1 - rate), stream, width, draw
        outputs = kept.reshape(-1), y.reshape(-1)
        launch(op, backend.kernel(op, "forward"), *args, *outputs, outputs=outputs)
    return y, kept


def dropout_backward(dy: Array, mask: Array, *, rate: float, out: Array | None = None) -> Array:
    """dx = dy / (1 - rate) where the mask keeps, and 0 elsewhere.

    Parameters
    ----------
    dy : any shape
    mask : uint8, the same shape
        As `dropout` returned it.
    rate : float
    out : like dy, optional
        May be dy itself.

    Returns
    -------
    Array like dy.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.dropout_backward(np.array([3.0, 3.0]), np.array([0, 1], np.uint8), rate=0.5)
    array([0., 6.])
    """
    op = "dropout_backward"
    dy = checks.array(op, "dy", dy, "...")
    mask = checks.array(op, "mask", mask, "...", np.uint8)
    if mask.shape != dy.shape:
        raise ValueError(f"{op}: mask has shape {mask.shape}, wanted {dy.shape} like dy")
    checks.rate(op, rate)
    dx = checks.output(op, "out", out, dy.shape, dy.dtype)
    checks.apart(op, {"out": out}, {"dy": dy, "mask": mask}, same="dy")
    if dx.size:
        flat = dx.reshape(-1)
        kernel = backend.kernel("dropout", "backward")
        launch(op, kernel, dy.reshape(-1), mask.reshape(-1), 1 / (1 - rate), flat, outputs=(flat,))
    return dx


def _draw(op: str, seed: int, step: int) -> Array:
    checks.word(op, "seed", seed, 64)
    checks.word(op, "step", step)
    return np.array([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, step, 0], np.int64)
