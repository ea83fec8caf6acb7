"""Augmentation: rows changed anew in every epoch, in ways that leave what they show, so that there are more of them.

A transformation is a small object; a list of them is applied in turn, by `Trainer.fit(..., augment=[...])`,
by `data.batches(..., augment=[...])`, or by `apply`. What becomes of a row depends on seed, epoch and the row's
number alone: not on the batch that it comes in, and a training that goes on from its file sees the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from .. import checks, random
from ..typing import Array
from .rows import Rows

BLOCK = 1 << 17  # numbers of rows that are worked on at a time, so that they stay in the cache
CALL = 1 << 16  # streams from one call of a transformation for random numbers to its next
LAYOUTS = "hw", "chw", "hwc"
Take = Callable[[Array], tuple[Array, Array]]


@dataclass(eq=False)
class Draw:
    """Random numbers of each row's own, new ones at every call.

    Attributes
    ----------
    rows : (n,) int64 array
        The rows' numbers.
    seed, epoch : int
    place : int
        Of the transformation among all that are applied.
    """

    rows: Array
    seed: int
    epoch: int
    place: int
    _calls: int = field(default=0, init=False)

    def words(self, width: int) -> Array:
        """(n, width) uint32, all 32 bits of which are random."""
        stream = random.AUGMENT + self.place + CALL * self._calls
        self._calls += 1
        return random.row_words(self.rows, width, seed=self.seed, stream=stream, step=self.epoch)

    def uniform(self, width: int) -> Array:
        """(n, width) float64, evenly spread over [0, 1)."""
        return self.words(width) / 2.0**32

    def normal(self, width: int, dtype: Any = np.float64) -> Array:
        """(n, width) floats of the standard normal distribution, by Box and Muller's transform."""
        half = (width + 1) // 2
        u = ((self.words(2 * half) + 0.5) / 2.0**32).astype(dtype)  # never 0
        radius, angle = np.sqrt(-2 * np.log(u[:, :half])), 2 * np.pi * u[:, half:]
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :width]


class Transformation:
    """Base of all transformations. One of one's own overrides `change`, or `transform` if it changes targets too."""

    def change(self, x: Array, draw: Draw) -> Array:
        """The rows x, an array of their own, changed; in place if that is easier."""
        raise NotImplementedError(f"{type(self).__name__} has no change method")

    def transform(self, take: Take, rows: Array, count: int, draw: Draw) -> tuple[Array, Array]:
        """x and y of these rows, which `take` gives, as it does of any others below `count`."""
        x, y = take(rows)
        return self.change(x, draw), y


@dataclass(frozen=True)
class OfImages(Transformation):
    """Base of what is done to images; one of one's own overrides `move`.

    Parameters
    ----------
    layout : {"hw", "chw", "hwc"}
        A row's axes: height and width, and where the channels are.
    shape : sequence of int, optional
        Of a row as the layout names its axes, where rows lie flat, as the digits of 8 x 8 pixels do.
    """

    _: KW_ONLY
    layout: str = "hw"
    shape: Sequence[int] | None = None

    def __post_init__(self) -> None:
        checks.name_of(type(self).__name__, "layout", self.layout, LAYOUTS)

    def move(self, images: Array, draw: Draw) -> Array:
        """The images (n, channels, h, w), changed; in place if that is easier."""
        raise NotImplementedError(f"{type(self).__name__} has no move method")

    def change(self, x: Array, draw: Draw) -> Array:
        row = x.shape[1:] if self.shape is None else tuple(self.shape)
        if len(row) != len(self.layout) or math.prod(row) != math.prod(x.shape[1:]):
            of = "" if self.shape is None else f" of shape {row}"
            raise ValueError(
                f"{type(self).__name__}: x has rows of shape {x.shape[1:]}, wanted images{of} with the axes "
                f"{self.layout!r}; pass layout=, one of {', '.join(map(repr, LAYOUTS))}, and, if rows lie flat, shape="
            )
        images = x.reshape(len(x), *row)
        if self.layout == "hwc":
            moved = np.moveaxis(self.move(np.moveaxis(images, 3, 1), draw), 1, 3)
        else:
            moved = self.move(images if self.layout == "chw" else images[:, None], draw)
        return moved.reshape(x.shape)


