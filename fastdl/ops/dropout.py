"""Dropout: masks, forward and backward."""

from __future__ import annotations

import numpy as np

from .. import backend, checks, devices
from ..recorder import launch
from ..typing import Array


def dropout_mask(
    shape: tuple[int, ...],
    *,
    rate: float,
    seed: int = 0,
    stream: int = 0,
    step: int = 0,
    offset: int = 0,
    device: str = "cpu",
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
    offset : int
        The number of the first element: where a part of a larger mask is drawn by itself.
    device : {"cpu", "cuda", "auto"}
        Where the mask is made, unless `out` is given.
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
    like = devices.asarray(np.empty(0, np.uint8), device) if out is None else out
    out = checks.output(op, "out", out, tuple(shape), like, np.uint8)
    if out.size:
        flat, draw = out.reshape(-1), _draw(op, seed, step, offset, out)
        kernel = backend.kernel("dropout", "mask", out)
        launch(op, kernel, threshold, stream, 1, draw, flat, outputs=(flat,))
    return out


def dropout(
    x: Array,
    *,
    rate: float,
    seed: int = 0,
    stream: int = 0,
    step: int = 0,
    offset: int = 0,
    inverted: bool = True,
    keep_mask: bool = True,
    draw: Array | None = None,
    out: Array | None = None,
    mask: Array | None = None,
) -> tuple[Array, Array | None]:
    """Dropout: y = x / (1 - rate) where the mask keeps, and 0 elsewhere.

    Parameters
    ----------
    x : (n, ...)
    rate, seed, stream, step, offset
        As in `dropout_mask`.
    inverted : bool
        False leaves x unscaled, as the older form does, which multiplies by 1 - rate at prediction
        instead: see `dropout_predict`.
    keep_mask : bool
        False draws and applies the mask without writing it down: `dropout_backward` can draw it again.
    draw : (4,) int64, optional
        In a recorded step: seed's low and high word, step, and the number of x's first row within
        the step's whole batch, in the place of `seed`, `step` and `offset`.
    out : like x, optional
    mask : uint8 array of x's shape, optional

    Returns
    -------
    y : array like x
    mask : uint8 array of x's shape, or None without `keep_mask`

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
    if mask is not None and not keep_mask:
        raise ValueError(f"{op}: mask was given, and keep_mask=False; give one of them")
    y = checks.output(op, "out", out, x.shape, x)
    kept = checks.output(op, "mask", mask, x.shape, x, np.uint8) if keep_mask else None
    draw, width = _drawn(op, draw, seed, step, offset, x)
    checks.apart(op, {"out": out, "mask": mask}, {"x": x, "draw": draw})
    if y.size:
        args = x.reshape(-1), threshold, _scale(rate, inverted), stream, width, draw
        outputs = (y.reshape(-1),) if kept is None else (kept.reshape(-1), y.reshape(-1))
        name = "drawn" if kept is None else "forward"
        launch(op, backend.kernel(op, name, x), *args, *outputs, outputs=outputs)
    return y, kept


def dropout_backward(
    dy: Array,
    mask: Array | None = None,
    *,
    rate: float,
    seed: int = 0,
    stream: int = 0,
    step: int = 0,
    offset: int = 0,
    inverted: bool = True,
    draw: Array | None = None,
    out: Array | None = None,
) -> Array:
    """dx = dy / (1 - rate) where the mask keeps, and 0 elsewhere.

    Parameters
    ----------
    dy : any shape
    mask : uint8, the same shape, optional
        As `dropout` returned it; without it, it is drawn again.
    rate, seed, stream, step, offset, inverted, draw
        As `dropout` was given them; with a mask only `rate` and `inverted` matter.
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
    >>> ops.dropout_backward(np.ones(8), rate=0.5, seed=1)
    array([2., 2., 0., 2., 0., 0., 0., 0.])
    """
    op = "dropout_backward"
    dy = checks.array(op, "dy", dy, "...")
    threshold = checks.rate(op, rate)
    scale = _scale(rate, inverted)
    dx = checks.output(op, "out", out, dy.shape, dy)
    flat = dx.reshape(-1)
    if mask is None:
        checks.word(op, "stream", stream)
        draw, width = _drawn(op, draw, seed, step, offset, dy)
        checks.apart(op, {"out": out}, {"dy": dy, "draw": draw}, same="dy")
        if dx.size:
            kernel = backend.kernel("dropout", "drawn", dy)
            launch(op, kernel, dy.reshape(-1), threshold, scale, stream, width, draw, flat, outputs=(flat,))
        return dx
    mask = checks.array(op, "mask", mask, "...", np.uint8)
    if mask.shape != dy.shape:
        raise ValueError(f"{op}: mask has shape {mask.shape}, wanted {dy.shape} like dy")
    checks.apart(op, {"out": out}, {"dy": dy, "mask": mask}, same="dy")
    if dx.size:
        kernel = backend.kernel("dropout", "backward", dy)
        launch(op, kernel, dy.reshape(-1), mask.reshape(-1), scale, flat, outputs=(flat,))
    return dx


def dropout_predict(x: Array, *, rate: float, out: Array | None = None) -> Array:
    """y = (1 - rate) x: what the older form of dropout does at prediction. The inverted form does nothing.

    Parameters
    ----------
    x : any shape
    rate : float
    out : like x, optional
        May be x itself.

    Returns
    -------
    Array like x.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.dropout_predict(np.array([8.0]), rate=0.25)
    array([6.])
    """
    op = "dropout_predict"
    x = checks.array(op, "x", x, "...")
    checks.rate(op, rate)
    y = checks.output(op, "out", out, x.shape, x)
    checks.apart(op, {"out": out}, {"x": x}, same="x")
    if y.size:
        flat = y.reshape(-1)
        launch(op, backend.kernel("dropout", "predict", x), x.reshape(-1), 1 - rate, flat, outputs=(flat,))
    return y


def _scale(rate: float, inverted: bool) -> float:
    return 1 / (1 - rate) if inverted else 1.0


def _drawn(op: str, draw: Array | None, seed: int, step: int, offset: int, x: Array) -> tuple[Array, int]:
    """What the kernels draw from, and by how many elements its last number counts: an offset's 1, or a row's."""
    checks.read_anew(op, "draw", draw, "seed and step stand")
    if draw is None:
        return _draw(op, seed, step, offset, x), 1
    width = x.size // max(1, x.shape[0]) if x.ndim else 1
    return checks.array(op, "draw", draw, "d", np.int64, size=4), width


def _draw(op: str, seed: int, step: int, offset: int, like: Array) -> Array:
    checks.word(op, "seed", seed, 64)
    checks.word(op, "step", step)
    checks.word(op, "offset", offset, 62)
    numbers = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, step, offset]
    return backend.library_of(like).array(numbers, np.int64)  # type: ignore[no-any-return]
