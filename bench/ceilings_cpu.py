"""The ways to reach a CPU's ceilings, each checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastdl import backend
from fastdl.bench.harness import Variant, checked, timed
from fastdl.bench.inputs import normal

Array = np.ndarray[Any, Any]
Calls = dict[str, Callable[[], object]]


def _line_up(moved: int, arrays: int) -> list[Array]:
    """So many arrays of whole cache lines, that hold so many bytes together."""
    elements = max(1, moved // arrays // 64) * 16
    return [normal((elements,), seed) for seed in range(arrays)]


def _right(calls: Calls, out: Array, right: Array) -> dict[str, Variant]:
    def check() -> None:
        np.testing.assert_allclose(out, right, rtol=1e-5, atol=1e-5)
        out.fill(np.nan)  # for the next to write

    return {name: checked(call, check) for name, call in calls.items()}


def copies(moved: int) -> dict[str, Variant]:
    """As many bytes read as written."""
    a, out = _line_up(moved, 2)
    calls: Calls = {"NumPy": lambda: np.copyto(out, a)}
    if backend.numba_missing() is None:
        from fastdl.bench import streams

        calls["Numba"] = lambda: streams.copy(a, out)
        calls["Numba past the caches"] = lambda: streams.copy_past_caches(a, out)
    return _right(calls, out, a)


def triads(moved: int) -> dict[str, Variant]:
    """Twice as many bytes read as written."""
    a, b, out = _line_up(moved, 3)
    tripled = 3 * b  # NumPy would need a second pass for the factor
    calls: Calls = {"NumPy": lambda: np.add(a, tripled, out=out)}
    if backend.numba_missing() is None:
        from fastdl.bench import streams

        calls["Numba"] = lambda: streams.triad(a, b, out)
        calls["Numba past the caches"] = lambda: streams.triad_past_caches(a, b, out)
    return _right(calls, out, a + tripled)


def scales(moved: int) -> dict[str, Variant]:
    """As many bytes read as written, in place."""
    (a,) = _line_up(moved // 2, 1)
    calls: Calls = {"NumPy": lambda: np.negative(a, out=a)}
    if backend.numba_missing() is None:
        from fastdl.bench import streams

        calls["Numba"] = lambda: streams.scale(a, -1)
    return {name: _in_place(call, a, lambda before: -before) for name, call in calls.items()}


def updates(moved: int) -> dict[str, Variant]:
    """Twice as many bytes read as written, in place."""
    a, b = _line_up(2 * moved // 3, 2)
    b *= np.float32(1e-3)  # so that many calls do not lead far
    calls: Calls = {"NumPy": lambda: np.subtract(a, b, out=a)}
    if backend.numba_missing() is None:
        from fastdl.bench import streams

        calls["Numba"] = lambda: streams.update(a, b)
    return {name: _in_place(call, a, lambda before: before - b) for name, call in calls.items()}


def _in_place(call: Callable[[], object], a: Array, right: Callable[[Array], Array]) -> Variant:
    def check() -> None:
        before = a.copy()
        call()
        np.testing.assert_array_equal(a, right(before))

    return Variant(timed(call), check)


def products(side: int) -> dict[str, Variant]:
    """Of NumPy's BLAS and of SciPy's, which are often two libraries."""
    from scipy.linalg.blas import sgemm

    a, b, by_numpy, by_scipy = (normal((side, side), seed) for seed in range(4))
    right = a[:8].astype(np.float64) @ b

    def product_by_scipy() -> None:
        sgemm(1.0, b.T, a.T, c=by_scipy.T, overwrite_c=True)  # Fortran reads rows as columns: C' = B' A'

    def check(product: Array) -> Callable[[], None]:
        return lambda: np.testing.assert_allclose(product[:8], right, atol=1e-5 * side)

    return {
        "NumPy": checked(lambda: np.matmul(a, b, out=by_numpy), check(by_numpy)),
        "SciPy": checked(product_by_scipy, check(by_scipy)),
    }