@dataclass(frozen=True)
class Flip(OfImages):
    """y[i, j] = x[i, w - 1 - j], in half of the images, drawn by lot. Not for what a mirror makes another, as digits.

    Parameters
    ----------
    axis : {"w", "h"}
        "w" changes left and right, "h" top and bottom: y[i, j] = x[h - 1 - i, j].
    layout, shape
        See `OfImages`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.data import augment
    >>> x = np.array([[[1, 2], [3, 4]]] * 3)
    >>> augment.apply([augment.Flip()], x, np.zeros(3))[0].tolist()
    [[[2, 1], [4, 3]], [[1, 2], [3, 4]], [[1, 2], [3, 4]]]
    """

    axis: str = "w"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.name_of("Flip", "axis", self.axis, ("w", "h"))

    def move(self, images: Array, draw: Draw) -> Array:
        chosen = draw.uniform(1)[:, 0] < 0.5
        images[chosen] = np.flip(images[chosen], "hw".index(self.axis) + 2)
        return images


@dataclass(frozen=True)
class Shift(OfImages):
    """y[i, j] = x[i - d, j - e]: every image moves down by d pixels and right by e, evenly drawn.

    Parameters
    ----------
    pixels : int
        d and e are whole numbers from -pixels to pixels.
    fill : float
        What comes in over the border.
    layout, shape
        See `OfImages`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.data import augment
    >>> augment.apply([augment.Shift(1)], np.array([[[1, 2], [3, 4]]]), np.zeros(1))[0].tolist()
    [[[0, 0], [2, 0]]]
    """

    pixels: int
    fill: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pixels < 0:
            raise ValueError(f"Shift: pixels is {self.pixels}, wanted 0 or more")

    def move(self, images: Array, draw: Draw) -> Array:
        n, channels, h, w = images.shape
        if self.pixels >= min(h, w):
            raise ValueError(f"Shift: pixels is {self.pixels}, wanted fewer than images of {h} x {w} have")
        p, ways = self.pixels, 2 * self.pixels + 1
        around = np.full((n, channels, h + 2 * p, w + 2 * p), self.fill, images.dtype)
        around[:, :, p : p + h, p : p + w] = images
        windows = np.lib.stride_tricks.sliding_window_view(around, (h, w), (2, 3))
        top, left = (draw.uniform(2) * ways).astype(np.intp).T
        moved: Array = windows[np.arange(n), :, top, left]
        return moved


@dataclass(frozen=True)
class Rotate(OfImages):
    """y(p) = x(R p): every image is turned about its centre, by an angle evenly drawn; R turns back by as much.

    Between pixels x is bilinear.

    Parameters
    ----------
    degrees : float
        At most, to either side; 0 to 180.
    fill : float
        What lies around the images.
    layout, shape
        See `OfImages`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.data import augment
    >>> cross = np.array([[[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]])
    >>> augment.apply([augment.Rotate(30)], cross, np.zeros(1))[0].round(2).tolist()
    [[[0.21, 0.78, 0.21], [0.78, 1.0, 0.78], [0.21, 0.78, 0.21]]]

    References
    ----------
    Simard, Steinkraus and Platt, Best practices for convolutional neural networks applied to visual document
    analysis, ICDAR 2003.
    """

    degrees: float
    fill: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.degrees <= 180:
            raise ValueError(f"Rotate: degrees is {self.degrees}, wanted 0 to 180")

    def move(self, images: Array, draw: Draw) -> Array:
        return turned(_floats(images), np.radians((2 * draw.uniform(1)[:, 0] - 1) * self.degrees), self.fill)


