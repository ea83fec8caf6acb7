"""Streaming stores: for results that no cache will hold.

A plain store first reads the line that it writes to, so that y = f(x) moves three arrays instead of
two. A streaming (non-temporal) store writes whole lines to memory at once. LLVM's vectoriser makes none
of its own. So a chunk makes its result span by span in a buffer that stays in the first cache, by the
same code as for plain stores, and copies each span from there. Where caches would hold the result this
is the slower way: kernels have a twin for it, which is chosen by the size of the result.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from ._numba import chunk, inline

SPAN = 512  # bytes: so few that the next span is computed while the last one is on its way
VECTOR = 16  # bytes of a store: NumPy's arrays begin on such a boundary, and lines fill up all the same


@intrinsic
def _on_stack(context: Any, like: Any) -> Any:
    """A pointer to SPAN bytes on the stack, for elements like those of an array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(ir.IntType(8), SPAN))
            memory.align = 64
        return builder.bitcast(memory, context.get_value_type(types.CPointer(like.dtype)))

    return types.CPointer(like.dtype)(like), generate


@intrinsic
def _stream(context: Any, source: Any, target: Any, vectors: Any) -> Any:
    """Copy so many vectors from one address to another, both on boundaries of VECTOR bytes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(ir.IntType(64), VECTOR // 8).as_pointer()
        source, target = (builder.inttoptr(address, vector) for address in args[:2])
        non_temporal = builder.module.add_metadata([ir.IntType(32)(1)])
        with cgutils.for_range(builder, args[2]) as loop:
            value = builder.load(builder.gep(source, [loop.index]), align=VECTOR)
            store = builder.store(value, builder.gep(target, [loop.index]), align=VECTOR)
            store.set_metadata("nontemporal", non_temporal)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.intp), generate


@intrinsic
def settle(context: Any) -> Any:
    """Wait until streaming stores are seen by all threads: other stores do not wait for them."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@inline
def span_like(y):
    """A buffer of SPAN bytes on the stack, of y's dtype."""
    return carray(_on_stack(y), (SPAN // y.itemsize,))


@chunk
def stream(span, y):
    """y = span, past the caches where y lies on a boundary; `settle` when all is written."""
    whole = 0
    if y.ctypes.data % VECTOR == 0:
        vectors = span.size * span.itemsize // VECTOR
        _stream(span.ctypes.data, y.ctypes.data, vectors)
        whole = vectors * VECTOR // span.itemsize
    for i in range(whole, span.size):
        y[i] = span[i]


def streamed(put):
    """What the chunk put(x, c, y) does, by streaming stores."""

    @chunk
    def streaming(x, c, y):
        buffer = span_like(y)
        for at in range(0, y.size, buffer.size):
            span = buffer[: y.size - at]
            put(x[at : at + span.size], c, span)
            stream(span, y[at : at + span.size])
        settle()

    return streaming


def streamed_pair(put):
    """What the chunk put(a, b, c, y) does, by streaming stores."""

    @chunk
    def streaming(a, b, c, y):
        buffer = span_like(y)
        for at in range(0, y.size, buffer.size):
            span = buffer[: y.size - at]
            put(a[at : at + span.size], b[at : at + span.size], c, span)
            stream(span, y[at : at + span.size])
        settle()

    return streaming
