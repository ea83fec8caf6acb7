"""What is done to inputs before training, and in the same way to all later ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
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
        n, start = len(x), 0
        mean, squares = np.zeros(x.shape[1:]), np.zeros(x.shape[1:])
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is named below
            for block in _blocks("Standardize", x):
                part = block.mean(axis=0)
                block -= part
                np.square(block, out=block)
                distance, share = part - mean, len(block) / (start + len(block))
                mean += distance * share
                squares += block.sum(axis=0) + distance**2 * (start * share)
                start += len(block)
            deviation = np.sqrt(squares / n)
        deviation[deviation <= n * np.finfo(np.float64).eps * np.abs(mean)] = 0  # the mean's rounding
        _check_finite("Standardize", mean, deviation)
        return cls(mean, deviation)

    def pooled(self) -> Standardize:
        """The same with one mean and one deviation, those of all features together: of pixels that are moved, say."""
        mean = self.mean.mean()
        deviation = np.sqrt(np.mean(self.deviation**2 + (self.mean - mean) ** 2))
        return Standardize(np.full_like(self.mean, mean), np.full_like(self.mean, deviation))

    def __call__(self, x: Array) -> Array:
        """The rows standardised: in their own dtype, or in floats that hold it where they are integers."""
        return _scaled("Standardize", x, self.mean, self.deviation)


@dataclass(frozen=True, eq=False)
class MinMax:
    """z = (x - least) / (greatest - least) for every feature, with the bounds of the training part: 0 to 1 there.

    A feature that never changes there is only shifted.

    Parameters
    ----------
    least, greatest : float64 arrays of the shape of one row

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.data import MinMax
    >>> scale = MinMax.fit(np.array([[0.0, 5.0], [4.0, 5.0]]))
    >>> scale(np.array([[1.0, 5.0], [8.0, 6.0]]))
    array([[0.25, 0.  ], [2.  , 1.  ]])
    """

    least: Array
    greatest: Array

    @classmethod
    def fit(cls, x: Array | Rows) -> MinMax:
        """Learn the bounds from the rows of the training part; an np.memmap or Rows may be larger than memory."""
        least, greatest = np.full(x.shape[1:], np.inf), np.full(x.shape[1:], -np.inf)
        for block in _blocks("MinMax", x):
            np.minimum(least, block.min(axis=0), out=least)
            np.maximum(greatest, block.max(axis=0), out=greatest)
        _check_finite("MinMax", least, greatest)
        return cls(least, greatest)

    def pooled(self) -> MinMax:
        """The same with one pair of bounds, those of all features together: of pixels that are moved, say."""
        return MinMax(np.full_like(self.least, self.least.min()), np.full_like(self.least, self.greatest.max()))

    def __call__(self, x: Array) -> Array:
        """The rows scaled: in their own dtype, or in floats that hold it where they are integers."""
        return _scaled("MinMax", x, self.least, self.greatest - self.least)


@dataclass(frozen=True)
class Squash:
    """z = tanh(x / scale): nearly x / scale where x is small beside scale, and within -1 to 1 wherever it is.

    For features of a wide range, before they are standardised: a few huge values would make the deviation
    so large that all others came to lie together.

    Parameters
    ----------
    scale : float
        More than 0, in the units of x: what is much larger becomes 1, or -1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.data import Squash
    >>> Squash(10.0)(np.array([0.0, 1.0, 1e6])).round(4)
    array([0.    , 0.0997, 1.    ])
    """

    scale: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", float(self.scale))
        if not 0 < self.scale < math.inf:
            raise ValueError(f"Squash: scale is {self.scale}, wanted more than 0")

    def __call__(self, x: Array) -> Array:
        """The rows squashed: in their own dtype, or in floats that hold it where they are integers."""
        with np.errstate(over="ignore"):  # infinity is squashed to 1 like all that is large
            squashed: Array = np.tanh(x.astype(_float_dtype(x), copy=False) / self.scale)
        return squashed


@dataclass(frozen=True)
class Chain:
    """Several of these, one after the other; of none, the rows as they are.

    Parameters
    ----------
    steps : tuple of functions of rows

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.data import Chain, Rows, Squash, Standardize
    >>> x = np.array([[-1e6], [-2.0], [2.0], [1e6]])
    >>> squash = Squash(4.0)
    >>> prepare = Chain((squash, Standardize.fit(Rows(x, prepare=squash))))
    >>> prepare(x).round(2).ravel()
    array([-1.28, -0.59,  0.59,  1.28])
    """

    steps: tuple[Callable[[Array], Array], ...]

    def __call__(self, x: Array) -> Array:
        for step in self.steps:
            x = step(x)
        return x


def _blocks(who: str, x: Array | Rows) -> Iterator[Array]:
    """All rows, some at a time, in float64 arrays of their own."""
    n = len(x)
    if n == 0:
        raise ValueError(f"{who}.fit: x has shape {x.shape}, wanted at least one row")
    rows = Rows(x)
    step = max(1, BLOCK // (8 * max(1, math.prod(x.shape[1:]))))
    for start in range(0, n, step):
        yield rows[start : start + step].astype(np.float64)


def _check_finite(who: str, *learnt: Array) -> None:
    bad = np.argwhere(~np.logical_and.reduce([np.isfinite(array) for array in learnt]))
    if bad.size:
        feature = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"{who}.fit: feature {feature[0] if len(feature) == 1 else feature} holds NaN or infinity; "
            "fill in or drop such rows first"
        )


def _float_dtype(x: Array) -> np.dtype[np.generic]:
    """x's dtype, or one of floats that hold it where it is of integers."""
    return x.dtype if x.dtype.kind == "f" else np.result_type(x.dtype, np.float32)


def _scaled(who: str, x: Array, shift: Array, width: Array) -> Array:
    if x.shape[1:] != shift.shape:
        raise ValueError(f"{who}: x has rows of shape {x.shape[1:]}, wanted {shift.shape}")
    return ((x - shift) / np.where(width > 0, width, 1.0)).astype(_float_dtype(x))
