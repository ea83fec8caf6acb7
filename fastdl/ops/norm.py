"""The norm of all gradients, and the factor that clips it."""

from __future__ import annotations

import math

import numpy as np

from .. import backend, checks
from ..kernels._pieces import chunks
from ..recorder import launch
from ..typing import Array


def global_norm(
    x: Array,
    *,
    limit: float = math.inf,
    work: Array | None = None,
    out: Array | None = None,
    factor: Array | None = None,
) -> tuple[Array, Array]:
    """Euclidean norm of a flat array, and the factor that brings it down to a limit.

    norm = sqrt(sum x_i^2), in float64, the same to the bit on any number of threads;
    factor = min(1, limit / norm), which the updates take as `clip`.

    Parameters
    ----------
    x : (n,)
    limit : float
        More than 0.
    work : (global_norm_work_size(n),) float64, optional
        Scratch.
    out, factor : (1,) float64, optional

    Returns
    -------
    norm, factor : (1,) float64 arrays

    References
    ----------
    Pascanu et al., On the difficulty of training recurrent neural networks, ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import ops
    >>> ops.global_norm(np.array([3.0, -4.0]), limit=1.0)
    (array([5.]), array([0.2]))
    """
    op = "global_norm"
    x = checks.array(op, "x", x, "n")
    if not limit > 0:
        raise ValueError(f"{op}: limit is {limit}, wanted more than 0")
    sums = checks.output(op, "work", work, (global_norm_work_size(x.size),), x, np.float64)
    norm = checks.output(op, "out", out, (1,), x, np.float64)
    clip = checks.output(op, "factor", factor, (1,), x, np.float64)
    checks.apart(op, {"out": out, "factor": factor, "work": work}, {"x": x})
    launch(op, backend.kernel("norm", "forward", x), x, float(limit), sums, norm, clip, outputs=(sums, norm, clip))
    return norm, clip


def global_norm_work_size(size: int) -> int:
    """How many numbers of scratch `global_norm` takes for so many elements."""
    return int(chunks(size))