def turned(images: Array, angles: Array, fill: float) -> Array:
    """Images (n, channels, h, w) of floats, each turned counter-clockwise about its centre by its angle, in radians."""
    n, channels, h, w = images.shape
    around = np.full((n, channels, h + 3, w + 3), fill, images.dtype)  # so that all four neighbours are there
    around[:, :, 1 : h + 1, 1 : w + 1] = images
    cos, sin = (f(angles).astype(images.dtype)[:, None, None] for f in (np.cos, np.sin))
    down = np.arange(h, dtype=images.dtype)[:, None] - (h - 1) / 2
    right = np.arange(w, dtype=images.dtype) - (w - 1) / 2
    # Where a pixel comes from, counted in `around`: all that is beyond its border is `fill`, as the border is.
    y = np.clip(cos * down + (sin * right + (h + 1) / 2), 0, h + 1)
    x = np.clip((cos * right + (w + 1) / 2) - sin * down, 0, w + 1)
    top, left = np.floor(y), np.floor(x)
    y -= top
    x -= left
    plane = (h + 3) * (w + 3)
    first = np.arange(n) * (channels * plane)
    at = first[:, None, None] + top.astype(np.intp) * (w + 3) + left.astype(np.intp)
    out, flat = np.empty_like(images), around.reshape(-1)
    for channel in range(channels):
        a, b, c, d = (flat[channel * plane + beside :].take(at) for beside in (0, 1, w + 3, w + 4))
        a += (b - a) * x
        c += (d - c) * x
        out[:, channel] = a + (c - a) * y
    return out


@dataclass(frozen=True)
class Noise(Transformation):
    """x + deviation N(0, 1), in every number of a row.

    Parameters
    ----------
    deviation : float
        In the units of x: of standardised rows, 0.1 is a tenth of each feature's own.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.data import augment
    >>> augment.apply([augment.Noise(0.1)], np.zeros((2, 3)), np.zeros(2))[0].round(3).tolist()
    [[0.013, 0.084, -0.16], [-0.065, 0.116, 0.077]]

    References
    ----------
    Bishop, Training with noise is equivalent to Tikhonov regularization, Neural Computation 7, 1995.
    """

    deviation: float

    def __post_init__(self) -> None:
        if not 0 <= self.deviation < math.inf:
            raise ValueError(f"Noise: deviation is {self.deviation}, wanted 0 or more")

    def change(self, x: Array, draw: Draw) -> Array:
        x = _floats(x)
        x += self.deviation * draw.normal(math.prod(x.shape[1:]), x.dtype).reshape(x.shape)
        return x


@dataclass(frozen=True)
class Mixup(Transformation):
    """Mix every row i with another one j, and their targets in the same share s, drawn from Beta(alpha, alpha).

    x = s x_i + (1 - s) x_j and y = s y_i + (1 - s) y_j. Rows j are drawn from all that are there: the whole
    data set, or the batch where batches are handed over. Targets must be such as can be mixed: the shares of
    classes that `losses.SoftmaxCrossEntropy(soft=True)` takes, or numbers, for the losses of elements.

    Parameters
    ----------
    alpha : float
        More than 0. Of 0.2 most shares are near 0 or 1, of 1 all are as likely.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.data import augment
    >>> labels = np.array([0, 2, 1])
    >>> x, y = augment.apply([augment.Mixup(0.2)], np.eye(3), np.eye(3)[labels])
    >>> bool(np.allclose(x[:, labels], y)), bool(np.allclose(y.sum(axis=1), 1))
    (True, True)

    References
    ----------
    Zhang, Cisse, Dauphin and Lopez-Paz, mixup: Beyond Empirical Risk Minimization, ICLR 2018.
    """

    alpha: float

    def __post_init__(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"Mixup: alpha is {self.alpha}, wanted more than 0")

    def transform(self, take: Take, rows: Array, count: int, draw: Draw) -> tuple[Array, Array]:
        from scipy.special import betaincinv

        share, other = draw.uniform(2).T
        mine, others = take(rows), take((other * count).astype(np.int64))
        if mine[1].ndim == 1 and mine[1].dtype.kind in "iu":
            raise TypeError(
                f"Mixup: y is {mine[1].dtype} of shape (n,), numbers of classes, which cannot be mixed, wanted their "
                "shares; pass np.eye(classes, dtype=np.float32)[y], and losses.SoftmaxCrossEntropy(soft=True)"
            )
        shares = betaincinv(self.alpha, self.alpha, share)
        x, y = (_mixed(_floats(a), _floats(b), shares) for a, b in zip(mine, others, strict=True))
        return x, y


