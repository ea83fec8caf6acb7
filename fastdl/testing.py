"""How close results must come to what is right, and the arrays that tests are made with.

`BOUNDS` is the one table of tolerances; `assert_agree` compares by it. The strategies need
hypothesis, which the extra `test` installs; everything else needs NumPy alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .typing import Array

if TYPE_CHECKING:
    from types import ModuleType

    from hypothesis.strategies import SearchStrategy

# ---------------------------------------------------------------- bounds


class Bound(NamedTuple):
    """An error may be `factor` times `of`; the factor depends on the dtype that was computed in."""

    of: str
    """What the factor is multiplied with, for the failure text."""
    float32: float
    float64: float


_EPS32, _EPS64 = float(np.finfo(np.float32).eps), float(np.finfo(np.float64).eps)

BOUNDS = {
    "exact": Bound("anything", 0, 0),
    "elementwise": Bound("the value, or the sum of its terms' sizes", 1e-5, 1e-12),
    "normalising": Bound("the column's scale, offset included", 1e-5, 1e-12),
    "function": Bound("the value (exp, log, tanh; 4 ULP in float32)", 4 * _EPS32, 1e-12),
    "product": Bound("terms * (|A||B|)", _EPS32, _EPS64),
}


def assert_agree(
    actual: Array,
    expected: Any,
    *,
    kind: str = "elementwise",
    scale: Any = None,
    terms: int = 1,
    precision: Any = None,
    flushed: bool = False,
    name: str = "result",
) -> None:
    """Raise AssertionError unless every element comes as close to what is right as `BOUNDS` asks.

    NaN must stand where NaN is expected, and infinities likewise; only in normalising ops may one stand
    for another, since a mean or a difference of infinities depends on the order of the sums. Below
    the normal numbers a float cannot be right relatively; there four steps of the smallest are allowed.

    Parameters
    ----------
    actual : array
    expected : array_like
        What is right, best in float64.
    kind : str
        A key of `BOUNDS`.
    scale : array_like, optional
        What the bound is relative to, broadcast against `expected`; its absolute value.
    terms : int
        How many products were summed, for kind "product".
    precision : dtype, optional
        What was computed in; the dtype of `actual`.
    flushed : bool
        Whether subnormal numbers become 0 in float32, as on a GPU.
    name : str
        Of the array, for the failure text.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.testing import assert_agree
    >>> assert_agree(np.array([1.0, np.nan]), [1.0 + 1e-13, np.nan])
    >>> assert_agree(np.float32([[1.0, 2.5]]), [[1.0, 2.0]], name="y")
    Traceback (most recent call last):
        ...
    AssertionError: y: 1 of 2 elements out of bounds, the worst at (0, 1): got 2.5, wanted 2.0, error 0.5, bound 2e-05
    (elementwise: float32 allows 1e-05 of the value, or the sum of its terms' sizes)
    """
    expected = np.asarray(expected)
    if actual.shape != expected.shape:
        raise AssertionError(f"{name}: got shape {actual.shape}, wanted {expected.shape}")
    if actual.size == 0:
        return
    bound = BOUNDS[kind]
    dtype = np.dtype(actual.dtype if precision is None else precision)
    with np.errstate(all="ignore"):
        if kind == "exact" or dtype.kind != "f":
            factor, limit = 0.0, np.zeros(expected.shape)
            error = np.where(actual == expected, 0.0, np.inf)
        else:
            factor = (bound.float32 if dtype.itemsize == 4 else bound.float64) * terms
            size = np.abs(np.asarray(expected if scale is None else scale, np.float64))
            of = np.finfo(actual.dtype)
            tiny = 4 * float(of.tiny if flushed and dtype.itemsize == 4 else of.smallest_subnormal)
            limit = np.broadcast_to(factor * size + tiny, expected.shape)
            error = np.abs(actual.astype(np.float64) - expected)
        special = ~(np.isfinite(actual) & np.isfinite(expected.astype(actual.dtype)))
        same = (actual == expected.astype(actual.dtype)) | (np.isnan(actual) & np.isnan(expected))
        if kind == "normalising":
            same |= ~(np.isfinite(actual) | np.isfinite(expected))
        error = np.where(special, np.where(same, 0.0, np.inf), error)
        limit = np.where(special | np.isnan(limit), 0.0, limit)
        excess = np.where(error > limit, error / np.maximum(limit, np.finfo(np.float64).tiny), -1.0)
    if (excess >= 0).any():
        at = tuple(int(i) for i in np.unravel_index(int(excess.argmax()), excess.shape))
        raise AssertionError(
            f"{name}: {int((excess >= 0).sum())} of {actual.size} elements out of bounds, the worst at {at}: "
            f"got {actual[at]}, wanted {expected[at]}, error {error[at]:.3g}, bound {limit[at]:.3g}\n"
            f"({kind}: {dtype} allows {factor:.3g} of {bound.of})"
        )


def assert_same_bits(actual: Array, expected: Array, *, name: str = "result") -> None:
    """Raise AssertionError unless both have the same dtype, shape and bits; one NaN is as good as another.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.testing import assert_same_bits
    >>> assert_same_bits(np.array([0.0, np.nan]), np.array([0.0, -np.nan]))
    >>> assert_same_bits(np.array([0.0]), np.array([-0.0]))
    Traceback (most recent call last):
        ...
    AssertionError: result: the bits differ in 1 of 1 elements, first at (0,): got 0.0, wanted -0.0
    """
    if (actual.shape, actual.dtype) != (expected.shape, expected.dtype):
        raise AssertionError(f"{name}: got {actual.shape} {actual.dtype}, wanted {expected.shape} {expected.dtype}")
    unsigned = np.dtype(f"u{actual.dtype.itemsize}")
    differ = np.ascontiguousarray(actual).view(unsigned) != np.ascontiguousarray(expected).view(unsigned)
    if actual.dtype.kind == "f":
        differ &= ~(np.isnan(actual) & np.isnan(expected)).reshape(differ.shape)
    if differ.any():
        at = tuple(int(i) for i in np.argwhere(differ.reshape(actual.shape))[0])
        raise AssertionError(
            f"{name}: the bits differ in {int(differ.sum())} of {actual.size} elements, first at {at}: "
            f"got {actual[at]!s}, wanted {expected[at]!s}"
        )


def numerical_gradient(function: Callable[[], float], x: Array, *, step: float = 1e-5) -> Array:
    """The gradient of a number by the float64 array `x`, by central differences; `x` is left as it was.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.testing import numerical_gradient
    >>> x = np.array([1.0, -3.0])
    >>> numerical_gradient(lambda: (x**2).sum(), x).round(6)
    array([ 2., -6.])
    """
    gradient = np.empty_like(x)
    for at in np.ndindex(x.shape):
        kept = x[at]
        x[at] = kept + step
        above = function()
        x[at] = kept - step
        below = function()
        x[at] = kept
        gradient[at] = (above - below) / (2 * step)
    return gradient


# ---------------------------------------------------------------- memory

_CANARY, _MARGIN = 0xA5, 256


class Guarded(NamedTuple):
    """An array between two stretches of memory that nothing may write to."""

    array: Array
    memory: Array

    @classmethod
    def of(cls, like: Array) -> Guarded:
        """A guarded copy in C order."""
        memory = np.full(like.nbytes + 2 * _MARGIN, _CANARY, np.uint8)
        array = memory[_MARGIN : _MARGIN + like.nbytes].view(like.dtype).reshape(like.shape)
        array[...] = like
        return cls(array, memory)

    def intact(self) -> bool:
        """Whether nothing was written beside the array.

        Examples
        --------
        >>> import numpy as np
        >>> from fastdl.testing import Guarded
        >>> guarded = Guarded.of(np.zeros(3))
        >>> guarded.array[:] = 1
        >>> guarded.intact()
        True
        >>> guarded.memory[-1] = 0
        >>> guarded.intact()
        False
        """
        return bool((self.memory[:_MARGIN] == _CANARY).all() and (self.memory[-_MARGIN:] == _CANARY).all())


def _strided(x: Array) -> Array:
    if x.ndim == 0:
        return x.copy()
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def _unaligned(x: Array) -> Array:
    raw = np.zeros(x.nbytes + 1, np.uint8)
    view = raw[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": lambda x: np.array(x, order="C"),
    "Fortran": lambda x: np.array(x, order="F"),
    "strided": _strided,
    "reversed": lambda x: np.flip(np.flip(x).copy()),
    "unaligned": _unaligned,
}
"""The same values laid out in memory in every way that an array may lie."""


# ---------------------------------------------------------------- strategies

EDGES = (0, 1, 2, 3, 15, 16, 17, 63, 64, 65, 255, 256, 257)
"""Sizes at which loops begin, end, and change from vectors to their rest."""


def _strategies() -> ModuleType:
    try:
        from hypothesis import strategies
    except ImportError as error:
        raise ImportError(
            "fastdl.testing: the strategies need hypothesis; install the extra `test`: "
            "pip install 'fastdl-kernels[test]'"
        ) from error
    return strategies


def sizes(minimum: int = 0, maximum: int = 257) -> SearchStrategy[int]:
    """Sizes of an axis: small ones, and those about multiples of 16, 64 and 256.

    Examples
    --------
    >>> from hypothesis import find
    >>> from fastdl import testing
    >>> find(testing.sizes(), lambda size: size > 24)
    63
    """
    st = _strategies()
    allowed = [size for size in EDGES if minimum <= size <= maximum]
    found: SearchStrategy[int] = st.sampled_from(allowed) | st.integers(minimum, min(maximum, max(minimum, 24)))
    return found


def shapes(axes: int, *, minimum: int | Sequence[int] = 0, elements: int = 1 << 15) -> SearchStrategy[tuple[int, ...]]:
    """Ragged shapes of `axes` axes, each at least `minimum` long (one number, or one an axis).

    Examples
    --------
    >>> from hypothesis import find
    >>> from fastdl import testing
    >>> find(testing.shapes(2, minimum=(0, 1)), lambda shape: True)
    (0, 1)
    """
    st = _strategies()
    lowest = (minimum,) * axes if isinstance(minimum, int) else tuple(minimum)
    found: SearchStrategy[tuple[int, ...]] = st.tuples(*map(sizes, lowest)).filter(
        lambda shape: math.prod(shape) <= elements
    )
    return found


def normal(shape: tuple[int, ...], dtype: Any, seed: int, *, offset: float = 0.0, scale: float = 1.0) -> Array:
    """Normally distributed numbers, the same for the same seed.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl import testing
    >>> testing.normal((2,), np.float64, seed=0, offset=100.0).round(2)
    array([100.13,  99.87])
    """
    values: Array = (np.random.default_rng(seed).standard_normal(shape) * scale + offset).astype(dtype)
    return values


def floats(
    shape: tuple[int, ...],
    dtype: Any,
    *,
    offsets: Sequence[float] = (0.0, 1.0, -30.0),
    scales: Sequence[float] = (1.0, 1e-3, 30.0),
) -> SearchStrategy[Array]:
    """Arrays of normally distributed numbers about an offset, some of them with exact zeros.

    Examples
    --------
    >>> import numpy as np
    >>> from hypothesis import find
    >>> from fastdl import testing
    >>> find(testing.floats((2, 3), np.float32), lambda x: True).shape
    (2, 3)
    """
    st = _strategies()

    def make(seed: int, offset: float, scale: float, zeros: bool) -> Array:
        x = normal(shape, dtype, seed, offset=offset, scale=scale)
        if zeros:
            x.reshape(-1)[:: 1 + seed % 5] = 0
        return x

    found: SearchStrategy[Array] = st.builds(
        make, st.integers(0, 999), st.sampled_from(tuple(offsets)), st.sampled_from(tuple(scales)), st.booleans()
    )
    return found


def labels(rows: int, classes: int, dtype: Any = np.int64) -> SearchStrategy[Array]:
    """Numbers of classes, one a row.

    Examples
    --------
    >>> from hypothesis import find
    >>> from fastdl import testing
    >>> find(testing.labels(3, 1), lambda labels: True)
    array([0, 0, 0])
    """
    st = _strategies()

    def make(seed: int) -> Array:
        return np.random.default_rng(seed).integers(0, classes, rows).astype(dtype)

    found: SearchStrategy[Array] = st.builds(make, st.integers(0, 999))
    return found


def layouts() -> SearchStrategy[Callable[[Array], Array]]:
    """The functions of `LAYOUTS`.

    Examples
    --------
    >>> import numpy as np
    >>> from hypothesis import find
    >>> from fastdl import testing
    >>> find(testing.layouts(), lambda layout: not layout(np.eye(3)).flags.c_contiguous)(np.eye(2)).flags.f_contiguous
    True
    """
    st = _strategies()
    found: SearchStrategy[Callable[[Array], Array]] = st.sampled_from(list(LAYOUTS.values()))
    return found


# ---------------------------------------------------------------- an op of one's own


def check_op(
    op: Callable[..., Array],
    reference: Callable[..., Array],
    axes: Sequence[str],
    *,
    backward: Callable[..., Any] | None = None,
    kind: str = "elementwise",
    scale: Callable[..., Array] | None = None,
    terms: int = 1,
    dtypes: Sequence[Any] = (np.float32, np.float64),
    minimum: int = 1,
    examples: int = 50,
) -> None:
    """Raise AssertionError unless an op of one's own computes what its reference computes.

    On arrays of ragged sizes, of every dtype and layout, with NaN and infinity here and there: the
    result is the reference's within `BOUNDS`, the inputs stay as they were, a second call gives the
    same bits, and the gradient is that of central differences.

    Parameters
    ----------
    op : function of arrays
        May refuse an array that is not contiguous by a TypeError or ValueError, but not misread it.
    reference : function of arrays
        The same in NumPy; it is called with float64.
    axes : sequence of str
        A letter for each axis of each argument, ("nk", "km") say; the same letter is the same size.
    backward : function of dy and the arrays, optional
        The gradients of sum(dy op(...)) by the arrays: one array, or a tuple of them, None for none.
    kind, terms
        As in `assert_agree`.
    scale : function of float64 arrays, optional
        What the bound is relative to; the size of the reference's result.
    dtypes : sequence of dtypes
    minimum : int
        The smallest size of an axis.
    examples : int
        How many sets of arrays are drawn for each dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdl.testing import check_op
    >>> check_op(lambda x: x * x, lambda x: x**2, ["nk"], backward=lambda dy, x: 2 * dy * x)
    >>> check_op(np.matmul, np.matmul, ["nk", "km"], kind="product", terms=300, scale=lambda x, w: abs(x) @ abs(w))
    >>> try:
    ...     check_op(lambda x: np.maximum(x, 0), lambda x: np.where(x < 0, 0, x), ["n"], backward=lambda dy, x: dy)
    ... except AssertionError as error:
    ...     print(str(error).partition(":")[0])
    gradient of argument 0
    """
    st = _strategies()
    from hypothesis import given, settings

    letters = sorted(set("".join(axes)))

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None, print_blob=False)
    @given(st.data())
    def agrees(data: Any) -> None:
        size = {letter: data.draw(sizes(minimum, 65), letter) for letter in letters}
        dtype = data.draw(st.sampled_from([np.dtype(dtype) for dtype in dtypes]), "dtype")
        arrays = [data.draw(floats(tuple(size[letter] for letter in of), dtype)) for of in axes]
        layout = data.draw(layouts(), "layout")
        if data.draw(st.booleans(), "spoilt") and all(array.size for array in arrays):
            spoilt = data.draw(st.sampled_from(arrays))
            spoilt.flat[data.draw(st.integers(0, spoilt.size - 1))] = data.draw(
                st.sampled_from([np.nan, np.inf, -np.inf])
            )
        _check_call(op, reference, arrays, layout, kind, scale, terms)

    @settings(max_examples=max(1, examples // 5), deadline=None, derandomize=True, database=None, print_blob=False)
    @given(st.data())
    def gradients_agree(data: Any) -> None:
        size = {letter: data.draw(st.integers(minimum, max(minimum, 6)), letter) for letter in letters}
        shapes = [tuple(size[letter] for letter in of) for of in axes]
        _check_gradients(reference, backward, [data.draw(floats(shape, np.float64)) for shape in shapes], dtypes)

    agrees()
    if backward is not None:
        gradients_agree()


def _check_call(
    op: Callable[..., Array],
    reference: Callable[..., Array],
    arrays: list[Array],
    layout: Callable[[Array], Array],
    kind: str,
    scale: Callable[..., Array] | None,
    terms: int,
) -> None:
    wide = [array.astype(np.float64) for array in arrays]
    with np.errstate(all="ignore"):
        expected = np.asarray(reference(*wide))
        size = None if scale is None else scale(*wide)
        given = [array.copy() for array in arrays]
        first, second = op(*given), op(*given)
    for number, (array, before) in enumerate(zip(given, arrays, strict=True)):
        assert_same_bits(array, before, name=f"input {number}, which must stay as it was")
    if first.dtype != arrays[0].dtype:
        raise AssertionError(f"result: got dtype {first.dtype}, wanted {arrays[0].dtype}")
    assert_agree(first, expected, kind=kind, scale=size, terms=terms)
    assert_same_bits(second, first, name="second call")
    try:
        with np.errstate(all="ignore"):
            laid = op(*map(layout, arrays))
    except (TypeError, ValueError):
        return  # an array that is not contiguous may be refused
    assert_agree(laid, expected, kind=kind, scale=size, terms=terms, name="result for another layout")


def _check_gradients(
    reference: Callable[..., Array], backward: Any, arrays: list[Array], dtypes: Sequence[Any]
) -> None:
    arrays = [array + 0.1 * np.sign(array) for array in arrays]  # away from 0, where many have a kink
    dy = normal(reference(*arrays).shape, np.float64, 0)
    for dtype in map(np.dtype, dtypes):
        found = backward(*(array.astype(dtype) for array in (dy, *arrays)))
        found = found if isinstance(found, tuple) else (found,)
        for number, (gradient, array) in enumerate(zip(found, arrays, strict=True)):
            if gradient is None:
                continue
            expected = numerical_gradient(lambda: float((dy * reference(*arrays)).sum()), array)
            # Differences over 1e-5 keep six digits, of what the function's own size allows.
            digits = 1e6 if dtype == np.float64 else 100
            size = digits * (1 + np.abs(expected).max(initial=0) + np.abs(array).max(initial=0))
            assert_agree(gradient, expected, scale=size, name=f"gradient of argument {number}")
