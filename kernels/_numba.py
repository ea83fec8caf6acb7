"""How CPU kernels are compiled: shared options, a serial and a parallel twin, the thread layer.

A kernel is one Python function that loops by `prange` over fixed pieces of its work and hands
each piece, as contiguous slices, to a serial `chunk` that LLVM turns into vector code. The pieces
depend on the shape alone, so the result has the same bits for every number of threads. Some have a
third twin, for results that no cache will hold (`_streaming.py`).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import threading
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import njit
from numba.core.bytecode import FunctionIdentity

from . import _pieces
from ._cache import KernelCache
from ._processor import last_cache

# Numba names machine code by module, function, types and a number that counts from 1 in every process.
# What one factory makes differs by that number alone. So of two kernels in the cache that two
# processes compiled, one could run in the place of the other: hence a number of our own to begin with.
FunctionIdentity._unique_ids = itertools.count(secrets.randbits(60))

# nnan and ninf are left out: with them LLVM may assume that no NaN or infinity exists, and
# `isnan` counts none. So is nsz: with it the sign of a zero depends on what LLVM inlines, and the
# twins' bits differ. reassoc, which lets a sum be vectorised, is asked for where it is wanted.
FASTMATH = {"arcp", "contract", "afn"}
# The default error model puts a ZeroDivisionError branch into every division, and that branch
# keeps a loop scalar.
OPTIONS = {"error_model": "numpy", "nogil": True}

SMALL = 1 << 16  # elements below which a parallel region costs more than it saves

# What only kernels call needs no entry from Python or C, and compiles in half the time without.
_CALLEE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **OPTIONS}

inline = njit(fastmath=FASTMATH, **_CALLEE)  # a function of numbers; LLVM inlines it


def chunk(function: Callable[..., Any] | None = None, *, reassociate: bool = False) -> Any:
    """Compile a serial loop over contiguous slices."""
    fastmath = FASTMATH | {"reassoc"} if reassociate else FASTMATH
    decorate = njit(fastmath=fastmath, **_CALLEE)
    return decorate if function is None else decorate(function)


@chunk
def clear(x):
    """Fill a span with zeros."""
    for j in range(x.size):
        x[j] = 0


@chunk(reassociate=True)
def dot(a, b):
    """The sum of products of two spans."""
    total = a.dtype.type(0)
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@inline
def unchanged(x, slope, zero):
    """The activation that does nothing."""
    return x


chunks = inline(_pieces.chunks)
rows_of_chunk = inline(_pieces.rows_of_chunk)
blocks_of_rows = inline(_pieces.blocks_of_rows)


@inline
def cut(size, parts, part, unit):
    """Bounds of piece `part` when `size` is cut in `parts`, as evenly as multiples of `unit` allow."""
    units = (size + unit - 1) // unit
    return min(size, units * part // parts * unit), min(size, units * (part + 1) // parts * unit)


class _Threads:
    """Which threads this process may use in a kernel. Found out at the first parallel kernel."""

    def __init__(self) -> None:
        self.count = int(numba.config.NUMBA_NUM_THREADS)
        self.lock: threading.Lock | None = None
        self._layer: str | None = None
        self._finding = threading.Lock()
        # A child of fork has none of the parent's threads, and OpenMP ends it when it asks for them.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self.count = 1
        self._finding = threading.Lock()

    @property
    def layer(self) -> str:
        """Numba's threading layer: "omp", "tbb", "workqueue", or "none" where none loads."""
        with self._finding:
            if self._layer is None:
                from numba.np.ufunc.parallel import _launch_threads

                try:
                    _launch_threads()
                    found = numba.threading_layer()
                except ValueError:
                    found, self.count = "none", 1
                if found == "workqueue":  # aborts the process when two threads enter it
                    self.lock = threading.Lock()
                self._layer = found
        return self._layer


threads = _Threads()
_NOTHING: contextlib.AbstractContextManager[None] = contextlib.nullcontext()


class Kernel:
    """One source in two compilations: `serial`, and `parallel` for work beyond a threshold.

    A second source of the same parameters makes `streaming`, for results as large as the last cache.

    Calling it runs the twin that fits the arguments, within the context that the kernel needs;
    `resolve` gives that twin's machine code for arguments of exactly these types, which a recorded
    step calls from then on, within a context of its own.
    """

    def __init__(
        self,
        function: Callable[..., None],
        name: str,
        threshold: float,
        work: Callable[..., int],
        within: contextlib.AbstractContextManager[None] | None,
        streaming: Callable[..., None] | None,
    ):
        self.name = f"{function.__module__.split('.')[-2]}.{name}"
        self.source = function
        self.threshold = threshold
        self.work = work
        self.within = within
        self.serial = self._compile(function, "serial")
        self.parallel = self._compile(function, "parallel") if threshold < float("inf") else self.serial
        self.streaming = self._compile(streaming, "streaming") if streaming else None

    def _compile(self, source: Callable[..., None], twin: str) -> Any:
        dispatcher = njit(fastmath=FASTMATH, parallel=twin != "serial", no_cfunc_wrapper=True, **OPTIONS)(source)
        dispatcher._cache = KernelCache(f"{self.name}.{twin}")
        return dispatcher

    @property
    def twins(self) -> dict[str, Any]:
        """All compilations, by name."""
        named = {"serial": self.serial, "parallel": self.parallel, "streaming": self.streaming}
        return {name: twin for name, twin in named.items() if twin and (name == "serial" or twin is not self.serial)}

    def twin(self, args: tuple[Any, ...]) -> Any:
        """The compilation that fits this much work."""
        # A child of fork has one thread, and must enter no parallel region at all.
        if threads.count == 1 or self.work(*args) < self.threshold or threads.layer == "none":
            return self.serial
        if self.streaming and args[-1].nbytes >= last_cache() and _apart(args):
            return self.streaming
        return self.parallel

    def __call__(self, *args: Any) -> None:
        twin = self.twin(args)
        locked = threads.lock if twin is not self.serial else None
        if self.within is None and locked is None:  # a `with` of nothing costs a microsecond
            twin(*args)
            return
        with self.within or _NOTHING, locked or _NOTHING:
            twin(*args)

    def resolve(self, args: tuple[Any, ...]) -> Callable[..., None]:
        """The compiled entry point for these arguments, past Numba's dispatcher."""
        twin = self.twin(args)
        if twin is not self.serial and threads.lock:
            return self
        signature = tuple(map(numba.typeof, args))
        if signature not in twin.overloads:
            twin.compile(signature)
        return twin.overloads[signature].entry_point  # type: ignore[no-any-return]


def _apart(args: tuple[Any, ...]) -> bool:
    """Whether the last array, which is written, is none of the others: else its lines are read in any case."""
    *others, y = (arg for arg in args if isinstance(arg, np.ndarray))
    return all(y.ctypes.data != other.ctypes.data for other in others)


def last_size(*args: Any) -> int:
    """The usual measure of a kernel's work: the size of its last array, which is an output."""
    return int(args[-1].size)


def kernel(
    *,
    name: str = "",
    threshold: float = SMALL,
    work: Callable[..., int] = last_size,
    within: contextlib.AbstractContextManager[None] | None = None,
    streaming: Callable[..., None] | None = None,
) -> Callable[[Callable[..., None]], Kernel]:
    """Make a Kernel of a function; at `work(*args) >= threshold` it runs in parallel."""
    return lambda function: Kernel(function, name or function.__name__, threshold, work, within, streaming)
