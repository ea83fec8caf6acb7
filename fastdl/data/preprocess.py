"""What is done to inputs before training, and in the same way to all later ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..typing import Array
from .rows import Rows

BLOCK = 8 << 20  # bytes, in float64, of rows at a time


@dataclass(frozen=True, eq=False)
class Standardize:
    """z = (x - mean) / deviation for every feature, with mean and deviation of the training part.

    A feature that never changes there has deviation 0, and is only shifted.

    Parameters
    ----------
    mean, deviation : float64 arrays of the shape of one row

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.data import Standardize
    >>> standardize = Standardize.fit(np.array([[0.0, 5.0], [2.0, 5.0]]))
    >>> standardize(np.array([[4.0, 6.0]]))
    array([[3., 1.]])
    """

    mean: Array
    deviation: Array

    @classmethod
    def fit(cls, x: Array | Rows) -> Standardize:
        """Learn mean and deviation from the rows of the training part, in float64.

        An np.memmap or Rows may be larger than memory. The moments of blocks are merged as in Chan,
        Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances,
        1979.
        """
        n = len(x)
        if n == 0:
            raise ValueError(f"Standardize.fit: x has shape {x.shape}, wanted at least one row")
        rows = Rows(x)
        step = max(1, BLOCK // (8 * max(1, math.prod(x.shape[1:]))))
        mean, squares = np.zeros(x.shape[1:]), np.zeros(x.shape[1:])
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is named below
            for start in range(0, n, step):
                block = rows[start : start + step].astype(np.float64)
                part = block.mean(axis=0)
                block -= part
                np.square(block, out=block)
                distance, share = part - mean, len(block) / (start + len(block))
                mean += distance * share
                squares += block.sum(axis=0) + distance**2 * (start * share)
            deviation = np.sqrt(squares / n)
        deviation[deviation <= n * np.finfo(np.float64).eps * np.abs(mean)] = 0  # the mean's rounding
        bad = np.argwhere(~np.isfinite(mean) | ~np.isfinite(deviation))
        if bad.size:
            feature = tuple(int(i) for i in bad[0])
            raise ValueError(
                f"Standardize.fit: feature {feature[0] if len(feature) == 1 else feature} holds NaN or infinity; "
                "fill in or drop such rows first"
            )
        return cls(mean, deviation)

    def __call__(self, x: Array) -> Array:
        """The rows standardised: in their own dtype, or in floats that hold it where they are integers."""
        if x.shape[1:] != self.mean.shape:
            raise ValueError(f"Standardize: x has rows of shape {x.shape[1:]}, wanted {self.mean.shape}")
        scale = np.where(self.deviation > 0, self.deviation, 1.0)
        dtype = x.dtype if x.dtype.kind == "f" else np.result_type(x.dtype, np.float32)
        return ((x - self.mean) / scale).astype(dtype)
