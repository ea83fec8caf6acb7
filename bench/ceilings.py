"""What this machine can do at most, measured in the run that compares with it.

The floor of an op is the time that it cannot undercut: its arithmetic at BLAS's rate, or its
traffic at the memory's, whichever takes longer. Arrays that a cache holds move several times as
fast as those in memory, so bandwidth is measured at several sizes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastdl import backend
from fastdl.bench import machine, shapes
from fastdl.bench.harness import Plan, Variant, checked, measure
from fastdl.bench.inputs import normal

Array = np.ndarray[Any, Any]
Calls = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class Cost:
    """What an op must compute and move, with every pass over its arrays that it cannot do without."""

    flops: float = 0
    read: float = 0
    """Bytes."""
    written: float = 0
    """Bytes."""

    @property
    def moved(self) -> float:
        """Bytes read and written."""
        return self.read + self.written


@dataclass(frozen=True)
class Rate:
    """The best that was reached."""

    value: float
    """Flops or bytes in a second."""
    by: str


@dataclass(frozen=True)
class Ceilings:
    """This machine's, with all threads."""

    product: Rate
    """float32 matrix product."""
    copy: dict[int, Rate]
    """As many bytes read as written, by how many are moved at all."""
    triad: dict[int, Rate]
    """Twice as many bytes read as written."""

    def floor(self, cost: Cost) -> float:
        """The seconds that an op of this cost takes at least."""
        streams = self.copy if cost.read < 1.5 * cost.written else self.triad  # the mix that is more like it
        size = min(streams, key=lambda size: abs(math.log(size / max(cost.moved, 1))))
        return max(cost.flops / self.product.value, cost.moved / streams[size].value)


def measure_ceilings(shape: shapes.Ceiling, plan: Plan) -> Ceilings:
    """Measure them all; streams first, while no BLAS has woken its threads."""
    briefly = dataclasses.replace(plan, seconds=plan.seconds / 2, pause=0)  # many variants, of one pool
    sizes = [*shape.cached, round(shape.last_caches * machine.last_cache())]
    copy = {size: _best(size, _copies(size), briefly) for size in sizes}
    triad = {size: _best(size, _triads(size), briefly) for size in sizes}
    with machine.all_blas_threads():
        product = _best(2 * shape.side**3, _products(shape.side), plan)
    return Ceilings(product, copy, triad)


def _best(amount: float, variants: dict[str, Variant], plan: Plan) -> Rate:
    """The highest rate of all calls of all variants: a ceiling is what was reached once."""
    seconds = {name: min(taken) for name, taken in measure(variants, plan).items()}
    fastest = min(seconds, key=lambda name: seconds[name])
    return Rate(amount / seconds[fastest], fastest)


def _line_up(moved: int, arrays: int) -> list[Array]:
    """So many arrays of whole cache lines, that hold so many bytes together."""
    elements = max(1, moved // arrays // 64) * 16
    return [normal((elements,), seed) for seed in range(arrays)]


def _right(calls: Calls, out: Array, right: Array) -> dict[str, Variant]:
    def check() -> None:
        np.testing.assert_allclose(out, right, rtol=1e-5, atol=1e-5)
        out.fill(np.nan)  # for the next to write

    return {name: checked(call, check) for name, call in calls.items()}


def _copies(moved: int) -> dict[str, Variant]:
    a, out = _line_up(moved, 2)
    calls: Calls = {"NumPy": lambda: np.copyto(out, a)}
    if backend.numba_missing() is None:
        from fastdl.bench import streams

        calls["Numba"] = lambda: streams.copy(a, out)
        calls["Numba past the caches"] = lambda: streams.copy_past_caches(a, out)
    return _right(calls, out, a)


def _triads(moved: int) -> dict[str, Variant]:
    a, b, out = _line_up(moved, 3)
    tripled = 3 * b  # NumPy would need a second pass for the factor
    calls: Calls = {"NumPy": lambda: np.add(a, tripled, out=out)}
    if backend.numba_missing() is None:
        from fastdl.bench import streams

        calls["Numba"] = lambda: streams.triad(a, b, out)
        calls["Numba past the caches"] = lambda: streams.triad_past_caches(a, b, out)
    return _right(calls, out, a + tripled)


def _products(side: int) -> dict[str, Variant]:
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