def apply(
    transformations: Sequence[Transformation],
    x: Array | Rows,
    y: Array | Rows,
    rows: Any = None,
    *,
    first: int = 0,
    seed: int = 0,
    epoch: int = 0,
) -> tuple[Array, Array]:
    """Rows of a data set, changed by one transformation after the other.

    Parameters
    ----------
    transformations : sequence of Transformation
    x, y : arrays, np.memmap or Rows of as many rows
    rows : (m,) integers, optional
        Which of them, in which order; all without it.
    first : int
        The number of x[0], where x is a piece of what rows are counted in.
    seed, epoch : int
        All, beside a row's number, that its change depends on.

    Returns
    -------
    x, y : arrays of their own, of m rows

    Raises
    ------
    TypeError, ValueError
        For rows, or targets, that a transformation is not for.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.data import augment, load_digits
    >>> x, y = load_digits()
    >>> moves = [augment.Shift(1, shape=(8, 8)), augment.Noise(0.5)]
    >>> some, labels = augment.apply(moves, x, y, [5, 7], seed=1, epoch=3)
    >>> np.array_equal(some, augment.apply(moves, x, y, seed=1, epoch=3)[0][[5, 7]])
    True
    """
    check(transformations)
    checks.word("augment", "seed", seed, 64)
    for name, given in (("x", x), ("y", y)):
        if not isinstance(given, np.ndarray | Rows):
            raise TypeError(f"augment: {name} must be a numpy.ndarray, got {type(given).__qualname__}")
    if len(x) != len(y):
        raise ValueError(f"augment: x has {len(x)} rows and y {len(y)}, wanted as many")
    all_x, all_y = (given if isinstance(given, Rows) else Rows(given) for given in (x, y))
    count = len(all_x)

    def take(chosen: Array, places: int) -> tuple[Array, Array]:
        """Rows as the transformations of the first so many places leave them."""
        if not places:
            return all_x[chosen], all_y[chosen]
        draw = Draw(first + chosen, seed, epoch, places - 1)
        return transformations[places - 1].transform(partial(take, places=places - 1), chosen, count, draw)

    numbers = np.arange(count) if rows is None else np.asarray(rows)
    size = max(1, BLOCK // max(1, math.prod(all_x.shape[1:])))
    blocks = [take(numbers[at : at + size], len(transformations)) for at in range(0, max(1, len(numbers)), size)]
    if len(blocks) == 1:
        return blocks[0]
    changed_x, changed_y = (np.concatenate(side) for side in zip(*blocks, strict=True))
    return changed_x, changed_y


def check(transformations: Any, *, weighted: bool = False) -> None:
    """Raise unless this is a sequence of transformations, for rows that may have weights."""
    listed = isinstance(transformations, list | tuple)
    if not listed or not all(isinstance(each, Transformation) for each in transformations):
        raise TypeError(f"augment must be a list of transformations, [Shift(2)] say, got {transformations!r}")
    if weighted and any(isinstance(each, Mixup) for each in transformations):
        raise ValueError("augment: Mixup mixes rows whatever they count; leave it out, or sample_weight")


def _floats(x: Array) -> Array:
    """x in float32 or float64, whichever holds it; itself if it is so already."""
    return x.astype(np.result_type(x.dtype, np.float32), copy=False)


def _mixed(a: Array, b: Array, shares: Array) -> Array:
    shares = shares.astype(a.dtype).reshape(-1, *[1] * (a.ndim - 1))
    mixed: Array = shares * a + (1 - shares) * b
    return mixed
