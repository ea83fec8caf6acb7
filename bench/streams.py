"""STREAM's copy and triad with plain stores and with stores past the caches, and two streams in place; all parallel.

A plain store first reads the line that it writes to. A store past the caches (non-temporal) does
not, and so reaches more of the memory's bandwidth on arrays that no cache can hold.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

PIECES = 64  # of an array: more than threads, few enough that none is short
LANES = 16  # float32 of one store: a cache line


def _lines(builder: Any, addresses: list[Any]) -> list[Any]:
    """The addresses as pointers to a line of 16 numbers each."""
    return [builder.inttoptr(address, ir.VectorType(ir.FloatType(), LANES).as_pointer()) for address in addresses]


def _store_past_caches(builder: Any, value: Any, target: Any) -> None:
    store = builder.store(value, target, align=64)
    store.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))


@intrinsic
def _copy_line(typing_context: Any, target: Any, source: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, source = _lines(builder, args)
        _store_past_caches(builder, builder.load(source, align=64), target)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp), generate


@intrinsic
def _triad_line(typing_context: Any, target: Any, first: Any, second: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, first, second = _lines(builder, args)
        factor = ir.Constant(second.type.pointee, [3.0] * LANES)
        product = builder.fmul(factor, builder.load(second, align=64))
        _store_past_caches(builder, builder.fadd(builder.load(first, align=64), product), target)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.uintp), generate


@njit(parallel=True)
def copy(a, out):
    """out = a."""
    for i in prange(out.size):
        out[i] = a[i]


@njit(parallel=True)
def copy_past_caches(a, out):
    """out = a, of a multiple of 16 numbers on boundaries of 64 bytes."""
    start, end, lines = a.ctypes.data, out.ctypes.data, out.size // LANES
    for piece in prange(PIECES):
        for line in range(lines * piece // PIECES, lines * (piece + 1) // PIECES):
            at = numba.uintp(line * LANES * 4)
            _copy_line(end + at, start + at)


@njit(parallel=True)
def triad(a, b, out):
    """out = a + 3 b."""
    factor = out.dtype.type(3)
    for i in prange(out.size):
        out[i] = a[i] + factor * b[i]


@njit(parallel=True)
def scale(a, factor):
    """a = factor a."""
    exact = a.dtype.type(factor)
    for i in prange(a.size):
        a[i] = exact * a[i]


@njit(parallel=True)
def update(a, b):
    """a = a - b."""
    for i in prange(a.size):
        a[i] = a[i] - b[i]


@njit(parallel=True)
def triad_past_caches(a, b, out):
    """out = a + 3 b, of a multiple of 16 numbers on boundaries of 64 bytes."""
    first, second, end, lines = a.ctypes.data, b.ctypes.data, out.ctypes.data, out.size // LANES
    for piece in prange(PIECES):
        for line in range(lines * piece // PIECES, lines * (piece + 1) // PIECES):
            at = numba.uintp(line * LANES * 4)
            _triad_line(end + at, first + at, second + at)
