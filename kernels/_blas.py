"""scipy's BLAS as a symbol that Numba kernels can call, held to one thread while they do.

Each thread of a kernel calls BLAS for a panel of its own, so there is one pool of threads. Two
pools fight: OpenBLAS's threads spin for about 100 ms after a product, on the cores that the
kernels want.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np
import threadpoolctl
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic, overload

from ._numba import inline


def _bind() -> str | None:
    """Give LLVM the addresses of sgemm and dgemm; the reason where that cannot be done."""
    try:
        for name in ("sgemm", "dgemm"):
            address = get_cython_function_address("scipy.linalg.cython_blas", name)
            llvmlite.binding.add_symbol(f"fastdl_{name}", address)
    except (ImportError, ValueError, AttributeError) as error:
        return f"scipy.linalg.cython_blas: {error}"
    return None


missing = _bind()  # why there is no BLAS, or None

_sgemm = types.ExternalFunction("fastdl_sgemm", types.void(*[types.uintp] * 13))
_dgemm = types.ExternalFunction("fastdl_dgemm", types.void(*[types.uintp] * 13))


@intrinsic
def _address(context: Any, value: Any) -> Any:
    """The address of a copy of `value` on the stack: Fortran takes everything by reference."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ptrtoint(cgutils.alloca_once_value(builder, args[0]), ir.IntType(64))

    return types.uintp(value), generate


def _call(c: Any, *args: Any) -> None:
    """Call the gemm of c's dtype. Only its compiled form, below, exists."""


@overload(_call)
def _call_overload(c, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, pc, ldc):
    gemm = _sgemm if c.dtype == types.float32 else _dgemm

    def call(c, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, pc, ldc):
        gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, pc, ldc)

    return call


WITHOUT_PACKING = "SkylakeX", "Cooperlake", "SapphireRapids"  # OpenBLAS's kernels that have some for small products

_NO, _YES = np.int8(ord("n")), np.int8(ord("t"))


@inline
def gemm(a, a_transposed, b, b_transposed, c, rows, columns, inner, a_at, b_at, c_at, accumulate):
    """C[rows, columns] (+)= A[rows, inner] B[inner, columns], all row-major parts of a, b and c.

    `a_at`, `b_at`, `c_at` say at which element of the array each part starts.
    """
    # Fortran reads a row-major matrix as its transpose, so C' = B' A' is what it is asked for.
    size = c.itemsize
    one = c.dtype.type(1)
    _call(
        c,
        _address(_YES if b_transposed else _NO),
        _address(_YES if a_transposed else _NO),
        _address(np.int32(columns)),
        _address(np.int32(rows)),
        _address(np.int32(inner)),
        _address(one),
        b.ctypes.data + size * b_at,
        _address(np.int32(max(1, b.shape[1]))),
        a.ctypes.data + size * a_at,
        _address(np.int32(max(1, a.shape[1]))),
        _address(one if accumulate else c.dtype.type(0)),
        c.ctypes.data + size * c_at,
        _address(np.int32(max(1, c.shape[1]))),
    )


def _function(library: Any, name: str) -> Any:
    """A function of an OpenBLAS library, whose builds add a prefix or a suffix to its name."""
    loaded = ctypes.CDLL(library.filepath)
    for prefix, suffix in itertools.product(("scipy_", ""), ("", "64_", "_64")):
        if found := getattr(loaded, f"{prefix}{name}{suffix}", None):
            return found
    return None


def _loaded() -> list[Any]:
    """Every BLAS of the process."""
    return list(threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers)


def _libraries() -> list[Any]:
    """scipy's own BLAS library; every BLAS of the process where scipy uses the system's."""
    found = _loaded()
    return [b for b in found if any("scipy" in part for part in Path(b.filepath).parts[-3:-1])] or found


@functools.cache
def multiplies_unpacked() -> bool:
    """Whether BLAS has kernels for small products that do not copy the factors first: OpenBLAS's for AVX-512."""
    return missing is None and all(
        b.internal_api == "openblas" and getattr(b, "architecture", None) in WITHOUT_PACKING for b in _libraries()
    )


def describe() -> dict[str, str]:
    """Which BLAS the kernels call, for people."""
    if missing:
        return {"missing": f"{missing}; blocked loops take its place"}
    return {
        f"library {number}": f"{b.internal_api} {b.version}, {getattr(b, 'architecture', 'unknown')} kernels"
        for number, b in enumerate(_libraries(), 1)
    }


TIMEOUT = "OPENBLAS_THREAD_TIMEOUT"
TICKS = "16"  # 2^16 ticks of the clock, about 20 microseconds; OpenBLAS's own are about 100 ms


def let_threads_sleep() -> None:
    """Let the threads of OpenBLAS, NumPy's above all, sleep soon after a product, as `OPENBLAS_THREAD_TIMEOUT` does.

    They would keep a core busy for 100 ms after each, and a step that follows takes two to three times as long, as
    does the next product. It is done once, when the first step is made: the pool ends, and OpenBLAS makes another
    one at its next product. A user who has set the variable has chosen; and with other threads of Python about,
    one may be in a product just now, so nothing is done then.
    """
    others = [t for t in threading.enumerate() if type(t).__module__ != "tqdm._monitor"]  # which watches a clock
    if TIMEOUT in os.environ or len(others) > 1:
        return
    os.environ[TIMEOUT] = TICKS
    try:
        for library in _loaded():
            functions = [_function(library, name) for name in ("openblas_read_env", "blas_thread_shutdown_")]
            if library.internal_api == "openblas" and all(functions):
                for function in functions:
                    function()
    finally:
        del os.environ[TIMEOUT]


class _OneThread:
    """While anyone is within it, scipy's BLAS has one thread; the last to leave gives back the rest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._within = 0
        if hasattr(os, "register_at_fork"):  # another thread may have held the lock
            os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        """In the child no other thread is within it any more."""
        self._lock = threading.Lock()
        if self._within:
            self._within = 1
            self.__exit__()

    @functools.cached_property
    def _hold(self) -> Callable[[], Callable[[], None]]:
        """A function that leaves one thread, and returns what gives back the rest: scipy's, or all where it shares one.

        OpenBLAS is called without threadpoolctl, which takes four times as long, at every step.
        """
        let_threads_sleep()
        controls = []
        for library in _libraries():
            get = _function(library, "openblas_get_num_threads")
            put = _function(library, "openblas_set_num_threads")
            fast = library.internal_api == "openblas" and get and put
            controls.append((get, put) if fast else (library.get_num_threads, library.set_num_threads))

        def hold() -> Callable[[], None]:
            if len(controls) == 1:  # the usual case; loops over one would take as long as all the rest
                ((get, put),) = controls
                threads = get()
                put(1)
                return functools.partial(put, threads)
            saved = [(put, get()) for get, put in controls]
            for put, _ in saved:
                put(1)

            def give_back() -> None:
                for put, threads in saved:
                    put(threads)

            return give_back

        return hold

    def __enter__(self) -> None:
        with self._lock:
            if self._within == 0:
                self._give_back = self._hold()
            self._within += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._within = max(0, self._within - 1)
            if self._within == 0:
                self._give_back()


one_thread = _OneThread()
